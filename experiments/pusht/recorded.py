"""What far goals of Push-T are planned from: recorded pushes, seen as frames, and their graph.

The recording is cut into pieces of 120 steps, as the world model's own training data are, so that
no piece is as long as a far goal is away. Only frames enter: one per model step, encoded by the
model that plans.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.environments.pusht.collect import collect_shard
from experiments.harness.files import replacing
from experiments.planning.runner import encode_states
from experiments.planning.tasks import Task
from grasp_jax.paths_from_data import StateIndex, build_index

STEPS, PART = 120, 100
"""Environment steps of a recorded piece; pieces per file."""
FIRST_SHARD = 1000
"""Shards of the training stream that no shipped model was trained on."""


class Recorded(NamedTuple):
    """Latents `[n, L]` of recorded frames, one per model step, and each one's piece `[n]`."""

    latents: np.ndarray
    pieces: np.ndarray


def record(folder: pathlib.Path, task: Task, model: Any, count: int) -> Recorded:
    """Collects and encodes `count` pieces; what lies in `folder` already is read."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for part in tqdm(range(-(-count // PART)), desc="recorded pushes"):
        path = folder / f"latents_{part:04d}.npz"
        if not path.exists():
            states, _ = collect_shard(FIRST_SHARD + part, PART, STEPS, 0)
            seen = states[:, :: task.frameskip].astype(np.float64)
            latents = encode_states(model, task, seen.reshape(-1, seen.shape[-1]))
            with replacing(path) as temporary:
                np.savez(temporary, latents=latents.reshape(*seen.shape[:2], -1))
        with np.load(path) as found:
            parts.append(found["latents"])
    latents = np.concatenate(parts)[:count]
    pieces = np.repeat(np.arange(len(latents)), latents.shape[1])
    return Recorded(latents.reshape(len(pieces), -1), pieces)


def make_index(recorded: Recorded, num_nodes: int) -> StateIndex:
    """The graph over recorded frames; a row is a model step."""
    return build_index(recorded.latents, recorded.pieces, num_nodes=num_nodes)
