"""The door: `plan` and `plan_batch` in one call; on a `Problem`, the same search in pieces."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

from grasp_jax import programs, sharding
from grasp_jax._compile import Frozen, array, require_hashable, usual_promotion
from grasp_jax._fields import as_count
from grasp_jax._tree import PyTree, describe, is_number
from grasp_jax.arguments import (
    as_array,
    as_number,
    check_key,
    make_problem,
    replace_arrays,
)
from grasp_jax.objectives import Objective
from grasp_jax.planner import Planner, require_planner
from grasp_jax.planners.portfolio import portfolio
from grasp_jax.problem import Context, Problem
from grasp_jax.search import Metrics, Plan, Search


def plan(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    init_actions: Any,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    horizon: Any = None,
    mesh: Mesh | None = None,
    target_cost: Any = None,
    patience: int | None = None,
) -> Plan:
    """Plans actions that bring the world model from `state` to `goal`.

    Compiled once per combination of shapes, planner structure and dynamics function; new states,
    goals, keys, weights and numeric settings reuse the program. Works inside a caller's `jit`,
    `vmap`, `scan` and `shard_map` (there with `check_vma=False`).

    Args:
      dynamics: `F(state, action) -> next_state`, one step of one trajectory: unbatched, pure,
        differentiable in the action. Any callable pytree: a plain function, an Equinox or nnx
        module, `jax.tree_util.Partial(flax_module.apply, params)`. With a context it is called
        on windows, see `Context`. A `PreparedModel` is called through its two halves. Python
        numbers inside it are compiled in, and so is an array in a function's closure or in a
        module's globals, as `jax.jit` does: a later change of those goes unnoticed.
      state: `s_0`, any pytree of floating arrays, leaves `[...]`.
      goal: A pytree like `state`, or whatever `objective.terminal_cost` compares a state with.
      init_actions: `[T, A]` floating, the starting guess: zeros when cold, the shifted last plan
        when warm. It fixes the horizon, the action size and the dtype of the plan.
      key: One random key, `jax.random.key(0)`. The same key gives the same plan.
      planner: How to search; `portfolio()` by default, which needs no tuning and costs about
        12,400 `T` model evaluations. `restarted_grasp()` costs a fifth of it.
      bounds: `(low, high)`, numbers or `[A]`; the plan stays inside.
      objective: The cost to minimize; the squared distance of `s_T` to the goal by default.
      context: The frames and actions before now, for models that read a window.
      horizon: `[]` int in `1..T`, traced: reach the goal at this step instead of `T`, so that
        shorter horizons share one compiled program. The plan's actions are zero from there on (or
        the nearest bound), its states stand still. None for `T`.
      mesh: Devices to split the time steps or the samples over, see `grasp_jax.sharding`.
      target_cost: `[]`, traced: stop at the first iteration whose best cost is at or below it. The
        metrics keep their shape; `metrics.iterations_taken` says how far the search went. None
        takes all iterations.
      patience: Stop after so many iterations without a better plan; None never does. Take more than
        lie between two evaluations (`sync_every` of GRASP), and than a part of a `Chain` may fail.

    Returns:
      A `Plan`: actions `[T, A]`, the model's states `[T+1, ...]` under them, their cost, a
      status, per-iteration metrics.

    Raises:
      TypeError, ValueError: An argument cannot work; the message says which and what to do.
        Broken numbers never raise: see `Plan.status`.

    >>> import grasp_jax, jax, jax.numpy as jnp
    >>> found = grasp_jax.plan(
    ...     dynamics=lambda s, a: s + 0.1 * a,
    ...     state=jnp.zeros(2),
    ...     goal=jnp.ones(2),
    ...     init_actions=jnp.zeros((20, 2)),
    ...     key=jax.random.key(0),
    ...     planner=grasp_jax.GD(learning_rate=0.1, iterations=100),
    ... )
    >>> found.actions.shape, bool(found.cost < 1e-3)
    ((20, 2), True)
    """
    problem = make_problem(
        dynamics,
        state,
        goal,
        init_actions,
        bounds=bounds,
        objective=objective,
        context=context,
        horizon=horizon,
        mesh=mesh,
    )
    return solve(problem, key, planner=planner, target_cost=target_cost, patience=patience)


def plan_batch(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    init_actions: Any,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    horizon: Any = None,
    mesh: Mesh | None = None,
    goal_batch_size: int | None = None,
    target_cost: Any = None,
    patience: int | None = None,
) -> Plan:
    """Plans for many goals at once: `plan` over a leading axis of `B` goals.

    Goal `b` is planned exactly as `plan` would with the key `jax.random.fold_in(key, b)`, or with
    `key[b]` where `key` is a vector of keys; a goal whose model returns NaN changes no other goal.

    Args:
      dynamics: See `plan`; shared by all goals, unbatched.
      state: Leaves `[B, ...]`.
      goal: Leaves `[B, ...]`.
      init_actions: `[B, T, A]`, or `[T, A]` to start all goals from the same guess.
      key: One random key, or `[B]` keys.
      planner: See `plan`.
      bounds: See `plan`; shared by all goals.
      objective: See `plan`; shared by all goals.
      context: Leaves `[B, h-1, ...]`, or None.
      horizon: `[B]` or `[]` ints, each goal's own horizon; see `plan`.
      mesh: Devices to split the goals, their time steps or their samples over, see
        `grasp_jax.sharding.make_mesh`.
      goal_batch_size: Plan this many goals at a time, to bound memory; None for all at once.
      target_cost: See `plan`; goals that are planned side by side stop when the last is there.
      patience: See `plan`; they stop when the last is at the target, or stalls.

    Returns:
      A `Plan` whose leaves have a leading axis of `B`.

    Raises:
      TypeError, ValueError: As `plan`.

    >>> import grasp_jax, jax, jax.numpy as jnp
    >>> goals = jax.random.normal(jax.random.key(1), (8, 2))
    >>> found = grasp_jax.plan_batch(
    ...     dynamics=lambda s, a: s + 0.1 * a,
    ...     state=jnp.zeros_like(goals),
    ...     goal=goals,
    ...     init_actions=jnp.zeros((20, 2)),
    ...     key=jax.random.key(0),
    ...     planner=grasp_jax.GD(learning_rate=0.1, iterations=100),
    ... )
    >>> found.actions.shape
    (8, 20, 2)
    """
    problem = make_problem(
        dynamics,
        state,
        goal,
        init_actions,
        bounds=bounds,
        objective=objective,
        context=context,
        horizon=horizon,
        mesh=mesh,
        batched=True,
    )
    return solve(
        problem,
        key,
        planner=planner,
        goal_batch_size=goal_batch_size,
        target_cost=target_cost,
        patience=patience,
    )


@usual_promotion
def solve(
    problem: Problem,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    goal_batch_size: int | None = None,
    target_cost: Any = None,
    patience: int | None = None,
) -> Plan:
    """`plan` on a problem, or `plan_batch` on a batched one. Arguments and errors as there."""
    planner, key = _how(problem, planner, key)
    if goal_batch_size is not None:
        goal_batch_size = as_count(goal_batch_size, "goal_batch_size")
    padded, frozen = sharding.pad_time(problem), Frozen(planner, is_number)
    if target_cost is None and patience is None:
        found = programs.solve(padded, frozen, key, batch_size=goal_batch_size)
    else:
        target = -np.inf if target_cost is None else target_cost
        target = as_number(target, "target_cost", "the cost at which a search may stop")
        most = np.iinfo(np.int32).max
        waits = most if patience is None else min(as_count(patience, "patience"), most)
        waits = array(np.int32(waits))
        found = programs.solve_until(padded, frozen, key, target, waits, batch_size=goal_batch_size)
    return sharding.cut_time(found, problem.max_horizon, axis=int(problem.batched))


@usual_promotion
def start(problem: Problem, key: jax.Array, *, planner: Planner | None = None) -> Search:
    """Begins a search without taking a step.

    Args:
      problem: Of one goal, or batched; see `make_problem`.
      key: See `plan` and `plan_batch`.
      planner: See `plan`.

    Raises:
      TypeError, ValueError: As `plan`.

    >>> import grasp_jax, jax, jax.numpy as jnp
    >>> problem = grasp_jax.make_problem(
    ...     lambda s, a: s + 0.1 * a, jnp.zeros(2), jnp.ones(2), jnp.zeros((20, 2))
    ... )
    >>> search = grasp_jax.start(problem, jax.random.key(0), planner=grasp_jax.GD())
    >>> search = grasp_jax.advance(search, 40)
    >>> early = grasp_jax.read(search)
    >>> bool(grasp_jax.read(grasp_jax.advance(search, 40)).cost <= early.cost)
    True
    """
    planner, key = _how(problem, planner, key)
    padded = sharding.pad_time(problem)
    begun = programs.start(padded, Frozen(planner, is_number), key)
    return Search(padded, planner, begun, horizon=problem.max_horizon)


@usual_promotion
def advance(search: Search, iterations: int) -> Search:
    """The same search after `iterations` more iterations; each new count compiles once.

    Advancing by n and then by m equals advancing by n+m, and equals `plan` with n+m iterations.
    The metrics grow by a block: the body of a `lax.scan` returns
    `dataclasses.replace(search, metrics=())`.

    Raises:
      TypeError: `search` was not made by `start`, or `iterations` is no int.
      ValueError: `iterations` is below 1.
    """
    _check_search(search)
    iterations = as_count(iterations, "iterations")
    bare = dataclasses.replace(search, metrics=())
    state, rows = programs.advance(bare, iterations=iterations)
    return dataclasses.replace(search, state=state, metrics=(*search.metrics, rows))


@usual_promotion
def read(search: Search) -> Plan:
    """The plan a search would return now; the search itself is unchanged.

    Raises:
      TypeError: `search` was not made by `start`.
    """
    _check_search(search)
    axis = int(search.problem.batched)
    found = programs.read(dataclasses.replace(search, metrics=()))
    found = sharding.cut_time(found, search.horizon, axis)
    if not search.metrics:
        return found
    return dataclasses.replace(found, metrics=_join(search.metrics, axis))


@usual_promotion
def trajectory(problem: Problem, actions: jax.Array) -> PyTree:
    """The model's states under a plan.

    Args:
      problem: Of one goal, or batched. From its horizon on, the state stands still.
      actions: `[T, A]`; `[B, T, A]` for a batched problem.

    Returns:
      Leaves `[T+1, ...]` (`[B, T+1, ...]`): `s_0`, then the prediction after each action.

    Raises:
      TypeError, ValueError: The actions are none of the problem's.

    >>> import grasp_jax, jax.numpy as jnp
    >>> problem = grasp_jax.make_problem(
    ...     lambda s, a: s + a, jnp.zeros(1), jnp.ones(1), jnp.zeros((2, 1))
    ... )
    >>> grasp_jax.trajectory(problem, jnp.ones((2, 1))).ravel().tolist()
    [0.0, 1.0, 2.0]
    """
    return programs.trajectory(problem, _as_actions(problem, actions))


@usual_promotion
def rollout_cost(problem: Problem, actions: jax.Array) -> jax.Array:
    """The objective of the model's rollout of a plan.

    Args:
      problem: Of one goal, or batched.
      actions: `[T, A]`; `[B, T, A]` for a batched problem.

    Returns:
      `[]` (`[B]`).

    Raises:
      TypeError, ValueError: The actions are none of the problem's.

    >>> import grasp_jax, jax.numpy as jnp
    >>> problem = grasp_jax.make_problem(
    ...     lambda s, a: s + a, jnp.zeros(1), jnp.ones(1), jnp.zeros((2, 1))
    ... )
    >>> float(grasp_jax.rollout_cost(problem, jnp.ones((2, 1))))
    1.0
    """
    return programs.rollout_cost(problem, _as_actions(problem, actions))


@dataclasses.dataclass(frozen=True, eq=False)
class CompiledPlan:
    """A compiled `plan` with everything but the arrays fixed; made by `compile_plan`.

    Calling it never traces, checks only what could crash, and costs a fifth of the dispatch of
    `plan`.

    Attributes:
      problem: What it was compiled with; a call replaces some of it.
      planner: The planner it was compiled with.
      key: The key it was compiled with.
      program: JAX's compiled program, with `as_text`, `cost_analysis` and `memory_analysis`.
    """

    problem: Problem
    planner: Planner
    key: jax.Array
    program: Any

    @usual_promotion
    def __call__(
        self,
        state: PyTree,
        goal: PyTree,
        init_actions: Any,
        key: jax.Array,
        *,
        dynamics: Any = None,
        context: Context | None = None,
        horizon: Any = None,
    ) -> Plan:
        """Plans, as `plan` does with the arguments of `compile_plan`.

        Args:
          state: `s_0`, of the compiled structure, shapes and dtypes, as everything here.
          goal: `g`.
          init_actions: `[T, A]`, the starting guess.
          key: One random key, of the compiled kind.
          dynamics: The same model with new weights; the compiled one by default.
          context: New context frames; the compiled ones by default.
          horizon: A new horizon, where it was compiled with one.

        Raises:
          TypeError: An argument has another structure, shape or dtype than the compiled one.
          ValueError: The horizon is not in `1..T`.
        """
        check_key(key)
        changes: dict[str, Any] = {"state": state, "goal": goal, "init_actions": init_actions}
        given = {"dynamics": dynamics, "context": context, "horizon": horizon}
        changes |= {name: value for name, value in given.items() if value is not None}
        problem = replace_arrays(self.problem, **changes)
        leaves, treedef = _flat_call(problem, self.planner, key)
        expected, compiled_treedef = _flat_call(self.problem, self.planner, self.key)
        kinds = [(x.shape, x.dtype) for x in leaves]
        if treedef != compiled_treedef or kinds != [(x.shape, x.dtype) for x in expected]:
            raise TypeError(_difference(self, problem, key))
        return self.program(leaves)


@usual_promotion
def compile_plan(
    problem: Problem, key: jax.Array, *, planner: Planner | None = None
) -> CompiledPlan:
    """Compiles `plan` for arguments like these, without planning. Arguments and errors as there.

    Give the problem a `horizon` to plan for any horizon up to `T` with the one program. To compile
    once per machine instead of once per process, set `jax.config.jax_compilation_cache_dir`.

    >>> import grasp_jax, jax, jax.numpy as jnp
    >>> arguments = (jnp.zeros(2), jnp.ones(2), jnp.zeros((20, 2)))
    >>> problem = grasp_jax.make_problem(lambda s, a: s + 0.1 * a, *arguments)
    >>> program = grasp_jax.compile_plan(problem, jax.random.key(0), planner=grasp_jax.GD())
    >>> bool(program(*arguments, jax.random.key(1)).cost < 1e-3)
    True
    """
    planner, key = _how(problem, planner, key)
    if problem.batched or problem.mesh is not None:
        raise ValueError(
            "compile_plan compiles the plan of one goal, without a mesh. For a batch wrap "
            "grasp_jax.solve in a jax.jit of your own and lower that."
        )
    lowered = programs.solve.lower(problem, Frozen(planner, is_number), key, batch_size=None)
    return CompiledPlan(problem, planner, key, lowered.compile())


def _flat_call(problem: Problem, planner: Planner, key: jax.Array) -> tuple[list[Any], Any]:
    return programs.solve.flatten(problem, Frozen(planner, is_number), key)


def _difference(compiled: CompiledPlan, problem: Problem, key: jax.Array) -> str:
    """What a compiled plan was called with that it was not compiled for."""
    names = ("state", "goal", "init_actions", "context", "given_horizon", "dynamics")
    pairs = {n: (getattr(compiled.problem, n), getattr(problem, n)) for n in names}
    pairs["key"] = compiled.key, key
    for name, (old, new) in pairs.items():
        if name == "dynamics":
            same = Frozen(old).tree_flatten()[1] == Frozen(new).tree_flatten()[1]
            old, new = Frozen(old).tree_flatten()[0], Frozen(new).tree_flatten()[0]
        else:
            same = jax.tree.structure(old) == jax.tree.structure(new)
        if not same or describe(old) != describe(new):
            wanted, got = describe(old), describe(new)
            if name == "dynamics" and not same:  # `describe` shows arrays alone
                got = f"{got} in another function, or with other settings"
            return (
                f"a compiled plan: {name.removeprefix('given_')} must be {wanted}, as it was "
                f"compiled, got {got}. Compile another one, or call grasp_jax.plan, which does so "
                "itself and works under vmap."
            )
    return "a compiled plan was called with other numbers' types than it was compiled with."


def _how(problem: Any, planner: Planner | None, key: Any) -> tuple[Planner, jax.Array]:
    """The planner and the key, checked."""
    if not isinstance(problem, Problem):
        raise TypeError(
            "problem must be a grasp_jax.Problem, made by grasp_jax.make_problem, got "
            f"{type(problem).__name__}. To plan in one call use grasp_jax.plan."
        )
    planner = portfolio() if planner is None else planner
    key = check_key(key, problem.batched)
    require_planner(planner, "planner")
    require_hashable(planner, "planner", is_number)
    return planner, key


def _as_actions(problem: Problem, actions: Any) -> jax.Array:
    found = as_array(actions, "actions")
    shape = problem.init_actions.shape
    if found.shape != shape:
        raise ValueError(f"actions must have shape {list(shape)}, got {describe(found)}.")
    return found


def _check_search(search: Any) -> None:
    """Raises TypeError unless `search` was made by `start`."""
    if not isinstance(search, Search):
        raise TypeError(
            f"search must be a Search made by grasp_jax.start, got {type(search).__name__}."
        )


def _join(blocks: tuple[Metrics, ...], axis: int) -> Metrics:
    """One block; joined by NumPy where it can be, because JAX would compile every new length."""

    def join(*rows: jax.Array) -> jax.Array:
        here = all(
            not isinstance(x, Tracer) and getattr(x, "is_fully_addressable", True) for x in rows
        )
        if not here:
            return jnp.concatenate(rows, axis)
        return jax.device_put(np.concatenate(jax.device_get(list(rows)), axis))

    return blocks[0] if len(blocks) == 1 else jax.tree.map(join, *blocks)
