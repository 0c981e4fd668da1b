"""Where the point is in a frame of a maze, learned from frames and the actions between them.

    E(x) = S K · Σ_p softmax_p(logit(|x - background|)) p

A keypoint: the mean place `p` of pixels that a small network finds unlike the background, in units
that make odometry true: `E(x') - E(x)` is to be what the actions between two frames would move the
point without walls. No position is ever given; walls make outliers, which a Huber loss bears. What
comes out is a position up to an offset.
"""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

from experiments.environments.ogbench_frames import SIZE

CHANNELS, UNITS = 8, 30.0
"""Width of the network; half the width of a frame in maze units, roughly."""

Weights = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Eyes:
    """The encoder, a callable pytree.

    Attributes:
      weights: `first` `[3, 3, 3, C]`, `second` `[C]`, `gain` `[]`, `units` `[2, 2]`.
      background: `[64, 64, 3]` uint8, the median frame.
    """

    weights: Weights
    background: jax.Array

    def __call__(self, frame: jax.Array) -> jax.Array:
        """The latent `[2]` of a frame `[64, 64, 3]` uint8."""
        w = self.weights
        change = jnp.abs(frame.astype(jnp.float32) - self.background.astype(jnp.float32)) / 255
        seen = jax.lax.conv_general_dilated(
            change[None], w["first"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        logits = jax.nn.silu(seen) @ w["second"] + w["gain"] * jnp.sum(change, axis=-1)
        share = jax.nn.softmax(logits.reshape(-1)).reshape(SIZE, SIZE)
        places = jnp.linspace(-1, 1, SIZE)
        keypoint = jnp.stack([jnp.sum(share, 0) @ places, jnp.sum(share, 1) @ places])
        return UNITS * w["units"] @ keypoint


@jax.jit
def encode(eyes: Eyes, frames: jax.Array) -> jax.Array:
    """Latents `[n, 2]` of frames `[n, 64, 64, 3]`."""
    return jax.lax.map(eyes, frames, batch_size=64)


class Pairs(NamedTuple):
    """Frames a model step apart `[n, 64, 64, 3]`; `moves` `[n, 2]` of the actions without walls."""

    before: Any
    after: Any
    moves: Any


def init(frames: np.ndarray, key: jax.Array) -> Eyes:
    """Eyes that look at whatever differs from the median of frames `[n, 64, 64, 3]`."""
    one, two = jax.random.split(key)
    weights = {
        "first": 0.3 * jax.random.normal(one, (3, 3, 3, CHANNELS)),
        "second": 0.3 * jax.random.normal(two, (CHANNELS,)),
        "gain": jnp.asarray(8.0),
        "units": jnp.zeros((2, 2)),
    }
    background = np.median(frames[:: max(1, len(frames) // 500)], axis=0).astype(np.uint8)
    return Eyes(weights, jnp.asarray(background))


def loss(eyes: Eyes, pairs: Pairs) -> jax.Array:
    """Huber loss of odometry, in units of 0.2: `[]`."""
    see = jax.vmap(eyes)
    gaps = (see(pairs.after) - see(pairs.before) - pairs.moves) / 0.2
    return jnp.mean(optax.losses.huber_loss(gaps))


def fit(pairs: Pairs, updates: int, batch: int, seed: int) -> Eyes:
    """Trains eyes; Adam with one cosine from 0.01."""
    eyes = init(pairs.before, jax.random.key(seed))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, updates))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(carry: tuple, batch: Pairs) -> tuple:
        weights, state = carry
        gradient = jax.grad(lambda w: loss(Eyes(w, eyes.background), batch))(weights)
        moves, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, moves), state

    rng = np.random.default_rng(seed)
    carry = (eyes.weights, optimizer.init(eyes.weights))
    for _ in range(updates):
        rows = rng.integers(len(pairs.before), size=batch)
        carry = update(carry, Pairs(*(x[rows] for x in pairs)))
    return Eyes(carry[0], eyes.background)


def save(path: pathlib.Path, eyes: Eyes) -> None:
    """Writes the weights and the background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {k: np.asarray(x) for k, x in eyes.weights.items()}
    save_file({**arrays, "background": np.asarray(eyes.background)}, str(path))


def load(path: pathlib.Path) -> Eyes:
    """Reads what `save` wrote."""
    arrays = {k: jnp.asarray(v) for k, v in load_file(str(path)).items()}
    background = arrays.pop("background")
    return Eyes(arrays, background)
