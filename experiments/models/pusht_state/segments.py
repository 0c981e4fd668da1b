"""Training segments of recorded Push-T trajectories."""

import functools
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.models.pusht_state import model as psm
from experiments.models.runs import Stage

HELD_OUT = 0.05  # share of the trajectories, the last ones, kept for the report


class Data(NamedTuple):
    """Trajectories: states [n, T + 1, 10] and actions [n, T, 2], float32, simulator units."""

    states: Array | np.ndarray
    actions: Array | np.ndarray


def load_data(directory: str) -> tuple[Data, Data]:
    """Training and held-out trajectories of the shards in a directory."""
    paths = sorted(pathlib.Path(directory).glob("shard_*.npz"))
    if not paths:
        raise FileNotFoundError(
            f"no shard_*.npz in {directory}: run experiments.environments.pusht.collect"
        )
    shards = [np.load(path) for path in paths]
    states = np.concatenate([shard["states"] for shard in shards])
    actions = np.concatenate([shard["actions"] for shard in shards])
    cut = len(states) - max(1, round(HELD_OUT * len(states)))
    return Data(states[:cut], actions[:cut]), Data(states[cut:], actions[cut:])


def mirror(states: Array, actions: Array) -> tuple[Array, Array]:
    """Reflects x at the arena's centre: the T is symmetric, so this is valid data."""
    sign = jnp.array([-1, 1, -1, 1, -1, 1, -1, -1, 1, -1], states.dtype)
    # The walls are at 5 and 506.
    shift = jnp.array([511, 0, 0, 0, 511, 0, 0, 0, 0, 0], states.dtype)
    return states * sign + shift, actions * jnp.array([-1, 1], actions.dtype)


def segment_starts(data: Data, stage: Stage) -> Array:
    """Flat indices (trajectory * T + time) of segments in which the agent may touch the block.

    The other segments teach nothing: there the model's gate is zero by construction.
    """
    length = data.actions.shape[1]
    last = length - stage.steps + 1
    agent = jnp.asarray(psm.fit_agent(data.states[:256], data.actions[:256]), jnp.float32)
    gates = jax.jit(jax.vmap(jax.vmap(functools.partial(psm.step_gate, agent))))
    starts = []
    for low in range(0, len(data.states), 1000):
        part = slice(low, low + 1000)
        near = np.asarray(gates(data.states[part, :-1], data.actions[part])) > 0
        total = np.concatenate([np.zeros((len(near), 1)), np.cumsum(near, axis=1)], axis=1)
        # More than a glancing touch, so that long segments are worth their cost.
        useful = total[:, stage.steps :] - total[:, :last] >= max(1, stage.steps // 5)
        rows, columns = np.nonzero(useful[:, :last])
        starts.append((rows + low) * length + columns)
    return jnp.asarray(np.concatenate(starts), jnp.int32)


def sample_batch(data: Data, starts: Array, stage: Stage, key: Array) -> tuple[Array, Array]:
    """Random segments, half of them mirrored: [batch, steps + 1, 10], [batch, steps, 2]."""
    pick, flip = jax.random.split(key)
    start = starts[jax.random.randint(pick, (stage.batch,), 0, len(starts))]
    row, column = jnp.divmod(start, data.actions.shape[1])
    times = column[:, None] + jnp.arange(stage.steps + 1)
    states = data.states[row[:, None], times]
    actions = data.actions[row[:, None], times[:, :-1]]
    mirrored = jax.random.bernoulli(flip, 0.5, (stage.batch, 1, 1))
    other = mirror(states, actions)
    return jnp.where(mirrored, other[0], states), jnp.where(mirrored, other[1], actions)
