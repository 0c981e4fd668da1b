"""Training of a small LeWM: embeddings predict the next embeddings, SIGReg keeps them apart.

    L = mean ||p_k - z_k||² + λ SIGReg(z),   p_k the k-th open-loop prediction, k = 1..K

Gradients reach encoder and predictor through both p and z; there is no target network and no
stopped gradient. What helps where this alone is not enough is off unless it has a weight: an
inverse model that tells the action from two neighbouring latents, and reconstruction.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from experiments.models.lewm.frames import StoredFrames
from experiments.models.lewm.model import Config, SmallLeWM
from experiments.models.lewm.networks import Perceptron, Predictor
from experiments.models.lewm.sigreg import sigreg
from experiments.models.units import over_devices


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        updates: of the weights.
        batch: segments in an update.
        steps: `K`, open-loop predictions in a segment.
        rate: peak learning rate.
        sigreg: `λ`.
        inverse: weight of the inverse model's error.
        reconstruction: weight of the decoder's error.
        projections: random directions of SIGReg.
        bfloat16: networks compute in bfloat16; weights, errors and SIGReg stay in float32.
    """

    updates: int = 4000
    batch: int = 64
    steps: int = 4
    rate: float = 1e-3
    sigreg: float = 0.03
    inverse: float = 0.0
    reconstruction: float = 0.0
    projections: int = 64
    bfloat16: bool = False


class Networks(NamedTuple):
    """What training moves: the model, and a head that training alone uses."""

    model: SmallLeWM
    inverse: Perceptron


class TrainState(NamedTuple):
    """All that a resumed run needs besides the data."""

    networks: Any
    average: Any
    optimizer: optax.OptState


class Recorded(NamedTuple):
    """Trajectories of one length.

    Attributes:
        frames: [n, T + 1, S, S, 3] uint8, may be stored.
        actions: [n, T, 2] of the environment.
    """

    frames: NDArray[np.uint8] | StoredFrames
    actions: NDArray[Any]


class Batch(NamedTuple):
    """Segments: frames [B, h + K, S, S, 3] uint8, planning actions [B, h + K - 1, P]."""

    frames: NDArray[np.uint8] | Array
    actions: NDArray[np.float32] | Array


def fresh(key: Array, config: Config) -> Networks:
    """Random networks."""
    one, two = jax.random.split(key)
    head = Perceptron.random(two, (2 * config.latent, 128, config.action_size))
    return Networks(SmallLeWM.random(one, config), head)


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Adam, warmed up, then along a cosine; long gradients are cut."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, recipe.rate, min(200, recipe.updates // 2), recipe.updates, recipe.rate / 100
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))


@functools.partial(jax.jit, static_argnames=("config", "recipe"))
def start(key: Array, config: Config, recipe: Recipe) -> TrainState:
    """The state before the first update; none of its arrays share memory."""
    networks: Any = fresh(key, config)
    return TrainState(networks, networks, make_optimizer(recipe).init(networks))


def draw(
    groups: Sequence[Recorded],
    config: Config,
    recipe: Recipe,
    seed: int,
    update: int,
    held: Array | None = None,
) -> Batch:
    """The batch of an update: a function of seed and update alone.

    Args:
        groups: the data; every trajectory is as likely as any other.
        config: of the model.
        recipe: of training.
        seed: of the run.
        update: number of the update.
        held: `on_device(groups)`, to take the frames from; None for the groups' own.

    Raises:
        ValueError: a group's trajectories are shorter than a segment.
    """
    rng = np.random.default_rng((seed, update))
    every, moves = config.frameskip, config.history + recipe.steps - 1
    room = np.array([group.frames.shape[1] - moves * every for group in groups])
    if np.any(room < 1):
        raise ValueError(
            f"A segment of {moves} model steps takes {moves * every} environment steps, "
            f"trajectories have {[g.actions.shape[1] for g in groups]}: lower --steps."
        )
    ends = np.cumsum([len(group.frames) for group in groups])
    row = rng.integers(ends[-1], size=recipe.batch)
    group = np.searchsorted(ends, row, side="right")
    first = rng.integers(room[group])[:, None]
    times = first + every * np.arange(moves + 1)
    taken = np.empty((recipe.batch, moves * every, 2), np.float32)
    row = row - (ends - np.array([len(part.frames) for part in groups]))[group]
    for i, part in enumerate(groups):
        at = np.flatnonzero(group == i)
        moments = first[at] + np.arange(moves * every)
        taken[at] = part.actions[row[at, None], moments] / config.action_std
    taken = taken.reshape(recipe.batch, moves, config.action_size)
    place = (group, row, times)
    return Batch(_read(groups, *place) if held is None else _take(groups, held, *place), taken)


def _read(
    groups: Sequence[Recorded], group: NDArray[Any], row: NDArray[Any], times: NDArray[Any]
) -> NDArray[np.uint8]:
    """Frames [B, F, S, S, 3] at times [B, F] of trajectories `row` [B] of groups `group` [B]."""
    like = groups[0].frames
    frames = np.empty((*times.shape, *like.shape[2:]), like.dtype)
    for i, part in enumerate(groups):
        at = np.flatnonzero(group == i)
        frames[at] = part.frames[row[at, None], times[at]]
    return frames


def _take(
    groups: Sequence[Recorded],
    held: Array,
    group: NDArray[Any],
    row: NDArray[Any],
    times: NDArray[Any],
) -> Array:
    """The same from all frames [N, S, S, 3] on a device."""
    steps = np.array([part.frames.shape[1] for part in groups])
    before = np.cumsum([0] + [part.frames.shape[0] * part.frames.shape[1] for part in groups])
    return _gather(held, (before[group] + row * steps[group])[:, None] + times)


@jax.jit
def _gather(frames: Array, places: Array) -> Array:
    return frames[places]


def on_device(groups: Sequence[Recorded]) -> Array | None:
    """All frames [N, S, S, 3] one after the other in an accelerator's memory.

    None on CPU, and where they would take more than a third of it: batches then come from the host.
    """
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0)
    if jax.default_backend() == "cpu" or sum(part.frames.nbytes for part in groups) > limit / 3:
        return None
    return flatten(groups)


def flatten(groups: Sequence[Recorded]) -> Array:
    """All frames [N, S, S, 3], one trajectory and group after the other."""
    whole = [np.asarray(part.frames) for part in groups]
    parts = [jnp.asarray(frames.reshape(-1, *frames.shape[2:])) for frames in whole]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def rollout(predictor: Predictor, window: Array, actions: Array) -> Array:
    """Open-loop latents [..., K, D].

    Args:
        predictor: one step.
        window: [..., h, D], the present latent last.
        actions: [..., h + K - 1, P], from the window's first frame on.
    """
    history = window.shape[-2]
    windows = jnp.stack(
        [actions[..., k : k + history, :] for k in range(actions.shape[-2] - history + 1)]
    )

    def step(window: Array, taken: Array) -> tuple[Array, Array]:
        found = predictor(window, taken)
        return jnp.concatenate([window[..., 1:, :], found[..., None, :]], axis=-2), found

    return jnp.moveaxis(jax.lax.scan(step, window, windows)[1], 0, -2)


def loss(
    networks: Networks, batch: Batch, key: Array, recipe: Recipe
) -> tuple[Array, dict[str, Array]]:
    """The loss [] and its parts."""
    frames, actions = jnp.asarray(batch.frames), jnp.asarray(batch.actions)
    if recipe.bfloat16:
        networks, actions = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (networks, actions))
    model, inverse = networks
    history = model.history
    coded = model.encoder(frames)
    predicted = rollout(model.predictor, coded[:, :history], actions)
    latents, found = _whole(coded), _whole(predicted)
    error = jnp.mean((found - latents[:, history:]) ** 2, axis=(0, 2))
    parts = {
        "prediction": jnp.mean(error),
        "one_step": error[0],
        "sigreg": sigreg(latents, key, recipe.projections),
    }
    total = parts["prediction"] + recipe.sigreg * parts["sigreg"]
    if recipe.inverse:
        pairs = jnp.concatenate([coded[:, :-1], coded[:, 1:]], axis=-1)
        parts["inverse"] = jnp.mean((_whole(inverse(pairs)) - batch.actions) ** 2)
        total = total + recipe.inverse * parts["inverse"]
    if recipe.reconstruction:
        # The last true frame, drawn from its latent.
        drawn = _whole(model.decoder(coded[:, -1]))
        parts["reconstruction"] = jnp.mean((drawn - frames[:, -1] / 255) ** 2)
        total = total + recipe.reconstruction * parts["reconstruction"]
    return total, parts


def _whole(x: Array) -> Array:
    return x.astype(jnp.float32)


@functools.partial(jax.jit, static_argnames=("recipe",), donate_argnums=0)
def update(
    state: TrainState, batch: Batch, key: Array, recipe: Recipe
) -> tuple[TrainState, dict[str, Array]]:
    """One update; a batch that is sharded over devices stays so."""
    gradient, parts = jax.grad(loss, has_aux=True)(state.networks, batch, key, recipe)
    change, optimizer = make_optimizer(recipe).update(gradient, state.optimizer, state.networks)
    networks = optax.apply_updates(state.networks, change)
    average = optax.incremental_update(networks, state.average, 0.005)
    return TrainState(networks, average, optimizer), parts


def spread(batch: Batch) -> Batch:
    """The batch dealt to all devices, if it can be dealt evenly."""
    split = over_devices(len(batch.frames))
    return batch if split is None else Batch(*(jax.device_put(x, split) for x in batch))


@eqx.filter_jit
def encode(model: SmallLeWM, frames: Array) -> Array:
    """Latents [n, D] of frames [n, S, S, 3] uint8."""
    return model.encode(frames)
