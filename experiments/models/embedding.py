"""What world models with one learned embedding per frame share, whatever their networks."""

from typing import Protocol

import equinox as eqx
import jax.numpy as jnp
from jax import Array

import grasp_jax
from experiments.models import units
from experiments.models.lewm.networks import Perceptron


class Sizes(units.Sizes, Protocol):
    """What a config must tell.

    Attributes:
        history: frames in the predictor's window.
    """

    @property
    def history(self) -> int: ...  # noqa: D102


class EmbeddingModel(units.PlanningUnits):
    """The window and the probe of a model whose `encode` gives one vector per frame.

    Attributes:
        probe: latents to simulator units, divided by `units`; only to measure.
        units: [2, M], mean and standard deviation of what the probe measures.
        config: sizes.
    """

    probe: eqx.AbstractVar[Perceptron]
    units: eqx.AbstractVar[Array]
    config: eqx.AbstractVar[Sizes]

    @property
    def history(self) -> int:
        """Frames in a window."""
        return self.config.history

    @property
    def objective(self) -> grasp_jax.Objective:
        """The squared distance of latents, LeWM's goal cost."""
        return grasp_jax.Objective()

    def measure(self, latents: Array) -> Array:
        """Simulator quantities [..., M] of latents [..., D], as the probe reads them."""
        return self.units[0] + self.units[1] * self.probe(latents)


def to_pixels(drawn: Array) -> Array:
    """RGB around [0, 1] to uint8, to look at."""
    return jnp.round(255 * jnp.clip(drawn, 0, 1)).astype(jnp.uint8)
