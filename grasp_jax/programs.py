"""The compiled programs behind the door: one goal or a batch of goals, whole or in pieces.

Everything here is traced: planners arrive `Frozen`, checks read shapes and dtypes, and a batch
shares one iteration counter, which travels outside the `vmap` so that a sync stays a branch.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import checks, driver
from grasp_jax._tree import Frozen, PyTree, cost_dtype
from grasp_jax.driver import Metrics, Plan, SearchState
from grasp_jax.planners.base import Planner
from grasp_jax.problem import Problem

_PER_GOAL = ("start", "goal", "actions", "context", "length")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Search:
    """A search that can be read at any time; made by `start` or `start_batch`.

    To save one, save the arrays of `search.state`; to restore it, make the same `start` call and
    `dataclasses.replace(search, state=saved)`.

    Attributes:
      problem: What is planned.
      planner: How, split into traced numbers and structure.
      state: What the search has found so far.
      metrics: Rows of the iterations so far, one block per `advance`; `read` joins them.
      horizon: `T`; the problem's own may be padded for a mesh.
      batched: Whether problem and state have a leading axis of goals.
    """

    problem: Problem
    planner: Frozen
    state: SearchState
    metrics: tuple[Metrics, ...] = ()
    horizon: int = dataclasses.field(default=0, metadata={"static": True})
    batched: bool = dataclasses.field(default=False, metadata={"static": True})


def check_search(search: Any) -> None:
    """Raises TypeError unless `search` was made by `start` or `start_batch`."""
    if not isinstance(search, Search):
        hint = (
            " To go on from a plan pass resume=plan.state to grasp_jax.plan."
            if isinstance(search, Plan)
            else ""
        )
        raise TypeError(
            "search must be a Search made by grasp_jax.start or start_batch, got "
            f"{type(search).__name__}.{hint}"
        )


def _search(
    problem: Problem, planner: Planner, key: jax.Array, resume: SearchState | None
) -> SearchState:
    """A checked first state, or the resumed one."""
    checks.check_problem(problem, planner)
    if resume is None:
        return driver.initialise(problem, planner, key)
    checks.check_resume(
        resume, jax.eval_shape(lambda k: driver.initialise(problem, planner, k), key)
    )
    return resume


@jax.jit
def run(problem: Problem, frozen: Frozen, key: jax.Array, resume: SearchState | None) -> Plan:
    """A whole search for one goal, from its start or resumed."""
    planner = frozen.thaw()
    state = _search(problem, planner, key, resume)
    state, metrics = driver.advance(problem, planner, state, planner.iterations)
    return driver.finish(problem, planner, state, metrics)


@jax.jit
def start(problem: Problem, frozen: Frozen, key: jax.Array) -> SearchState:
    """A search for one goal before its first iteration."""
    return _search(problem, frozen.thaw(), key, None)


def _rows(problem: Problem) -> dict[str, PyTree]:
    """The arguments that have one row per goal."""
    return {name: getattr(problem, name) for name in _PER_GOAL}


def _keys(key: jax.Array, size: int) -> jax.Array:
    """`[B]` keys: the caller's own, or one drawn from theirs for each goal."""
    if key.ndim > (0 if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else 1):
        checks.check_batch({"key": key}, size)
        return key

    def one(goal: jax.Array) -> jax.Array:
        return jax.random.fold_in(key, goal)

    # Under `vmap` keys of other kinds fold otherwise than alone.
    threefry = str(jax.random.key_impl(key)) == "threefry2x32"
    return (jax.vmap if threefry else _loop)(one)(jnp.arange(size))


def _loop(function: Any) -> Any:
    """Like `vmap`, one row after the other."""
    return lambda rows: jax.lax.map(function, rows)


def _without_iteration(state: SearchState) -> SearchState:
    """Rows of a batched state; the shared counter travels apart so that `vmap` leaves it alone."""
    return dataclasses.replace(state, iteration=None)


@functools.partial(jax.jit, static_argnames="chunk_size")
def run_batch(
    problem: Problem,
    frozen: Frozen,
    key: jax.Array,
    resume: SearchState | None,
    chunk_size: int | None,
) -> Plan:
    """Whole searches for a batch of goals, `chunk_size` at a time."""
    size = checks.check_batch(_rows(problem))
    planner = frozen.thaw()
    done = None if resume is None else resume.iteration

    def one(row: dict[str, PyTree], key: jax.Array, state: SearchState | None) -> Plan:
        mine = dataclasses.replace(problem, **row)
        if state is not None:
            state = dataclasses.replace(state, iteration=done)
        state = _search(mine, planner, key, state)
        state, metrics = driver.advance(mine, planner, state, planner.iterations)
        found = driver.finish(mine, planner, state, metrics)
        return dataclasses.replace(found, state=_without_iteration(found.state))

    states = None if resume is None else _without_iteration(resume)
    if states is not None:
        checks.check_batch({"resume": states}, size)
    arguments = (_rows(problem), _keys(key, size), states)
    found = _map_chunks(lambda x: _vmap(problem, one)(*x), problem, arguments, size, chunk_size)
    iteration = planner.iterations + (jnp.zeros((), jnp.int32) if done is None else done)
    return dataclasses.replace(
        found, state=dataclasses.replace(found.state, iteration=iteration.astype(jnp.int32))
    )


def _vmap(problem: Problem, function: Any) -> Any:
    """`vmap` over goals, which a mesh may split."""
    split = problem.mesh is not None and "goals" in problem.mesh.shape
    return jax.vmap(function, spmd_axis_name="goals" if split else None)


def _map_chunks(
    function: Any, problem: Problem, rows: PyTree, size: int, chunk_size: int | None
) -> Any:
    """`function(rows)`, `chunk_size` rows at a time, each device of a mesh on its own rows.

    Rows are dealt out as `[devices, chunks, rows]`; the last places hold copies of the last row.
    """
    devices = 1 if problem.mesh is None else problem.mesh.shape.get("goals", 1)
    share = -(-size // devices)
    some = share if chunk_size is None else min(share, -(-chunk_size // devices))
    chunks = -(-share // some)
    if devices == chunks == 1:
        return function(rows)

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


@jax.jit
def start_batch(problem: Problem, frozen: Frozen, key: jax.Array) -> SearchState:
    """Searches for a batch of goals before their first iteration."""
    size = checks.check_batch(_rows(problem))
    planner = frozen.thaw()

    def one(row: dict[str, PyTree], key: jax.Array) -> SearchState:
        state = _search(dataclasses.replace(problem, **row), planner, key, None)
        return _without_iteration(state)

    rows = problem.split((_rows(problem), _keys(key, size)), "goals")
    state = _vmap(problem, one)(*rows)
    return dataclasses.replace(state, iteration=jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnames="iterations")
def advance(search: Search, iterations: int) -> tuple[SearchState, Metrics]:
    """More iterations of a search, for one goal or a batch."""
    planner = search.planner.thaw()
    if not search.batched:
        return driver.advance(search.problem, planner, search.state, iterations)
    done = search.state.iteration

    def one(row: dict[str, PyTree], state: SearchState) -> tuple[SearchState, Metrics]:
        mine = dataclasses.replace(search.problem, **row)
        state = dataclasses.replace(state, iteration=done)
        state, metrics = driver.advance(mine, planner, state, iterations)
        return _without_iteration(state), metrics

    state, metrics = _vmap(search.problem, one)(*_split_rows(search))
    return dataclasses.replace(state, iteration=done + iterations), metrics


@jax.jit
def read(search: Search) -> Plan:
    """The plan of a search, for one goal or a batch, without metrics."""
    planner = search.planner.thaw()

    def one(row: dict[str, PyTree], state: SearchState) -> Plan:
        mine = dataclasses.replace(search.problem, **row)
        return driver.finish(mine, planner, state, _no_metrics(mine))

    if not search.batched:
        return one(_rows(search.problem), search.state)
    found = _vmap(search.problem, one)(*_split_rows(search))
    state = dataclasses.replace(found.state, iteration=search.state.iteration)
    return dataclasses.replace(found, state=state)


def _split_rows(search: Search) -> tuple[PyTree, SearchState]:
    """What a batch has one row of per goal, split over a mesh, also after a restore."""
    rows = (_rows(search.problem), _without_iteration(search.state))
    return search.problem.split(rows, "goals")


def _no_metrics(problem: Problem) -> Metrics:
    """No rows yet, in the dtypes of later ones."""
    costs = jnp.zeros((0,), cost_dtype(problem.actions.dtype))
    counts = jnp.zeros((0,), jnp.float32)
    return Metrics(costs, costs, costs, costs, counts, counts)
