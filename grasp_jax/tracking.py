"""A path as a time-indexed reference in the cost: `Σ_t d(s_t, path_t) + d(s_T, path_T)`.

An objective sees a state and the goal, not the step. So the state carries a clock, and the goal is
the whole path:

    plan(
        Clocked(dynamics), at(state), path, init_actions, key,
        objective=tracking_objective(), planner=CEM(),
    )

Planners that roll out see the path only like this; a lifted planner may start from it instead
(`GivenPath`), and needs no such cost.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.objectives import ControlCost, Objective, StateCost, squared_distance


class ClockedState(NamedTuple):
    """A state and `step` `[]`, in floating point, how many steps have been made."""

    state: PyTree
    step: jax.Array


def at(state: PyTree, step: float = 0.0) -> ClockedState:
    """A state `[...]` whose clock shows `step`."""
    return ClockedState(state, jnp.asarray(step, jnp.float32))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clocked:
    """Dynamics that count steps.

    Attributes:
      dynamics: See `grasp_jax.plan`; on windows where there is a context.
    """

    dynamics: Any

    def __call__(self, state: ClockedState, action: jax.Array) -> ClockedState:
        """The next state, one step later; of a window, the step after its last row."""
        following = self.dynamics(state.state, action)
        return ClockedState(following, jnp.ravel(state.step)[-1] + 1)


def tracking_objective(
    weight: jax.Array | float = 1.0,
    distance: StateCost = squared_distance,
    control_cost: ControlCost | None = None,
) -> Objective:
    """The cost of leaving a path, for goals that are paths `s_1..s_T`, leaves `[T, ...]`.

    Args:
      weight: Of the distances on the way, against that at the end.
      distance: Between a state and a row of the path.
      control_cost: See `Objective`.
    """
    track = jax.tree_util.Partial(_along, distance)
    arrive = jax.tree_util.Partial(_arrive, distance)
    running = jax.tree_util.Partial(_weighted, track, weight)
    return Objective(terminal_cost=arrive, control_cost=control_cost, running_cost=running)


def _weighted(track: Any, weight: Any, state: ClockedState, path: PyTree) -> jax.Array:
    return weight * track(state, path)


def _along(distance: StateCost, state: ClockedState, path: PyTree) -> jax.Array:
    """`d(s_t, path_t)`; past the path's end, that to its last row."""
    rows = jax.tree.leaves(path)[0].shape[0]
    # Virtual states of a lifted planner may hold a clock between two steps.
    row = jnp.round(jax.lax.stop_gradient(state.step)).astype(jnp.int32) - 1
    return distance(state.state, _tree.take(path, jnp.clip(row, 0, rows - 1)))


def _arrive(distance: StateCost, state: ClockedState, path: PyTree) -> jax.Array:
    return distance(state.state, _tree.take(path, -1))
