"""LatCo: collocation in latent space (Rybkin et al. 2021), full state gradients and multipliers.

All states `s_1..s_T` and actions are variables; the model is a constraint whose weight grows:

    min_{s,a}  d(s_T, g) + w Σ_{t<T} d(s_t, g) + c(a) + Σ_t λ_t ||F(s_t, a_t) - s_{t+1}||²

(and costs along the way, where there are some). Unlike GRASP the gradient passes through the
model's state input. `LatCo` descends by a first-order optimiser; `LatCo.gauss_newton` solves for
all variables at once, for small states only.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from grasp_jax import _tree
from grasp_jax._settings import (
    Scalar,
    Schedule,
    require_count,
    require_number,
    require_optimizer,
    require_range,
    static,
)
from grasp_jax._tree import PyTree
from grasp_jax.lifted import predict
from grasp_jax.paths import Line, Path, calls, require_path, states_alike, with_end
from grasp_jax.planners.base import Progress, Proposal, add, proposal
from grasp_jax.planners.gradient import Optimizer
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


class LatCoState(NamedTuple):
    """`states` `s_1..s_T` `[T, ...]`, `actions` `[T, A]`, `multipliers` `λ` `[T]`, optimiser."""

    states: PyTree
    actions: jax.Array
    multipliers: jax.Array
    optimizer: optax.OptState


def _residuals(problem: Problem, states: PyTree, actions: jax.Array) -> PyTree:
    """`F(s_t, a_t) - s_{t+1}`, leaves `[T, ...]`; zero past the end."""
    residuals = jax.tree.map(jnp.subtract, predict(problem, states, actions), states)
    return _tree.where(jnp.arange(problem.horizon) < problem.end, residuals, 0.0)


def _violation(residuals: PyTree) -> jax.Array:
    """`||r_t||²` for each step, `[T]`."""

    def per_step(x: jax.Array) -> jax.Array:
        squares = jnp.square(x.astype(_tree.cost_dtype(x.dtype)))
        return jnp.sum(squares, axis=tuple(range(1, x.ndim)))

    return sum(jax.tree.leaves(jax.tree.map(per_step, residuals)), start=jnp.zeros(()))


def _state_costs(problem: Problem, states: PyTree, goal_weight: Scalar) -> jax.Array:
    """`d(s_T, g) + w Σ_{t<T} d(s_t, g) + Σ_t r(s_t)`, `[]`."""
    steps, end = jnp.arange(problem.horizon), problem.end - 1
    weights = jnp.where(steps < end, goal_weight, jnp.where(steps == end, 1.0, 0.0))
    goal = jnp.sum(weights * jax.vmap(problem.distance)(states))
    return goal + problem.state_costs(states)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LatCo:
    """First-order LatCo.

    Attributes:
      learning_rate: For states and actions alike.
      iterations: Each costs one batched forward and one batched VJP in states and actions.
      goal_weight: `w`, weight of the goal distance at every state before the last.
      multiplier: First `λ_t`.
      multiplier_rate: `λ_t` grows by this times the violation ...
      multiplier_every: ... every so many iterations.
      evaluate_every: Iterations between two serial rollouts that look for a best plan.
      path: Where the states start.
      optimizer: Factory called with the learning rate.
    """

    learning_rate: Scalar | Schedule = 0.05
    iterations: int = static(1000)
    goal_weight: Scalar = 0.0
    multiplier: Scalar = 1.0
    multiplier_rate: Scalar = 1.5
    multiplier_every: int = static(5)
    evaluate_every: int = static(10)
    path: Path = Line()
    optimizer: Optimizer = static(optax.adam)

    @staticmethod
    def gauss_newton(iterations: int = 50) -> "LatCoGN":
        """The second-order variant; its cost grows with the cube of `T · (state + action size)`."""
        return LatCoGN(iterations=iterations)

    def __post_init__(self) -> None:
        for field in ("learning_rate", "goal_weight", "multiplier", "multiplier_rate"):
            require_range(self, field, 0)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        for field in ("iterations", "multiplier_every", "evaluate_every"):
            require_count(self, field)
        require_number(self, "learning_rate", schedule=True)
        for field in ("goal_weight", "multiplier", "multiplier_rate"):
            require_number(self, field)
        require_optimizer(self, (states_alike(problem), problem.actions))
        require_path(self, problem)

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """Those of the path."""
        return calls(self.path, problem), 0

    def init(self, problem: Problem, key: jax.Array) -> LatCoState:
        """States on their path, actions at the starting guess."""
        states = with_end(self.path, problem, key)
        variables = (states, problem.actions)
        multipliers = jnp.full(problem.horizon, self.multiplier, problem.actions.dtype)
        optimizer = self.optimizer(self.learning_rate).init(variables)
        return LatCoState(states, problem.actions, multipliers, optimizer)

    def step(
        self, problem: Problem, state: LatCoState, progress: Progress
    ) -> tuple[LatCoState, Proposal]:
        """One gradient step; now and then a multiplier update and a rollout."""
        variables = (state.states, state.actions)

        def loss(variables: tuple[PyTree, jax.Array]) -> tuple[jax.Array, jax.Array]:
            states, actions = variables
            violation = _violation(_residuals(problem, states, actions))
            costs = _state_costs(problem, states, self.goal_weight)
            total = costs + problem.penalty(actions) + jnp.sum(state.multipliers * violation)
            return total, violation

        (value, violation), gradient = jax.value_and_grad(loss, has_aux=True)(variables)
        # Past the goal's step a model may have no derivative at the zeros that stand there.
        gradient = (gradient[0], problem.until_end(gradient[1]))
        finite = jnp.isfinite(value) & _tree.all_finite(gradient)
        updates, optimizer = self.optimizer(self.learning_rate).update(
            _tree.finite_or_zero(gradient), state.optimizer, variables
        )
        states, actions = add(variables, updates)
        actions = problem.clip(actions)
        grow = (progress.iteration + 1) % self.multiplier_every == 0
        growth = jnp.where(grow, self.multiplier_rate, 0) * _tree.finite_or_zero(violation)
        multipliers = (state.multipliers + growth).astype(state.multipliers.dtype)

        steps, dtype = problem.horizon, _tree.cost_dtype(actions.dtype)
        evaluate = (progress.iteration + 1) % self.evaluate_every == 0
        cost = jax.lax.cond(
            evaluate,
            lambda a: rollout_cost(problem, a).astype(dtype),
            lambda a: jnp.full((), jnp.inf, dtype),
            actions,
        )
        found = proposal(
            actions,
            cost,
            finite & (jnp.isfinite(cost) | ~evaluate),
            forward=steps + jnp.where(evaluate, steps, 0),
            backward=steps,
            loss=value,
            residual=jnp.sum(violation),
        )
        return LatCoState(states, actions, multipliers, optimizer), found

    def actions(self, problem: Problem, state: LatCoState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions

    def virtual_states(self, problem: Problem, state: LatCoState) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        del problem
        return _tree.take(state.states, slice(None, -1))


class LatCoGNState(NamedTuple):
    """`states` `s_1..s_T` `[T, ...]`, `actions` `[T, A]`, `multipliers` `λ` `[T]`."""

    states: PyTree
    actions: jax.Array
    multipliers: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LatCoGN:
    """LatCo by damped Gauss-Newton on all `T · (D + A)` variables; dense, for small states.

    For convex distances and costs: where their curvature is negative it stops moving, with status
    `NON_FINITE`.

    `λ_t ← λ_t (1 + rate · log10((v_t + 0.1 ε) / ε))` with `v_t` the violation, as in the LatCo
    repository.

    Attributes:
      iterations: Each costs one Jacobian of the `T` terms and one dense Cholesky solve.
      damping: Added to the diagonal.
      goal_weight: As in `LatCo`.
      multiplier: First `λ_t`.
      multiplier_rate: `rate`.
      tolerance: `ε`, the violation below which a multiplier shrinks.
      path: Where the states start.
    """

    iterations: int = static(50)
    damping: Scalar = 1e-3
    goal_weight: Scalar = 0.0
    multiplier: Scalar = 1.0
    multiplier_rate: Scalar = 0.1
    tolerance: Scalar = 1e-4
    path: Path = Line()

    def __post_init__(self) -> None:
        # At 1 a violation of a tenth of the tolerance would make multipliers 0, and roots NaN.
        require_range(self, "multiplier_rate", 0, 1)
        for field in ("damping", "goal_weight", "multiplier", "tolerance"):
            require_range(self, field, 0)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        require_count(self, "iterations")
        for field in ("damping", "goal_weight", "multiplier", "multiplier_rate", "tolerance"):
            require_number(self, field)
        require_path(self, problem)

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """Those of the path."""
        return calls(self.path, problem), 0

    def init(self, problem: Problem, key: jax.Array) -> LatCoGNState:
        """States on their path, actions at the starting guess."""
        multipliers = jnp.full(problem.horizon, self.multiplier, problem.actions.dtype)
        return LatCoGNState(with_end(self.path, problem, key), problem.actions, multipliers)

    def step(
        self, problem: Problem, state: LatCoGNState, progress: Progress
    ) -> tuple[LatCoGNState, Proposal]:
        """One Gauss-Newton step, one multiplier update, one rollout."""
        del progress
        # Every device needs the whole dense system: a split of its rows would only be undone.
        problem = dataclasses.replace(problem, mesh=None)
        half, unravel_half = ravel_pytree((state.states, state.actions))
        # LAPACK solves no half-precision systems.
        variables = half.astype(_tree.cost_dtype(half.dtype))

        def unravel(z: jax.Array) -> tuple[PyTree, jax.Array]:
            return unravel_half(z.astype(half.dtype))

        def weighted_residual(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            states, actions = unravel(z)
            weights = jnp.sqrt(state.multipliers)
            residuals = _residuals(problem, states, actions)
            scaled = jax.tree.map(
                lambda r: r * weights.reshape((-1,) + (1,) * (r.ndim - 1)), residuals
            )
            found = ravel_pytree(scaled)[0].astype(z.dtype)
            return found, found

        def rest(z: jax.Array) -> jax.Array:
            states, actions = unravel(z)
            return _state_costs(problem, states, self.goal_weight) + problem.penalty(actions)

        jacobian, residual = jax.jacfwd(weighted_residual, has_aux=True)(variables)
        value, slope = jax.value_and_grad(rest)(variables)
        gradient = 2 * jacobian.T @ residual + slope
        curvature = 2 * jacobian.T @ jacobian + jax.hessian(rest)(variables)
        curvature = curvature + self.damping * jnp.eye(variables.size, dtype=variables.dtype)
        move = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(curvature), gradient)
        finite = _tree.all_finite((residual, gradient, move))
        states, actions = unravel(variables - jnp.where(_tree.all_finite(move), move, 0))
        actions = problem.clip(actions)

        violation = _violation(_residuals(problem, states, actions))
        ratio = (violation + 0.1 * self.tolerance) / self.tolerance
        factor = 1 + self.multiplier_rate * jnp.log10(ratio)
        multipliers = state.multipliers * jnp.where(jnp.isfinite(factor), factor, 1)
        cost = rollout_cost(problem, actions)
        steps, inputs = problem.horizon, variables.size
        found = proposal(
            actions,
            cost,
            finite & jnp.isfinite(cost),
            forward=3 * steps,
            backward=steps * inputs,
            loss=value + jnp.sum(jnp.square(residual)),
            residual=jnp.sum(violation),
        )
        return LatCoGNState(states, actions, multipliers.astype(actions.dtype)), found

    def actions(self, problem: Problem, state: LatCoGNState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions

    def virtual_states(self, problem: Problem, state: LatCoGNState) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        del problem
        return _tree.take(state.states, slice(None, -1))
