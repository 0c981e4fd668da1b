"""Runs any planner: iterations, keys, best so far, non-finite numbers, metrics, the final plan.

It knows planners by their protocol alone, so that a planner may itself run another one (GRASP's
sync, `MultiStart`, `Chain`).
"""

import dataclasses
import enum
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.planners.base import (
    Planner,
    Progress,
    Proposal,
    evaluates_guess,
    own_calls,
    virtual_states,
)
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost, trajectory


class Status(enum.IntEnum):
    """What a plan's `status` says."""

    OK = 0
    NON_FINITE = 1
    """The model returned NaN or infinity on the way; the best finite plan came back."""
    FAILED = 2
    """No rollout had a finite cost; the starting guess came back."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SearchState:
    """Everything that a search carries from one iteration to the next; plain arrays.

    Attributes:
      planner: The planner's own state.
      best_actions: `[T, A]`, the best evaluated actions so far; where a mesh pads `T`, padded.
      best_cost: `[]`, their cost; `inf` before any finite evaluation.
      finite: `[]` bool, whether every number so far was finite.
      iteration: `[]` int32, iterations done.
      key: `[2]` uint32, key data from which iteration `i` draws `fold_in(key, i)`; raw and of a
        fixed kind, so that a saved search resumes equally anywhere and `vmap` equals a loop.
    """

    planner: Any
    best_actions: jax.Array
    best_cost: jax.Array
    finite: jax.Array
    iteration: jax.Array
    key: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Metrics:
    """One row per iteration, each `[iterations]`.

    Attributes:
      cost: Rollout cost of that iteration's proposal; `inf` where none was evaluated.
      best_cost: Best rollout cost up to and including that iteration.
      loss: What the planner itself minimises.
      residual: Dynamics residual of lifted planners, 0 for the others.
      forward: One-step model evaluations spent in that iteration.
      backward: One-step model derivatives spent in that iteration. What a derivative evaluates
        again to save memory (`time_chunk`, `recompute`) is a part of it, not of `forward`.
    """

    cost: jax.Array
    best_cost: jax.Array
    loss: jax.Array
    residual: jax.Array
    forward: jax.Array
    backward: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan; every planner fills the same fields with the same meaning.

    Attributes:
      actions: `[T, A]`, always inside the bounds.
      states: Leaves `[T+1, ...]`, the model's rollout of those actions.
      cost: `[]`, the objective of that rollout, evaluated when the plan was read.
      virtual_states: Leaves `[T-1, ...]`, `s_1..s_{T-1}` of lifted planners; None for the others.
      status: `[]` int32, a `Status`.
      metrics: Per-iteration arrays.
      state: What a resumed search needs: pass it back as `plan(..., resume=plan.state)`.
    """

    actions: jax.Array
    states: PyTree
    cost: jax.Array
    virtual_states: PyTree | None
    status: jax.Array
    metrics: Metrics
    state: SearchState


def initialise(
    problem: Problem, planner: Planner, key: jax.Array, evaluate: bool = True
) -> SearchState:
    """A search before its first iteration. The starting guess is evaluated: it is the first best.

    Args:
      problem: One goal.
      planner: Any planner.
      key: A typed random key.
      evaluate: False leaves the evaluation of the starting guess to the first iteration.
    """
    guess = _tree.finite_or_zero(problem.actions)
    problem = problem.starting_from(problem.clip(guess))
    init_key, run_key = jax.random.split(_threefry(key))
    cost = rollout_cost(problem, problem.actions) if evaluate else jnp.asarray(jnp.inf)
    finite = jnp.isfinite(cost)
    return SearchState(
        planner=planner.init(problem, init_key),
        best_actions=problem.actions,
        best_cost=jnp.where(finite, cost, jnp.inf).astype(_tree.cost_dtype(problem.actions.dtype)),
        finite=finite | (not evaluate),
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
) -> tuple[SearchState, Proposal]:
    """One iteration. `iteration` is passed beside the state so that it stays unbatched."""
    run_key = jax.random.wrap_key_data(search.key, impl="threefry2x32")
    key = jax.random.fold_in(run_key, iteration)
    progress = Progress(key, iteration, search.best_actions, search.best_cost)
    state, found = planner.step(problem, search.planner, progress)
    valid = jnp.isfinite(found.cost)
    better = valid & (found.cost < search.best_cost)
    search = dataclasses.replace(
        search,
        planner=state,
        best_actions=jnp.where(better, found.actions, search.best_actions),
        best_cost=jnp.where(better, found.cost, search.best_cost),
        finite=search.finite & found.finite,
        iteration=iteration + 1,
    )
    return search, found


def advance(
    problem: Problem, planner: Planner, search: SearchState, iterations: int
) -> tuple[SearchState, Metrics]:
    """`iterations` more steps, one `lax.scan`. n then m steps equal n+m steps."""

    def body(search: SearchState, iteration: jax.Array) -> tuple[SearchState, Metrics]:
        search, found = one_step(problem, planner, search, iteration)
        row = Metrics(
            cost=jnp.where(jnp.isfinite(found.cost), found.cost, jnp.inf),
            best_cost=search.best_cost,
            loss=found.loss,
            residual=found.residual,
            forward=found.forward,
            backward=found.backward,
        )
        return search, row

    steps = search.iteration + jnp.arange(iterations, dtype=jnp.int32)
    return jax.lax.scan(body, search, steps)


def run(
    problem: Problem, planner: Planner, key: jax.Array
) -> tuple[SearchState, jax.Array, jax.Array]:
    """A whole search as a part of another planner: from `problem.actions` to its best actions.

    Beside the iterations it costs one rollout, of the present actions after the last one, so that
    the last step counts too; and one of the starting guess where no iteration evaluates it.

    Returns:
      The search, and its model calls forward and backward, `[]` each.
    """
    evaluate = not evaluates_guess(planner)
    search = initialise(problem, planner, key, evaluate)
    search, metrics = advance(problem, planner, search, planner.iterations)
    present = problem.clip(planner.actions(problem, search.planner))
    cost = rollout_cost(problem, present).astype(search.best_cost.dtype)
    better = jnp.isfinite(cost) & (cost < search.best_cost)
    search = dataclasses.replace(
        search,
        best_actions=jnp.where(better, present, search.best_actions),
        best_cost=jnp.where(better, cost, search.best_cost),
        finite=search.finite & jnp.isfinite(cost),
    )
    rollouts = problem.horizon * (1 + evaluate) + sum(own_calls(planner, problem))
    return search, rollouts + jnp.sum(metrics.forward), jnp.sum(metrics.backward)


def finish(problem: Problem, planner: Planner, search: SearchState, metrics: Metrics) -> Plan:
    """The plan of a search: the better of its best evaluated actions and its present ones.

    Both are rolled out here, so the returned cost and states belong to the returned actions.
    """
    present = planner.actions(problem, search.planner)
    # A caller's own planner may not clip, and a resumed search may have had other bounds.
    candidates = problem.clip(jnp.stack([search.best_actions, present]))
    states = jax.vmap(lambda a: trajectory(problem, a))(candidates)
    costs = jax.vmap(problem.cost)(_tree.take(states, (slice(None), slice(1, None))), candidates)
    finite = jnp.isfinite(costs)
    choice = jnp.argmin(jnp.where(finite, costs, jnp.inf))
    status = jnp.where(
        finite[choice],
        jnp.where(search.finite & finite[1], Status.OK, Status.NON_FINITE),
        Status.FAILED,
    )
    return Plan(
        actions=candidates[choice],
        states=_tree.take(states, choice),
        cost=costs[choice],
        virtual_states=virtual_states(planner, problem, search.planner),
        status=status.astype(jnp.int32),
        metrics=metrics,
        state=search,
    )
