"""Linear models with quadratic costs have one optimum, known in closed form."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    LatCo,
    LatCoGaussNewton,
    MultiStart,
    Plan,
    White,
)

T, D, A = 6, 3, 2
WEIGHT = 0.05
MODEL_A = jnp.array([[1.0, 0.2, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.1, 0.8]])
MODEL_B = jnp.array([[0.5, 0.0], [0.0, 0.4], [0.3, -0.3]])
START = jnp.array([0.5, -1.0, 0.2])
GOAL = jnp.array([-0.5, 1.0, 0.4])
OBJECTIVE = grasp_jax.Objective(control_cost=grasp_jax.QuadraticControlCost(WEIGHT))


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return MODEL_A @ state + MODEL_B @ action


@functools.cache
def optimum() -> tuple[np.ndarray, float]:
    """The minimizer of `||s_T - g||² + w ||a||²` by the normal equations, and its cost."""
    a, b = np.asarray(MODEL_A, np.float64), np.asarray(MODEL_B, np.float64)
    reach = np.hstack([np.linalg.matrix_power(a, T - 1 - t) @ b for t in range(T)])
    gap = np.asarray(GOAL, np.float64) - np.linalg.matrix_power(a, T) @ np.asarray(START)
    actions = np.linalg.solve(reach.T @ reach + WEIGHT * np.eye(T * A), reach.T @ gap)
    cost = np.sum((reach @ actions - gap) ** 2) + WEIGHT * np.sum(actions**2)
    return actions.reshape(T, A), float(cost)


def solve(planner: Any, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {"state": START, "goal": GOAL, "init_actions": jnp.zeros((T, A))}
    return grasp_jax.plan(
        step, **(arguments | changes), key=jax.random.key(0), planner=planner, objective=OBJECTIVE
    )


_sync = GD(learning_rate=0.5, iterations=100, optimizer=optax.sgd)


def _falling(rate: float, steps: int) -> optax.Schedule:
    """Adam's steps do not shrink near an optimum by themselves: let the rate fall."""
    return optax.cosine_decay_schedule(rate, steps)


# Planner, tolerance of every action, relative tolerance of the cost.
EXACT = {
    "GD adam": (GD(learning_rate=_falling(0.1, 400), iterations=400), 1e-3, 1e-5),
    "GD sgd": (GD(learning_rate=0.5, iterations=300, optimizer=optax.sgd), 1e-3, 1e-5),
    "GRASP": (GRASP(iterations=20, sync=_sync, sync_every=10), 1e-3, 1e-5),
    "GRASP paper": (
        GRASP(
            iterations=20,
            state_rate=0.1,
            action_rate=0.01,
            optimizer=optax.sgd,
            sync=_sync,
            sync_every=10,
        ),
        1e-3,
        1e-5,
    ),
    "GRASP sync only": (
        GRASP(iterations=2, state_rate=0.0, action_rate=0.0, sync=_sync, sync_every=1),
        1e-3,
        1e-5,
    ),
    "MultiStart": (
        MultiStart(
            GD(learning_rate=0.5, iterations=200, optimizer=optax.sgd), num_starts=3, start_std=1.0
        ),
        1e-3,
        1e-5,
    ),
    "Chain": (
        Chain(
            GRASP(iterations=20, sync=_sync, sync_every=10),
            GD(learning_rate=0.5, iterations=99, optimizer=optax.sgd),
        ),
        1e-3,
        1e-5,
    ),
    "LatCoGN": (LatCoGaussNewton(iterations=100, multiplier=1000.0, dual_rate=0.0), 5e-3, 1e-4),
    "LatCo": (
        LatCo(learning_rate=_falling(0.03, 3000), iterations=3000, multiplier=30.0),
        0.1,
        0.01,
    ),
}
NEAR = {
    "CEM": CEM(num_samples=200, num_elites=20, iterations=40),
    "ICEM": ICEM(num_samples=100, num_elites=10, iterations=40, noise=White()),
    "MPPI": MPPI(num_samples=400, iterations=60, std=0.15),
    "GRASP sync=CEM": GRASP(
        iterations=40, sync=CEM(num_samples=200, num_elites=20, iterations=20), sync_every=20
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_gradient_planners_reach_the_analytic_optimum(name: str):
    actions, cost = optimum()
    planner, action_tolerance, cost_tolerance = EXACT[name]
    found = solve(planner)
    np.testing.assert_allclose(found.actions, actions, atol=action_tolerance)
    assert cost - 1e-5 <= found.cost <= cost * (1 + cost_tolerance)


@pytest.mark.parametrize("name", NEAR)
def test_sampling_planners_come_within_two_per_cent_of_the_optimal_cost(name: str):
    _, cost = optimum()
    found = solve(NEAR[name])
    assert cost - 1e-5 <= found.cost <= cost * 1.02


def test_without_action_cost_gauss_newton_reaches_the_goal_in_a_few_iterations():
    planner = LatCoGaussNewton(iterations=8)
    found = grasp_jax.plan(step, START, GOAL, jnp.zeros((T, A)), jax.random.key(0), planner=planner)
    assert found.cost < 1e-5


def test_the_optimum_is_found_in_double_precision_too():
    actions, cost = optimum()
    with jax.enable_x64():
        model_a, model_b, start, goal = (
            jnp.asarray(np.asarray(x, np.float64)) for x in (MODEL_A, MODEL_B, START, GOAL)
        )
        found = grasp_jax.plan(
            jax.tree_util.Partial(lambda a, b, s, u: a @ s + b @ u, model_a, model_b),
            start,
            goal,
            jnp.zeros((T, A)),
            jax.random.key(0),
            planner=GRASP(
                iterations=10,
                sync=GD(learning_rate=0.5, iterations=400, optimizer=optax.sgd),
                sync_every=10,
            ),
            objective=OBJECTIVE,
        )
        assert found.actions.dtype == found.cost.dtype == jnp.float64
        np.testing.assert_allclose(found.actions, actions, atol=1e-5)
        np.testing.assert_allclose(found.cost, cost, rtol=1e-9)


def test_active_bounds_give_the_constrained_optimum():
    # Projected gradient in NumPy, an independent solver of the same convex problem.
    a, b = np.asarray(MODEL_A, np.float64), np.asarray(MODEL_B, np.float64)
    reach = np.hstack([np.linalg.matrix_power(a, T - 1 - t) @ b for t in range(T)])
    gap = np.asarray(GOAL, np.float64) - np.linalg.matrix_power(a, T) @ np.asarray(START)
    expected = np.zeros(T * A)
    for _ in range(5000):
        slope = 2 * reach.T @ (reach @ expected - gap) + 2 * WEIGHT * expected
        expected = np.clip(expected - 0.1 * slope, -0.3, 0.3)
    assert np.any(np.abs(expected) == 0.3)
    found = grasp_jax.plan(
        step,
        START,
        GOAL,
        jnp.zeros((T, A)),
        jax.random.key(0),
        planner=EXACT["GD sgd"][0],
        objective=OBJECTIVE,
        bounds=(-0.3, 0.3),
    )
    np.testing.assert_allclose(found.actions, expected.reshape(T, A), atol=1e-4)
