"""A learned visual latent as a world model over frames: what the planning binaries take.

model = load_model("pusht_tokens")                     # experiments.models.load
start, goal = model.encode(frames)                     # uint8 [2, 64, 64, 3]
grasp_jax.plan(model, start, goal, actions, key, context=..., objective=model.objective)
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

import grasp_jax
from experiments.models.embedding import EmbeddingModel, to_pixels
from experiments.models.latent.code import Code, Mover, Movers
from experiments.models.latent.networks import Decoder, Encoder, Predictor
from experiments.models.lewm.networks import Perceptron

LATENT, TEMPORAL, SCALED, CODE, KEPT = "latent", "temporal", "scaled", "code", "kept"
METRICS = (LATENT, TEMPORAL, SCALED, CODE, KEPT)


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
        metric: the goal cost: `latent`, the squared distance, or that of what a head makes of
            latents: `temporal`, trained to tell frames close in time from others, `scaled`,
            principal axes of about equal variance, or `code`, the code's autoencoder. `kept` adds
            to the squared distance of codes what keeps all of a plan near codes of frames.
        code: `C`, numbers that an autoencoder keeps of the vector, which then are the latent; 0
            for all of it.
        code_width: of that autoencoder.
        start: the checkpoint of the vector, which holds encoder and decoder; empty without a code.
        movers: motions in the mean of a code's.
        action_limit: largest planning action, where the data hardly held larger ones; 0 for the
            environment's own limit.
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
    code: int = 0
    code_width: int = 128
    start: str = ""
    movers: int = 1
    action_limit: float = 0.0

    @property
    def encoded(self) -> int:
        """Numbers that the encoder gives."""
        return self.grid**2 * self.channels

    @property
    def latent(self) -> int:
        """`D`, numbers in a latent."""
        return self.code or self.encoded

    @property
    def action_size(self) -> int:
        """`P`, numbers in a planning action."""
        return 2 * self.frameskip


class HeadDistance(eqx.Module):
    """A goal cost between latents: the squared distance of what a head makes of them.

    Attributes:
        head: [..., D] to [..., n].
    """

    head: Perceptron

    def __call__(self, state: Array, goal: Array) -> Array:
        """Of two latents [D]: []."""
        return jnp.sum((self.head(state) - self.head(goal)) ** 2)


class Kept(eqx.Module):
    """A cost along the way: how far a code is from what its autoencoder makes of it.

    Frames' codes come back nearly as they were (median squared distance 0.003), codes of a block
    that a prediction has smeared out less so.

    Attributes:
        code: the autoencoder.
        weight: of the squared distance.
    """

    code: Code
    weight: float = eqx.field(static=True, default=10.0)

    def __call__(self, state: Array, goal: Array) -> Array:
        """Of a code [C]: []; the goal plays no part."""
        del goal
        return self.weight * jnp.sum((self.code.down(self.code.up(state)) - state) ** 2)


class LatentModel(EmbeddingModel):
    """A world model over frames; itself the dynamics that `grasp_jax.plan` takes, with a context.

    Attributes:
        encoder: frames to latents.
        predictor: the next latent.
        decoder: the encoder's vectors to frames; trains the encoder, else only to look.
        probe: latents to simulator units, divided by `units`; only to measure.
        time: latents to a space where frames close in time are near each other; codes have none.
        units: [2, M], mean and standard deviation of what the probe measures.
        code: of the encoder's vectors, or None where they are the latents.
        head: what the goal cost sees of latents; None for all of them.
        config: sizes.
    """

    encoder: Encoder
    predictor: Predictor | Mover | Movers
    decoder: Decoder
    probe: Perceptron
    time: Perceptron | None
    units: Array
    code: Code | None
    head: Perceptron | None
    config: Config = eqx.field(static=True)

    @staticmethod
    def random(key: Array, config: Config) -> "LatentModel":
        """A fresh model."""
        c, (one, two, three, four, five) = config, jax.random.split(key, 5)
        sizes = (c.action_size, c.history, c.width, c.depth)
        code = None
        if c.code:
            code = Code.random(jax.random.fold_in(key, 5), c.encoded, c.code, c.code_width)
        if c.code:
            found = [
                Mover.random(k, c.code, c.action_size, c.width, c.depth)
                for k in jax.random.split(two, c.movers)
            ]
            predictor = Movers(found) if c.movers > 1 else found[0]
        else:
            predictor = Predictor.random(two, c.grid, c.channels, *sizes)
        return LatentModel(
            encoder=Encoder.random(one, c.grid, c.channels, c.widths, c.blocks),
            predictor=predictor,
            decoder=Decoder.random(three, c.grid, c.channels, c.widths, c.blocks),
            probe=Perceptron.random(four, (c.latent, 256, 128, c.measured)),
            time=None if c.code else Perceptron.random(five, (c.latent, 256, 32)),
            units=jnp.stack([jnp.zeros(c.measured), jnp.ones(c.measured)]),
            code=code,
            head=None,
            config=config,
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Of planning actions: the environment's, and within what the data held."""
        limit = 1 / self.config.action_std
        limit = min(limit, self.config.action_limit or limit)
        return -limit, limit

    @property
    def objective(self) -> grasp_jax.Objective:
        """The goal cost that the config names."""
        if self.config.metric == KEPT and self.code is not None:
            return grasp_jax.Objective(running_cost=Kept(self.code))
        if self.head is None:
            return grasp_jax.Objective()
        return grasp_jax.Objective(HeadDistance(self.head))

    def with_metric(self, metric: str, head: Perceptron | None = None) -> "LatentModel":
        """The same model with another goal cost; `scaled` and `code` need their head.

        Raises:
            ValueError: the model has no such goal cost.
        """
        head = self.time if metric == TEMPORAL else head
        known = [LATENT] + [TEMPORAL] * (self.time is not None) + [KEPT] * (self.code is not None)
        if metric not in METRICS or (metric not in known and head is None):
            raise ValueError(f"metric must be {' or '.join(known)}, got {metric}")
        config = dataclasses.replace(self.config, metric=metric)
        return dataclasses.replace(self, head=head, config=config)

    def encode(self, frames: Array) -> Array:
        """Latents [n, D] of frames [n, 64, 64, 3] uint8."""
        found = self.encoder(frames)
        return found if self.code is None else self.code.down(found)

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [D], from windows of latents [h, D] and planning actions [h, P]."""
        return self.predictor(states, actions)

    def vectors(self, latents: Array) -> Array:
        """What the encoder gave [..., E], as far as latents [..., D] keep it."""
        return latents if self.code is None else self.code.up(latents)

    def decode(self, latents: Array) -> Array:
        """Frames [n, 64, 64, 3] uint8 of latents [n, D], to look at."""
        return to_pixels(self.decoder(self.vectors(latents)))
