"""The lifted objective: all `T` one-step terms side by side, states as variables.

GRASP's objective (arXiv 2602.00475), with `s̄ = stop_gradient(s)`, `s_0` and `s_T = g` pinned:

    L(s, a) = Σ_t ||F(s̄_t, a_t) - s_{t+1}||²  +  γ Σ_t d(F(s̄_t, a_t), g)

Virtual states are stored as `s_1..s_T`, leaves `[T, ...]`, so that row `t` holds what `F_t` is
compared with, and a time axis that is sharded over devices shifts by one collective-permute; the
last row stands for the pinned `s_T` and is never read.

The paper's `d` is the squared distance. For any other distance the last dynamics term, which
compares with the pinned `s_T`, becomes `d(F(s̄_{T-1}, a_{T-1}), g)`: the same thing where `d` is
the squared distance, and where `d` reads only a part of the state the rest of `s_T` is free.

Costs `c(a)` of actions and `Σ_t r(F(s̄_t, a_t))` of states on the way, if there are any, are added.

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
      loss: `[]`, `L` (plus the costs of actions and of states on the way).
      dynamics_residual: `[]`, the dynamics part of `L`, `Σ_t ||F_t - s_{t+1}||²`.
      states: Leaves `[T, ...]`, `∂L/∂s_t` for `t = 1..T`; zero for the pinned `s_T`.
      actions: `[T, A]`, `∂L/∂a_t`.
      finite: `[]` bool, whether every prediction and gradient was finite. Broken entries of the
        gradients are zero, so that they move nothing.
      control_finite: `[]` bool, whether the control cost's gradient was.
    """

    loss: jax.Array
    dynamics_residual: jax.Array
    states: PyTree
    actions: jax.Array
    finite: jax.Array
    control_finite: jax.Array


def predict(
    problem: Problem, states: PyTree, actions: jax.Array, time_batch_size: int | None = None
) -> PyTree:
    """All `T` one-step predictions, `F(s_t, a_t)` for `t = 0..T-1`, in parallel.

    Args:
      problem: One goal; its context, if any, fills the windows that reach before `s_0`.
      states: Virtual states `s_1..s_T`, leaves `[T, ...]`; the last row is not read.
      actions: `[T, A]`.
      time_batch_size: Evaluate this many terms at a time, to bound memory; a derivative then
        evaluates the model a second time. None for all at once.

    Returns:
      Leaves `[T, ...]`.
    """
    # A roll, not a concatenation: one collective-permute where the time axis is sharded.
    first = jnp.arange(problem.max_horizon) == 0
    shifted = jax.tree.map(lambda x: jnp.roll(x, 1, 0), problem.split(states, "time"))
    inputs = _tree.where(first, jax.tree.map(lambda s: s[None], problem.state), shifted)
    if problem.context is not None:
        times = jnp.arange(problem.max_horizon)[:, None] + jnp.arange(problem.window)
        inputs = _tree.take(_tree.concatenate(problem.context.states, inputs), times)
    inputs, windows = problem.split((inputs, problem.windows(actions)), "time")
    if time_batch_size is None or time_batch_size >= problem.max_horizon:
        return jax.vmap(problem.step)(inputs, windows)
    # Otherwise the derivative would keep what the model computed in all chunks.
    step = jax.checkpoint(lambda x: problem.step(*x))
    return jax.lax.map(step, (inputs, windows), batch_size=time_batch_size)


def lifted_gradient(
    problem: Problem,
    states: PyTree,
    actions: jax.Array,
    goal_weight: jax.Array | float,
    stop_state_gradient: bool = True,
    time_batch_size: int | None = None,
) -> LiftedGradient:
    """`L`, `∂L/∂s` and `∂L/∂a` from one forward pass and one VJP of the `T` terms.

    Args:
      problem: One goal. Where its horizon is below `T`, the sums end there and `s_horizon = g`.
      states: Virtual states `s_1..s_T`, leaves `[T, ...]`; the last row is not read.
      actions: `[T, A]`.
      goal_weight: `γ >= 0`, `[]`.
      stop_state_gradient: False adds the model's state-input gradient (an ablation; it makes the
        VJP one through states and actions).
      time_batch_size: See `predict`.
    """

    def predict_at(states: PyTree, actions: jax.Array) -> PyTree:
        return predict(problem, states, actions, time_batch_size)

    if stop_state_gradient:
        predictions, pull_back = jax.vjp(lambda a: predict_at(states, a), actions)
    else:
        predictions, pull_back = jax.vjp(predict_at, states, actions)

    steps = jnp.arange(problem.max_horizon)
    valid, last = steps < problem.horizon, steps == problem.horizon - 1
    fits = jax.vmap(_tree.all_finite)(predictions)
    # The last dynamics term compares with the pinned s_T = g: it is a goal term of weight 1.
    gaps = _tree.where(valid & ~last, jax.tree.map(jnp.subtract, predictions, states), 0.0)
    goal_terms, goal_slopes = jax.vmap(jax.value_and_grad(problem.terminal_cost))(predictions)
    goal_terms = jnp.where(valid, goal_terms, 0)
    weights = jnp.where(valid, goal_weight, 0).astype(goal_terms.dtype) + last
    slope = jax.tree.map(
        lambda gap, of_goal: 2 * gap + _per_step(weights, gap) * of_goal, gaps, goal_slopes
    )
    running, direct = jnp.zeros(()), jnp.zeros_like(actions)
    if problem.has_running_cost:
        of_both = jax.vmap(jax.value_and_grad(problem.running_cost, (0, 1)))
        costs, (slopes, direct) = of_both(predictions, actions, problem.steps)
        running = problem.sum_until_end(costs)
        slope = jax.tree.map(jnp.add, slope, slopes)
    slope = _tree.where(fits & valid, slope, 0.0)
    control, control_slope, control_finite = problem.control_gradient(actions)

    state_gradient = jax.tree.map(lambda gap: -2 * gap, gaps)
    if stop_state_gradient:
        (action_gradient,) = pull_back(slope)
    else:
        through_model, action_gradient = pull_back(slope)
        state_gradient = jax.tree.map(jnp.add, state_gradient, through_model)
        state_gradient = _tree.where(valid, state_gradient, 0.0)
    # Past the goal's step a model may have no derivative at the zeros that stand there.
    action_gradient = problem.until_end(action_gradient + direct)

    gap_terms = sum(jax.tree.leaves(jax.tree.map(_sum_of_squares, gaps)))
    loss = gap_terms + jnp.sum(weights * goal_terms) + control + running
    finite = jnp.all(fits | ~valid) & _tree.all_finite((state_gradient, action_gradient, loss))
    return LiftedGradient(
        loss=loss,
        dynamics_residual=gap_terms + jnp.sum(jnp.where(last, goal_terms, 0)),
        states=problem.split(_tree.finite_or_zero(state_gradient), "time"),
        actions=problem.split(_tree.finite_or_zero(action_gradient) + control_slope, "time"),
        finite=finite,
        control_finite=control_finite,
    )


def _per_step(weights: jax.Array, like: jax.Array) -> jax.Array:
    """`[T]` weights that broadcast over `[T, ...]`, in the dtype of `like`."""
    return weights.reshape((-1,) + (1,) * (like.ndim - 1)).astype(like.dtype)


def _sum_of_squares(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x.astype(_tree.cost_dtype(x.dtype))))
