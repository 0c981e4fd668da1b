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
      problem: The problem; one goal.
      actions: `[T, A]`.

    Returns:
      Leaves `[T+1, ...]`: `s_0`, then the model's prediction after each action.
    """
    step, carry = _stepper(problem)
    _, states = jax.lax.scan(step, carry, actions)
    return _tree.prepend(problem.start, states)


def final_state(problem: Problem, actions: jax.Array) -> PyTree:
    """`s_T`, leaves `[...]`, of the rollout under `[T, A]` actions, without storing the others."""
    step, carry = _stepper(problem)
    (states, _), _ = jax.lax.scan(lambda c, a: (step(c, a)[0], None), carry, actions)
    return states if problem.context is None else _tree.take(states, -1)


def rollout_cost(problem: Problem, actions: jax.Array) -> jax.Array:
    """The objective of the true rollout of `[T, A]` actions: `[]`. One model call per step."""
    return problem.cost(final_state(problem, actions), actions)


def _stepper(problem: Problem) -> tuple[Callable[[Carry, jax.Array], tuple[Carry, PyTree]], Carry]:
    """A scan body over actions, and its first carry: (present state or window, past actions)."""
    if problem.context is None:

        def step(carry: Carry, action: jax.Array) -> tuple[Carry, PyTree]:
            following = problem.dynamics(carry[0], action)
            return (following, None), following

        return step, (problem.start, None)

    def window_step(carry: Carry, action: jax.Array) -> tuple[Carry, PyTree]:
        states, past_actions = carry
        actions = jnp.concatenate([past_actions, action[None]])
        following = problem.dynamics(states, actions)
        states = jax.tree.map(lambda w, s: jnp.concatenate([w[1:], s[None]]), states, following)
        return (states, actions[1:]), following

    present = jax.tree.map(lambda x: x[None], problem.start)
    return window_step, (
        _tree.concatenate(problem.context.states, present),
        problem.context.actions,
    )
