"""Goals that are no single state: one of several states, or a predicate.

Terminal costs `(state, goal) -> []` for `Objective(terminal_cost=...)`, of any planner. Where the
goal does not look like a state, virtual states of lifted planners start where they are.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree, Record, describe
from grasp_jax.objectives import StateCost, compares_leaves, squared_distance


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class AnyGoal(Record):
    """The distance to the nearest of `n` goals; a goal has leaves `[n, ...]`.

    Attributes:
      distance: Of a state `[...]` to one goal; the squared distance by default.

    >>> import jax.numpy as jnp
    >>> float(AnyGoal()(jnp.zeros(1), jnp.array([[3.0], [-2.0]])))
    4.0
    """

    distance: StateCost = squared_distance

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """`min_i d(state, goal_i)`, `[]`.

        Raises:
          ValueError: With a distance of this library, the goal is none of several states.
        """
        if compares_leaves(self.distance):
            _check_several(state, goal)
        distances = jax.vmap(lambda one: self.distance(state, one))(goal)
        # Not `min`, whose slope between two equally near goals leads to neither.
        return distances[jnp.argmin(distances)]


def _check_several(state: PyTree, goal: PyTree) -> None:
    """Raises unless every leaf of the goal is several of the state's."""
    wanted = jax.tree.map(jnp.shape, state)
    given = jax.tree.map(lambda x: jnp.shape(x)[1:], goal)
    several = all(jnp.ndim(leaf) for leaf in jax.tree.leaves(goal))
    if not (several and wanted == given):
        raise ValueError(
            "AnyGoal: the goal must be several states, leaves [n, ...], got "
            f"{describe(goal)} for a state {describe(state)}. For one state pass "
            "jax.tree.map(lambda x: x[None], goal)."
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Reached(Record):
    """Nothing to pay where a predicate holds, elsewhere what a surrogate says.

    With `plan(target_cost=0.0)` the search stops as soon as a plan's end fulfills it.

    Attributes:
      predicate: `(state, goal) -> []` bool.
      surrogate: `(state, goal) -> []`, above 0 and with a slope towards where the predicate holds.

    >>> import jax.numpy as jnp
    >>> inside = Reached(lambda s, g: s > g, lambda s, g: jnp.square(s - g))
    >>> float(inside(jnp.array(3.0), 2.0)), float(inside(jnp.array(1.0), 2.0))
    (0.0, 1.0)
    """

    predicate: Callable[[PyTree, PyTree], Any]
    surrogate: StateCost

    def __call__(self, state: PyTree, goal: PyTree) -> jax.Array:
        """`[]`."""
        return jnp.where(self.predicate(state, goal), 0.0, self.surrogate(state, goal))
