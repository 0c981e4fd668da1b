"""LatCo: multipliers, full state gradients, Gauss-Newton."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import LatCo, LatCoGaussNewton, Plan
from tests import matrix
from tests.matrix import assert_close, key

T, A = 4, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def solve(planner: Any, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {"state": START, "goal": GOAL, "init_actions": GUESS, "key": key()}
    return grasp_jax.plan(step, **(arguments | changes), planner=planner)


def last(planner: Any) -> Any:
    """The planner's own state after its last iteration."""
    problem = grasp_jax.make_problem(step, START, GOAL, GUESS)
    return matrix.searched(planner, problem)[1].inner


def violations(states: jax.Array, actions: jax.Array) -> jax.Array:
    inputs = jnp.concatenate([START[None], states[:-1]])
    return jnp.sum((jax.vmap(step)(inputs, actions) - states) ** 2, axis=1)


def test_the_updates_equal_a_hand_written_loop():
    weight, multiplier = 0.3, 2.0
    planner = LatCo(
        learning_rate=0.05,
        iterations=5,
        goal_weight=weight,
        multiplier=multiplier,
        dual_rate=1.5,
        dual_every=2,
        optimizer=optax.sgd,
    )
    states = jnp.stack([START + t / T * (GOAL - START) for t in range(1, T + 1)])
    actions, multipliers = GUESS, jnp.full(T, multiplier)

    def loss(states: jax.Array, actions: jax.Array, multipliers: jax.Array) -> jax.Array:
        goals = jnp.sum((states - GOAL) ** 2, axis=1)
        weights = jnp.array([weight] * (T - 1) + [1.0])
        return jnp.sum(weights * goals) + jnp.sum(multipliers * violations(states, actions))

    slopes = jax.jit(jax.grad(loss, (0, 1)))
    for i in range(5):
        violation = violations(states, actions)
        slope_s, slope_a = slopes(states, actions, multipliers)
        states, actions = states - 0.05 * slope_s, actions - 0.05 * slope_a
        if (i + 1) % 2 == 0:
            multipliers = multipliers + 1.5 * violation
    found = last(planner)
    assert_close((found.states, found.actions, found.multipliers), (states, actions, multipliers))


@pytest.mark.parametrize(
    "planner",
    [
        LatCo(learning_rate=0.02, iterations=600, multiplier=5.0),
        LatCoGaussNewton(iterations=40, multiplier=5.0),
    ],
    ids=["first", "gn"],
)
def test_growing_multipliers_close_the_gap_between_states_and_rollout(planner: Any):
    found = solve(planner)
    assert found.metrics.dynamics_residual[-1] < 0.02 * found.metrics.dynamics_residual[0]
    assert found.cost < 0.02
    assert_close(found.virtual_states, found.states[1:-1], 0.1)


def test_rollouts_are_evaluated_only_now_and_then():
    found = solve(LatCo(iterations=7, evaluate_every=3))
    assert found.metrics.evaluated.tolist() == [False, False, True] * 2 + [False]
    assert_close(found.metrics.model_evals, jnp.array([4.0, 4, 8, 4, 4, 8, 4]))


def test_gauss_newton_multipliers_follow_the_latco_repository():
    planner = LatCoGaussNewton(iterations=1, multiplier=3.0)
    found = last(planner)
    before = last(dataclasses.replace(planner, dual_rate=0.0))
    violation = violations(before.states, before.actions)
    epsilon = 1e-4
    expected = 3.0 * (1 + 0.1 * jnp.log10((violation + 0.1 * epsilon) / epsilon))
    assert_close(found.multipliers, expected, 1e-4)


def test_a_free_last_state_starts_from_the_start():
    objective = grasp_jax.Objective(terminal_cost=lambda s, g: (s[0] - g["x"]) ** 2)
    for planner in (
        LatCo(learning_rate=0.03, iterations=300, multiplier=5.0),
        LatCoGaussNewton(iterations=20, multiplier=5.0),
    ):
        found = grasp_jax.plan(
            step, START, {"x": jnp.array(0.5)}, GUESS, key(), planner=planner, objective=objective
        )
        assert abs(found.states[-1, 0] - 0.5) < 0.1
