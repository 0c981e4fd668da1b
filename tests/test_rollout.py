"""Serial rollouts, and what a control cost without a slope does to their gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import Objective, Status
from grasp_jax.rollout import rollout_cost, rollout_gradient
from tests import matrix
from tests.matrix import ACTIONS, GOAL, PLANNERS, START, WEIGHTS, assert_close, every_slope


def test_the_public_rollout_is_a_loop_over_the_model():
    states = matrix.rollout(WEIGHTS, START, ACTIONS)
    assert_close(grasp_jax.trajectory(matrix.problem(), ACTIONS), states, 1e-6)
    cost = matrix.cost(states, ACTIONS, GOAL)
    assert_close(grasp_jax.rollout_cost(matrix.problem(), ACTIONS), cost, 1e-6)


def test_so_is_that_of_a_batch():
    actions = jnp.stack([ACTIONS, -ACTIONS, 2 * ACTIONS])
    states = grasp_jax.trajectory(matrix.batch(), actions)
    costs = grasp_jax.rollout_cost(matrix.batch(), actions)
    for b in range(3):
        expected = matrix.rollout(WEIGHTS, matrix.STARTS[b], actions[b])
        assert_close(jax.tree.map(lambda x, b=b: x[b], states), expected, 1e-6)
        assert_close(costs[b], matrix.cost(expected, actions[b], matrix.GOALS[b]), 1e-6)


@pytest.mark.parametrize("function", [grasp_jax.trajectory, grasp_jax.rollout_cost])
def test_actions_of_another_shape_are_refused(function: Any):
    with pytest.raises(ValueError, match=r"actions must have shape \[4, 2\], got float32\[5, 2\]"):
        function(matrix.problem(), jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"actions must have shape \[3, 4, 2\]"):
        function(matrix.batch(), ACTIONS)
    with pytest.raises(TypeError, match="actions must be made of arrays"):
        function(matrix.problem(), "actions")


@pytest.mark.parametrize("remat", [False, True])
def test_the_gradient_is_that_of_the_cost(remat: bool):
    problem = matrix.problem(horizon=3)
    found = rollout_gradient(problem, ACTIONS, remat)
    cost, slope = jax.jit(jax.value_and_grad(rollout_cost, 1))(problem, ACTIONS)
    assert_close((found.cost, found.gradient), (cost, slope), 1e-6)
    assert found.finite and found.control_finite


def smooth_norm(actions: jax.Array) -> jax.Array:
    """A norm, whose slope at zero is not finite: `0 / 0`."""
    return 0.01 * jnp.sum(jnp.linalg.norm(jnp.diff(actions, axis=0), axis=-1))


NORMS = Objective(control_cost=smooth_norm)


def test_a_control_cost_without_a_slope_leaves_the_models_slope():
    problem = matrix.problem(init_actions=0 * ACTIONS, objective=NORMS)
    found = rollout_gradient(problem, 0 * ACTIONS)
    free = matrix.problem(init_actions=0 * ACTIONS, objective=Objective())
    expected = jax.grad(lambda a: rollout_cost(free, a))(0 * ACTIONS)
    assert_close(found.gradient, expected, 1e-6)
    assert found.finite and not found.control_finite


@every_slope
def test_norms_of_actions_do_not_stop_a_planner_at_zero(name: str):
    """Bug: cost 2.0, NON_FINITE, nothing moved; the status blamed the model."""
    still = grasp_jax.rollout_cost(matrix.problem(objective=NORMS), 0 * ACTIONS)
    found = matrix.solve(name, init_actions=0 * ACTIONS, objective=NORMS)
    assert found.cost < still - 0.01 and jnp.abs(found.actions).max() > 0.01
    # Noise may move a planner away before its first gradient.
    assert found.status in (Status.CONTROL_COST, Status.OK)
    if name in ("GD", "GD parallel", "GRASP", "GRASP sync=None", "LatCo", "Chain"):
        assert found.status == Status.CONTROL_COST
        assert "control cost" in Status(int(found.status)).message


def rounding(state: jax.Array, action: jax.Array) -> jax.Array:
    """No action has a slope in it."""
    return state + 0.1 * jnp.round(10 * action)


FLAT = (rounding, jnp.zeros(2), jnp.ones(2))


@pytest.mark.parametrize(
    "planner",
    [
        grasp_jax.GD(iterations=2),
        grasp_jax.GRASP(iterations=2, sync=None),
        grasp_jax.GRASP(iterations=2, sync=grasp_jax.GD(iterations=2), sync_every=1),
        grasp_jax.MultiStart(grasp_jax.GD(iterations=2), num_starts=2),
        grasp_jax.Chain(grasp_jax.GD(iterations=2), grasp_jax.GD(iterations=2)),
    ],
    ids=lambda p: type(p).__name__,
)
def test_a_model_without_slopes_is_said_to_be_stuck(planner: grasp_jax.Planner):
    """Bug: the guess came back with the status OK."""
    guess = jnp.full((4, 2), 0.01)
    found = grasp_jax.plan(*FLAT, guess, jax.random.key(0), planner=planner)
    np.testing.assert_array_equal(found.actions, guess)
    assert found.status == Status.STUCK
    assert "every slope was exactly zero" in Status.STUCK.message


def test_a_plan_that_needed_no_slope_is_not_stuck():
    """Bug: it was, where the guess met the target or a proposal was better than the guess."""
    descent = grasp_jax.GD(iterations=2)
    near = grasp_jax.solve(matrix.problem(), jax.random.key(0), planner=descent, target_cost=1e6)
    assert near.metrics.iterations_taken == 0 and near.status == Status.OK
    proposed = grasp_jax.Proposed(descent, jnp.full((1, 4, 2), 0.2))
    found = grasp_jax.plan(*FLAT, jnp.full((4, 2), 0.01), jax.random.key(0), planner=proposed)
    assert found.status == Status.OK and jnp.allclose(found.actions, 0.2)


def test_nothing_to_gain_is_not_stuck():
    there, planner = (rounding, jnp.ones(2), jnp.ones(2), jnp.zeros((4, 2))), PLANNERS["GD"]
    still = grasp_jax.plan(*there, jax.random.key(0), planner=planner)
    assert still.cost == 0 and still.status == Status.OK
    sampled = PLANNERS["ICEM"]
    moved = grasp_jax.plan(*FLAT, jnp.zeros((4, 2)), jax.random.key(0), planner=sampled)
    assert moved.status == Status.OK and moved.cost < 2
    assert {Status(s).message for s in Status} and len({s.message for s in Status}) == len(Status)
