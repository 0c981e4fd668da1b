"""Serial rollouts: `s_{t+1} = F(s_t, a_t)`, one model call after the other, `lax.scan` over `T`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.problem import Problem

Carry = Any


def trajectory(problem: Problem, actions: jax.Array) -> PyTree:
    """The predicted states of a plan.

    Args:
      problem: The problem; one goal. From its length on, the state stands still.
      actions: `[T, A]`.

    Returns:
      Leaves `[T+1, ...]`: `s_0`, then the model's prediction after each action.
    """
    step, carry, inputs = _stepper(problem, actions)
    _, states = jax.lax.scan(step, carry, inputs)
    return _tree.prepend(problem.start, states)


def rollout_cost(problem: Problem, actions: jax.Array, recompute: bool = False) -> jax.Array:
    """The objective of the true rollout of actions: one model call per step, states not stored.

    Args:
      problem: One goal.
      actions: `[T, A]`.
      recompute: A derivative keeps the `T` states alone and evaluates the model a second time,
        instead of keeping what the model computed in all `T` steps.

    Returns:
      `[]`.
    """
    step, carry, inputs = _stepper(problem, actions)

    def to_next(carry: Carry, inputs: Any) -> tuple[Carry, jax.Array | None]:
        carry, state = step(carry, inputs)
        return carry, problem.state_cost(state) if problem.pays_along else None

    to_next = jax.checkpoint(to_next, prevent_cse=False) if recompute else to_next
    carry, along = jax.lax.scan(to_next, carry, inputs)
    final = carry if problem.context is None else _tree.take(carry, -1)
    return problem.distance(final) + problem.penalty(actions) + problem.sum_until_end(along)


def _stepper(
    problem: Problem, actions: jax.Array
) -> tuple[Callable[[Carry, Any], tuple[Carry, PyTree]], Carry, Any]:
    """A scan body, its first carry (the present state, or window), and its inputs."""
    inputs = problem.windows(actions)
    if problem.context is None:
        step, carry = _state_step(problem), problem.start
    else:
        present = jax.tree.map(lambda x: x[None], problem.start)
        step, carry = _window_step(problem), _tree.concatenate(problem.context.states, present)
    if problem.length is None:
        return step, carry, inputs

    def step_until_end(carry: Carry, inputs: tuple[PyTree, jax.Array]) -> tuple[Carry, PyTree]:
        window, moves = inputs
        following, state = step(carry, window)
        kept = carry if problem.context is None else _tree.take(carry, -1)
        return _tree.where(moves, following, carry), _tree.where(moves, state, kept)

    return step_until_end, carry, (inputs, jnp.arange(problem.horizon) < problem.length)


def _state_step(problem: Problem) -> Callable[[Carry, PyTree], tuple[Carry, PyTree]]:
    def step(state: Carry, action: PyTree) -> tuple[Carry, PyTree]:
        following = problem.step(state, action)
        return following, following

    return step


def _window_step(problem: Problem) -> Callable[[Carry, PyTree], tuple[Carry, PyTree]]:
    def step(states: Carry, actions: PyTree) -> tuple[Carry, PyTree]:
        following = problem.step(states, actions)
        states = jax.tree.map(lambda w, s: jnp.concatenate([w[1:], s[None]]), states, following)
        return states, following

    return step
