"""What world models with one learned embedding per frame share, whatever their networks."""

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

import grasp_jax
from experiments.models import units
from experiments.models.lewm.networks import Perceptron


class Sizes(Protocol):
    """What a config must tell.

    Attributes:
        history: frames in the predictor's window.
        frameskip: environment steps in a model step.
        action_std: standard deviation of environment actions, the unit of planning actions.
    """

    @property
    def history(self) -> int: ...  # noqa: D102
    @property
    def frameskip(self) -> int: ...  # noqa: D102
    @property
    def action_std(self) -> float: ...  # noqa: D102


class EmbeddingModel(eqx.Module):
    """Units, bounds and the probe of a model whose `encode` gives one vector per frame.

    Attributes:
        probe: latents to simulator units, divided by `units`; only to measure.
        units: [2, M], mean and standard deviation of what the probe measures.
        config: sizes.
    """

    probe: eqx.AbstractVar[Perceptron]
    units: eqx.AbstractVar[Array]
    config: eqx.AbstractVar[Sizes]

    @property
    def frameskip(self) -> int:
        """Environment steps in a model step."""
        return self.config.frameskip

    @property
    def history(self) -> int:
        """Frames in a window."""
        return self.config.history

    @property
    def action_size(self) -> int:
        """`P`, numbers in a planning action."""
        return 2 * self.config.frameskip

    @property
    def bounds(self) -> tuple[float, float]:
        """Of planning actions; environment actions lie in [-1, 1]."""
        return -1 / self.config.action_std, 1 / self.config.action_std

    @property
    def training_action_std(self) -> float:
        """Planning actions count in the deviation of the data's."""
        return 1.0

    @property
    def objective(self) -> grasp_jax.Objective:
        """The squared distance of latents, LeWM's goal cost."""
        return grasp_jax.Objective()

    def to_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Planning actions [..., T, P] to environment actions [..., T * frameskip, 2]."""
        return units.to_environment(actions, self.config.action_std)

    def from_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """The inverse of `to_environment`."""
        return units.from_environment(actions, self.config.action_std, self.action_size)

    def measure(self, latents: Array) -> Array:
        """Simulator quantities [..., M] of latents [..., D], as the probe reads them."""
        return self.units[0] + self.units[1] * self.probe(latents)


def to_pixels(drawn: Array) -> Array:
    """RGB around [0, 1] to uint8, to look at."""
    return jnp.round(255 * jnp.clip(drawn, 0, 1)).astype(jnp.uint8)
