"""Runs any planner: iterations, keys, best so far, non-finite numbers, metrics, the final plan.

It knows planners by their protocol alone, so that a planner may itself run another one (GRASP's
sync, `MultiStart`, `Chain`, `Hops`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import all_in_range
from grasp_jax._frozen import frozen, thawed
from grasp_jax._tree import PyTree, cost_dtype, is_number
from grasp_jax.noise import split_key
from grasp_jax.planner import Planner, StepContext, StepInfo
from grasp_jax.problem import Problem
from grasp_jax.results import Metrics, Plan, Status
from grasp_jax.rollout import rollout_cost, trajectory


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class SearchState:
    """Everything that a search carries from one iteration to the next; plain arrays.

    Attributes:
      inner: The planner's own state.
      best_actions: `[T, A]`, the best evaluated actions so far; where a mesh pads `T`, padded.
      best_cost: `[]`, their cost; `inf` before any finite evaluation.
      finite: `[]` bool, whether every number so far was finite.
      control_finite: `[]` bool, whether every slope of the control cost so far was.
      moved: `[]` bool, whether any slope so far was not zero, or anything became better; True
        before the first iteration.
      iteration: `[]` int32, iterations done.
      key: `[2]` uint32, key data from which iteration `i` draws `fold_in(key, i)`; raw and of a
        fixed kind, so that a saved search resumes equally anywhere and `vmap` equals a loop.
    """

    inner: Any
    best_actions: jax.Array
    best_cost: jax.Array
    finite: jax.Array
    control_finite: jax.Array
    moved: jax.Array
    iteration: jax.Array
    key: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """A search that can be read at any time; made by `start`. A pytree of arrays.

    To save one, save the arrays of `search.state`; to restore it, make the same `start` call and
    `dataclasses.replace(search, state=saved)`.

    Attributes:
      problem: What is planned.
      planner: How.
      state: What the search has found so far.
      metrics: Rows of the iterations so far, one block per `advance`; `read` joins them.
      horizon: `T`; the problem's own may be padded for a mesh.
    """

    problem: Problem
    planner: Planner
    state: SearchState
    metrics: tuple[Metrics, ...] = ()
    horizon: int = 0


def _flatten(search: Search) -> tuple[tuple[Any, ...], int]:
    planner = frozen(search.planner, is_number)
    return (search.problem, planner, search.state, search.metrics), search.horizon


def _unflatten(horizon: int, children: Any) -> Search:
    problem, planner, state, metrics = children
    return Search(problem, thawed(planner), state, metrics, horizon)


jax.tree_util.register_pytree_node(Search, _flatten, _unflatten)


def initialize(
    problem: Problem, planner: Planner, key: jax.Array, evaluate: bool = True
) -> SearchState:
    """A search before its first iteration. The starting guess is evaluated: it is the first best.

    Args:
      problem: One goal.
      planner: Any planner.
      key: A typed random key.
      evaluate: False leaves the evaluation of the starting guess to the first iteration.
    """
    guess = _tree.finite_or_zero(problem.init_actions)
    problem = problem.starting_from(problem.clip(guess))
    init_key, run_key = split_key(_threefry(key), 2)
    cost = rollout_cost(problem, problem.init_actions) if evaluate else jnp.asarray(jnp.inf)
    finite = jnp.isfinite(cost)
    return SearchState(
        inner=planner.init(problem, init_key),
        best_actions=problem.init_actions,
        best_cost=jnp.where(finite, cost, jnp.inf).astype(cost_dtype(problem.init_actions.dtype)),
        finite=finite | (not evaluate),
        control_finite=jnp.asarray(True),
        moved=jnp.asarray(True),
        iteration=jnp.zeros((), jnp.int32),
        key=jax.random.bits(run_key, (2,), jnp.uint32),
    )


def _threefry(key: jax.Array) -> jax.Array:
    """The same key where it is threefry's; else one of that kind.

    Under `vmap` a draw with rbg keys reads the first key alone: goals would share it.
    """
    return jax.random.wrap_key_data(jax.random.key_data(key)[:2], impl="threefry2x32")


def one_step(
    problem: Problem, planner: Planner, search: SearchState, iteration: jax.Array
) -> tuple[SearchState, StepInfo]:
    """One iteration. `iteration` is passed beside the state so that it stays unbatched."""
    run_key = jax.random.wrap_key_data(search.key, impl="threefry2x32")
    key = jax.random.fold_in(run_key, iteration)
    context = StepContext(key, iteration, search.best_actions, search.best_cost)
    inner, found = planner.step(problem, search.inner, context)
    better = jnp.isfinite(found.cost) & (found.cost < search.best_cost)
    search = dataclasses.replace(
        search,
        inner=inner,
        best_actions=jnp.where(better, found.actions, search.best_actions),
        best_cost=jnp.where(better, found.cost, search.best_cost),
        finite=search.finite & found.finite,
        control_finite=search.control_finite & found.control_finite,
        moved=(search.moved & (iteration > 0))
        | ~found.stuck
        | (better & jnp.isfinite(search.best_cost)),
        iteration=iteration + 1,
    )
    return search, found


def one_row(
    problem: Problem, planner: Planner, search: SearchState, iteration: jax.Array
) -> tuple[SearchState, Metrics]:
    """`one_step`, and what the metrics say of it."""
    search, found = one_step(problem, planner, search, iteration)
    evaluated = jnp.isfinite(found.cost)
    row = Metrics(
        cost=jnp.where(evaluated, found.cost, search.best_cost),
        evaluated=evaluated,
        best_cost=search.best_cost,
        loss=found.loss,
        dynamics_residual=found.dynamics_residual,
        model_evals=found.model_evals,
        model_vjps=found.model_vjps,
    )
    return search, row


def advance(
    problem: Problem, planner: Planner, search: SearchState, iterations: int
) -> tuple[SearchState, Metrics]:
    """`iterations` more steps, one `lax.scan`. n then m steps equal n+m steps."""

    def body(search: SearchState, iteration: jax.Array) -> tuple[SearchState, Metrics]:
        return one_row(problem, planner, search, iteration)

    steps = search.iteration + jnp.arange(iterations, dtype=jnp.int32)
    return jax.lax.scan(body, search, steps)


def advance_until(
    step: Callable[[SearchState, jax.Array], tuple[SearchState, Metrics]],
    search: SearchState,
    iterations: int,
    target_cost: jax.Array,
    patience: jax.Array,
) -> tuple[SearchState, Metrics]:
    """At most `iterations` steps of new searches, until each is at the target or has stalled.

    One `while_loop`. Searches side by side go on until the last of them is there, and the counter
    is not a part of them, so that a `lax.cond` on it stays a branch.

    Args:
      step: `(search, iteration) -> (search, row)`, of one search or of many side by side.
      search: Before its first iteration; leaves `[...]`, or `[B, ...]`.
      iterations: The most to take.
      target_cost: `[]`.
      patience: `[]` int32, a search stalls after so many iterations without a better plan.

    Returns:
      The searches, and metrics with `iterations` rows, leaves `[iterations]` or `[B, iterations]`;
      those after the last step repeat its costs and spent nothing.
    """
    first = jnp.zeros((), jnp.int32)
    like = jax.eval_shape(step, search, first)[1]
    rows = jax.tree.map(lambda x: jnp.zeros((iterations, *x.shape), x.dtype), like)

    def goes_on(carry: tuple[SearchState, Metrics, jax.Array, jax.Array]) -> jax.Array:
        search, _, iteration, improved = carry
        open_ = (search.best_cost > target_cost) & (iteration - improved < patience)
        return (iteration < iterations) & jnp.any(open_)

    def body(
        carry: tuple[SearchState, Metrics, jax.Array, jax.Array],
    ) -> tuple[SearchState, Metrics, jax.Array, jax.Array]:
        search, rows, iteration, improved = carry
        before = search.best_cost
        search, row = step(search, iteration)
        rows = jax.tree.map(lambda all_rows, x: all_rows.at[iteration].set(x), rows, row)
        improved = jnp.where(search.best_cost < before, iteration + 1, improved)
        return search, rows, iteration + 1, improved

    never = jnp.zeros(search.best_cost.shape, jnp.int32)
    search, rows, taken, _ = jax.lax.while_loop(goes_on, body, (search, rows, first, never))
    missing = jnp.arange(iterations) >= taken
    missing = missing.reshape(-1, *[1] * (rows.cost.ndim - 1))
    last = jax.tree.map(lambda x: x[jnp.maximum(taken - 1, 0)], rows)
    rows = dataclasses.replace(
        rows,
        cost=jnp.where(missing, search.best_cost, rows.cost),
        best_cost=jnp.where(missing, search.best_cost, rows.best_cost),
        loss=jnp.where(missing, last.loss, rows.loss),
        dynamics_residual=jnp.where(missing, last.dynamics_residual, rows.dynamics_residual),
    )
    return search, jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), rows)


def run_inside(
    problem: Problem, planner: Planner, key: jax.Array
) -> tuple[SearchState, jax.Array, jax.Array]:
    """A whole search as a part of another planner: from `init_actions` to its best actions.

    Beside the iterations it costs one rollout, of the present actions after the last one, so that
    the last step counts too; and one of the starting guess where no iteration evaluates it.

    Returns:
      The search, and its model evaluations and derivatives, `[]` each.
    """
    evaluate = not planner.evaluates_guess
    search = initialize(problem, planner, key, evaluate)
    search, metrics = advance(problem, planner, search, planner.iterations)
    present = problem.clip(planner.actions(problem, search.inner))
    cost = rollout_cost(problem, present).astype(search.best_cost.dtype)
    better = jnp.isfinite(cost) & (cost < search.best_cost)
    search = dataclasses.replace(
        search,
        best_actions=jnp.where(better, present, search.best_actions),
        best_cost=jnp.where(better, cost, search.best_cost),
        finite=search.finite & jnp.isfinite(cost),
    )
    rollouts = problem.max_horizon * (1 + evaluate) + sum(planner.extra_evals(problem))
    return search, rollouts + jnp.sum(metrics.model_evals), jnp.sum(metrics.model_vjps)


def finish(problem: Problem, planner: Planner, search: SearchState, metrics: Metrics) -> Plan:
    """The plan of a search: the better of its best evaluated actions and its present ones.

    Both are rolled out here, so the returned cost and states belong to the returned actions.
    """
    present, virtual_states = planner.present(problem, search.inner)
    # A caller's own planner may not clip.
    candidates = problem.clip(jnp.stack([search.best_actions, present]))
    # One after the other: side by side they would be another shape of the model to compile.
    states, costs = jax.lax.map(lambda actions: _evaluate(problem, actions), candidates)
    finite = jnp.isfinite(costs)
    better = finite[1] & ~(finite[0] & (costs[0] <= costs[1]))
    chosen, actions, cost = jax.tree.map(
        lambda both: jnp.where(better, both[1], both[0]), (states, candidates, costs)
    )
    guess = problem.clip(_tree.finite_or_zero(problem.init_actions))
    stuck = ~search.moved & (cost != 0) & jnp.all(actions == guess)
    status = jnp.where(stuck, Status.STUCK, Status.OK)
    status = jnp.where(search.control_finite, status, Status.CONTROL_COST)
    status = jnp.where(search.finite & finite[1], status, Status.NON_FINITE)
    in_range = all_in_range(planner)
    in_range &= (problem.horizon >= 1) & (problem.horizon <= problem.max_horizon)
    status = jnp.where(in_range, status, Status.SETTINGS)
    status = jnp.where(jnp.any(finite), status, Status.FAILED)
    return Plan(
        actions=actions,
        states=chosen,
        cost=cost,
        virtual_states=virtual_states,
        status=status.astype(jnp.int32),
        metrics=metrics,
        violation=problem.violation(_tree.take(chosen, slice(1, None)), actions),
    )


def _evaluate(problem: Problem, actions: jax.Array) -> tuple[PyTree, jax.Array]:
    """States `[T+1, ...]` and cost `[]` of a rollout."""
    states = trajectory(problem, actions)
    return states, problem.cost(_tree.take(states, slice(1, None)), actions)


def run_inside_step(
    problem: Problem, planner: Planner, key: jax.Array, spent: StepInfo | None = None
) -> tuple[SearchState, StepInfo]:
    """`run_inside` as a part of one step, whose other work is `spent`.

    Returns:
      The search, and what the step found: the search's best plan, all work added up.
    """
    search, model_evals, model_vjps = run_inside(problem, planner, key)
    if spent is None:
        finite, loss, residual = search.finite, None, None
    else:
        finite = spent.finite & search.finite
        loss, residual = spent.loss, spent.dynamics_residual
        model_evals, model_vjps = spent.model_evals + model_evals, spent.model_vjps + model_vjps
    info = StepInfo.of(
        search.best_actions,
        search.best_cost,
        finite,
        model_evals=model_evals,
        model_vjps=model_vjps,
        loss=loss,
        dynamics_residual=residual,
        stuck=~search.moved if spent is None else ~search.moved & spent.stuck,
        control_finite=search.control_finite
        if spent is None
        else search.control_finite & spent.control_finite,
    )
    return search, info
