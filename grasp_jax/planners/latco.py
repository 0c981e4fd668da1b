"""LatCo: collocation in latent space (Rybkin et al. 2021), full state gradients and multipliers.

All states `s_1..s_T` and actions are variables; the model is a constraint whose weight grows:

    min_{s,a}  d(s_T, g) + w Σ_{t<T} d(s_t, g) + c(a) + Σ_t λ_t ||F(s_t, a_t) - s_{t+1}||²

(and costs along the way, where there are some). Unlike GRASP the gradient passes through the
model's state input. `LatCo` descends by a first-order optimizer; `LatCoGaussNewton` solves for
all variables at once, for small states only.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Schedule, count, factory, number
from grasp_jax._tree import PyTree, add
from grasp_jax.init_states import InitStates, StraightLine, with_end
from grasp_jax.lifted import predict
from grasp_jax.newton import check_forward_mode
from grasp_jax.planner import StepContext, StepInfo, is_stuck
from grasp_jax.planners.base import LiftedPlanner, Optimizer, make_optimizer
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


class LatCoState(NamedTuple):
    """`states` `s_1..s_T` `[T, ...]`, `actions` `[T, A]`, `multipliers` `λ` `[T]`, optimizer."""

    states: PyTree
    actions: jax.Array
    multipliers: jax.Array
    optimizer: optax.OptState


def _residuals(problem: Problem, states: PyTree, actions: jax.Array) -> PyTree:
    """`F(s_t, a_t) - s_{t+1}`, leaves `[T, ...]`; zero past the end."""
    residuals = jax.tree.map(jnp.subtract, predict(problem, states, actions), states)
    return _tree.where(jnp.arange(problem.max_horizon) < problem.horizon, residuals, 0.0)


def _violation(residuals: PyTree) -> jax.Array:
    """`||r_t||²` for each step, `[T]`."""

    def per_step(x: jax.Array) -> jax.Array:
        squares = jnp.square(x.astype(_tree.cost_dtype(x.dtype)))
        return jnp.sum(squares, axis=tuple(range(1, x.ndim)))

    return sum(jax.tree.leaves(jax.tree.map(per_step, residuals)), start=jnp.zeros(()))


def _state_costs(
    problem: Problem, states: PyTree, actions: jax.Array, goal_weight: Scalar
) -> jax.Array:
    """`d(s_T, g) + w Σ_{t<T} d(s_t, g) + Σ_t r(s_t, g, a_{t-1}, t)`, `[]`."""
    steps, end = jnp.arange(problem.max_horizon), problem.horizon - 1
    weights = jnp.where(steps < end, goal_weight, jnp.where(steps == end, 1.0, 0.0))
    goal = jnp.sum(weights * jax.vmap(problem.terminal_cost)(states))
    return goal + problem.running_costs(states, actions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LatCo(LiftedPlanner):
    """First-order LatCo.

    Attributes:
      learning_rate: For states and actions alike.
      iterations: Each costs one batched forward and one batched VJP in states and actions.
      goal_weight: `w`, weight of the goal distance at every state before the last.
      multiplier: First `λ_t`.
      dual_rate: `λ_t` grows by this times the violation ...
      dual_every: ... every so many iterations.
      evaluate_every: Iterations between two serial rollouts that look for a best plan.
      init_states: Where the states start.
      optimizer: Factory called with the learning rate.
    """

    learning_rate: Scalar | Schedule = number(0.05, low=0, schedule=True)
    iterations: int = count(1000)
    goal_weight: Scalar = number(0.0, low=0)
    multiplier: Scalar = number(1.0, low=0)
    dual_rate: Scalar = number(1.5, low=0)
    dual_every: int = count(5)
    evaluate_every: int = count(10)
    init_states: InitStates = StraightLine()
    optimizer: Optimizer = factory(optax.adam, like="both")

    def init(self, problem: Problem, key: jax.Array) -> LatCoState:
        """States on their path, actions at the starting guess."""
        states = with_end(self.init_states, problem, key)
        variables = (states, problem.init_actions)
        multipliers = jnp.full(problem.max_horizon, self.multiplier, problem.init_actions.dtype)
        optimizer = make_optimizer(self.optimizer, self.learning_rate).init(variables)
        return LatCoState(states, problem.init_actions, multipliers, optimizer)

    def step(
        self, problem: Problem, state: LatCoState, context: StepContext
    ) -> tuple[LatCoState, StepInfo]:
        """One gradient step; now and then a multiplier update and a rollout."""
        variables = (state.states, state.actions)

        def loss(variables: tuple[PyTree, jax.Array]) -> tuple[jax.Array, jax.Array]:
            states, actions = variables
            violation = _violation(_residuals(problem, states, actions))
            costs = _state_costs(problem, states, actions, self.goal_weight)
            return costs + jnp.sum(state.multipliers * violation), violation

        (value, violation), gradient = jax.value_and_grad(loss, has_aux=True)(variables)
        control, slope, control_finite = problem.control_gradient(state.actions)
        value = value + control
        # Past the goal's step a model may have no derivative at the zeros that stand there.
        gradient = (gradient[0], problem.until_end(gradient[1]))
        finite = jnp.isfinite(value) & _tree.all_finite(gradient)
        of_states, of_actions = _tree.finite_or_zero(gradient)
        gradient = (of_states, of_actions + slope)
        updates, optimizer = make_optimizer(self.optimizer, self.learning_rate).update(
            gradient, state.optimizer, variables
        )
        states, actions = add(variables, updates)
        actions = problem.clip(actions)
        grow = (context.iteration + 1) % self.dual_every == 0
        growth = jnp.where(grow, self.dual_rate, 0) * _tree.finite_or_zero(violation)
        multipliers = (state.multipliers + growth).astype(state.multipliers.dtype)

        steps, dtype = problem.max_horizon, _tree.cost_dtype(actions.dtype)
        evaluate = (context.iteration + 1) % self.evaluate_every == 0
        cost = jax.lax.cond(
            evaluate,
            lambda a: rollout_cost(problem, a).astype(dtype),
            lambda a: jnp.full((), jnp.inf, dtype),
            actions,
        )
        info = StepInfo.of(
            actions,
            cost,
            finite & (jnp.isfinite(cost) | ~evaluate),
            model_evals=steps + jnp.where(evaluate, steps, 0),
            model_vjps=steps,
            loss=value,
            dynamics_residual=jnp.sum(violation),
            stuck=is_stuck(gradient[1]),
            control_finite=control_finite,
        )
        return LatCoState(states, actions, multipliers, optimizer), info


class LatCoGaussNewtonState(NamedTuple):
    """`states` `s_1..s_T` `[T, ...]`, `actions` `[T, A]`, `multipliers` `λ` `[T]`."""

    states: PyTree
    actions: jax.Array
    multipliers: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LatCoGaussNewton(LiftedPlanner):
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
      dual_rate: `rate`.
      tolerance: `ε`, the violation below which a multiplier shrinks.
      init_states: Where the states start.
    """

    iterations: int = count(50)
    damping: Scalar = number(1e-3, low=0)
    goal_weight: Scalar = number(0.0, low=0)
    multiplier: Scalar = number(1.0, low=0)
    # At 1 a violation of a tenth of the tolerance would make multipliers 0, and roots NaN.
    dual_rate: Scalar = number(0.1, low=0, high=1)
    tolerance: Scalar = number(1e-4, low=0)
    init_states: InitStates = StraightLine()

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem, and for models without JVPs."""
        super().check(problem)
        check_forward_mode(problem, "LatCoGaussNewton")

    def init(self, problem: Problem, key: jax.Array) -> LatCoGaussNewtonState:
        """States on their path, actions at the starting guess."""
        multipliers = jnp.full(problem.max_horizon, self.multiplier, problem.init_actions.dtype)
        return LatCoGaussNewtonState(
            with_end(self.init_states, problem, key), problem.init_actions, multipliers
        )

    def step(
        self, problem: Problem, state: LatCoGaussNewtonState, context: StepContext
    ) -> tuple[LatCoGaussNewtonState, StepInfo]:
        """One Gauss-Newton step, one multiplier update, one rollout."""
        del context
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
            return _state_costs(problem, *unravel(z), self.goal_weight)

        def control(z: jax.Array) -> jax.Array:
            return problem.control_cost(unravel(z)[1])

        jacobian, residual = jax.jacfwd(weighted_residual, has_aux=True)(variables)
        value, slope = jax.value_and_grad(rest)(variables)
        effort, effort_slope = jax.value_and_grad(control)(variables)
        gradient = 2 * jacobian.T @ residual + (slope + _tree.finite_or_zero(effort_slope))
        bends = jax.hessian(rest)(variables) + _tree.finite_or_zero(jax.hessian(control)(variables))
        curvature = 2 * jacobian.T @ jacobian + bends
        curvature = curvature + self.damping * jnp.eye(variables.size, dtype=variables.dtype)
        move = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(curvature), gradient)
        finite = _tree.all_finite((residual, gradient, move))
        states, actions = unravel(variables - jnp.where(_tree.all_finite(move), move, 0))
        actions = problem.clip(actions)

        violation = _violation(_residuals(problem, states, actions))
        ratio = (violation + 0.1 * self.tolerance) / self.tolerance
        factor = 1 + self.dual_rate * jnp.log10(ratio)
        multipliers = state.multipliers * jnp.where(jnp.isfinite(factor), factor, 1)
        cost = rollout_cost(problem, actions)
        steps, inputs = problem.max_horizon, variables.size
        info = StepInfo.of(
            actions,
            cost,
            finite & jnp.isfinite(cost),
            model_evals=3 * steps,
            model_vjps=steps * inputs,
            loss=value + effort + jnp.sum(jnp.square(residual)),
            dynamics_residual=jnp.sum(violation),
            stuck=is_stuck(move),
            control_finite=_tree.all_finite(effort_slope),
        )
        return LatCoGaussNewtonState(states, actions, multipliers.astype(actions.dtype)), info
