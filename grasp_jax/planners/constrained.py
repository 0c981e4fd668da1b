"""`Constrained`: any planner under inequality constraints, by augmented Lagrangians.

    min_a  J(a)   so that   h(s_t, g, a_{t-1}, t) <= 0   for t = 1..T

In every round the planner inside minimizes a smooth cost without constraints,

    J(a) + Σ_t Σ_k (max(0, λ_tk + μ h_tk)² - λ_tk²) / (2 μ),

then `λ ← max(0, λ + μ h)`, and `μ` grows (Powell 1969, Rockafellar 1973). Unlike a penalty alone it
needs no weight that goes to infinity.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree, search
from grasp_jax._fields import Scalar, count, number, require
from grasp_jax._tree import PyTree
from grasp_jax.objectives import along
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem
from grasp_jax.rollout import trajectory


class ConstrainedState(NamedTuple):
    """`multipliers` `λ` `[T, k]`, the round's best `actions` `[T, A]`, its virtual states."""

    multipliers: jax.Array
    actions: jax.Array
    virtual_states: PyTree | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Constrained(Planner):
    """Runs a planner in rounds, the prices of a violated constraint rising between them.

    For problems whose objective has a `constraint`; see `Plan.violation` for how well it holds.
    Every round starts from what the last one found. The best plan is chosen by the objective, in
    which an excess costs `Objective.constraint_weight`. Where nothing keeps the constraint, what
    breaks it least for its cost comes back. How small a violation is left depends on how exactly
    the planner inside ends its rounds: large steps leave more than small ones. Constraints keep
    their own units, inside `Scaled` too: write them so that an excess of 1 is a large one.

    Attributes:
      planner: Runs whole in every round.
      iterations: Rounds.
      weight: First `μ`: a violation of 1 at one step costs half of it.
      growth: `μ` is multiplied by this after every round.
    """

    planner: Planner
    _: dataclasses.KW_ONLY
    iterations: int = count(6)
    weight: Scalar = number(10.0, low=1e-6)
    growth: Scalar = number(2.0, low=1)

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit, and for a problem without a constraint."""
        super().check(problem)
        require_planner(self.planner, "Constrained.planner")
        require(
            problem.objective.constraint is not None,
            "Constrained needs a constraint: pass objective=grasp_jax.Objective(constraint=lambda "
            "state, goal: ...), numbers that are to be at most 0.",
        )
        self.planner.check(_relaxed(problem, self._no_multipliers(problem), self.weight))

    def init(self, problem: Problem, key: jax.Array) -> ConstrainedState:
        """No prices yet, actions at the starting guess."""
        multipliers = self._no_multipliers(problem)
        inner = self.planner.init(_relaxed(problem, multipliers, self.weight), key)
        states = self.planner.virtual_states(problem, inner)
        return ConstrainedState(multipliers, problem.init_actions, states)

    def step(
        self, problem: Problem, state: ConstrainedState, context: StepContext
    ) -> tuple[ConstrainedState, StepInfo]:
        """One round, then the multipliers."""
        weight = self.weight * jnp.asarray(self.growth) ** context.iteration
        weight = weight.astype(state.multipliers.dtype)
        relaxed = _relaxed(problem, state.multipliers, weight).starting_from(state.actions)
        found, spent, derivatives = search.run_inside(relaxed, self.planner, context.key)
        actions = found.best_actions
        virtual = self.planner.present(relaxed, found.inner)[1]
        states = _tree.take(trajectory(problem, actions), slice(1, None))
        cost = problem.cost(states, actions)
        raised = jnp.maximum(state.multipliers + weight * _excesses(problem, states, actions), 0)
        valid = (problem.steps <= problem.horizon)[:, None] & jnp.isfinite(raised)
        multipliers = jnp.where(valid, raised, state.multipliers)
        info = StepInfo.of(
            actions,
            cost,
            found.finite & jnp.isfinite(cost),
            model_evals=spent + problem.max_horizon,
            model_vjps=derivatives,
            loss=found.best_cost,
            stuck=~found.moved,
            control_finite=found.control_finite,
        )
        return ConstrainedState(multipliers, actions, virtual), info

    def actions(self, problem: Problem, state: ConstrainedState) -> jax.Array:
        """The last round's best actions `[T, A]`."""
        del problem
        return state.actions

    def virtual_states(self, problem: Problem, state: ConstrainedState) -> PyTree | None:
        """The last round's, of a lifted planner."""
        del problem
        return state.virtual_states

    def _no_multipliers(self, problem: Problem) -> jax.Array:
        like = jax.eval_shape(
            lambda: _excesses(
                problem,
                jax.tree.map(lambda x: jnp.stack([x] * problem.max_horizon), problem.state),
                problem.init_actions,
            )
        )
        return jnp.zeros(like.shape, like.dtype)


def _excesses(problem: Problem, states: PyTree, actions: jax.Array) -> jax.Array:
    """`h` `[T, k]` at `s_1..s_T` `[T, ...]`."""
    rule = problem.objective.constraint
    assert rule is not None

    def one(state: PyTree, action: jax.Array, step: jax.Array) -> jax.Array:
        found = jnp.atleast_1d(along(rule, state, problem.goal, action, step))
        return found.astype(_tree.cost_dtype(found.dtype))

    return jax.vmap(one)(states, actions, problem.steps)


def _relaxed(problem: Problem, multipliers: jax.Array, weight: Scalar) -> Problem:
    """The problem of one round: without constraints, with what their violation costs."""
    objective = problem.objective
    running, rule = objective.running_cost, objective.constraint
    assert rule is not None

    def priced(state: PyTree, goal: PyTree, action: jax.Array, step: jax.Array) -> jax.Array:
        price = multipliers[step - 1]
        pushed = jnp.maximum(price + weight * along(rule, state, goal, action, step), 0)
        penalty = jnp.sum(jnp.square(pushed) - jnp.square(price)) / (2 * weight)
        return penalty + (0.0 if running is None else along(running, state, goal, action, step))

    relaxed = dataclasses.replace(objective, running_cost=priced, constraint=None)
    return dataclasses.replace(problem, objective=relaxed)
