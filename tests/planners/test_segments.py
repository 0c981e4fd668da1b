"""Segments against the two objectives it spans, and the rules of every planner."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GRASP, Chain, GivenPath, Objective, QuadraticControlCost
from grasp_jax.lifted import lifted_gradient
from grasp_jax.planners.segments import Segments, roll_out_segments, segment_gradient
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost, trajectory
from tests import matrix, test_lifted
from tests.matrix import assert_close

T = test_lifted.T
STATES = jnp.concatenate([test_lifted.STATES, jnp.full((1, test_lifted.D), jnp.nan)])
ACTIONS = test_lifted.ACTIONS
COSTS = Objective(
    control_cost=QuadraticControlCost(0.1),
    running_cost=lambda state, goal: 0.2 * jnp.sum((state - 0.5 * goal) ** 2),
)


def problem(h: int = 1, **changes: Any) -> Problem:
    return test_lifted.problem(h, **({"objective": COSTS} | changes))


@pytest.mark.parametrize("h, stop, length", [(1, True, None), (1, False, 3), (3, True, 3)])
def test_segments_of_one_step_are_the_lifted_objective(h: int, stop: bool, length: int | None):
    where = problem(h, horizon=length)
    lifted = jax.jit(lambda s, a: lifted_gradient(where, s, a, 0.3, stop))(STATES, ACTIONS)
    found = jax.jit(lambda s, a: segment_gradient(where, s, a, 1, 0.3, stop)[0])(STATES, ACTIONS)
    assert_close(found.loss, lifted.loss, 1e-5)
    assert_close(found.dynamics_residual, lifted.dynamics_residual, 1e-5)
    assert_close(found.actions, lifted.actions, 1e-5)
    assert_close(found.states, lifted.states, 1e-5)
    assert found.finite


@pytest.mark.parametrize("h, length", [(1, None), (3, 3)])
def test_one_segment_is_the_rollout(h: int, length: int | None):
    where = problem(h, horizon=length)
    cost, gradient = jax.jit(jax.value_and_grad(lambda a: rollout_cost(where, a)))(ACTIONS)
    found, rollouts = jax.jit(segment_gradient, static_argnums=3)(where, STATES, ACTIONS, T)
    assert_close(found.loss, cost)
    assert_close(found.actions, where.until_end(gradient))
    assert not found.states.any()
    assert_close(rollouts, trajectory(where, ACTIONS)[1:])


@pytest.mark.parametrize("h", [1, 3])
def test_a_segment_is_a_rollout_from_its_virtual_state(h: int):
    """w = 2 does not divide T = 5: the last segment is one step long."""
    where = problem(h)
    found = roll_out_segments(where, STATES, ACTIONS, 2)
    context = test_lifted.past(h)
    before = [] if context is None else list(context.states)
    past = [] if context is None else list(context.actions)
    known = [*before, test_lifted.START, *STATES[:-1]]
    for first in (0, 2, 4):
        window = known[first : first + h]
        for t in range(first, min(first + 2, T)):
            actions = jnp.stack([*past, *ACTIONS])[t : t + h]
            if h == 1:
                state = test_lifted.step(window[-1], actions[0])
            else:
                state = test_lifted.windowed(jnp.stack(window[-h:]), actions)
            window.append(state)
            assert_close(found[t], state)


def test_the_gradient_is_that_of_the_written_objective():
    where = problem()

    def written(states: jax.Array, actions: jax.Array) -> jax.Array:
        total = 0.0
        for first in (0, 2, 4):
            state = test_lifted.START if first == 0 else jax.lax.stop_gradient(states[first - 1])
            for t in range(first, min(first + 2, T)):
                state = test_lifted.step(state, actions[t])
                total += 0.2 * jnp.sum((state - 0.5 * test_lifted.GOAL) ** 2)
            end = test_lifted.GOAL if first == 4 else states[first + 1]
            total += jnp.sum((state - end) ** 2)
        return total + 0.1 * jnp.sum(actions**2)

    value, (states, actions) = jax.jit(jax.value_and_grad(written, (0, 1)))(STATES, ACTIONS)
    found, _ = segment_gradient(where, STATES, ACTIONS, 2)
    assert_close(found.loss, value)
    assert_close(found.actions, actions)
    assert_close(found.states[:-1], states[:-1])


SMALL = Segments(segment_length=2, iterations=6, state_rate=0.05)


def test_a_broken_segment_moves_nothing_and_spoils_no_other():
    states = STATES.at[1].set(jnp.nan)  # where segment 0 should end and segment 1 starts
    found, _ = segment_gradient(problem(objective=None), states, ACTIONS, 2)
    assert not found.finite
    assert not found.actions[:4].any() and not found.states[1].any()
    assert found.actions[4].any()


def test_as_a_planner_it_equals_grasp_without_a_sync():
    """The same updates at w = 1: Adam on states and actions, no noise."""
    shared: dict[str, Any] = {"iterations": 6, "state_rate": 0.05, "action_rate": 0.02}
    grasp = GRASP(**shared, goal_weight=0.3, state_std=None, sync=None)
    ours = matrix.solve(Segments(segment_length=1, **shared, goal_weight=0.3))
    theirs = matrix.solve(grasp)
    assert_close(ours.actions, theirs.actions, 1e-4)
    assert_close(ours.virtual_states, theirs.virtual_states, 1e-4)
    assert_close(ours.metrics.loss, theirs.metrics.loss, 1e-4)
    assert_close(ours.metrics.dynamics_residual, theirs.metrics.dynamics_residual, 1e-4)


def test_pieces_of_a_search_are_the_whole():
    whole = matrix.solve(SMALL)
    search = grasp_jax.start(matrix.problem(), jax.random.key(0), planner=SMALL)
    found = grasp_jax.read(grasp_jax.advance(grasp_jax.advance(search, 2), 4))
    matrix.assert_same(found.actions, whole.actions)
    matrix.assert_same(found.metrics.loss, whole.metrics.loss)


def test_a_padded_horizon_plans_like_the_short_one():
    padded = jnp.concatenate([matrix.ACTIONS, jnp.full((3, matrix.ACTION_SIZE), 7.0)])
    short, long = (
        matrix.solve(SMALL),
        matrix.solve(SMALL, init_actions=padded, horizon=matrix.HORIZON),
    )
    assert_close(long.actions[: matrix.HORIZON], short.actions, 1e-4)
    assert_close(long.cost, short.cost, 1e-4)
    assert_close(long.metrics.dynamics_residual, short.metrics.dynamics_residual, 1e-4)


def test_segments_put_drift_right_that_the_lifted_fit_leaves():
    """A path whose steps the model cannot make exactly: errors of a step stay within a segment."""

    def slip(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + jnp.clip(action, -1.0, 1.0)

    steps = jnp.tile(jnp.array([0.2, 1.4]), 10)[:, None] * jnp.ones(2)  # 0.8 on average
    path = jnp.cumsum(steps, 0)

    def reached(planner: Any) -> jax.Array:
        plan = grasp_jax.plan(
            slip,
            jnp.zeros(2),
            path[-1],
            jnp.zeros((20, 2)),
            jax.random.key(0),
            planner=planner,
            bounds=(-1.0, 1.0),
        )
        return plan.cost

    given = GivenPath(path[:-1])
    lifted = Segments(segment_length=1, iterations=100, init_states=given)
    rounds = Chain(lifted, Segments(segment_length=4, iterations=100, init_states=given))
    assert reached(lifted) > 1.0
    assert reached(rounds) < 1e-2


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"Segments.segment_length is 9 but a plan has 4 steps"):
        matrix.solve(dataclasses.replace(SMALL, segment_length=9))
    with pytest.raises(ValueError, match=r"Segments.segment_length must be at least 1"):
        matrix.solve(dataclasses.replace(SMALL, segment_length=0))
    with pytest.raises(ValueError, match=r"Segments.action_rate must be at least 0"):
        Segments(action_rate=-1.0)
    with pytest.raises(ValueError, match=r"Segments.init_states must return the states"):
        matrix.solve(dataclasses.replace(SMALL, init_states=GivenPath(jnp.zeros(3))))


def test_model_calls_are_counted():
    rows = matrix.solve(SMALL).metrics
    np.testing.assert_array_equal(rows.model_evals, matrix.HORIZON)
    np.testing.assert_array_equal(rows.model_vjps, matrix.HORIZON)
