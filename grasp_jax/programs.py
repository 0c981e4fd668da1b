"""The compiled programs behind the door: one goal or a batch of goals, whole or in pieces.

Everything here is traced: checks read shapes and dtypes, and a batch shares one iteration counter,
which travels outside the `vmap` so that a sync stays a branch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import rollout
from grasp_jax import search as searching
from grasp_jax._compile import Compiled
from grasp_jax._frozen import Frozen
from grasp_jax._tree import PyTree
from grasp_jax.arguments import check_batch, rows_of
from grasp_jax.checks import check_problem
from grasp_jax.planner import Planner
from grasp_jax.problem import Problem
from grasp_jax.results import Metrics, Plan
from grasp_jax.search import Search, SearchState


@Compiled
def solve(problem: Problem, frozen: Frozen, key: jax.Array, *, batch_size: int | None) -> Plan:
    """A whole search, `batch_size` goals at a time."""
    planner: Planner = frozen.value

    def one(problem: Problem, key: jax.Array) -> Plan:
        check_problem(problem, planner)
        # A copy of the model less to compile where the first iteration evaluates the guess.
        state = searching.initialize(problem, planner, key, not planner.evaluates_guess)
        state, metrics = searching.advance(problem, planner, state, planner.iterations)
        return searching.finish(problem, planner, state, metrics)

    return _for_each_goal(one, problem, _keys(problem, key), batch_size=batch_size)


@Compiled
def solve_until(
    problem: Problem,
    frozen: Frozen,
    key: jax.Array,
    target_cost: jax.Array,
    patience: jax.Array,
    *,
    batch_size: int | None,
) -> Plan:
    """A search that ends once every goal's best cost is at the target, or gets no better.

    The loop stands outside the `vmap` over goals: inside, every branch on its counter would be
    taken at every step.
    """
    planner: Planner = frozen.value

    def begin(problem: Problem, key: jax.Array) -> SearchState:
        check_problem(problem, planner)
        return _without_iteration(searching.initialize(problem, planner, key))

    def whole(each: Any, keys: jax.Array) -> Plan:
        def step(state: SearchState, iteration: jax.Array) -> tuple[SearchState, Metrics]:
            def one(problem: Problem, state: SearchState) -> tuple[SearchState, Metrics]:
                state = dataclasses.replace(state, iteration=iteration)
                state, row = searching.one_row(problem, planner, state, iteration)
                return _without_iteration(state), row

            return each(one, state)

        state = each(begin, keys)
        state, metrics = searching.advance_until(
            step, state, planner.iterations, target_cost, patience
        )
        return each(lambda p, s: searching.finish(p, planner, *s), (state, metrics))

    return _for_all_goals(whole, problem, _keys(problem, key), batch_size)


@Compiled
def start(problem: Problem, frozen: Frozen, key: jax.Array) -> SearchState:
    """A search before its first iteration."""
    planner: Planner = frozen.value

    def one(problem: Problem, key: jax.Array) -> SearchState:
        check_problem(problem, planner)
        return _without_iteration(searching.initialize(problem, planner, key))

    state = _for_each_goal(one, problem, _keys(problem, key))
    return dataclasses.replace(state, iteration=jnp.zeros((), jnp.int32))


@Compiled
def advance(search: Search, *, iterations: int) -> tuple[SearchState, Metrics]:
    """More iterations of a search."""
    planner, done = search.planner, search.state.iteration

    def one(problem: Problem, state: SearchState) -> tuple[SearchState, Metrics]:
        state = dataclasses.replace(state, iteration=done)
        state, metrics = searching.advance(problem, planner, state, iterations)
        return _without_iteration(state), metrics

    state, metrics = _for_each_goal(one, search.problem, _without_iteration(search.state))
    return dataclasses.replace(state, iteration=done + iterations), metrics


@Compiled
def read(search: Search) -> Plan:
    """The plan of a search, without metrics."""

    def one(problem: Problem, state: SearchState) -> Plan:
        return searching.finish(problem, search.planner, state, Metrics.none(problem))

    return _for_each_goal(one, search.problem, _without_iteration(search.state))


@Compiled
def trajectory(problem: Problem, actions: jax.Array) -> PyTree:
    """The states `[T+1, ...]` of a rollout."""
    return _for_each_goal(rollout.trajectory, problem, actions)


@Compiled
def rollout_cost(problem: Problem, actions: jax.Array) -> jax.Array:
    """The cost `[]` of a rollout."""
    return _for_each_goal(rollout.rollout_cost, problem, actions)


def _without_iteration(state: SearchState) -> SearchState:
    """The counter travels apart, so that `vmap` leaves it alone."""
    return dataclasses.replace(state, iteration=None)


def _keys(problem: Problem, key: jax.Array) -> jax.Array:
    """`key` for one goal; `[B]` for a batch: the caller's own, or one drawn for each goal."""
    if not problem.batched:
        return key
    size = check_batch(rows_of(problem))
    if key.ndim > (0 if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else 1):
        check_batch({"key": key}, size)
        return key

    def one(goal: jax.Array) -> jax.Array:
        return jax.random.fold_in(key, goal)

    # Under `vmap` keys of other kinds fold otherwise than alone.
    threefry = str(jax.random.key_impl(key)) == "threefry2x32"
    each = jax.vmap(one) if threefry else lambda goals: jax.lax.map(one, goals)
    return each(jnp.arange(size))


def _for_each_goal(
    function: Callable[..., Any], problem: Problem, rows: PyTree, batch_size: int | None = None
) -> Any:
    """`function(problem, rows)` for one goal; mapped over the goals of a batched problem.

    Args:
      function: Written for one goal.
      problem: One goal, or batched.
      rows: What else has one row per goal.
      batch_size: Goals at a time; None for all at once.
    """
    return _for_all_goals(lambda each, rows: each(function, rows), problem, rows, batch_size)


def _for_all_goals(
    whole: Callable[..., Any], problem: Problem, rows: PyTree, batch_size: int | None
) -> Any:
    """`whole(each, rows)`, where `each(function, rows)` is `function(problem, row)` of every goal.

    Args:
      whole: Gets the rows of the goals that are planned side by side, `batch_size` at most.
      problem: One goal, or batched.
      rows: What else has one row per goal.
      batch_size: Goals at a time; None for all at once.
    """
    if not problem.batched:
        return whole(lambda function, row: function(problem, row), rows)
    size = check_batch(rows_of(problem))
    check_batch({"rows": rows}, size)
    split = problem.mesh is not None and "goals" in problem.mesh.shape

    def chunk(both: tuple[dict[str, PyTree], PyTree]) -> Any:
        fields, rest = both

        def each(function: Callable[..., Any], rows: PyTree) -> Any:
            def one(mine: dict[str, PyTree], row: PyTree) -> Any:
                return function(dataclasses.replace(problem, **mine, batched=False), row)

            return jax.vmap(one, spmd_axis_name="goals" if split else None)(fields, rows)

        return whole(each, rest)

    return _map_chunks(chunk, problem, (rows_of(problem), rows), size, batch_size)


def _map_chunks(
    function: Any, problem: Problem, rows: PyTree, size: int, batch_size: int | None
) -> Any:
    """`function(rows)`, `batch_size` rows at a time, each device of a mesh on its own rows.

    Rows are dealt out as `[devices, chunks, rows]`; the last places hold copies of the last row.
    """
    devices = 1 if problem.mesh is None else problem.mesh.shape.get("goals", 1)
    share = -(-size // devices)
    some = share if batch_size is None else min(share, -(-batch_size // devices))
    chunks = -(-share // some)
    if chunks == 1 and size % devices == 0:
        return function(problem.split(rows, "goals"))

    def deal(x: jax.Array) -> jax.Array:
        missing = devices * chunks * some - size
        x = x if not missing else jnp.concatenate([x, jnp.repeat(x[-1:], missing, axis=0)])
        x = x.reshape(devices, chunks, some, *x.shape[1:])
        return jnp.moveaxis(problem.split(x, "goals"), 1, 0)

    def one_chunk(chunk: PyTree) -> Any:
        flat = jax.tree.map(lambda x: x.reshape(devices * some, *x.shape[2:]), chunk)
        found = function(problem.split(flat, "goals"))
        return jax.tree.map(lambda x: x.reshape(devices, some, *x.shape[1:]), found)

    def collect(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(devices * chunks * some, *x.shape[3:])[:size]

    rows = jax.tree.map(deal, rows)
    if chunks == 1:
        found = one_chunk(jax.tree.map(lambda x: x[0], rows))
        return jax.tree.map(lambda x: collect(x[None]), found)
    return jax.tree.map(collect, jax.lax.map(one_chunk, rows))
