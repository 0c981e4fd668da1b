"""bfloat16 models: float32 outside, near the model inside, and plans as good on the true model."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import world_models
from grasp_jax.world_models import mixed_precision

SIZES = world_models.LeWMConfig(
    latent=32,
    depth=1,
    heads=2,
    hidden=64,
    encoder=world_models.ViTConfig(width=32, depth=1, heads=1, hidden=32, image=28, pos_grid=2),
)
MODEL = world_models.LeWM.random(jax.random.key(0), SIZES)
STATES = jax.random.normal(jax.random.key(1), (3, 32))
ACTIONS = jax.random.normal(jax.random.key(2), (3, 10))


def test_weights_are_short_and_predictions_float32() -> None:
    low = mixed_precision(MODEL)
    assert {x.dtype for x in jax.tree.leaves(low)} == {jnp.dtype(jnp.bfloat16)}
    call = jax.jit(lambda model: model(STATES, ACTIONS))
    found, exact = call(low), call(MODEL)
    assert found.dtype == jnp.float32
    error = jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)
    assert 1e-6 < error < 0.03


def test_prepared_steps_are_the_model() -> None:
    low = mixed_precision(MODEL)
    prepared = low.prepare_actions(ACTIONS)
    np.testing.assert_array_equal(low.step_prepared(STATES, prepared), low(STATES, ACTIONS))


def test_a_model_without_prepared_actions() -> None:
    gain = jax.tree_util.Partial(lambda w, s, a: s + w * a, jnp.array(0.1))
    low = mixed_precision(gain)
    state, action = jnp.array([1.0, 2.0]), jnp.array([1.0, -1.0])
    np.testing.assert_allclose(low(state, action), gain(state, action), rtol=1e-2)
    np.testing.assert_array_equal(low.step_prepared(state, low.prepare_actions(action)),
                                  low(state, action))  # fmt: skip


def test_the_weights_of_a_partial_are_rounded_too() -> None:
    low = mixed_precision(functools.partial(lambda w, s, a: s + w * a, jnp.array(0.1)))
    assert [x.dtype for x in jax.tree.leaves(low)] == [jnp.dtype(jnp.bfloat16)]


def test_half_of_the_prepared_interface_means_something_else() -> None:
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Half:
        gain: jax.Array

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + self.gain * action

        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return 100 * actions

    low = mixed_precision(Half(jnp.ones(())))
    state, action = jnp.zeros(2), jnp.ones(2)
    np.testing.assert_array_equal(low.step_prepared(state, low.prepare_actions(action)), action)


@pytest.mark.parametrize(
    "planner",
    [
        grasp_jax.GRASP(
            iterations=20, sync_every=10, sync=grasp_jax.GD(learning_rate=0.1, iterations=10)
        ),
        grasp_jax.GD(learning_rate=0.1, iterations=40),
    ],
    ids=["GRASP", "GD"],
)
def test_plans_are_nearly_as_good_on_the_true_model(planner: grasp_jax.Planner) -> None:
    def plan(model: object) -> grasp_jax.Plan:
        return grasp_jax.plan(
            model, STATES[0], MODEL(STATES, ACTIONS), jnp.zeros((4, 10)), jax.random.key(3),
            planner=planner, context=MODEL.empty_context(),
        )  # fmt: skip

    low, exact = plan(mixed_precision(MODEL)), plan(MODEL)
    assert {x.dtype for x in jax.tree.leaves((low.actions, low.states, low.virtual_states))} == {
        jnp.dtype(jnp.float32)
    }
    problem = grasp_jax.make_problem(
        MODEL,
        STATES[0],
        MODEL(STATES, ACTIONS),
        jnp.zeros((4, 10)),
        context=MODEL.empty_context(),
    )
    start_cost = grasp_jax.rollout_cost(problem, jnp.zeros((4, 10)))
    low_cost = grasp_jax.rollout_cost(problem, low.actions)
    assert exact.cost < start_cost
    assert start_cost - low_cost > 0.8 * (start_cost - exact.cost)


def test_only_floats() -> None:
    with pytest.raises(TypeError, match="floating type"):
        mixed_precision(MODEL, jnp.int8)


@pytest.mark.parametrize("wrapper", [world_models.ActionRepeat, world_models.StackedActions])
def test_repeated_steps_of_a_model_with_constants(wrapper: type) -> None:
    """A float32 constant inside widens a bfloat16 state, which a loop cannot carry."""

    def widening(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + jnp.array([0.1, 0.2]) * action

    plain, actions = (
        wrapper(widening, 2),
        jnp.ones(2 if wrapper is world_models.ActionRepeat else 4),
    )
    low = mixed_precision(plain)(jnp.zeros(2), actions)
    np.testing.assert_allclose(low, plain(jnp.zeros(2), actions), rtol=1e-2)
