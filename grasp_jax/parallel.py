"""Rollouts parallel in time: Newton sweeps over all `T` steps, instead of one step after the other.

The states of a rollout solve the `T` equations `s_{t+1} = F(s_t, a_t)`. A sweep linearises all of
them at a guess and solves the linear recurrence that comes out by an associative scan, whose depth
is `log T` (DEER, Lim et al. 2024, arXiv 2309.12252):

    s'_{t+1} = F(s_t, a_t) + J_t (s'_t - s_t),   J_t = ∂F/∂s (s_t, a_t),   s'_0 = s_0

From the rollout of actions that differ a little it takes two to four sweeps. The gradient is the
adjoint recurrence `λ_t = J_tᵀ λ_{t+1}`, another associative scan, and one batched action-VJP.

A sweep costs `D` JVPs of the `T` terms and `2 T D³` multiplications, `D` the numbers of a state: it
pays for small states and long horizons on an accelerator, where a serial rollout waits for its
kernels to start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.problem import Problem
from grasp_jax.rollout import trajectory

SWEEPS = 12  # at most; what has not converged by then is rolled out serially
_EXACT = jax.lax.Precision.HIGHEST


class ParallelGradient(NamedTuple):
    """A rollout, its cost and the cost's gradient.

    Attributes:
      cost: `[]`, of the rollout.
      gradient: `[T, A]`, `∂cost/∂a`.
      states: Leaves `[T, ...]`, the rollout's `s_1..s_T`.
      forward: `[]`, one-step model evaluations and JVPs spent.
      backward: `[]`, one-step VJPs spent.
    """

    cost: jax.Array
    gradient: jax.Array
    states: PyTree
    forward: jax.Array
    backward: jax.Array


def parallel_gradient(problem: Problem, actions: jax.Array, guess: PyTree) -> ParallelGradient:
    """The value and gradient of the rollout's cost, parallel in time.

    Args:
      problem: One goal, without a context. From its length on, the state stands still.
      actions: `[T, A]`.
      guess: Leaves `[T, ...]`, states to start from: those of a rollout of similar actions.

    Returns:
      What serial evaluation gives, up to rounding: states that do not converge within `SWEEPS`
      sweeps are replaced by a serial rollout.
    """
    start, unravel = ravel_pytree(problem.start)
    moves = jnp.arange(problem.horizon) < problem.end
    windows = problem.windows(actions)

    def step(state: jax.Array, window: PyTree, moves: jax.Array) -> jax.Array:
        following, _ = ravel_pytree(problem.step(unravel(state), window))
        return jnp.where(moves, following, state)

    def linearised(states: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`J_t` `[T, D, D]` and `F(s_t, a_t)` `[T, D]` at states `s_1..s_T` `[T, D]`."""

        def twice(*inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
            following = step(*inputs)
            return following, following

        return jax.vmap(jax.jacfwd(twice, has_aux=True))(before(states), windows, moves)

    def before(states: jax.Array) -> jax.Array:
        return jnp.concatenate([start[None], states[:-1]])

    def sweep(
        carry: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        states, _, count = carry
        slopes, following = linearised(states)
        gaps = following - states
        # Newton squares an error: states whose gaps were this small are now exact to rounding.
        limit = 100 * jnp.finfo(states.dtype).eps * (1 + jnp.max(jnp.abs(states)))
        converged = jnp.max(jnp.abs(gaps)) <= limit
        return states + _recurrence(slopes.at[0].set(0), gaps), converged, count + 1

    def roll_out(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        del carry
        return _flat(_tree.take(trajectory(problem, actions), slice(1, None))), jnp.asarray(True)

    first = (_flat(guess), jnp.asarray(False), jnp.zeros((), jnp.int32))
    states, converged, count = jax.lax.while_loop(
        lambda carry: ~carry[1] & (carry[2] < SWEEPS), sweep, first
    )
    # A loop of one turn: under `vmap` a cond would roll out all goals, always.
    states, _ = jax.lax.while_loop(lambda carry: ~carry[1], roll_out, (states, converged))

    cost, (end_slope, penalty_slope) = jax.value_and_grad(
        lambda state, actions: problem.cost(unravel(state), actions), (0, 1)
    )(states[-1], actions)
    slopes, _ = linearised(states)
    transposed = jnp.swapaxes(jnp.roll(slopes, -1, 0), 1, 2).at[-1].set(0)
    adjoint = _recurrence(transposed, jnp.zeros_like(states).at[-1].set(end_slope), reverse=True)
    _, pull_back = jax.vjp(
        lambda actions: jax.vmap(step)(before(states), problem.windows(actions), moves), actions
    )
    terms = problem.horizon * (1 + len(start))
    return ParallelGradient(
        cost=cost,
        gradient=pull_back(adjoint)[0] + penalty_slope,
        states=jax.vmap(unravel)(states),
        forward=terms * (count + 1) + problem.horizon * (1 + ~converged),
        backward=jnp.asarray(problem.horizon),
    )


def _flat(states: PyTree) -> jax.Array:
    """Leaves `[T, ...]` to `[T, D]`."""
    return jax.vmap(lambda state: ravel_pytree(state)[0])(states)


def _recurrence(slopes: jax.Array, offsets: jax.Array, reverse: bool = False) -> jax.Array:
    """`x_t = slopes_t x_{t-1} + offsets_t` from `x = 0`, or backwards in time: `[T, D]`.

    Args:
      slopes: `[T, D, D]`.
      offsets: `[T, D]`.
      reverse: `x_t = slopes_t x_{t+1} + offsets_t`.
    """

    def compose(
        one: tuple[jax.Array, jax.Array], two: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        (a, b), (c, d) = one, two
        moved = jnp.einsum("tij,tj->ti", c, b, precision=_EXACT)
        return jnp.einsum("tij,tjk->tik", c, a, precision=_EXACT), moved + d

    return jax.lax.associative_scan(compose, (slopes, offsets), reverse=reverse)[1]
