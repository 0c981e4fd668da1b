"""The door: `plan` and `plan_batch` in one call, `solve` on a `Problem`."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from grasp_jax import programs, sharding
from grasp_jax._compile import array, usual_promotion
from grasp_jax._fields import as_count
from grasp_jax._frozen import Frozen, require_hashable
from grasp_jax._tree import PyTree, is_number
from grasp_jax.arguments import as_number, check_key, make_problem
from grasp_jax.objectives import Objective
from grasp_jax.planner import Planner, require_planner
from grasp_jax.planners.portfolio import portfolio
from grasp_jax.problem import Context, Problem
from grasp_jax.results import Plan


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
      planner: How to search; `portfolio()` by default, which needs no tuning and costs 4,000
        to 14,400 `T` model evaluations. `restarted_grasp()` costs 2,300 `T`.
      bounds: `(low, high)`, numbers or `[A]`; the plan stays inside.
      objective: The cost to minimize; the squared distance of `s_T` to the goal by default.
      context: The frames and actions before now, for models that read a window.
      horizon: `[]` int in `1..T`, traced: reach the goal at this step instead of `T`, so that
        shorter horizons share one compiled program. The plan's actions are zero from there on (or
        the nearest bound), its states stand still; until there it is the plan of that `T`, up to
        rounding, but with `ParallelShooting`, which cuts its segments from `T`. None for `T`.
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
    planner, key = planner_and_key(problem, planner, key)
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


def planner_and_key(problem: Any, planner: Planner | None, key: Any) -> tuple[Planner, jax.Array]:
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
