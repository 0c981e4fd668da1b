"""A search in pieces: `start`, `advance`, `read`; and what the model says of given actions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from grasp_jax import programs, sharding
from grasp_jax._compile import usual_promotion
from grasp_jax._fields import as_count
from grasp_jax._frozen import Frozen
from grasp_jax._tree import PyTree, describe, is_number
from grasp_jax.arguments import as_array
from grasp_jax.planner import Planner
from grasp_jax.planning import planner_and_key
from grasp_jax.problem import Problem
from grasp_jax.results import Metrics, Plan
from grasp_jax.search import Search


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
    planner, key = planner_and_key(problem, planner, key)
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
