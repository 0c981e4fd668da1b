"""ParallelShooting: GD with one segment, safe with many, a part like any other planner."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, Correction, MultiStart, ParallelShooting, Plan, Problem
from tests.matrix import assert_close, assert_same, key

T = 12
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
FEW = ParallelShooting(
    learning_rate=0.05, iterations=40, num_segments=4, serial_iterations=5, rate_power=0.0
)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.2 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def problem(**changes: Any) -> Problem:
    start = changes.pop("state", START)
    arguments = {"bounds": (-0.7, 0.5), "objective": None} | changes
    return grasp_jax.make_problem(step, start, GOAL, jnp.zeros((T, 2)), **arguments)


def solve(planner: Any, **changes: Any) -> Plan:
    return grasp_jax.solve(problem(**changes), key(), planner=planner)


@pytest.mark.parametrize("optimizer", [optax.adam, optax.sgd])
@pytest.mark.parametrize("horizon", [None, 7])
def test_one_segment_is_gd_bit_by_bit(optimizer: Any, horizon: int | None):
    one = ParallelShooting(
        learning_rate=0.1, iterations=15, num_segments=1, optimizer=optimizer, serial_every=3
    )
    found = solve(one, horizon=horizon)
    expected = solve(GD(learning_rate=0.1, iterations=15, optimizer=optimizer), horizon=horizon)
    assert_same(found.actions, expected.actions)
    assert_same(found.metrics, expected.metrics)


@pytest.mark.parametrize(
    ("num_segments", "correction", "iterations", "rate"),
    [
        (2, Correction.NONE, 80, 0.05),
        (5, Correction.NONE, 80, 0.05),
        (5, Correction.IDENTITY, 80, 0.05),
        (12, Correction.IDENTITY, 80, 0.05),
        (12, Correction.DIAGONAL, 80, 0.05),
        # What is 11 sweeps old needs more and smaller steps.
        (12, Correction.NONE, 240, 0.01),
    ],
)
def test_segments_find_what_gd_finds(
    num_segments: int, correction: Correction, iterations: int, rate: float
):
    planner = dataclasses.replace(
        FEW,
        correction=correction,
        num_segments=num_segments,
        iterations=iterations,
        learning_rate=rate,
    )
    found = solve(planner)
    expected = solve(GD(learning_rate=0.05, iterations=80))
    assert found.status == grasp_jax.Status.OK
    assert found.cost < expected.cost + 1e-2 * solve(GD(iterations=0)).cost


def test_rates_fall_with_the_segments_and_the_iterations():
    def share(iteration: int, **changes: Any) -> jax.Array:
        planner = dataclasses.replace(FEW, **changes)
        return planner._share(jnp.asarray(iteration))

    assert_close(share(0), 1.0)
    assert_close(share(40), 0.1)
    assert_close(share(20), 0.55)
    assert_close(share(0, rate_power=0.5), 0.5)
    assert_close(share(99, rate_power=1.0, end_rate=1.0), 0.25)


def test_only_true_rollouts_are_proposed():
    metrics = solve(dataclasses.replace(FEW, serial_every=10)).metrics
    true = [0, 10, 20, 30, *range(35, 40)]
    assert [i for i, flag in enumerate(metrics.evaluated) if flag] == true


def runaway(state: jax.Array, action: jax.Array) -> jax.Array:
    """A chaotic map: stale costates of 11 steps ago say nothing."""
    return 3.9 * state * (1 - state) + 0.02 * jnp.tanh(action)


@pytest.mark.parametrize("correction", list(Correction))
def test_never_worse_than_its_start_and_a_misled_search_slows_down(correction: Correction):
    actions = 0.1 * jnp.ones((T, 1))
    chaotic = grasp_jax.make_problem(runaway, 0.3 * jnp.ones(1), 0.7 * jnp.ones(1), actions)
    planner = dataclasses.replace(
        FEW, num_segments=12, learning_rate=0.5, serial_every=5, correction=correction
    )
    search = grasp_jax.advance(grasp_jax.start(chaotic, key(), planner=planner), 36)
    assert search.state.inner.trust < 1
    assert grasp_jax.read(search).cost <= grasp_jax.rollout_cost(chaotic, actions)


def test_pieces_make_the_whole():
    search = grasp_jax.start(problem(), key(), planner=FEW)
    for iterations in (7, 20, 13):
        search = grasp_jax.advance(search, iterations)
    found, whole = grasp_jax.read(search), solve(FEW)
    assert_same(found.actions, whole.actions)
    assert_same(found.metrics.loss, whole.metrics.loss)


@pytest.mark.parametrize("planner", [FEW, MultiStart(FEW, num_starts=3, start_std=0.3)])
def test_a_batch_plans_what_single_goals_do(planner: Any):
    starts = jnp.stack([START, START + 0.3])
    found = grasp_jax.plan_batch(
        step, starts, jnp.stack([GOAL, GOAL]), jnp.zeros((T, 2)), key(), planner=planner
    )
    for i, start in enumerate(starts):
        alone = grasp_jax.plan(
            step, start, GOAL, jnp.zeros((T, 2)), jax.random.fold_in(key(), i), planner=planner
        )
        assert_close(found.actions[i], alone.actions, 1e-4)


def test_it_is_a_sync_and_hands_on_no_less_than_it_was_given():
    sync = dataclasses.replace(FEW, iterations=12, correction=Correction.IDENTITY)
    found = solve(GRASP(iterations=20, sync=sync, sync_every=10))
    assert found.cost < solve(GRASP(iterations=20, sync=None)).cost
    restarted = grasp_jax.restarted_grasp(num_starts=2, num_cycles=2, sync=sync)
    assert solve(restarted).cost < 0.2 * solve(GD(iterations=0)).cost


def test_depth_and_work_are_counted():
    metrics = solve(FEW).metrics
    assert_same(metrics.model_evals, jnp.full(40, T, jnp.float32))
    assert_same(metrics.model_vjps, jnp.full(40, T, jnp.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_segments": 13}, "ParallelShooting.num_segments is 13 but a plan has 12 steps"),
        ({"correction": "identity"}, "must be a grasp_jax.Correction"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        solve(dataclasses.replace(FEW, **changes))


@pytest.mark.parametrize("correction", list(Correction))
def test_a_plans_slope_where_a_segment_lies_behind_the_end(correction: Correction):
    planner = dataclasses.replace(FEW, correction=correction, num_segments=3, iterations=4)

    def cost(goal: jax.Array) -> jax.Array:
        found = grasp_jax.plan(
            step, START, goal, jnp.full((6, 2), 0.1), key(), planner=planner, horizon=3
        )
        return found.cost

    slope = jax.grad(cost)(GOAL)
    assert jnp.isfinite(slope).all() and (slope != 0).any()
