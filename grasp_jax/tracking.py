"""A path as a time-indexed reference in the cost: `Σ_t w d(s_t, path_t) + d(s_T, path_T)`.

The goal is the whole path:

    plan(dynamics, state, path, init_actions, key, objective=tracking_objective(), planner=CEM())

Planners that roll out see the path only like this; a lifted planner may start from it instead
(`GivenPath`), and needs no such cost.
"""

from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.objectives import ControlCost, Objective, StateCost, squared_distance


def tracking_objective(
    weight: jax.Array | float = 1.0,
    distance: StateCost = squared_distance,
    control_cost: ControlCost | None = None,
) -> Objective:
    """The cost of leaving a path, for goals that are paths `s_1..s_T`, leaves `[T, ...]`.

    Args:
      weight: Of the distances on the way, against that at the end; traced.
      distance: Between a state and a row of the path; past the path's end, its last row.
      control_cost: See `Objective`.
    """
    arrive = jax.tree_util.Partial(_arrive, distance)
    running = jax.tree_util.Partial(_along, distance, weight)
    return Objective(terminal_cost=arrive, control_cost=control_cost, running_cost=running)


def _along(
    distance: Any, weight: Any, state: PyTree, path: PyTree, action: jax.Array, step: jax.Array
) -> jax.Array:
    """`w d(s_t, path_t)`."""
    del action
    rows = jax.tree.leaves(path)[0].shape[0]
    return weight * distance(state, _tree.take(path, jnp.minimum(step, rows) - 1))


def _arrive(distance: Any, state: PyTree, path: PyTree) -> jax.Array:
    return distance(state, _tree.take(path, -1))
