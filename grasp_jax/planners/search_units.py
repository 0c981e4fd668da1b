"""A problem in other units: its states, actions, costs and dynamics times given scales."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import prepared
from grasp_jax._tree import PyTree
from grasp_jax.init_states import looks_like_state
from grasp_jax.objectives import Along, along
from grasp_jax.prepared import PreparedModel, RolloutModel
from grasp_jax.problem import Problem


class Scales(NamedTuple):
    """`action` `[A]`, `state` `[]` for each leaf of the state, `cost` `[]`; all positive."""

    action: jax.Array
    state: PyTree
    cost: jax.Array


def search_units(problem: Problem, scales: Scales) -> Problem:
    """The same problem of one goal, in units of the scales."""
    dynamics = problem.dynamics
    as_rollout = isinstance(dynamics, RolloutModel)
    if isinstance(dynamics, PreparedModel):
        kind = _PreparedRolloutInUnits if as_rollout else _PreparedInUnits
    else:
        kind = _RolloutInUnits if as_rollout else _InUnits
    goal, objective = problem.goal, problem.objective

    def along_way(cost: Along) -> Along:
        # The goal as it was given: costs may read what its scaled copy does not keep.
        return lambda s, _, u, t: along(cost, natural(s, scales), goal, u * scales.action, t)

    costs: dict[str, Any] = {
        "terminal_cost": lambda s, _: (
            objective.terminal_cost(natural(s, scales), goal) / scales.cost
        ),
        "control_cost": None,
        "running_cost": None,
        "constraint": None,
        "constraint_weight": objective.constraint_weight / scales.cost,
    }
    control, running, rule = (
        objective.control_cost,
        objective.running_cost,
        objective.constraint,
    )
    if control is not None:
        costs["control_cost"] = lambda u: control(u * scales.action) / scales.cost
    if running is not None:
        found = along_way(running)
        costs["running_cost"] = lambda s, g, u, t: found(s, g, u, t) / scales.cost
    if rule is not None:
        costs["constraint"] = along_way(rule)
    context = problem.context
    if context is not None:
        context = dataclasses.replace(
            context,
            states=_searched(context.states, scales),
            actions=context.actions / scales.action,
        )
    return dataclasses.replace(
        problem,
        dynamics=kind(dynamics, scales),
        state=_searched(problem.state, scales),
        goal=_searched_goal(problem, scales),
        init_actions=problem.init_actions / scales.action,
        low=problem.low / scales.action,
        high=problem.high / scales.action,
        objective=dataclasses.replace(objective, **costs),
        context=context,
    )


def _searched(states: PyTree, scales: Scales) -> PyTree:
    """States, leaves `[...]` with any axes in front, in search units."""
    return jax.tree.map(lambda x, s: (x / s).astype(x.dtype), states, scales.state)


def _searched_goal(problem: Problem, scales: Scales) -> PyTree:
    """The goal, for paths towards it: in search units where it is like a state, integers too."""
    if not looks_like_state(problem):
        return problem.goal
    like = jax.tree.map(lambda g, s: jnp.asarray(g, s.dtype), problem.goal, problem.state)
    return _searched(like, scales)


def natural(states: PyTree | None, scales: Scales) -> PyTree | None:
    """And back."""
    if states is None:
        return None
    return jax.tree.map(lambda x, s: (x * s).astype(x.dtype), states, scales.state)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _InUnits:
    """A dynamics in search units."""

    dynamics: Any
    scales: Scales

    @property
    def environment_actions_per_step(self) -> int:
        """The model's."""
        return prepared.environment_actions_per_step(self.dynamics)

    def __call__(self, state: PyTree, action: jax.Array, *present: jax.Array) -> PyTree:
        action = action * self.scales.action
        following = self.dynamics(natural(state, self.scales), action, *present)
        return _searched(following, self.scales)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _PreparedInUnits(PreparedModel):
    """A model in two halves in search units."""

    dynamics: Any
    scales: Scales

    environment_actions_per_step = _InUnits.environment_actions_per_step

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        return self.dynamics.prepare_actions(actions * self.scales.action)

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        own = natural(states, self.scales)
        return _searched(prepared.step(self.dynamics, own, prepared_actions, present), self.scales)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _RolloutInUnits(_InUnits, RolloutModel):
    """A dynamics that gives all states in one call, in search units."""

    def rollout(self, state: PyTree, actions: jax.Array) -> PyTree:
        found = self.dynamics.rollout(natural(state, self.scales), actions * self.scales.action)
        return _searched(found, self.scales)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _PreparedRolloutInUnits(_PreparedInUnits, RolloutModel):
    """Both."""

    rollout = _RolloutInUnits.rollout
