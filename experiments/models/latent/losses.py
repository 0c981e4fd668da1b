"""What a visual latent is trained on: errors of pixels, of predicted latents, of time.

See `experiments.models.latent.training` for the two stages.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from experiments.environments.pusht import frames as pusht_frames
from experiments.models.latent.model import Config
from experiments.models.latent.networks import rollout
from experiments.models.lewm.networks import Perceptron
from experiments.models.lewm.sigreg import sigreg


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the latent is trained.

    Attributes:
        batch: segments in an update.
        steps: `K`, open-loop predictions in a segment; 0 trains encoder and decoder alone.
        rate: peak learning rate.
        noise: standard deviation of what is added to latents before they are drawn.
        sigreg: `λ`.
        inverse: weight of the inverse model's error.
        reconstruction: weight of the decoder's error.
        background: weight of a pixel that looks as in the median frame; others have 1.
        projections: random directions of SIGReg.
        bfloat16: networks compute in bfloat16; weights and errors stay in float32.
    """

    batch: int = 128
    steps: int = 4
    rate: float = 1e-3
    noise: float = 0.0
    sigreg: float = 0.03
    inverse: float = 0.3
    reconstruction: float = 20.0
    background: float = 0.02
    projections: int = 128
    bfloat16: bool = True


@dataclasses.dataclass(frozen=True)
class Motion:
    """How the predictor is trained on frozen latents.

    Attributes:
        steps: `K`.
        batch: segments in an update.
        rate: peak learning rate.
        background: weight of a token that is as in the median latent; others have up to 1 more.
        bfloat16: compute in bfloat16.
    """

    steps: int = 4
    batch: int = 512
    rate: float = 1e-3
    background: float = 0.05
    bfloat16: bool = True


def frames_of(states: Array) -> Array:
    """Frames [..., 64, 64, 3] uint8 of states [..., 10], inside a program; frames stay frames."""
    if states.dtype == jnp.uint8:
        return states
    flat = states.reshape(-1, states.shape[-1])
    found = jnp.round(jax.vmap(pusht_frames.draw)(flat)).astype(jnp.uint8)
    return found.reshape(*states.shape[:-1], *found.shape[1:])


def cast(tree: Any, bfloat16: bool) -> Any:
    """All arrays in bfloat16, or in float32."""
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16 if bfloat16 else jnp.float32), tree)


def whole(x: Array) -> Array:
    """In float32."""
    return x.astype(jnp.float32)


def pixel_error(drawn: ArrayLike, frames: ArrayLike, median: Array, background: float) -> Array:
    """The mean squared error [] of drawn frames [n, 64, 64, 3], weighted towards what is not still.

    Args:
        drawn: RGB, around [0, 1].
        frames: uint8.
        median: [64, 64, 3] in [0, 1].
        background: weight of pixels that look as in the median frame.
    """
    true = jnp.asarray(frames) / 255.0
    apart = jnp.max(jnp.abs(true - median), axis=-1, keepdims=True)
    weights = background + jnp.clip(apart / 0.1, 0, 1)
    errors = weights * (whole(jnp.asarray(drawn)) - true) ** 2
    return jnp.sum(errors) / (3 * jnp.sum(weights))


def latent_loss(
    networks: Any, states: Array, actions: Array, median: Array, key: Array, recipe: Recipe
) -> tuple[Array, dict[str, Array]]:
    """The first stage's loss [] and its parts, of segments [B, F, 10] and [B, F - 1, P]."""
    model, inverse = cast(networks, recipe.bfloat16)
    config, frames = model.config, frames_of(states)
    batch, count = frames.shape[:2]
    coded = model.encoder(frames.reshape(-1, *frames.shape[2:])).reshape(batch, count, -1)
    one, two, three, four = jax.random.split(key, 4)
    parts, total = {}, jnp.zeros(())
    shown, latents = frames[:, -1], coded[:, -1]
    if recipe.steps:
        taken = actions.astype(coded.dtype)
        predicted = rollout(model.predictor, coded[:, : config.history], taken)
        full = whole(coded)
        error = jnp.mean((whole(predicted) - full[:, config.history :]) ** 2, axis=(0, 2))
        parts["prediction"], parts["one_step"] = jnp.mean(error), error[0]
        parts["sigreg"] = sigreg(full, one, recipe.projections)
        pairs = jnp.concatenate([coded[:, :-1], coded[:, 1:]], axis=-1)
        parts["inverse"] = jnp.mean((whole(inverse(pairs)) - actions) ** 2)
        total = parts["prediction"] + recipe.sigreg * parts["sigreg"]
        total = total + recipe.inverse * parts["inverse"]
        # A random one of the true frames, and a random one of the predictions of others.
        at = jax.random.randint(two, (batch,), 0, count)
        after = jax.random.randint(three, (batch,), 0, recipe.steps)
        rows = jnp.arange(batch)
        latents = jnp.concatenate([coded[rows, at], predicted[rows, after]])
        shown = jnp.concatenate([frames[rows, at], frames[rows, config.history + after]])
    else:
        latents = coded.reshape(batch * count, -1)
        shown = frames.reshape(-1, *frames.shape[2:])
    if recipe.noise:
        latents = latents + recipe.noise * jax.random.normal(four, latents.shape, latents.dtype)
    drawn = model.decoder(latents)
    half = len(drawn) // 2 if recipe.steps else len(drawn)
    parts["reconstruction"] = pixel_error(drawn[:half], shown[:half], median, recipe.background)
    total = total + recipe.reconstruction * parts["reconstruction"]
    if recipe.steps:
        parts["redrawn"] = pixel_error(drawn[half:], shown[half:], median, recipe.background)
        total = total + recipe.reconstruction * parts["redrawn"]
    return total, parts


def motion_loss(
    predictor: Any, latents: Array, actions: Array, median: Array, config: Config, motion: Motion
) -> tuple[Array, dict[str, Array]]:
    """The second stage's loss [] and its parts, of segments [B, h + K, D] and [B, h + K - 1, P]."""
    predictor, latents, actions = cast((predictor, latents, actions), motion.bfloat16)
    history = config.history
    found = whole(rollout(predictor, latents[:, :history], actions))
    target = whole(latents[:, history:])
    shape = (*target.shape[:2], config.grid**2, config.channels)
    errors = jnp.mean(((found - target) ** 2).reshape(shape), axis=-1)
    weights = jnp.ones(shape[:3])
    if config.grid > 1:
        apart = jnp.mean(((target - whole(median)) ** 2).reshape(shape), axis=-1)
        weights = motion.background + jnp.clip(apart, 0, 1)
    by_step = jnp.sum(weights * errors, axis=(0, 2)) / jnp.sum(weights, axis=(0, 2))
    total = jnp.mean(by_step)
    return total, {"motion": total, "one_step": by_step[0], "last_step": by_step[-1]}


def time_loss(head: Perceptron, one: Array, two: Array) -> tuple[Array, dict[str, Array]]:
    """How well a frame's later frame [n, D] is told from those of others: InfoNCE, both ways."""
    a, b = head(one), head(two)
    gaps = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
    rows = jnp.diagonal(jax.nn.log_softmax(-gaps, axis=1))
    columns = jnp.diagonal(jax.nn.log_softmax(-gaps, axis=0))
    total = -jnp.mean(rows + columns) / 2
    return total, {"time": total}
