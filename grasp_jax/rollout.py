"""Serial rollouts: `s_{t+1} = F(s_t, a_t)`, one model call after the other, `lax.scan` over `T`.

A `RolloutModel` gives all states in one call instead, where that means the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.prepared import RolloutModel
from grasp_jax.problem import Problem

Carry = Any


def trajectory(problem: Problem, actions: jax.Array) -> PyTree:
    """The predicted states of a plan.

    Args:
      problem: One goal. From its horizon on, the state stands still.
      actions: `[T, A]`.

    Returns:
      Leaves `[T+1, ...]`: `s_0`, then the model's prediction after each action.

    """
    if _at_once(problem):
        return _tree.prepend(problem.state, problem.dynamics.rollout(problem.state, actions))
    step, carry, inputs = stepper(problem, actions)
    _, states = jax.lax.scan(step, carry, inputs)
    return _tree.prepend(problem.state, states)


def rollout_cost(problem: Problem, actions: jax.Array, remat: bool = False) -> jax.Array:
    """The objective of the true rollout of actions: one model call per step, states not stored.

    Args:
      problem: One goal.
      actions: `[T, A]`.
      remat: A derivative keeps the `T` states alone and evaluates the model a second time,
        instead of keeping what the model computed in all `T` steps.

    Returns:
      `[]`.

    """
    terminal, running = _state_costs(problem, actions, remat)
    return terminal + problem.control_cost(actions) + running


class CostGradient(NamedTuple):
    """A rollout's cost and its slope.

    Attributes:
      cost: `[]`.
      gradient: `[T, A]`, `∂cost/∂a`; entries that are not finite are zero, so that they move
        nothing. A control cost without a slope erases nobody else's.
      finite: `[]` bool, whether the cost and the model's part of the slope were finite.
      control_finite: `[]` bool, whether the control cost's part was.
    """

    cost: jax.Array
    gradient: jax.Array
    finite: jax.Array
    control_finite: jax.Array


def rollout_gradient(problem: Problem, actions: jax.Array, remat: bool = False) -> CostGradient:
    """`rollout_cost` and its gradient, by one pass forward and one backward through the rollout."""

    def of_states(actions: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        terminal, running = _state_costs(problem, actions, remat)
        return terminal + running, (terminal, running)

    (_, (terminal, running)), slope = jax.value_and_grad(of_states, has_aux=True)(actions)
    # Past the goal's step a model may have no derivative at the zeros that stand there.
    return join_gradient(problem, actions, terminal, running, problem.until_end(slope))


def join_gradient(
    problem: Problem, actions: jax.Array, terminal: jax.Array, running: jax.Array, slope: jax.Array
) -> CostGradient:
    """Adds the control cost to the costs of a rollout's states `[]` and their slope `[T, A]`."""
    control, control_slope, control_finite = problem.control_gradient(actions)
    cost = terminal + control + running
    finite = jnp.isfinite(cost) & _tree.all_finite(slope)
    gradient = _tree.finite_or_zero(_tree.finite_or_zero(slope) + control_slope)
    return CostGradient(cost, gradient, finite, control_finite)


def _state_costs(problem: Problem, actions: jax.Array, remat: bool) -> tuple[jax.Array, jax.Array]:
    """`d(s_T, g)` and `Σ_t r(s_t)` of a rollout, `[]` each."""
    if _at_once(problem) and not remat:
        states = problem.dynamics.rollout(problem.state, actions)
        return problem.terminal_cost(_tree.take(states, -1)), problem.running_costs(states, actions)
    step, carry, inputs = stepper(problem, actions)

    def to_next(carry: Carry, inputs: Any) -> tuple[Carry, jax.Array | None]:
        inputs, action, number = inputs
        carry, state = step(carry, inputs)
        return carry, (
            problem.running_cost(state, action, number) if problem.has_running_cost else None
        )

    to_next = jax.checkpoint(to_next, prevent_cse=False) if remat else to_next
    carry, running = jax.lax.scan(to_next, carry, (inputs, actions, problem.steps))
    final = carry if problem.context is None else _tree.take(carry, -1)
    return problem.terminal_cost(final), problem.sum_until_end(running)


def _at_once(problem: Problem) -> bool:
    """Whether the model gives the states itself."""
    alone = problem.context is None and problem.given_horizon is None
    return alone and isinstance(problem.dynamics, RolloutModel)


def stepper(
    problem: Problem, actions: jax.Array
) -> tuple[Callable[[Carry, Any], tuple[Carry, PyTree]], Carry, Any]:
    """A scan body, its first carry (the present state, or window), and its inputs.

    Args:
      problem: One goal.
      actions: `[T, A]`.

    Returns:
      `step(carry, inputs) -> (carry, state)`, the first carry (leaves `[...]`, or `[h, ...]` where
      there is a context), and inputs with leaves `[T, ...]`.
    """
    inputs = problem.windows(actions)
    if problem.context is None:
        step, carry = _state_step(problem), problem.state
    else:
        present = jax.tree.map(lambda x: x[None], problem.state)
        step, carry = _window_step(problem), _tree.concatenate(problem.context.states, present)
    if problem.given_horizon is None:
        return step, carry, inputs

    def step_until_end(carry: Carry, inputs: tuple[PyTree, jax.Array]) -> tuple[Carry, PyTree]:
        window, moves = inputs
        following, state = step(carry, window)
        kept = carry if problem.context is None else _tree.take(carry, -1)
        return _tree.where(moves, following, carry), _tree.where(moves, state, kept)

    return step_until_end, carry, (inputs, jnp.arange(problem.max_horizon) < problem.horizon)


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
