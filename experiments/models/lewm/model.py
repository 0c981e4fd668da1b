"""A small LeWM as a world model over frames: what the planning binaries take as a checkpoint.

model = load_model("wall_lewm")                        # experiments.models.load
start, goal = model.encode(frames)                     # uint8 [2, 64, 64, 3]
grasp_jax.plan(model, start, goal, actions, key, context=..., objective=model.objective)
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from experiments.models.embedding import EmbeddingModel, to_pixels
from experiments.models.lewm.networks import Decoder, Encoder, Perceptron, Predictor


@dataclasses.dataclass(frozen=True)
class Config:
    """What the arrays of a model do not tell.

    Attributes:
        latent: `D`.
        size: pixels along one side of a frame.
        history: frames in the predictor's window.
        frameskip: environment steps in a model step.
        action_std: standard deviation of environment actions, the unit of planning actions.
        measured: numbers that the probe measures.
        encoder_width: of the encoder's and the decoder's heads; above 256 of their patches, too.
        width: of the predictor.
        depth: blocks of the predictor.
        skip: whether it predicts the change, see `Predictor`.
    """

    latent: int = 128
    size: int = 64
    history: int = 2
    frameskip: int = 5
    action_std: float = 1.0
    measured: int = 2
    encoder_width: int = 256
    width: int = 128
    depth: int = 3
    skip: bool = False

    @property
    def action_size(self) -> int:
        """`P`, numbers in a planning action."""
        return 2 * self.frameskip


class SmallLeWM(EmbeddingModel):
    """A world model over frames; itself the dynamics that `grasp_jax.plan` takes, with a context.

    Attributes:
        encoder: frames to latents.
        predictor: the next latent.
        decoder: latents to frames, fitted after training, only to look.
        probe: latents to simulator units, divided by `units`; only to measure.
        units: [2, M], mean and standard deviation of what the probe measures.
        config: sizes.
    """

    encoder: Encoder
    predictor: Predictor
    decoder: Decoder
    probe: Perceptron
    units: Array
    config: Config = eqx.field(static=True)

    @staticmethod
    def random(key: Array, config: Config) -> "SmallLeWM":
        """A fresh model."""
        c, (one, two, three, four) = config, jax.random.split(key, 4)
        sizes = (c.latent, c.action_size, c.history, c.width, c.depth, c.skip)
        return SmallLeWM(
            encoder=Encoder.random(one, c.size, c.latent, c.encoder_width),
            predictor=Predictor.random(two, *sizes),
            decoder=Decoder.random(three, c.size, c.latent, c.encoder_width),
            probe=Perceptron.random(four, (c.latent, 128, c.measured)),
            units=jnp.stack([jnp.zeros(c.measured), jnp.ones(c.measured)]),
            config=config,
        )

    def encode(self, frames: Array) -> Array:
        """Latents [n, D] of frames [n, S, S, 3] uint8."""
        return self.encoder(frames)

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [D], from windows of latents [h, D] and planning actions [h, P]."""
        if self.history == 1:
            states, actions = states.reshape(1, -1), actions.reshape(1, -1)
        return self.predictor(states, actions)

    def decode(self, latents: Array) -> Array:
        """Frames [..., S, S, 3] uint8 of latents [..., D], to look at."""
        return to_pixels(self.decoder(latents))
