"""Rollouts parallel in time: Newton sweeps over all `T` steps, instead of one step after the other.

The states of a rollout solve the `T` equations `s_{t+1} = F(s_t, a_t)`. A sweep linearizes all of
them at a guess and solves the linear recurrence that comes out by an associative scan, whose depth
is `log T` (DEER, Lim et al. 2024, arXiv 2309.12252):

    s'_{t+1} = F(s_t, a_t) + J_t (s'_t - s_t),   J_t = ∂F/∂s (s_t, a_t),   s'_0 = s_0

From the rollout of actions that differ a little it takes two to four sweeps. The gradient is the
adjoint recurrence `λ_t = J_tᵀ λ_{t+1}`, another associative scan, and one batched action-VJP.

A sweep costs `D` JVPs of the `T` terms and `2 T D³` multiplications, `D` the numbers of a state: it
pays for small states and long horizons on an accelerator, where a serial rollout waits for its
kernels to start. It keeps `T D²` numbers of Jacobians.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.problem import Problem
from grasp_jax.rollout import CostGradient, join_gradient, trajectory

MAX_SWEEPS = 12
_EXACT = jax.lax.Precision.HIGHEST


class ParallelGradient(NamedTuple):
    """A rollout, its cost and the cost's gradient.

    Attributes:
      found: Cost and gradient.
      states: Leaves `[T, ...]`, the rollout's `s_1..s_T`.
      model_evals: `[]`, one-step model evaluations spent.
      model_vjps: `[]`, one-step model derivatives (VJPs or JVPs) spent.
    """

    found: CostGradient
    states: PyTree
    model_evals: jax.Array
    model_vjps: jax.Array


def parallel_gradient(
    problem: Problem, actions: jax.Array, guess: PyTree, max_sweeps: int = MAX_SWEEPS
) -> ParallelGradient:
    """The value and gradient of the rollout's cost, parallel in time.

    Args:
      problem: One goal, without a context, its states in float32 at least. From its horizon on,
        the state stands still.
      actions: `[T, A]`.
      guess: Leaves `[T, ...]`, states to start from: those of a rollout of similar actions.
      max_sweeps: What has not converged by then is evaluated serially.

    Returns:
      What serial evaluation gives, up to rounding: where the states do not converge within
      `max_sweeps` sweeps, or products of Jacobians overflow, a serial evaluation takes their place.
    """
    terms = _Terms(problem, actions)
    states, converged, sweeps = _solve(terms, jax.vmap(terms.flatten)(guess), max_sweeps)
    found = _adjoint(terms, states)
    size = states.shape[1]
    result = ParallelGradient(
        found=found,
        states=jax.vmap(terms.unravel)(states),
        model_evals=problem.max_horizon * (sweeps + 2),
        model_vjps=problem.max_horizon * (size * (sweeps + 1) + 1),
    )
    sound = converged & found.finite
    # A loop of one turn: under `vmap` a cond would evaluate all goals serially, always.
    result, _ = jax.lax.while_loop(
        lambda carry: ~carry[1],
        lambda carry: (_serially(problem, actions, carry[0]), jnp.asarray(True)),
        (result, sound),
    )
    return result


def check_forward_mode(problem: Problem, name: str) -> None:
    """Raises TypeError where the model has no JVP, as one with a `jax.custom_vjp` has not."""

    def tangent(state: PyTree, action: jax.Array) -> PyTree:
        window = _tree.take(problem.windows(jnp.zeros_like(problem.init_actions)), 0)
        del action
        return jax.jvp(lambda s: problem.step(s, window), (state,), (state,))[1]

    states = problem.state
    if problem.context is not None:
        present = jax.tree.map(lambda x: x[None], states)
        states = _tree.concatenate(problem.context.states, present)
    try:
        jaxpr = jax.make_jaxpr(tangent)(states, problem.init_actions[0])
        has_none = _holds(jaxpr.jaxpr, "custom_lin")
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        has_none = True
    if has_none:
        raise TypeError(
            f"{name} takes JVPs of the dynamics, which has none: a jax.custom_vjp inside (an ODE "
            "solver's adjoint?) knows only the backward mode. Take another planner, or give the "
            "model a jax.custom_jvp."
        )


def _holds(jaxpr: Any, primitive: str) -> bool:
    """Whether a jaxpr, or one inside it, holds a primitive.

    A `jax.custom_vjp` is differentiated forwards without complaint while tracing; what then stands
    in its place, `custom_lin`, fails when it is compiled.
    """
    inner = [
        getattr(x, "jaxpr", x)
        for equation in jaxpr.eqns
        for x in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        )
    ]
    names = [equation.primitive.name for equation in jaxpr.eqns]
    return primitive in names or any(_holds(x, primitive) for x in inner if hasattr(x, "eqns"))


class _Terms:
    """The `T` steps of a rollout on states `[D]`, side by side."""

    def __init__(self, problem: Problem, actions: jax.Array) -> None:
        self.problem, self.actions = problem, actions
        self.start, self.unravel = ravel_pytree(problem.state)
        self.moves = jnp.arange(problem.max_horizon) < problem.horizon
        leaves = jax.tree.leaves(problem.state)
        self.rounding = max(float(jnp.finfo(x.dtype).eps) for x in leaves)

    def flatten(self, state: PyTree) -> jax.Array:
        """Leaves `[...]` to `[D]`."""
        return ravel_pytree(state)[0]

    def before(self, states: jax.Array) -> jax.Array:
        """`s_0..s_{T-1}` of `s_1..s_T`, `[T, D]`."""
        return jnp.concatenate([self.start[None], states[:-1]])

    def step(self, state: jax.Array, window: PyTree, moves: jax.Array) -> jax.Array:
        """`F` on flat states; the state where it stands still."""
        following = self.problem.step(self.unravel(state), window)
        return jnp.where(moves, self.flatten(following), state)

    def linearized(self, states: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`J_t` `[T, D, D]` and `F(s_t, a_t)` `[T, D]` at states `s_1..s_T` `[T, D]`."""

        def twice(*inputs: Any) -> tuple[jax.Array, jax.Array]:
            following = self.step(*inputs)
            return following, following

        windows = self.problem.windows(self.actions)
        slopes = jax.vmap(jax.jacfwd(twice, has_aux=True))
        return slopes(self.before(states), windows, self.moves)


def _solve(
    terms: _Terms, guess: jax.Array, max_sweeps: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """States `[T, D]`, whether they converged, and after how many sweeps."""

    def sweep(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        states, _, count = carry
        slopes, following = terms.linearized(states)
        gaps = following - states
        # Newton squares an error: states whose gaps were this small are exact to rounding now.
        # Entry by entry: a large coordinate must not excuse a small one.
        limit = 100 * terms.rounding * (1 + jnp.abs(states))
        moved = states + _recurrence(slopes.at[0].set(0), gaps)
        return moved, jnp.all(jnp.abs(gaps) <= limit), count + 1

    first = (guess, jnp.asarray(False), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: ~carry[1] & (carry[2] < max_sweeps), sweep, first)  # pyright: ignore[reportReturnType]


def _adjoint(terms: _Terms, states: jax.Array) -> CostGradient:
    """The cost of states `[T, D]` that are a rollout, and its gradient."""
    problem, actions = terms.problem, terms.actions

    def costs(
        states: jax.Array, actions: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        unraveled = jax.vmap(terms.unravel)(states)
        terminal = problem.terminal_cost(_tree.take(unraveled, -1))
        running = problem.running_costs(unraveled, actions)
        return terminal + running, (terminal, running)

    (_, (terminal, running)), (state_slopes, direct) = jax.value_and_grad(
        costs, (0, 1), has_aux=True
    )(states, actions)
    slopes, _ = terms.linearized(states)
    transposed = jnp.swapaxes(jnp.roll(slopes, -1, 0), 1, 2).at[-1].set(0)
    adjoint = _recurrence(transposed, state_slopes, reverse=True)
    before = terms.before(states)
    _, pull_back = jax.vjp(
        lambda actions: jax.vmap(terms.step)(before, problem.windows(actions), terms.moves), actions
    )
    slope = problem.until_end(pull_back(adjoint)[0] + direct)
    return join_gradient(problem, actions, terminal, running, slope)


def _serially(problem: Problem, actions: jax.Array, spent: ParallelGradient) -> ParallelGradient:
    """The same, one step after the other, added to what was `spent`."""

    def costs(actions: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array, PyTree]]:
        states = _tree.take(trajectory(problem, actions), slice(1, None))
        terminal = problem.terminal_cost(_tree.take(states, -1))
        running = problem.running_costs(states, actions)
        return terminal + running, (terminal, running, states)

    (_, (terminal, running, states)), slope = jax.value_and_grad(costs, has_aux=True)(actions)
    found = join_gradient(problem, actions, terminal, running, problem.until_end(slope))
    steps = problem.max_horizon
    return ParallelGradient(found, states, spent.model_evals + steps, spent.model_vjps + steps)


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
