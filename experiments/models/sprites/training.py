"""Training of a scene's dynamics on encoded trajectories, in rollouts of growing length."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.models.runs import Stage
from experiments.models.sprites.dynamics import Dynamics
from experiments.models.sprites.encoder import split_over_devices
from experiments.models.sprites.scene import Scene

CHUNK = 50  # updates per compiled call
ROBUST = 0.02  # frame units at which an error starts to count logarithmically
MOVING = 0.005  # frame units that an object must move to make a segment interesting


class Data(NamedTuple):
    """Encoded trajectories.

    Attributes:
        latents: [n, T + 1, L] float32.
        actions: [n, T, 2] float32, along the frame's axes.
        lengths: [n] steps of each, the rest is filled up; None where all have T.
    """

    latents: Array | np.ndarray
    actions: Array | np.ndarray
    lengths: Array | np.ndarray | None = None


def join(parts: list[Data]) -> Data:
    """Trajectories of several lengths, the shorter ones filled up with their last latent."""
    most = max(part.actions.shape[1] for part in parts)
    latents, actions, lengths = [], [], []
    for part in parts:
        steps = part.actions.shape[1]
        rest = ((0, 0), (0, most - steps), (0, 0))
        latents.append(np.pad(np.asarray(part.latents), rest, "edge"))
        actions.append(np.pad(np.asarray(part.actions), rest))
        lengths.append(np.full(len(part.actions), steps))
    return Data(*map(np.concatenate, (latents, actions, lengths)))


class TrainState(NamedTuple):
    """All that a resumed run needs besides the data."""

    dynamics: Any
    average: Any
    optimizer: optax.OptState


def rollout(scene: Scene, dynamics: Dynamics, first: Array, actions: Array, every: int) -> Array:
    """Open-loop latents after every environment step.

    Args:
        scene: the objects.
        dynamics: their motion.
        first: [2, L], the latents one model step before the start, and at the start.
        actions: [(M + 1) * N, 2], from the model step before the start on.
        every: `N`.

    Returns:
        [M * N, L].
    """
    blocks = actions.reshape(-1, every, 2)

    def step(states: Array, taken: Array) -> tuple[Array, Array]:
        found = dynamics.steps(scene, states, taken)
        return jnp.stack([states[1], found[-1]]), found

    windows = jnp.stack([blocks[:-1], blocks[1:]], axis=1)
    return jax.lax.scan(step, first, windows)[1].reshape(-1, first.shape[-1])


def displacement(scene: Scene, difference: Array) -> Array:
    """Root mean square displacement [..., K] of each object's points, from latents [..., L]."""
    found, first = [], 0
    for sprite in scene.sprites:
        last = first + (4 if sprite.kind.turns else 2)
        found.append(jnp.sqrt(jnp.sum(difference[..., first:last] ** 2, axis=-1) + 1e-8))
        first = last
    return jnp.stack(found, axis=-1)


def segment_starts(scene: Scene, data: Data, stage: Stage, every: int) -> tuple[Array, Array]:
    """Flat indices (trajectory * (T + 1) + time) of all segments, and of the interesting ones.

    In an interesting one an object that is not driven moves; where there is none, all are.
    """
    latents = np.asarray(data.latents)
    length = latents.shape[1]
    starts = np.arange(every, length - stage.steps * every)
    rows = np.arange(len(latents))[:, None] * length + starts
    fits = np.ones(rows.shape, bool)
    if data.lengths is not None:
        fits = starts + stage.steps * every <= np.asarray(data.lengths)[:, None]
    anywhere = jnp.asarray(rows[fits])
    if len(scene.sprites) == 1:
        return anywhere, anywhere
    moved = np.asarray(displacement(scene, jnp.asarray(np.diff(latents, axis=1))))[..., :-1]
    total = np.cumsum(np.pad(moved.max(axis=-1) > MOVING, ((0, 0), (1, 0))), axis=1)
    count = total[:, starts + stage.steps * every] - total[:, starts]
    busy = rows[fits & (count >= max(1, stage.steps * every // 6))]
    return anywhere, jnp.asarray(busy) if len(busy) else anywhere


def batch_loss(
    dynamics: Dynamics, scene: Scene, data: Data, start: Array, steps: int, every: int
) -> Array:
    """Robust mean displacement error [] of open-loop rollouts from flat indices [batch]."""
    row, column = jnp.divmod(start, data.latents.shape[1])
    times = column[:, None] + jnp.arange(-every, steps * every)
    actions = jnp.asarray(data.actions)[row[:, None], times]
    latents = jnp.asarray(data.latents)[row[:, None], jnp.append(times, times[:, -1:] + 1, axis=1)]

    def one(latents: Array, actions: Array) -> Array:
        first = jnp.stack([latents[0], latents[every]])
        found = rollout(scene, dynamics, first, actions, every)
        error = displacement(scene, found - latents[every + 1 :])
        return jnp.mean(ROBUST * jnp.log1p(error / ROBUST))

    return jnp.mean(jax.vmap(one)(latents, actions))


@functools.partial(jax.jit, static_argnames=("optimizer", "stage", "every"))
def train_chunk(
    state: TrainState,
    scene: Scene,
    data: Data,
    starts: tuple[Array, Array],
    key: Array,
    first: Array,
    optimizer: optax.GradientTransformation,
    stage: Stage,
    every: int,
) -> tuple[TrainState, Array]:
    """CHUNK updates, numbered from `first` []; returns the state and the mean loss []."""
    anywhere, busy = starts

    def update(state: TrainState, index: Array) -> tuple[TrainState, Array]:
        one, two = jax.random.split(jax.random.fold_in(key, index))
        rest = stage.batch // 4
        start = jnp.concatenate(
            [
                anywhere[jax.random.randint(one, (rest,), 0, len(anywhere))],
                busy[jax.random.randint(two, (stage.batch - rest,), 0, len(busy))],
            ]
        )
        loss, gradient = jax.value_and_grad(batch_loss)(
            state.dynamics, scene, data, split_over_devices(start), stage.steps, every
        )
        change, inner = optimizer.update(gradient, state.optimizer, state.dynamics)
        # The linear part is fitted, not trained.
        dynamics = optax.apply_updates(state.dynamics, change)
        dynamics = eqx.tree_at(lambda d: d.drive, dynamics, state.dynamics.drive)
        average = optax.incremental_update(dynamics, state.average, 0.002)
        return TrainState(dynamics, average, inner), loss

    state, losses = jax.lax.scan(update, state, first + jnp.arange(CHUNK))
    return state, jnp.mean(losses)
