"""Masked horizons: one below `T` gives the plan that the shorter horizon would give."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import BrownianBridge, ViaPoints
from tests import matrix
from tests.matrix import ACTION_SIZE, ACTIONS, GOALS, HORIZON, STARTS, solve

PADDED = jnp.concatenate([ACTIONS, jnp.full((3, ACTION_SIZE), 7.0)])


# Scaled: the padding once counted into the scale of the states.
KINDS = (*matrix.KINDS, "Scaled LatCo")


@pytest.mark.parametrize(
    "name",
    [
        name if name in KINDS else pytest.param(name, marks=pytest.mark.slow)
        for name in matrix.NAMES
        if name != "ParallelShooting"  # cuts its segments from the whole
    ],
)
def test_a_padded_horizon_plans_like_the_short_one(name: str):
    short, padded = matrix.solved(name), solve(name, init_actions=PADDED, horizon=HORIZON)
    matrix.assert_close(padded.actions[:HORIZON], short.actions, 1e-4)
    matrix.assert_close(jax.tree.map(lambda x: x[: HORIZON + 1], padded.states), short.states, 1e-4)
    matrix.assert_close(padded.cost, short.cost, 1e-4)
    matrix.assert_close(padded.metrics.best_cost, short.metrics.best_cost, 1e-4)
    matrix.assert_close(padded.metrics.dynamics_residual, short.metrics.dynamics_residual, 1e-4)
    assert padded.status == short.status


@pytest.mark.parametrize("name", ["GRASP", "CEM", "ICEM"])
def test_beyond_its_horizon_a_plan_does_nothing(name: str):
    found = solve(name, init_actions=PADDED, horizon=3)
    assert not found.actions[3:].any()
    for x in jax.tree.leaves(found.states):
        assert (x[4:] == x[3]).all()
        assert (x[3] != x[2]).any()
    until = jax.tree.map(lambda x: x[:4], found.states)
    matrix.assert_close(found.cost, matrix.cost(until, found.actions, matrix.GOAL))


@pytest.mark.parametrize("name", ["GRASP", "LatCo", "MPPI"])
def test_goals_of_a_batch_have_horizons_of_their_own(name: str):
    horizons = jnp.array([2, HORIZON, 4])
    keys = jax.random.split(matrix.key(), 3)
    batch = grasp_jax.plan_batch(
        matrix.WORLD,
        matrix.stacked(*STARTS),
        matrix.stacked(*GOALS),
        ACTIONS,
        keys,
        planner=matrix.PLANNERS[name],
        bounds=matrix.BOUNDS,
        objective=matrix.OBJECTIVE,
        horizon=horizons,
    )
    for i in range(3):
        one = solve(name, state=STARTS[i], goal=GOALS[i], key=keys[i], horizon=horizons[i])
        matrix.assert_close(batch.actions[i], one.actions, 1e-4)
        matrix.assert_close(batch.cost[i], one.cost, 1e-4)


@pytest.mark.parametrize("name", ["GD", "GRASP", "LatCo"])
def test_no_derivative_at_the_padding_is_no_broken_number(name: str):
    def step(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + 0.3 * action / jnp.sqrt(1 + jnp.linalg.norm(action))

    def found(steps: int, horizon: int | None) -> grasp_jax.Plan:
        return grasp_jax.plan(
            step,
            jnp.zeros(2),
            jnp.ones(2),
            jnp.full((steps, 2), 0.3),
            matrix.key(),
            planner=matrix.PLANNERS[name],
            horizon=horizon,
        )

    short, padded = found(4, None), found(6, 4)
    assert short.status == padded.status == grasp_jax.Status.OK
    matrix.assert_close(padded.actions[:4], short.actions, 1e-4)


def test_new_horizons_never_retrace():
    solve("GRASP", horizon=2)
    before = len(matrix.traces)
    solve("GRASP", horizon=HORIZON)
    solve("GRASP", horizon=jnp.array(3))
    assert len(matrix.traces) == before


@pytest.mark.parametrize("init_states", [BrownianBridge(std=0.5), ViaPoints(num_points=3)])
def test_paths_end_at_the_goal_of_a_padded_horizon(init_states: Any):
    planner = dataclasses.replace(
        matrix.PLANNERS["GRASP"], iterations=1, state_rate=0.0, sync=None, init_states=init_states
    )
    planner = dataclasses.replace(planner, state_std=None)
    states = solve(planner, init_actions=PADDED, horizon=4).virtual_states
    assert states is not None
    for x, goal in zip(jax.tree.leaves(states), jax.tree.leaves(matrix.GOAL), strict=True):
        matrix.assert_close(x[3:], jnp.broadcast_to(goal, x[3:].shape))
        assert jnp.abs(x[2] - goal).max() > 1e-3


def test_a_context_window_stands_still_too():
    def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
        return states[-1] + 0.1 * (states[-1] - states[0]) + 0.1 * jnp.tanh(actions.sum(0))

    context = grasp_jax.Context(jnp.array([[0.1, -0.1], [0.0, 0.2]]), jnp.ones((2, 2)))
    arguments = (windowed, jnp.zeros(2), jnp.ones(2))
    for name in ("GRASP", "CEM"):
        planner = matrix.PLANNERS[name]
        short = grasp_jax.plan(
            *arguments, ACTIONS[:4], matrix.key(), planner=planner, context=context
        )
        padded = grasp_jax.plan(
            *arguments, ACTIONS, matrix.key(), planner=planner, context=context, horizon=4
        )
        matrix.assert_close(padded.actions[:4], short.actions, 1e-4)
        matrix.assert_close(padded.cost, short.cost, 1e-4)
