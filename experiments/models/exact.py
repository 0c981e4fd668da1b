"""A world that is its own model: exact dynamics behind the interface of the learned ones."""

import dataclasses
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

import grasp_jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Exact:
    """One model step is one environment step, states and actions are the world's own.

    Attributes:
      world: `F(state [S], action [2]) -> [S]`, a callable pytree.
    """

    world: Any

    frameskip = 1
    history = 1
    action_size = 2
    bounds = (-1.0, 1.0)

    @property
    def objective(self) -> grasp_jax.Objective:
        """The squared distance of states."""
        return grasp_jax.Objective()

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The next state."""
        return self.world(state, action)

    def encode(self, states: Any) -> Any:
        """States as they are."""
        return states

    def to_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Actions as they are."""
        return np.asarray(actions, np.float32)

    def from_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Actions as they are."""
        return np.asarray(actions, np.float32)

    def measure(self, states: Any) -> Any:
        """States as they are."""
        return states
