"""Between the environment's units and the model's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax.world_models import Normalisation

ACTIONS = np.random.default_rng(0).normal([1.0, -2.0], [0.5, 3.0], size=(400, 2))


def test_fitted_actions_are_z_scores_in_blocks_and_come_back():
    norm = Normalisation.fit(np.concatenate([ACTIONS, [[np.nan, 0.0]]]), block=5)
    model = norm.to_model(ACTIONS)
    assert model.shape == (80, 10)
    np.testing.assert_allclose(model.reshape(-1, 2).mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(model.reshape(-1, 2).std(0), 1, atol=1e-5)
    # The first number of a block is the earliest action's.
    score = (ACTIONS[6, 0] - ACTIONS[:, 0].mean()) / ACTIONS[:, 0].std()
    np.testing.assert_allclose(model[1, 2], score, atol=1e-5)
    np.testing.assert_allclose(norm.to_environment(model), ACTIONS, atol=1e-5)


def test_bounds_in_environment_units_hold_for_the_executed_plan():
    norm = Normalisation.fit(ACTIONS, block=2)

    def dynamics(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + action[:2] + action[2:]

    low, high = jnp.array([0.9, -2.5]), jnp.array([1.1, 1.0])
    plan = grasp_jax.plan(
        dynamics,
        jnp.zeros(2),
        jnp.array([50.0, -50.0]),
        jnp.zeros((3, 4)),
        jax.random.key(0),
        planner=grasp_jax.GD(0.5, iterations=40),
        bounds=norm.bounds(low, high),
    )
    executed = norm.to_environment(plan.actions)
    assert executed.shape == (6, 2)
    np.testing.assert_allclose(executed, jnp.tile(jnp.array([1.1, -2.5]), (6, 1)), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels(dtype: type):
    frame = np.full((2, 4, 6, 3), 255 if dtype is np.uint8 else 1.0, dtype)
    found = Normalisation(0.0, 1.0).pixels(frame)
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
        (lambda n: n.fit(ACTIONS, block=0), "block must be at least 1"),
    ],
)
def test_wrong_arrays(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(Normalisation.fit(ACTIONS, block=5))


def test_a_block_is_a_number_of_actions():
    with pytest.raises(TypeError, match=r"block must be an int, got 2\.5"):
        Normalisation.fit(ACTIONS, block=2.5)  # pyright: ignore[reportArgumentType]


def test_statistics_are_traced():
    frames = jnp.ones((4, 2))
    change = jax.jit(lambda norm: norm.to_model(frames))
    np.testing.assert_allclose(change(Normalisation(jnp.zeros(2), jnp.ones(2), 2)), 1.0)
    np.testing.assert_allclose(change(Normalisation(jnp.ones(2), jnp.ones(2), 2)), 0.0)
    assert change._cache_size() == 1


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match=r"floating frames must lie in 0..1, got a maximum of 200"):
        Normalisation(0.0, 1.0).pixels(np.full((4, 4, 3), 200.0, np.float32))
    with pytest.raises(ValueError, match="block must be a positive int, got 0"):
        Normalisation(0.0, 1.0, block=0)
    with pytest.raises(ValueError, match=r"action_mean has shape \[1\] and action_std \[3\]"):
        Normalisation(np.zeros(1), np.ones(3))
