"""The door: `plan`, `plan_batch`, and the same search in pieces: `start`, `advance`, `read`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

from grasp_jax import checks, programs, sharding
from grasp_jax._promotion import usual_promotion
from grasp_jax._tree import Frozen, PyTree, freeze, is_number
from grasp_jax.driver import Metrics, Plan, SearchState
from grasp_jax.objectives import Objective
from grasp_jax.planners.base import Planner, require_planner
from grasp_jax.planners.grasp import GRASP
from grasp_jax.problem import Context, Problem, check_bound_values, make_problem
from grasp_jax.programs import Search


@usual_promotion
def plan(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    length: Any = None,
    mesh: Mesh | None = None,
    resume: SearchState | None = None,
) -> Plan:
    """Plans actions that bring the world model from `state` to `goal`.

    Compiled once per combination of shapes, planner structure and dynamics function; new states,
    goals, keys, weights and numeric settings reuse the program. Works inside a caller's `jit`,
    `vmap`, `scan` and `shard_map` (there with `check_vma=False`).

    Args:
      dynamics: `F(state, action) -> next_state`, one step of one trajectory: unbatched, pure,
        differentiable in the action. Any callable pytree: a plain function, an Equinox or nnx
        module, `jax.tree_util.Partial(flax_module.apply, params)`. With a context it is called
        on windows, see `Context`. A class with methods `prepare_actions` and `step_prepared` is
        called through those, see `Problem.windows`. Python numbers inside it are compiled in.
      state: `s_0`, any pytree of floating arrays, leaves `[...]`.
      goal: A pytree like `state`, or whatever `objective.distance` compares a state with.
      actions: `[T, A]` floating, the starting guess: zeros when cold, the shifted last plan when
        warm. It fixes the horizon, the action size and the dtype of the plan.
      key: One random key, `jax.random.key(0)`. The same key gives the same plan.
      planner: How to search; `GRASP()` by default.
      bounds: `(low, high)`, numbers or `[A]`; the plan stays inside.
      objective: The cost to minimise; the squared distance of `s_T` to the goal by default.
      context: The frames and actions before now, for models that read a window.
      length: `[]` int in `1..T`, traced: reach the goal at this step instead of `T`, so that
        shorter horizons share one compiled program. The plan's actions are zero from there on (or
        the nearest bound), its states stand still. None for `T`.
      mesh: Devices to split the time steps or the samples over, see `grasp_jax.sharding`.
      resume: `plan.state` of an earlier call with the same arguments: `planner.iterations` more
        iterations follow. `key` and `actions` are then not used. For a new goal or observation
        pass `actions=plan.actions` instead: a resumed search would keep its old costs.

    Returns:
      A `Plan`: actions `[T, A]`, the model's states `[T+1, ...]` under them, their cost, a
      status, per-iteration metrics.

    Raises:
      TypeError, ValueError: An argument cannot work; the message says which and what to do.
        Broken numbers never raise: see `Plan.status`.
    """
    problem, frozen = open_problem(
        dynamics, state, goal, actions, key, planner, bounds, objective, context, length, mesh
    )
    checks.check_resume_type(resume)
    found = programs.run(sharding.pad_time(problem), frozen, key, resume)
    return sharding.cut_time(found, problem.actions.shape[-2], axis=0)


@usual_promotion
def plan_batch(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    length: Any = None,
    mesh: Mesh | None = None,
    resume: SearchState | None = None,
    chunk_size: int | None = None,
) -> Plan:
    """Plans for many goals at once: `plan` over a leading axis of `B` goals.

    Goal `b` is planned exactly as `plan` would with the key `jax.random.fold_in(key, b)`, or with
    `key[b]` where `key` is a vector of keys; a goal whose model returns NaN changes no other goal.

    Args:
      dynamics: See `plan`; shared by all goals, unbatched.
      state: Leaves `[B, ...]`.
      goal: Leaves `[B, ...]`.
      actions: `[B, T, A]`, or `[T, A]` to start all goals from the same guess.
      key: One random key, or `[B]` keys.
      planner: See `plan`.
      bounds: See `plan`; shared by all goals.
      objective: See `plan`; shared by all goals.
      context: Leaves `[B, h-1, ...]`, or None.
      length: `[B]` or `[]` ints, each goal's own horizon; see `plan`.
      mesh: Devices to split the goals, their time steps or their samples over, see
        `grasp_jax.sharding.make_mesh`.
      resume: `plan.state` of an earlier `plan_batch`.
      chunk_size: Plan this many goals at a time, to bound memory; None for all at once. The plans
        of all come back with their search states: for large states return what you need from a
        `jit` of your own.

    Returns:
      A `Plan` whose leaves have a leading axis of `B` (but `state.iteration`, which all share).

    Raises:
      TypeError, ValueError: As `plan`.
    """
    problem, frozen = open_problem(
        dynamics,
        state,
        goal,
        actions,
        key,
        planner,
        bounds,
        objective,
        context,
        length,
        mesh,
        batch=True,
    )
    problem = _broadcast_shared(problem)
    checks.check_chunk_size(chunk_size)
    checks.check_resume_type(resume)
    found = programs.run_batch(sharding.pad_time(problem), frozen, key, resume, chunk_size)
    return sharding.cut_time(found, problem.actions.shape[-2], axis=1)


@usual_promotion
def start(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    length: Any = None,
    mesh: Mesh | None = None,
) -> Search:
    """Begins a search without taking a step. Arguments and errors as for `plan`."""
    problem, frozen = open_problem(
        dynamics, state, goal, actions, key, planner, bounds, objective, context, length, mesh
    )
    padded = sharding.pad_time(problem)
    begun = programs.start(padded, frozen, key)
    return Search(padded, frozen, begun, horizon=problem.horizon)


@usual_promotion
def start_batch(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    length: Any = None,
    mesh: Mesh | None = None,
) -> Search:
    """Begins a search for `B` goals without taking a step. Arguments as for `plan_batch`."""
    problem, frozen = open_problem(
        dynamics,
        state,
        goal,
        actions,
        key,
        planner,
        bounds,
        objective,
        context,
        length,
        mesh,
        batch=True,
    )
    problem = _broadcast_shared(problem)
    padded = sharding.pad_time(problem)
    begun = programs.start_batch(padded, frozen, key)
    return Search(padded, frozen, begun, horizon=problem.actions.shape[-2], batched=True)


@usual_promotion
def advance(search: Search, iterations: int) -> Search:
    """The same search after `iterations` more iterations; each new count compiles once.

    Advancing by n and then by m equals advancing by n+m, and equals `plan` with n+m iterations.
    The metrics grow by a block: the body of a `lax.scan` returns
    `dataclasses.replace(search, metrics=())`.

    Raises:
      TypeError: `search` was not made by `start` or `start_batch`.
      ValueError: `iterations` is not a positive int.
    """
    programs.check_search(search)
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"iterations must be a positive int, got {iterations!r:.40}.")
    state, rows = programs.advance(dataclasses.replace(search, metrics=()), iterations)
    return dataclasses.replace(search, state=state, metrics=(*search.metrics, rows))


@usual_promotion
def read(search: Search) -> Plan:
    """The plan a search would return now; the search itself is unchanged.

    Raises:
      TypeError: `search` was not made by `start` or `start_batch`.
    """
    programs.check_search(search)
    found = programs.read(dataclasses.replace(search, metrics=()))
    found = sharding.cut_time(found, search.horizon, axis=int(search.batched))
    if not search.metrics:
        return found
    return dataclasses.replace(found, metrics=_join(search.metrics, axis=int(search.batched)))


def _join(blocks: tuple[Metrics, ...], axis: int) -> Metrics:
    """One block; joined by NumPy where it can be, because JAX would compile every new length."""

    def join(*rows: jax.Array) -> jax.Array:
        here = all(
            not isinstance(x, Tracer) and getattr(x, "is_fully_addressable", True) for x in rows
        )
        return jnp.asarray(np.concatenate(rows, axis)) if here else jnp.concatenate(rows, axis)

    return blocks[0] if len(blocks) == 1 else jax.tree.map(join, *blocks)


def open_problem(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    planner: Planner | None,
    bounds: tuple[Any, Any] | None,
    objective: Objective | None,
    context: Context | None,
    length: Any,
    mesh: Mesh | None,
    batch: bool = False,
) -> tuple[Problem, Frozen]:
    """Checks values and packs the arguments; shapes are checked while tracing."""
    planner = GRASP() if planner is None else planner
    checks.check_key(key, batch)
    require_planner(planner, "planner")
    if mesh is not None:
        sharding.check_mesh(mesh, batch)
    problem = make_problem(dynamics, state, goal, actions, bounds, objective, context, length, mesh)
    check_bound_values(bounds)
    return problem, freeze(planner, "planner", is_number)


def _broadcast_shared(problem: Problem) -> Problem:
    """One starting guess, and one length, for all goals."""
    leaves = jax.tree.leaves(problem.start)
    if not leaves:
        raise ValueError("state must hold at least one array, got an empty pytree.")
    checks.check_starts(problem)
    if leaves[0].ndim < 1:
        return problem
    goals, actions, length = leaves[0].shape[0], problem.actions, problem.length
    if actions.ndim == 2:
        actions = jnp.broadcast_to(actions, (goals, *actions.shape))
    if length is not None and length.ndim == 0:
        length = jnp.broadcast_to(length, (goals,))
    return dataclasses.replace(problem, actions=actions, length=length)
