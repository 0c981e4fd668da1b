"""The lifted objective: all `T` one-step terms side by side, states as variables.

GRASP's objective (arXiv 2602.00475), with `s̄ = stop_gradient(s)`, `s_0` and `s_T = g` pinned:

    L(s, a) = Σ_t ||F(s̄_t, a_t) - s_{t+1}||²  +  γ Σ_t d(F(s̄_t, a_t), g)

The paper's `d` is the squared distance. For any other distance the last dynamics term, which
compares with the pinned `s_T`, becomes `d(F(s̄_{T-1}, a_{T-1}), g)`: the same thing where `d` is
the squared distance, and where `d` reads only a part of the state the rest of `s_T` is free.

Because the state input is stopped, `∂L/∂s_t = 2 (s_t - F(s̄_{t-1}, a_{t-1}))` needs no model
derivative, and both sums share one forward pass: an evaluation costs one batched forward and one
batched action-VJP of the `T` terms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.problem import Problem


class LiftedGradient(NamedTuple):
    """The lifted objective and its gradient at one point.

    Attributes:
      loss: `[]`, `L` (plus the action cost).
      residual: `[]`, the dynamics part of `L`, `Σ_t ||F_t - s_{t+1}||²`.
      states: Leaves `[T-1, ...]`, `∂L/∂s_t` for `t = 1..T-1`.
      actions: `[T, A]`, `∂L/∂a_t`.
      finite: `[]` bool, whether every prediction and gradient was finite. Broken entries of the
        gradients are zero, so that they move nothing.
    """

    loss: jax.Array
    residual: jax.Array
    states: PyTree
    actions: jax.Array
    finite: jax.Array


def predict(
    problem: Problem, states: PyTree, actions: jax.Array, time_chunk: int | None = None
) -> PyTree:
    """All `T` one-step predictions, `F(s_t, a_t)` for `t = 0..T-1`, in parallel.

    Args:
      problem: One goal; its context, if any, fills the windows that reach before `s_0`.
      states: Virtual states `s_1..s_{T-1}`, leaves `[T-1, ...]`.
      actions: `[T, A]`.
      time_chunk: Evaluate this many terms at a time, to bound memory; None for all at once.

    Returns:
      Leaves `[T, ...]`.
    """
    inputs = _tree.prepend(problem.start, states)
    if problem.context is not None:
        times = jnp.arange(problem.horizon)[:, None] + jnp.arange(problem.window)
        inputs = _tree.take(_tree.concatenate(problem.context.states, inputs), times)
        actions = jnp.concatenate([problem.context.actions, actions])[times]
    if time_chunk is None or time_chunk >= problem.horizon:
        return jax.vmap(problem.dynamics)(inputs, actions)
    return jax.lax.map(lambda x: problem.dynamics(*x), (inputs, actions), batch_size=time_chunk)


def lifted_gradient(
    problem: Problem,
    states: PyTree,
    actions: jax.Array,
    goal_weight: jax.Array | float,
    stop_state_gradient: bool = True,
    time_chunk: int | None = None,
) -> LiftedGradient:
    """`L`, `∂L/∂s` and `∂L/∂a` from one forward pass and one VJP of the `T` terms.

    Args:
      problem: One goal.
      states: Virtual states `s_1..s_{T-1}`, leaves `[T-1, ...]`.
      actions: `[T, A]`.
      goal_weight: `γ >= 0`, `[]`.
      stop_state_gradient: False adds the model's state-input gradient (an ablation; it makes the
        VJP one through states and actions).
      time_chunk: See `predict`.
    """

    def predict_at(states: PyTree, actions: jax.Array) -> PyTree:
        return predict(problem, states, actions, time_chunk)

    if stop_state_gradient:
        predictions, pull_back = jax.vjp(lambda a: predict_at(states, a), actions)
    else:
        predictions, pull_back = jax.vjp(predict_at, states, actions)

    fits = jax.vmap(_tree.all_finite)(predictions)
    gaps = jax.tree.map(lambda f, s: f[:-1] - s, predictions, states)
    goal_terms, goal_slopes = jax.vmap(jax.value_and_grad(problem.distance))(predictions)
    # The last of the T dynamics terms compares with the pinned s_T = g, hence the extra 1.
    weights = jnp.full(problem.horizon, goal_weight, goal_terms.dtype).at[-1].add(1)
    slope = _prediction_slope(gaps, goal_slopes, weights)
    slope = _tree.where(fits, slope, jax.tree.map(jnp.zeros_like, slope))
    penalty, penalty_slope = jax.value_and_grad(problem.penalty)(actions)

    state_gradient = jax.tree.map(lambda gap: -2 * gap, gaps)
    if stop_state_gradient:
        (action_gradient,) = pull_back(slope)
    else:
        through_model, action_gradient = pull_back(slope)
        state_gradient = jax.tree.map(jnp.add, state_gradient, through_model)
    action_gradient = action_gradient + penalty_slope

    gap_terms = sum(jax.tree.leaves(jax.tree.map(_sum_of_squares, gaps)))
    residual = gap_terms + goal_terms[-1]
    loss = gap_terms + jnp.sum(weights * goal_terms) + penalty
    finite = jnp.all(fits) & _tree.all_finite((state_gradient, action_gradient, loss))
    return LiftedGradient(
        loss=loss,
        residual=residual,
        states=_tree.finite_or_zero(state_gradient),
        actions=_tree.finite_or_zero(action_gradient),
        finite=finite,
    )


def _prediction_slope(gaps: PyTree, goal_slopes: PyTree, weights: jax.Array) -> PyTree:
    """`∂L/∂F_t`, leaves `[T, ...]`, from the gaps `F_t - s_{t+1}`, leaves `[T-1, ...]`."""

    def slope(gap: jax.Array, goal_slope: jax.Array) -> jax.Array:
        of_dynamics = jnp.pad(2 * gap, [(0, 1)] + [(0, 0)] * (gap.ndim - 1))
        per_step = weights.reshape((-1,) + (1,) * (gap.ndim - 1)).astype(gap.dtype)
        return of_dynamics + per_step * goal_slope

    return jax.tree.map(slope, gaps, goal_slopes)


def _sum_of_squares(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x))
