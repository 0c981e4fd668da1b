"""Training of a visual latent, in two stages, from frames and actions alone.

First the latent. A grid of tokens learns to redraw its frame, through noise. A vector follows
LeWM's recipe: the embeddings of a window predict each other open loop,

    L = mean ||p_k - z_k||² + λ SIGReg(z) + inverse + reconstruction of z and of p,

with an inverse model that tells the action between two frames, and a decoder. Errors of pixels
count where a frame differs from the median frame, else small things would not be worth a latent.

Then the motion: latents are encoded once, the encoder stays, and the predictor learns longer and
longer open-loop rollouts. Schedules follow a share of progress in [0, 1], so that a run may be
limited in seconds as well as in updates.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.models.latent.losses import (
    Motion,
    Recipe,
    cast,
    frames_of,
    latent_loss,
    motion_loss,
    time_loss,
    whole,
)
from experiments.models.latent.model import Config, LatentModel
from experiments.models.lewm.networks import Perceptron


class Videos(NamedTuple):
    """Trajectories, on the device.

    Attributes:
        states: [n, T + 1, 10] of the simulator, drawn where they are needed; or the frames
            themselves, [n, T + 1, 64, 64, 3] uint8.
        actions: [n, T, 2] of the environment.
        median: [64, 64, 3], the median frame in [0, 1].
    """

    states: Array
    actions: Array
    median: Array


class Coded(NamedTuple):
    """Trajectories of latents.

    Attributes:
        latents: [n, T + 1, D], in bfloat16.
        actions: [n, T, 2] of the environment.
        median: [D], the median latent.
    """

    latents: Array
    actions: Array
    median: Array


class Trained(NamedTuple):
    """All that a resumed run needs besides the data.

    Attributes:
        networks: what is trained.
        average: of late networks.
        moments: of the optimizer.
        count: [] int32, updates done.
    """

    networks: Any
    average: Any
    moments: Any
    count: Array


_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))


def start(networks: Any) -> Trained:
    """The state before the first update."""
    copied = jax.tree.map(jnp.array, networks)
    return Trained(networks, copied, _OPTIMIZER.init(networks), jnp.zeros((), jnp.int32))


def fresh(key: Array, config: Config) -> tuple[LatentModel, Perceptron]:
    """A random model, and the inverse model that training alone uses."""
    one, two = jax.random.split(key)
    return LatentModel.random(one, config), Perceptron.random(
        two, (2 * config.latent, 256, config.action_size)
    )


def segments(
    key: Array, held: Array, actions: Array, config: Config, batch: int, steps: int
) -> tuple[Array, Array]:
    """Random segments: rows [B, steps + 1, ...] of `held` and planning actions [B, steps, P].

    Args:
        key: random key.
        held: [n, T + 1, ...].
        actions: [n, T, 2].
        config: of the model.
        batch: `B`.
        steps: model steps.
    """
    every = config.frameskip
    one, two = jax.random.split(key)
    row = jax.random.randint(one, (batch, 1), 0, len(held))
    first = jax.random.randint(two, (batch, 1), 0, held.shape[1] - steps * every)
    found = held[row, first + every * jnp.arange(steps + 1)]
    taken = actions[row, first + jnp.arange(steps * every)] / config.action_std
    return found, taken.reshape(batch, steps, config.action_size)


def _improve(state: Trained, gradient: Any, progress: Array, rate: float) -> Trained:
    """Adam with decay of weights, warmed up over 200 updates, then along a cosine of progress."""
    warm = jnp.minimum(1.0, (state.count + 1) / 200)
    rate_now = rate * warm * (0.01 + 0.99 * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
    change, moments = _OPTIMIZER.update(gradient, state.moments, state.networks)
    networks = jax.tree.map(
        lambda x, d: x - rate_now * (d + 1e-4 * x).astype(x.dtype), state.networks, change
    )
    average = optax.incremental_update(networks, state.average, 0.005)
    return Trained(networks, average, moments, state.count + 1)


def _scan(loss: Any, state: Trained, keys: Array, rate: float, progress: Array) -> Any:
    def one(state: Trained, key: Array) -> Any:
        gradient, parts = jax.grad(loss, has_aux=True)(state.networks, key)
        return _improve(state, gradient, progress, rate), parts

    state, parts = jax.lax.scan(one, state, keys)
    return state, jax.tree.map(jnp.mean, parts)


@functools.partial(jax.jit, static_argnames=("config", "recipe", "chunk"), donate_argnums=0)
def latent_updates(
    state: Trained, videos: Videos, key: Array, progress: Array, config: Config, recipe: Recipe,
    chunk: int,
) -> tuple[Trained, dict[str, Array]]:  # fmt: skip
    """`chunk` updates of the first stage, of networks `(model, inverse)`."""
    moves = config.history + recipe.steps - 1

    def loss(networks: Any, key: Array) -> Any:
        one, two = jax.random.split(key)
        states, actions = segments(
            one, videos.states, videos.actions, config, recipe.batch, max(moves, 1)
        )
        return latent_loss(networks, states, actions, videos.median, two, recipe)

    return _scan(loss, state, jax.random.split(key, chunk), recipe.rate, progress)


@functools.partial(jax.jit, static_argnames=("config", "motion", "chunk"), donate_argnums=0)
def motion_updates(
    state: Trained, coded: Coded, key: Array, progress: Array, config: Config, motion: Motion,
    chunk: int,
) -> tuple[Trained, dict[str, Array]]:  # fmt: skip
    """`chunk` updates of the second stage, of a predictor."""
    moves = config.history + motion.steps - 1

    def loss(predictor: Any, key: Array) -> Any:
        latents, actions = segments(key, coded.latents, coded.actions, config, motion.batch, moves)
        return motion_loss(predictor, latents, actions, coded.median, config, motion)

    return _scan(loss, state, jax.random.split(key, chunk), motion.rate, progress)


@functools.partial(jax.jit, static_argnames=("config", "batch", "chunk"), donate_argnums=0)
def time_updates(
    state: Trained,
    coded: Coded,
    key: Array,
    progress: Array,
    config: Config,
    batch: int,
    chunk: int,
) -> tuple[Trained, dict[str, Array]]:
    """`chunk` updates of the head `time`: a later frame is one to ten model steps away.

    Eight moments of each of `batch / 8` trajectories: others of the same one must be told apart.
    """
    longest = config.frameskip * 10

    def loss(head: Any, key: Array) -> Any:
        one, two, three = jax.random.split(key, 3)
        row = jnp.repeat(jax.random.randint(one, (batch // 8,), 0, len(coded.latents)), 8)
        first = jax.random.randint(two, (batch,), 0, coded.latents.shape[1] - longest)
        later = first + jax.random.randint(three, (batch,), 1, longest + 1)
        return time_loss(head, whole(coded.latents[row, first]), whole(coded.latents[row, later]))

    return _scan(loss, state, jax.random.split(key, chunk), 1e-3, progress)


@functools.partial(jax.jit, static_argnames=("config", "batch", "chunk"), donate_argnums=0)
def probe_updates(
    state: Trained, coded: Coded, targets: Array, key: Array, progress: Array, config: Config,
    batch: int, chunk: int,
) -> tuple[Trained, dict[str, Array]]:  # fmt: skip
    """`chunk` updates of the probe, to targets [n, T + 1, M] in units of their deviations."""
    del config

    def loss(head: Any, key: Array) -> Any:
        one, two = jax.random.split(key)
        row = jax.random.randint(one, (batch,), 0, len(coded.latents))
        at = jax.random.randint(two, (batch,), 0, coded.latents.shape[1])
        total = jnp.mean((head(whole(coded.latents[row, at])) - targets[row, at]) ** 2)
        return total, {"probe": total}

    return _scan(loss, state, jax.random.split(key, chunk), 2e-3, progress)


@functools.partial(jax.jit, static_argnames="bfloat16")
def encode_videos(model: LatentModel, states: Array, bfloat16: bool) -> Array:
    """Latents [n, T + 1, D] in bfloat16 of states [n, T + 1, 10], one trajectory after another."""
    encoder = cast(model.encoder, bfloat16)
    one = functools.partial(_encode_one, encoder)
    return jax.lax.map(one, states, batch_size=16 if bfloat16 else 1)


def _encode_one(encoder: Any, states: Array) -> Array:
    return encoder(frames_of(states)).astype(jnp.bfloat16)
