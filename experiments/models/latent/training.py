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

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.environments import pusht_frames
from experiments.lewm_small.networks import Perceptron
from experiments.lewm_small.sigreg import sigreg
from experiments.models.latent.model import Config, LatentModel, rollout


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


class Videos(NamedTuple):
    """Trajectories, on the device; frames are drawn from states where they are needed.

    Attributes:
        states: [n, T + 1, 10] of the simulator.
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


def frames_of(states: Array) -> Array:
    """Frames [..., 64, 64, 3] uint8 of states [..., 10], inside a program."""
    flat = states.reshape(-1, states.shape[-1])
    found = jnp.round(jax.vmap(pusht_frames.draw)(flat)).astype(jnp.uint8)
    return found.reshape(*states.shape[:-1], *found.shape[1:])


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


def _cast(tree: Any, bfloat16: bool) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16 if bfloat16 else jnp.float32), tree)


def _whole(x: Array) -> Array:
    return x.astype(jnp.float32)


def pixel_error(drawn: Array, frames: Array, median: Array, background: float) -> Array:
    """The mean squared error [] of drawn frames [n, 64, 64, 3], weighted towards what is not still.

    Args:
        drawn: RGB, around [0, 1].
        frames: uint8.
        median: [64, 64, 3] in [0, 1].
        background: weight of pixels that look as in the median frame.
    """
    true = frames / 255.0
    apart = jnp.max(jnp.abs(true - median), axis=-1, keepdims=True)
    weights = background + jnp.clip(apart / 0.1, 0, 1)
    errors = weights * (_whole(drawn) - true) ** 2
    return jnp.sum(errors) / (3 * jnp.sum(weights))


def latent_loss(
    networks: Any, states: Array, actions: Array, median: Array, key: Array, recipe: Recipe
) -> tuple[Array, dict[str, Array]]:
    """The first stage's loss [] and its parts, of segments [B, F, 10] and [B, F - 1, P]."""
    model, inverse = _cast(networks, recipe.bfloat16)
    config, frames = model.config, frames_of(states)
    batch, count = frames.shape[:2]
    coded = model.encoder(frames.reshape(-1, *frames.shape[2:])).reshape(batch, count, -1)
    one, two, three, four = jax.random.split(key, 4)
    parts, total = {}, jnp.zeros(())
    shown, latents = frames[:, -1], coded[:, -1]
    if recipe.steps:
        taken = actions.astype(coded.dtype)
        predicted = rollout(model.predictor, coded[:, : config.history], taken)
        whole = _whole(coded)
        error = jnp.mean((_whole(predicted) - whole[:, config.history :]) ** 2, axis=(0, 2))
        parts["prediction"], parts["one_step"] = jnp.mean(error), error[0]
        parts["sigreg"] = sigreg(whole, one, recipe.projections)
        pairs = jnp.concatenate([coded[:, :-1], coded[:, 1:]], axis=-1)
        parts["inverse"] = jnp.mean((_whole(inverse(pairs)) - actions) ** 2)
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
    predictor, latents, actions = _cast((predictor, latents, actions), motion.bfloat16)
    history = config.history
    found = _whole(rollout(predictor, latents[:, :history], actions))
    target = _whole(latents[:, history:])
    shape = (*target.shape[:2], config.grid**2, config.channels)
    errors = jnp.mean(((found - target) ** 2).reshape(shape), axis=-1)
    weights = jnp.ones(shape[:3])
    if config.grid > 1:
        apart = jnp.mean(((target - _whole(median)) ** 2).reshape(shape), axis=-1)
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
        return time_loss(head, _whole(coded.latents[row, first]), _whole(coded.latents[row, later]))

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
        total = jnp.mean((head(_whole(coded.latents[row, at])) - targets[row, at]) ** 2)
        return total, {"probe": total}

    return _scan(loss, state, jax.random.split(key, chunk), 2e-3, progress)


@functools.partial(jax.jit, static_argnames="bfloat16")
def encode_videos(model: LatentModel, states: Array, bfloat16: bool) -> Array:
    """Latents [n, T + 1, D] in bfloat16 of states [n, T + 1, 10], one trajectory after another."""
    encoder = _cast(model.encoder, bfloat16)
    one = functools.partial(_encode_one, encoder)
    return jax.lax.map(one, states, batch_size=16 if bfloat16 else 1)


def _encode_one(encoder: Any, states: Array) -> Array:
    return encoder(frames_of(states)).astype(jnp.bfloat16)
