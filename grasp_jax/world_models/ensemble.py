"""Ensembles: several models of the same shape, planned through as one.

Members are one pytree whose array leaves have a leading axis of `M` members, as `jax.vmap` over
an initializer or `jax.tree.map(lambda *x: jnp.stack(x), *models)` makes it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from grasp_jax import prepared
from grasp_jax._tree import PyTree, Record, is_array
from grasp_jax.objectives import Objective, StateCost, along, compares_leaves, squared_distance
from grasp_jax.prepared import PreparedModel
from grasp_jax.world_models._windows import is_window, row_marker

Model = Callable[[PyTree, jax.Array], PyTree]


def _each(members: Model, function: Callable[..., PyTree], *args: PyTree, axes: Any) -> PyTree:
    """`function(member, *args)` of every member, leaves `[M, ...]`; `axes` says where `M` stands.

    Parts of the members that are no arrays, such as functions, are shared.
    """
    leaves, structure = jax.tree.flatten(members)
    arrays = [x for x in leaves if is_array(x)]

    def of_one(own: list[jax.Array], *args: PyTree) -> PyTree:
        rest = iter(own)
        member = jax.tree.unflatten(structure, [next(rest) if is_array(x) else x for x in leaves])
        return function(member, *args)

    return jax.vmap(of_one, in_axes=(0, *axes))(arrays, *args)


class _Ensemble(Record, PreparedModel):
    """What both kinds share: members, and what each of them reads of actions."""

    members: Model

    def _check(self) -> None:
        name = type(self).__name__
        if not callable(self.members):
            raise TypeError(
                f"{name}.members must be one callable pytree whose arrays have a leading axis of "
                f"members, got {type(self.members).__name__}. Stack models of the same structure: "
                "jax.tree.map(lambda *x: jnp.stack(x), *models)."
            )

    @property
    def training_action_std(self) -> jax.Array | None:
        """Their mean, where the members know theirs."""
        if prepared.training_action_std(self.members) is None:
            return None
        each = _each(self.members, lambda m: jnp.asarray(m.training_action_std), axes=())
        return jnp.mean(each, axis=0)

    @property
    def environment_actions_per_step(self) -> int:
        """The members'."""
        return prepared.environment_actions_per_step(self.members)

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What every member reads of actions `[n, A]`: leaves `[n, M, ...]`."""
        self._check()
        rows = actions
        if isinstance(self.members, PreparedModel):
            of_members = _each(self.members, lambda m: m.prepare_actions(actions), axes=())
            rows = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), of_members)
        return rows, row_marker(actions)

    def _predictions(
        self, states: PyTree, state_axis: int | None, rows: PyTree, present: jax.Array | None
    ) -> PyTree:
        """The members' predictions, leaves `[M, ...]`."""
        rows, marker = rows
        own = isinstance(self.members, PreparedModel)
        row_axis = (1 if is_window(marker) else 0) if own else None
        return _each(
            self.members,
            lambda m, s, r: prepared.step(m, s, r, present),
            states,
            rows,
            axes=(state_axis, row_axis),
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MeanEnsemble(_Ensemble):
    """The mean of the members' predictions, one state (or window) in and one state out.

    Attributes:
      members: A callable pytree with leaves `[M, ...]`.

    >>> import jax, jax.numpy as jnp
    >>> members = jax.tree_util.Partial(lambda gain, s, a: s + gain * a, jnp.array([1.0, 3.0]))
    >>> MeanEnsemble(members)(jnp.zeros(1), jnp.ones(1))
    Array([2.], dtype=float32)
    """

    members: Model

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        """The members' mean prediction, leaves `[...]`."""
        predictions = self._predictions(states, None, prepared_actions, present)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), predictions)


class Uncertain(NamedTuple):
    """A state, leaves `[...]`, and how far the members were apart when they predicted it, `[]`."""

    state: PyTree
    disagreement: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DisagreementEnsemble(_Ensemble):
    """The mean of the members' predictions, and how far apart they are; plan with `cautious`.

        model = DisagreementEnsemble(members)
        plan(model, certain(state), certain(goal), ..., objective=cautious(Objective(), weight=1.0))

    Attributes:
      members: A callable pytree with leaves `[M, ...]`.

    >>> import jax, jax.numpy as jnp
    >>> members = jax.tree_util.Partial(lambda gain, s, a: s + gain * a, jnp.array([1.0, 3.0]))
    >>> DisagreementEnsemble(members)(certain(jnp.zeros(1)), jnp.ones(1))
    Uncertain(state=Array([2.], dtype=float32), disagreement=Array(1., dtype=float32))
    """

    members: Model

    def step_prepared(
        self, states: Uncertain, prepared_actions: PyTree, present: jax.Array | None = None
    ) -> Uncertain:
        """The members' mean, and the variance among them summed over all numbers, `[]`."""
        predictions = self._predictions(states.state, None, prepared_actions, present)
        mean = jax.tree.map(lambda x: jnp.mean(x, axis=0), predictions)
        parts = jax.tree.map(lambda x: jnp.sum(jnp.var(x, axis=0)), predictions)
        spread = sum(jax.tree.leaves(parts), start=jnp.zeros(()))
        return Uncertain(mean, spread.astype(states.disagreement.dtype))


def certain(state: PyTree) -> Uncertain:
    """An observed state, or a goal, leaves `[...]`, of which nobody doubts."""
    leaves = jax.tree.leaves(state)
    return Uncertain(state, jnp.zeros((), jnp.asarray(leaves[0]).dtype if leaves else jnp.float32))


def cautious(objective: Objective, weight: jax.Array | float = 1.0) -> Objective:
    """An objective of states, for those of a `DisagreementEnsemble`: doubt costs too.

    Args:
      objective: Its costs and its constraint get the plain state and goal.
      weight: Of the disagreement, summed over `s_1..s_T`; traced.
    """
    running, rule = objective.running_cost, objective.constraint
    return dataclasses.replace(
        objective,
        terminal_cost=Partial(_at_states, objective.terminal_cost),
        running_cost=Partial(_doubted, running, weight),
        constraint=None if rule is None else Partial(_rule_at_states, rule),
    )


def _at_states(cost: Any, state: Uncertain, goal: Uncertain) -> jax.Array:
    return cost(state.state, goal.state)


def _rule_at_states(
    rule: Any, state: Uncertain, goal: Uncertain, action: jax.Array, step: jax.Array
) -> jax.Array:
    return along(rule, state.state, goal.state, action, step)


def _doubted(
    running: Any,
    weight: jax.Array | float,
    state: Uncertain,
    goal: Uncertain,
    action: jax.Array,
    step: jax.Array,
) -> jax.Array:
    doubt = weight * state.disagreement
    if running is None:
        return doubt
    return doubt + along(running, state.state, goal.state, action, step)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class WorstCaseEnsemble(_Ensemble):
    """Each member rolls out its own state, leaves `[M, ...]`; plan with `worst_case`.

        model = WorstCaseEnsemble(members)
        plan(model, model.replicate(state, M), goal, ..., objective=Objective(worst_case()))

    Attributes:
      members: A callable pytree with leaves `[M, ...]`.

    >>> import jax, jax.numpy as jnp
    >>> members = jax.tree_util.Partial(lambda gain, s, a: s + gain * a, jnp.array([1.0, 3.0]))
    >>> model = WorstCaseEnsemble(members)
    >>> model(model.replicate(jnp.zeros(1), 2), jnp.ones(1))
    Array([[1.],
           [3.]], dtype=float32)
    """

    members: Model

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        """Leaves `[M, ...]` to `[M, ...]`: member `m` moves row `m`; windows are `[h, M, ...]`."""
        axis = 1 if is_window(prepared_actions[1]) else 0
        return self._predictions(states, axis, prepared_actions, present)

    @staticmethod
    def replicate(state: PyTree, size: int) -> PyTree:
        """One state, leaves `[...]`, as the common start of `size` members, `[size, ...]`."""
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), state)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _WorstCase(Record):
    """`max_m distance(state_m, goal)`."""

    distance: StateCost

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """Leaves `[M, ...]` and a goal `[...]` to `[]`."""
        shapes = [jax.tree.map(jnp.shape, x) for x in (state, goal)]
        if compares_leaves(self.distance) and shapes[0] == shapes[1]:
            raise ValueError(
                "worst_case: the goal has an axis of members, as the state has. Pass one goal, "
                "not replicate(goal, ...)."
            )
        return jnp.max(jax.vmap(lambda s: self.distance(s, goal))(state))


def worst_case(distance: StateCost = squared_distance) -> StateCost:
    """The largest distance over the members, a terminal cost `(state, goal) -> []`.

    Args:
      distance: Of one member's state `[...]` to the goal; the squared distance by default.

    >>> float(worst_case()(jnp.array([[1.0], [3.0]]), jnp.zeros(1)))
    9.0
    """
    return _WorstCase(distance)
