"""The rules that hold for every planner behind the door."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import Plan, Status
from tests import matrix
from tests.matrix import (
    ACTIONS,
    BOUNDS,
    DETERMINISTIC,
    GOAL,
    GOALS,
    HORIZON,
    ITERATIONS,
    LIFTED,
    NAMES,
    OBJECTIVE,
    PLANNERS,
    START,
    STARTS,
    WEIGHTS,
    assert_close,
    assert_same,
    every_kind,
    every_planner,
    every_program,
    key,
    solve,
    solved,
    stacked,
)

SLOW = pytest.mark.slow


@every_planner
def test_the_same_key_gives_the_same_plan(name: str):
    assert_same(solve(name), solved(name))


@every_planner
def test_another_key_gives_another_plan(name: str):
    # Metrics rather than actions: the best plan may by chance be the same (the starting guess).
    one, two = solved(name), solve(name, key=key(1))
    same = all(
        bool(jnp.array_equal(a, b))
        for a, b in zip(jax.tree.leaves(one.metrics), jax.tree.leaves(two.metrics), strict=True)
    )
    assert same == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", ["GRASP", "CEM"])
def test_raw_uint32_keys_work_like_typed_keys(name: str):
    assert_close(solve(name, key=jax.random.PRNGKey(0)), solved(name))


@every_planner
def test_the_plan_is_inside_the_bounds_even_when_the_goal_is_out_of_reach(name: str):
    far = matrix.shifted(GOAL, 50.0)
    found = solve(name, goal=far, init_actions=ACTIONS + 3)
    low, high = BOUNDS
    assert jnp.all(found.actions >= low) and jnp.all(found.actions <= high)


@every_planner
def test_states_are_the_rollout_of_the_actions_and_cost_is_its_objective(name: str):
    found = solved(name)
    states = matrix.rollout(WEIGHTS, START, found.actions)
    assert_close(found.states, states, 1e-6)
    assert_close(found.cost, matrix.cost(states, found.actions, GOAL), 1e-6)
    assert_same(jax.tree.map(lambda x: x[0], found.states), START)


@every_planner
def test_the_plan_is_never_worse_than_the_starting_guess(name: str):
    for goal, guess in ((GOAL, ACTIONS), (GOALS[1], 3 * ACTIONS), (GOALS[2], -ACTIONS)):
        found = solve(name, goal=goal, init_actions=guess)
        guess = jnp.clip(guess, *BOUNDS)
        assert found.cost <= matrix.cost(matrix.rollout(WEIGHTS, START, guess), guess, goal) + 1e-6


@every_planner
def test_a_solution_as_the_starting_guess_comes_back_unharmed(name: str):
    # The goal is exactly where the guess leads: only effort and the way can become cheaper.
    states = matrix.rollout(WEIGHTS, START, ACTIONS)
    goal = jax.tree.map(lambda x: x[-1], states)
    found = solve(name, goal=goal)
    assert found.cost <= matrix.cost(states, ACTIONS, goal) + 1e-6


@every_planner
def test_metrics_have_one_row_per_iteration_and_best_so_far_never_rises(name: str):
    metrics = solved(name).metrics
    assert all(x.shape == (ITERATIONS,) for x in jax.tree.leaves(metrics))
    assert jnp.all(jnp.diff(metrics.best_cost) <= 0)
    assert jnp.all(metrics.best_cost <= metrics.cost)
    assert solved(name).cost <= metrics.best_cost[-1] + 1e-6
    assert jnp.all(jnp.isfinite(metrics.loss)) and jnp.all(metrics.model_evals > 0)
    # Parallel shooting carries states from iteration to iteration, which lag behind its rollout.
    apart = name in LIFTED or name == "ParallelShooting"
    assert jnp.any(metrics.dynamics_residual > 0) == apart


@every_planner
def test_the_plan_says_ok_and_virtual_states_belong_to_lifted_planners(name: str):
    found = solved(name)
    assert found.status == Status.OK
    if name not in LIFTED:
        assert found.virtual_states is None
        return
    expected = jax.tree.map(lambda x: (HORIZON - 1, *x.shape), START)
    assert jax.tree.map(jnp.shape, found.virtual_states) == expected


@every_planner
def test_new_goals_keys_weights_bounds_and_numbers_never_retrace(name: str):
    # Not `solved`, which may be of a time before another test cleared JAX's caches.
    solve(name)
    before = len(matrix.traces)
    solve(name, goal=GOALS[1], state=STARTS[1], key=key(7), init_actions=2 * ACTIONS)
    solve(name, dynamics=jax.tree_util.Partial(matrix.step, 2 * WEIGHTS))
    solve(name, bounds=(-jnp.ones(2), jnp.ones(2)))
    heavier = grasp_jax.QuadraticControlCost(0.02)
    solve(name, objective=dataclasses.replace(OBJECTIVE, control_cost=heavier))
    # Every number of the planner at once: rates, goal weight, noise, deviations, temperatures.
    solve(jax.tree.map(lambda x: 0.9 * x, PLANNERS[name]))
    assert len(matrix.traces) == before


@pytest.mark.parametrize(
    "name", [n if n in ("GRASP", "CEM") else pytest.param(n, marks=SLOW) for n in NAMES]
)
def test_jit_equals_eager(name: str):
    with jax.disable_jit():
        eager = solve(name)
    assert_close(eager, solved(name), 1e-4)


@every_program
def test_batch_in_chunks_equals_a_loop_with_folded_keys(name: str):
    found = grasp_jax.solve(matrix.batch(), key(), planner=PLANNERS[name], goal_batch_size=2)
    _equals_loop(name, found)


def test_keys_of_another_kind_belong_to_one_goal_each():
    """Under `vmap` JAX draws for all rbg keys from the first."""
    problem, planner = matrix.batch(), PLANNERS["CEM"]
    keys = jax.random.split(jax.random.key(4, impl="rbg"), 3)
    found = grasp_jax.solve(problem, keys, planner=planner)
    for b, (start, goal) in enumerate(zip(STARTS, GOALS, strict=True)):
        assert_close(found.actions[b], solve("CEM", state=start, goal=goal, key=keys[b]).actions)
    other = grasp_jax.solve(problem, keys.at[0].set(keys[1]), planner=planner)
    assert_same(other.actions[1:], found.actions[1:])
    assert jnp.abs(other.actions[0] - found.actions[0]).max() > 1e-3


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_one_key_of_another_kind_is_folded_as_the_caller_would(kind: str):
    problem, planner = matrix.batch(), PLANNERS["CEM"]
    key = jax.random.key(4, impl=kind)
    found = grasp_jax.solve(problem, key, planner=planner)
    for b, (start, goal) in enumerate(zip(STARTS, GOALS, strict=True)):
        own = solve("CEM", state=start, goal=goal, key=jax.random.fold_in(key, b))
        assert_close(found.actions[b], own.actions)


@every_kind
def test_plan_inside_jit_of_scan_of_vmap_equals_a_loop(name: str):
    @jax.jit
    def many(starts: Any, goals: Any, keys: jax.Array) -> Plan:
        def body(carry: None, row: Any) -> tuple[None, Plan]:
            return carry, jax.vmap(lambda s, g, k: solve(name, state=s, goal=g, key=k))(*row)

        rows = jax.tree.map(lambda x: x[None], (starts, goals, keys))
        return jax.tree.map(lambda x: x[0], jax.lax.scan(body, None, rows)[1])

    keys = jnp.stack([jax.random.fold_in(key(), b) for b in range(3)])
    _equals_loop(name, many(stacked(*STARTS), stacked(*GOALS), keys))


def _equals_loop(name: str, found: Plan) -> None:
    for b, (start, goal) in enumerate(zip(STARTS, GOALS, strict=True)):
        alone = solve(name, state=start, goal=goal, key=jax.random.fold_in(key(), b))
        assert_close(jax.tree.map(lambda x, b=b: x[b], found), alone, 2e-5)


@every_program
def test_a_horizon_of_one(name: str):
    # Plans of one step have one segment; more are refused.
    one_piece = {"ParallelShooting": {"num_segments": 1}, "Segments": {"segment_length": 1}}
    planner = dataclasses.replace(PLANNERS[name], **one_piece.get(name, {}))
    found = solve(planner, init_actions=ACTIONS[:1])
    assert found.status == Status.OK and found.actions.shape == (1, 2)
    assert_close(found.states, matrix.rollout(WEIGHTS, START, found.actions), 1e-6)


def dtypes(one: str, *mixed: tuple[str, str]) -> Any:
    """All planners with states and actions of `one` dtype; kinds of planners with `mixed` ones."""
    rows = [(name, one, one) for name in NAMES]
    # A sweep of parallel shooting and its serial step once had other dtypes there.
    first = (*matrix.KINDS, "ParallelShooting")
    for pair in mixed:
        rows += [pytest.param(name, *pair, marks=[] if name in first else SLOW) for name in NAMES]
    return pytest.mark.parametrize("name, states, actions", rows)


@dtypes("float64", ("float32", "float32"), ("float32", "float64"))
def test_dtypes_are_kept_with_64_bits_enabled(name: str, states: str, actions: str):
    with jax.enable_x64():
        _keeps_dtypes(name, states, actions)


@dtypes("bfloat16", ("bfloat16", "float32"))
def test_dtypes_are_kept_in_half_precision(name: str, states: str, actions: str):
    _keeps_dtypes(name, states, actions)


def _keeps_dtypes(name: str, states: str, actions: str) -> None:
    """Traces only: wrong dtypes fail while tracing."""
    if name == "GD parallel" and states != "float32":
        pytest.skip("refused, see test_newton")

    def world(state: Any, action: jax.Array) -> Any:
        following = matrix.step(jnp.asarray(WEIGHTS, action.dtype), state, action)
        return jax.tree.map(lambda x: x.astype(states), following)

    start, goal = jax.tree.map(lambda x: np.asarray(x).astype(states), (START, GOAL))
    guess = np.asarray(ACTIONS).astype(actions)
    found = jax.eval_shape(
        lambda: solve(name, dynamics=world, state=start, goal=goal, init_actions=guess)
    )
    assert found.actions.dtype == actions
    assert {x.dtype for x in jax.tree.leaves(found.states)} == {jnp.dtype(states)}
    if name in LIFTED:
        assert {x.dtype for x in jax.tree.leaves(found.virtual_states)} == {jnp.dtype(states)}
