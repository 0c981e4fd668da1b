"""Rebuilds the recordings of OGBench's point mazes, resumably.

    python -m experiments.ogbench.collect --output=data/ogbench               # what the study used
    python -m experiments.ogbench.collect --output=data/ogbench --share=1     # the public size

Every shard is a function of maze, kind, seed and its number, and appears under its name only when
complete: after a kill the same command goes on where it stopped.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from tqdm import tqdm

from experiments.environments import ogbench_data, ogbench_maze
from experiments.environments.ogbench_data import Recording
from experiments.harness.flags import begin

PUBLIC_STEPS = 1_000_000
SHARD_STEPS = 50_000


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("output", "data/ogbench", "Folder of the shards.")
    flags.DEFINE_list("mazes", list(ogbench_maze.MAZES), "Which mazes.")
    flags.DEFINE_list("kinds", list(ogbench_data.KINDS), "navigate, stitch.")
    flags.DEFINE_float("share", 0.25, "Of the million steps that the public data have.", 0.05, 1)
    flags.DEFINE_integer("seed", 0, "Seed of the data.", 0)


def write_shard(folder: pathlib.Path, maze: str, kind: str, index: int, seed: int) -> None:
    """Collects one shard unless it is there; a kill on the way leaves none."""
    path = folder / f"{maze}_{kind}_{seed}_{index:02d}.npz"
    if path.exists():
        return
    stream = (seed, ogbench_maze.MAZES.index(maze), ogbench_data.KINDS.index(kind), index)
    episodes = SHARD_STEPS // ogbench_data.episode_steps(maze, kind)
    states, actions = ogbench_data.collect(maze, kind, episodes, stream)
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, states=states, actions=actions, seed=stream)
    temporary.replace(path)


def load(folder: str | pathlib.Path, maze: str, kind: str) -> Recording:
    """All shards of one recording.

    Raises:
      FileNotFoundError: There are none.
    """
    paths = sorted(pathlib.Path(folder).glob(f"{maze}_{kind}_*_[0-9][0-9].npz"))
    if not paths:
        raise FileNotFoundError(
            f"no {maze}_{kind}_*.npz in {folder}: run experiments.ogbench.collect"
        )
    shards = [np.load(path) for path in paths]
    return Recording(
        np.concatenate([s["states"] for s in shards]),
        np.concatenate([s["actions"] for s in shards]),
    )


def main(argv: Sequence[str]) -> None:
    """Collects every shard that is missing."""
    begin(argv)
    args = flags.FLAGS
    folder = pathlib.Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, round(args.share * PUBLIC_STEPS / SHARD_STEPS))
    jobs = [(m, k, i) for m in args.mazes for k in args.kinds for i in range(shards)]
    for maze, kind, index in tqdm(jobs, desc="shards"):
        write_shard(folder, maze, kind, index, args.seed)


if __name__ == "__main__":
    define_flags()
    app.run(main)
