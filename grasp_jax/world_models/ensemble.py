"""Ensembles: several models of the same shape, planned through as one.

Members are one pytree whose array leaves have a leading axis of `M` members, as `jax.vmap` over
an initialiser or `jax.tree.map(lambda *x: jnp.stack(x), *models)` makes it.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from grasp_jax._tree import Frozen, PyTree, freeze
from grasp_jax.objectives import Distance, squared_distance

Model = Callable[[PyTree, jax.Array], PyTree]


def _members(members: Model | Frozen, name: str) -> Frozen:
    """The members, their arrays split off; raises TypeError unless they are one callable pytree."""
    if not callable(members):
        raise TypeError(
            f"{name} must be one callable pytree whose arrays have a leading axis of members, got "
            f"{type(members).__name__}. Stack models of the same structure: "
            "jax.tree.map(lambda *x: jnp.stack(x), *models)."
        )
    return freeze(members, name)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MeanEnsemble:
    """The mean of the members' predictions, one state in and one out.

    Attributes:
      members: A callable pytree with leaves `[M, ...]`.
    """

    members: Model | Frozen

    def __call__(self, state: PyTree, action: jax.Array) -> PyTree:
        """The members' mean prediction, leaves `[...]`."""
        members = _members(self.members, "MeanEnsemble.members")
        predictions = jax.vmap(lambda m: m(state, action))(members)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), predictions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WorstCaseEnsemble:
    """Each member rolls out its own state, leaves `[M, ...]`; plan with `worst_case`.

        model = WorstCaseEnsemble(members)
        plan(model, model.replicate(state, M), goal, ..., objective=Objective(worst_case()))

    Attributes:
      members: A callable pytree with leaves `[M, ...]`.
    """

    members: Model | Frozen

    def __call__(self, state: PyTree, action: jax.Array) -> PyTree:
        """Leaves `[M, ...]` to `[M, ...]`: member `m` moves row `m`; windows are `[h, M, ...]`."""
        members = _members(self.members, "WorstCaseEnsemble.members")
        row = 1 if action.ndim == 2 else 0
        return jax.vmap(lambda m, s: m(s, action), in_axes=(0, row))(members, state)

    @staticmethod
    def replicate(state: PyTree, size: int) -> PyTree:
        """One state, leaves `[...]`, as the common start of `size` members, `[size, ...]`."""
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), state)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _WorstCase:
    """`max_m distance(state_m, goal)`."""

    distance: Distance

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """Leaves `[M, ...]` and a goal `[...]` to `[]`."""
        if jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, goal):
            raise ValueError(
                "worst_case: the goal has an axis of members, as the state has. Pass one goal, "
                "not replicate(goal, ...)."
            )
        return jnp.max(jax.vmap(lambda s: self.distance(s, goal))(state))


def worst_case(distance: Distance = squared_distance) -> Distance:
    """The largest distance over the members; the squared distance by default."""
    return _WorstCase(distance)
