"""Collects Push-T trajectories with scripted policies, in parallel and resumable.

    python -m experiments.environments.pusht.collect --output=data/pusht

Every shard is a function of the seed and its index, and appears under its name only when
complete: after an interruption, the same command continues where it stopped.
"""

import functools
import math
import os
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import numpy as np
from absl import app, flags
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.environments.pusht.block import WALL_HIGH, WALL_LOW, block_corners, sample_start
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.policies import TRAINING_STREAM, make_policy, run_policy
from experiments.environments.pusht.simulator import (
    AGENT_POSITION,
    ARENA_SIZE,
    BLOCK_ANGLE,
    BLOCK_POSITION,
    STATE_SIZE,
    success,
)
from experiments.harness.files import replacing
from experiments.harness.flags import begin
from experiments.harness.workers import process_pool

SHARD_SIZE = 500

_HORIZONS = (40, 50, 60, 70, 80)
_STATISTICS_TRAJECTORIES = 2000


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("output", None, "Directory of the shards.", required=True)
    flags.DEFINE_integer("trajectories", 16000, "Number of trajectories.", 1)
    flags.DEFINE_integer("steps", 120, "Environment steps per trajectory.", 1)
    flags.DEFINE_integer("workers", None, "Processes; by default one per core.", 1)
    flags.DEFINE_integer("seed", 0, "Seed of the data set.", 0)


def collect_shard(
    index: int, count: int, steps: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Simulates one shard.

    Args:
        index: shard number.
        count: trajectories in the shard.
        steps: environment steps per trajectory.
        seed: seed of the data set.

    Returns:
        States [count, steps + 1, STATE_SIZE] and actions [count, steps, 2], both float32.
    """
    simulator = FastPushT()
    states = np.empty((count, steps + 1, STATE_SIZE), np.float32)
    actions = np.empty((count, steps, 2), np.float32)
    for row in range(count):
        rng = np.random.default_rng((seed, TRAINING_STREAM, index, row))
        simulator.reset_to(sample_start(rng))
        states[row], actions[row] = run_policy(simulator, make_policy(rng, steps), steps)
    return states, actions


def write_shard(index: int, directory: Path, trajectories: int, steps: int, seed: int) -> int:
    """Collects one shard unless it exists.

    Args:
        index: shard number.
        directory: where the shards live.
        trajectories: size of the whole data set.
        steps: environment steps per trajectory.
        seed: seed of the data set.

    Returns:
        Trajectories in the shard.
    """
    count = min(SHARD_SIZE, trajectories - index * SHARD_SIZE)
    path = directory / f"shard_{index:05d}.npz"
    if path.exists():
        _check_shard(path, count, steps, seed)
        return count
    states, actions = collect_shard(index, count, steps, seed)
    with replacing(path) as temporary:
        np.savez(temporary, states=states, actions=actions, seed=seed)
    return count


def _check_shard(path: Path, count: int, steps: int, seed: int) -> None:
    with np.load(path) as shard:
        found = (*shard["actions"].shape[:2], int(shard["seed"]))
    if found != (count, steps, seed):
        raise ValueError(
            f"{path} holds (trajectories, steps, seed) = {found}, not {(count, steps, seed)}; "
            "choose another --output or delete it"
        )


def collect(directory: Path, trajectories: int, steps: int, seed: int, workers: int) -> list[Path]:
    """Writes all missing shards.

    Args:
        directory: where the shards live; created if needed.
        trajectories: size of the data set.
        steps: environment steps per trajectory.
        seed: seed of the data set.
        workers: processes.

    Returns:
        The shards' paths, in order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shards = math.ceil(trajectories / SHARD_SIZE)
    write = functools.partial(
        write_shard, directory=directory, trajectories=trajectories, steps=steps, seed=seed
    )
    with (
        process_pool(min(workers, shards)) as pool,
        tqdm(total=trajectories, unit="trajectory", smoothing=0) as progress,
    ):
        for done in futures.as_completed([pool.submit(write, i) for i in range(shards)]):
            progress.update(done.result())
    return [directory / f"shard_{index:05d}.npz" for index in range(shards)]


def load_shards(
    paths: Sequence[Path], limit: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reads shards into memory.

    Args:
        paths: shard files.
        limit: read no further shard once this many trajectories are there.

    Returns:
        States [n, steps + 1, STATE_SIZE] and actions [n, steps, 2], both float32.
    """
    states, actions, total = [], [], 0
    for path in paths:
        with np.load(path) as shard:
            states.append(shard["states"])
            actions.append(shard["actions"])
        total += len(actions[-1])
        if limit is not None and total >= limit:
            break
    return np.concatenate(states), np.concatenate(actions)


def describe(states: NDArray[np.float32], actions: NDArray[np.float32]) -> str:
    """Summarises trajectories.

    Args:
        states: [n, steps + 1, STATE_SIZE].
        actions: [n, steps, 2].

    Returns:
        A report of several lines.
    """
    shift = np.linalg.norm(np.diff(states[..., BLOCK_POSITION], axis=1), axis=-1)
    turn = np.abs(np.diff(states[..., BLOCK_ANGLE], axis=1))
    moved = (shift > 0.1) | (turn > 0.002)
    corners = block_corners(states)
    touching = ((corners < WALL_LOW + 1) | (corners > WALL_HIGH - 1)).any((-1, -2))
    agent = states[..., AGENT_POSITION]
    outside = ((agent < 0) | (agent > ARENA_SIZE)).any(-1)
    lines = [
        f"described: {len(states)} trajectories, {actions[..., 0].size} environment steps",
        f"action standard deviation {actions.std():.3f}, largest {np.abs(actions).max():.3f}",
        f"block moves in {moved.mean():.1%} of steps, "
        f"never in {(~moved.any(1)).mean():.1%} of trajectories",
        f"agent outside the arena {outside.mean():.2%}, "
        f"block touching a wall {touching.mean():.1%}",
    ]
    lines += [_describe_horizon(states, h) for h in _HORIZONS if h < states.shape[1]]
    return "\n".join(lines)


def _describe_horizon(states: NDArray[np.float32], horizon: int) -> str:
    start, goal = states[:, :-horizon:5], states[:, horizon::5]
    shift = np.linalg.norm((goal - start)[..., BLOCK_POSITION], axis=-1)
    turn = np.degrees(np.abs((goal - start)[..., BLOCK_ANGLE]))
    return (
        f"H={horizon}: block displacement median {np.median(shift):.0f} px, mean "
        f"{shift.mean():.0f} px, rotation median {np.median(turn):.0f} deg, mean "
        f"{turn.mean():.0f} deg, goal satisfied at the start {success(start, goal).mean():.2%}"
    )


def main(argv: Sequence[str]) -> None:
    """Collects the data set named by the flags and prints its statistics."""
    begin(argv)
    paths = collect(
        Path(flags.FLAGS.output),
        flags.FLAGS.trajectories,
        flags.FLAGS.steps,
        flags.FLAGS.seed,
        flags.FLAGS.workers or os.cpu_count() or 1,
    )
    print(describe(*load_shards(paths, _STATISTICS_TRAJECTORIES)))


if __name__ == "__main__":
    define_flags()
    app.run(main)
