"""Ensembles: several models of the same shape, planned through as one.

Members are one pytree whose array leaves have a leading axis of `M` members, as `jax.vmap` over
an initializer or `jax.tree.map(lambda *x: jnp.stack(x), *models)` makes it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import prepared
from grasp_jax._tree import PyTree, Record, is_array
from grasp_jax.objectives import StateCost, squared_distance
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
        if jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, goal):
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
