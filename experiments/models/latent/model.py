"""A learned visual latent as a world model over frames: what the planning binaries take.

model = load_model("pusht_tokens")                     # experiments.models.load
start, goal = model.encode(frames)                     # uint8 [2, 64, 64, 3]
grasp_jax.plan(model, start, goal, actions, key, context=..., objective=model.objective)
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

import grasp_jax
from experiments.models import units
from experiments.models.latent.networks import Decoder, Encoder, Predictor
from experiments.models.lewm.networks import Perceptron

LATENT, TEMPORAL = "latent", "temporal"


@dataclasses.dataclass(frozen=True)
class Config:
    """What the arrays of a model do not tell.

    Attributes:
        grid: tokens along a side: 1 for a single vector, 8 for patches.
        channels: numbers of a token.
        widths: of the encoder's and the decoder's fine and coarse maps.
        blocks: residual blocks on the fine and on the coarse maps.
        width: of the predictor.
        depth: blocks of the predictor.
        history: frames in the predictor's window.
        frameskip: environment steps in a model step.
        action_std: standard deviation of environment actions, the unit of planning actions.
        measured: numbers that the probe measures.
        metric: the goal cost: `latent`, the squared distance, or `temporal`, that of the head that
            was trained to tell frames close in time from others.
    """

    grid: int = 8
    channels: int = 16
    widths: tuple[int, int] = (48, 96)
    blocks: tuple[int, int] = (2, 3)
    width: int = 160
    depth: int = 4
    history: int = 2
    frameskip: int = 5
    action_std: float = 1.0
    measured: int = 6
    metric: str = LATENT

    @property
    def latent(self) -> int:
        """`D`, numbers in a latent."""
        return self.grid**2 * self.channels

    @property
    def action_size(self) -> int:
        """`P`, numbers in a planning action."""
        return 2 * self.frameskip


class TemporalDistance(eqx.Module):
    """A goal cost between latents: the squared distance of what a head makes of them.

    Attributes:
        head: [..., D] to [..., 32].
    """

    head: Perceptron

    def __call__(self, state: Array, goal: Array) -> Array:
        """Of two latents [D]: []."""
        return jnp.sum((self.head(state) - self.head(goal)) ** 2)


class LatentModel(eqx.Module):
    """A world model over frames; itself the dynamics that `grasp_jax.plan` takes, with a context.

    Attributes:
        encoder: frames to latents.
        predictor: the next latent.
        decoder: latents to frames; trains the encoder, else only to look.
        probe: latents to simulator units, divided by `units`; only to measure.
        time: latents to a space where frames close in time are near each other.
        units: [2, M], mean and standard deviation of what the probe measures.
        config: sizes.
    """

    encoder: Encoder
    predictor: Predictor
    decoder: Decoder
    probe: Perceptron
    time: Perceptron
    units: Array
    config: Config = eqx.field(static=True)

    @staticmethod
    def random(key: Array, config: Config) -> "LatentModel":
        """A fresh model."""
        c, (one, two, three, four, five) = config, jax.random.split(key, 5)
        return LatentModel(
            Encoder.random(one, c.grid, c.channels, c.widths, c.blocks),
            Predictor.random(two, c.grid, c.channels, c.action_size, c.history, c.width, c.depth),
            Decoder.random(three, c.grid, c.channels, c.widths, c.blocks),
            Perceptron.random(four, (c.latent, 256, 128, c.measured)),
            Perceptron.random(five, (c.latent, 256, 32)),
            jnp.stack([jnp.zeros(c.measured), jnp.ones(c.measured)]),
            config,
        )

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
        return self.config.action_size

    @property
    def bounds(self) -> tuple[float, float]:
        """Of planning actions; environment actions lie in [-1, 1]."""
        return -1 / self.config.action_std, 1 / self.config.action_std

    @property
    def objective(self) -> grasp_jax.Objective:
        """The goal cost that the config names."""
        if self.config.metric == TEMPORAL:
            return grasp_jax.Objective(TemporalDistance(self.time))
        return grasp_jax.Objective()

    def with_metric(self, metric: str) -> "LatentModel":
        """The same model with another goal cost.

        Raises:
            ValueError: it is neither `latent` nor `temporal`.
        """
        if metric not in (LATENT, TEMPORAL):
            raise ValueError(f"metric must be {LATENT} or {TEMPORAL}, got {metric}")
        return dataclasses.replace(self, config=dataclasses.replace(self.config, metric=metric))

    def encode(self, frames: Array) -> Array:
        """Latents [n, D] of frames [n, 64, 64, 3] uint8."""
        return self.encoder(frames)

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [D], from windows of latents [h, D] and planning actions [h, P]."""
        return self.predictor(states, actions)

    def decode(self, latents: Array) -> Array:
        """Frames [n, 64, 64, 3] uint8 of latents [n, D], to look at."""
        return jnp.round(255 * jnp.clip(self.decoder(latents), 0, 1)).astype(jnp.uint8)

    def to_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Planning actions [..., T, P] to environment actions [..., T * frameskip, 2]."""
        return units.to_environment(actions, self.config.action_std)

    def from_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """The inverse of `to_environment`."""
        return units.from_environment(actions, self.config.action_std, self.action_size)

    def measure(self, latents: Array) -> Array:
        """Simulator quantities [..., M] of latents [..., D], as the probe reads them."""
        return self.units[0] + self.units[1] * self.probe(latents)


def rollout(predictor: Predictor, window: Array, actions: Array) -> Array:
    """Open-loop latents [n, K, D].

    Args:
        predictor: one step.
        window: [n, h, D], the present latent last.
        actions: [n, h + K - 1, P], from the window's first frame on.
    """
    history = window.shape[1]
    steps = actions.shape[1] - history + 1
    taken = jnp.stack([actions[:, k : k + history] for k in range(steps)])

    def step(window: Array, taken: Array) -> tuple[Array, Array]:
        found = predictor(window, taken)
        return jnp.concatenate([window[:, 1:], found[:, None]], axis=1), found

    return jnp.moveaxis(jax.lax.scan(step, window, taken)[1], 0, 1)
