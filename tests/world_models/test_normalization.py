"""Between the environment's units and the model's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax.world_models import Normalization

ACTIONS = np.random.default_rng(0).normal([1.0, -2.0], [0.5, 3.0], size=(400, 2))


def test_fitted_actions_are_z_scores_in_blocks_and_come_back():
    norm = Normalization.fit(np.concatenate([ACTIONS, [[np.nan, 0.0]]]), action_block=5)
    model = norm.to_model(ACTIONS)
    assert model.shape == (80, 10)
    np.testing.assert_allclose(model.reshape(-1, 2).mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(model.reshape(-1, 2).std(0), 1, atol=1e-5)
    # The first number of a block is the earliest action's.
    score = (ACTIONS[6, 0] - ACTIONS[:, 0].mean()) / ACTIONS[:, 0].std()
    np.testing.assert_allclose(model[1, 2], score, atol=1e-5)
    np.testing.assert_allclose(norm.to_environment(model), ACTIONS, atol=1e-5)


def test_bounds_in_environment_units_hold_for_the_executed_plan():
    norm = Normalization.fit(ACTIONS, action_block=2)

    def dynamics(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + action[:2] + action[2:]

    low, high = jnp.array([0.9, -2.5]), jnp.array([1.1, 1.0])
    plan = grasp_jax.plan(
        dynamics,
        jnp.zeros(2),
        jnp.array([50.0, -50.0]),
        jnp.zeros((3, 4)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.5, iterations=40),
        bounds=norm.bounds(low, high),
    )
    executed = norm.to_environment(plan.actions)
    assert executed.shape == (6, 2)
    np.testing.assert_allclose(executed, jnp.tile(jnp.array([1.1, -2.5]), (6, 1)), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels(dtype: type):
    frame = np.full((2, 4, 6, 3), 255 if dtype is np.uint8 else 1.0, dtype)
    found = Normalization(0.0, 1.0).pixels(frame)
    assert found.shape == (2, 3, 4, 6)
    np.testing.assert_allclose(found[0, :, 0, 0], [2.2489, 2.4286, 2.64], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n.pixels(np.zeros((3, 8, 8))), r"pixels: expected \[..., height, width, 3\]"),
        (lambda n: n.to_model(np.zeros((7, 2))), r"to_model: expected \[..., T \* 5, 2\], got"),
        (lambda n: n.to_model(np.zeros((10, 3))), r"to_model: expected"),
        (lambda n: n.to_environment(np.zeros((3, 4))), r"to_environment: expected .* 5 \* 2"),
        (lambda n: n.fit(np.ones((9, 2))), "never changes in 9 finite rows"),
        # Rounding gives these a deviation of 1e-16.
        (lambda n: n.fit(np.full((501, 2), [0.1, 0.7])), "never changes in 501 finite rows"),
        (
            lambda n: n.fit(ACTIONS, action_block=2.5),
            r"action_block must be a positive int, got 2.5",
        ),
        (lambda n: n.fit(np.float64(3.0)), r"fit: actions must be \[\.\.\., a\], got \[\]"),
        (lambda n: n.fit(np.array([[1e-60], [2e-60]])), r"deviation 5e-61.*beyond float32"),
        (lambda n: n.fit(np.array([[1e60], [2e60]])), r"deviation 5e\+59.*beyond float32"),
        (lambda n: n.fit(ACTIONS, action_block=0), r"action_block must be a positive int, got 0"),
    ],
)
def test_wrong_arrays(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(Normalization.fit(ACTIONS, action_block=5))


@pytest.mark.parametrize("of", [float, np.asarray, jnp.asarray, lambda x: [1.0, x]])
@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_deviations_that_divide_by_nothing_are_refused(of: Any, wrong: float):
    fix = "" if np.isnan(wrong) else f"{wrong:.3g}"
    with pytest.raises(ValueError, match=f"action_std must be positive and finite, got {fix}"):
        Normalization(0.0, of(wrong))
    with pytest.raises(ValueError, match="pixel_std must be positive and finite"):
        Normalization(0.0, 1.0, pixel_mean=0.0, pixel_std=of(wrong))
    if not np.isfinite(wrong):
        with pytest.raises(ValueError, match="action_mean must be finite, got"):
            Normalization(of(wrong), 1.0)
    with pytest.raises(TypeError, match="action_std must be a number or an array of them, got str"):
        Normalization(0.0, "one")  # pyright: ignore[reportArgumentType]


def test_what_jax_puts_in_its_place_is_not_checked():
    norm = Normalization(jnp.zeros(2), jnp.ones(2), action_block=2)
    gradient = jax.grad(lambda n: -jnp.sum(n.to_environment(jnp.ones((1, 4)))))(norm)
    np.testing.assert_array_equal(gradient.action_std, [-2, -2])
    zeros = jax.tree.map(jnp.zeros_like, norm)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x + 1]), norm)
    axes = jax.tree.map(lambda _: 0, norm)
    found = jax.vmap(lambda n, a: n.to_environment(a), in_axes=(axes, None))(
        stacked, jnp.ones((1, 4))
    )
    np.testing.assert_array_equal(found[:, 0], [[1, 1], [3, 3]])
    assert zeros.action_block == 2 and not zeros.action_std.any()


def test_callers_who_forbid_promotions_have_their_units_changed_too():
    norm = Normalization(np.array([0.1, -0.2]), [0.2, 0.4], action_block=2)
    frames = np.full((2, 4, 6, 3), 255, np.uint8)

    def everything() -> list:
        return [
            norm.pixels(frames),
            norm.to_model(np.ones((3, 4, 2))),
            norm.to_environment(np.ones((3, 2, 4), np.float16)),
            norm.bounds(-1, 1.0),
            Normalization.fit(ACTIONS, action_block=2).to_model(ACTIONS),
        ]

    expected = everything()
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        jax.tree.map(np.testing.assert_array_equal, everything(), expected)


def test_statistics_are_traced():
    frames = jnp.ones((4, 2))
    change = jax.jit(lambda norm: norm.to_model(frames))
    np.testing.assert_allclose(
        change(Normalization(jnp.zeros(2), jnp.ones(2), action_block=2)), 1.0
    )
    np.testing.assert_allclose(change(Normalization(jnp.ones(2), jnp.ones(2), action_block=2)), 0.0)
    assert change._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match=r"floating frames must lie in 0..1, got a maximum of 200"):
        Normalization(0.0, 1.0).pixels(np.full((4, 4, 3), 200.0, np.float32))
    with pytest.raises(ValueError, match="action_block must be a positive int, got 0"):
        Normalization(0.0, 1.0, action_block=0)
    with pytest.raises(ValueError, match=r"action_mean has shape \[1\] and action_std \[3\]"):
        Normalization(np.zeros(1), np.ones(3))
