"""Models that give all states of a rollout in one call: the same plans as through their steps."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, LatCo, Objective, RolloutModel

T, A = 5, 2
START, GOAL = jnp.array([0.1, -0.2]), jnp.array([0.7, 0.4])
GUESS = jnp.linspace(-0.3, 0.5, T * A).reshape(T, A)
PLANNERS = [
    GD(learning_rate=0.1, iterations=4),
    GRASP(iterations=4, action_rate=0.05, sync=GD(learning_rate=0.1, iterations=2), sync_every=2),
    grasp_jax.CEM(num_samples=8, num_elites=3, iterations=2),
    LatCo(iterations=4, evaluate_every=2),
]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Decaying:
    """`s' = 0.9 s + W tanh(a)`, one step."""

    weights: jax.Array

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return 0.9 * state + self.weights @ jnp.tanh(action)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AtOnce(Decaying, RolloutModel):
    """The same, and `s_t = 0.9^t s_0 + Σ_i 0.9^(t-1-i) W tanh(a_i)`."""

    def rollout(self, state: jax.Array, actions: jax.Array) -> jax.Array:
        steps = jnp.arange(len(actions))
        gap = steps[:, None] - steps
        mix = jnp.where(gap >= 0, 0.9 ** jnp.maximum(gap, 0), 0.0)
        moved = mix @ (jnp.tanh(actions) @ self.weights.T)
        return moved + 0.9 ** (steps + 1.0)[:, None] * state


WEIGHTS = jnp.array([[1.0, 0.2], [-0.1, 0.8]])
RUNNING = Objective(running_cost=lambda state, goal: 0.01 * jnp.sum((state - goal) ** 2))


def plan(model: Any, planner: Any, **settings: Any) -> grasp_jax.Plan:
    key = jax.random.key(0)
    return grasp_jax.plan(model, START, GOAL, GUESS, key, planner=planner, **settings)


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda p: type(p).__name__)
def test_a_plan_is_that_through_the_steps(planner: Any) -> None:
    found = plan(AtOnce(WEIGHTS), planner, objective=RUNNING)
    expected = plan(Decaying(WEIGHTS), planner, objective=RUNNING)
    np.testing.assert_allclose(found.actions, expected.actions, atol=2e-5)
    np.testing.assert_allclose(found.states, expected.states, atol=2e-5)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-4)
    np.testing.assert_array_equal(found.metrics.model_evals, expected.metrics.model_evals)


def test_a_rollout_takes_no_loop() -> None:
    """Beside the loop over iterations nothing waits: a gradient has no scan over the steps."""

    def loops(model: Any) -> int:
        problem = grasp_jax.make_problem(model, START, GOAL, GUESS)
        gradient = jax.grad(lambda a: grasp_jax.rollout_cost(problem, a))
        return str(jax.make_jaxpr(gradient)(GUESS)).count("scan[")

    assert loops(Decaying(WEIGHTS)) > 0
    assert loops(AtOnce(WEIGHTS)) == 0


@pytest.mark.parametrize("planner", [GD(iterations=2), LatCo(iterations=2)])
def test_search_units_keep_the_rollout(planner: Any) -> None:
    """The default plans in such units, and has as few loops around the model as without them."""

    def loops(model: Any, planner: Any) -> int:
        return str(jax.make_jaxpr(lambda m: plan(m, planner).cost)(model)).count("scan[")

    scaled = grasp_jax.Scaled(planner, state_scale=0.5)
    assert loops(AtOnce(WEIGHTS), scaled) == loops(AtOnce(WEIGHTS), planner)
    assert loops(AtOnce(WEIGHTS), scaled) < loops(Decaying(WEIGHTS), scaled)
    found, expected = plan(AtOnce(WEIGHTS), scaled), plan(Decaying(WEIGHTS), scaled)
    np.testing.assert_allclose(found.actions, expected.actions, atol=2e-5)


def test_a_shorter_horizon_goes_step_by_step() -> None:
    planner = PLANNERS[0]
    found = plan(AtOnce(WEIGHTS), planner, horizon=3)
    expected = plan(Decaying(WEIGHTS), planner, horizon=3)
    np.testing.assert_array_equal(found.actions, expected.actions)


def test_states_of_another_shape_are_refused() -> None:
    class Short(AtOnce):
        def rollout(self, state: jax.Array, actions: jax.Array) -> jax.Array:
            return super().rollout(state, actions)[:-1]

    names = [field.name for field in dataclasses.fields(Short)]
    jax.tree_util.register_dataclass(Short, data_fields=names, meta_fields=[])
    with pytest.raises(ValueError, match=r"RolloutModel: rollout.*float32\[5, 2\], got.*\[4, 2\]"):
        plan(Short(WEIGHTS), PLANNERS[0])
