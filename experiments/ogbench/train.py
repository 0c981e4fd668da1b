"""Trains the world models of the point mazes from `experiments.ogbench.collect`'s recordings.

    python -m experiments.ogbench.train --data=data/ogbench

A model that is there is kept: after a kill the same command goes on.
"""

import pathlib
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags

from experiments.environments import ogbench_data, ogbench_maze
from experiments.environments.ogbench_data import Recording
from experiments.harness.flags import begin
from experiments.harness.version import code_version
from experiments.ogbench import model as models
from experiments.ogbench.collect import load

CHECKPOINTS = pathlib.Path(__file__).parents[1] / "checkpoints" / "ogbench"
HELD_OUT = 0.05


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings.")
    flags.DEFINE_string("output", str(CHECKPOINTS), "Folder of the models.")
    flags.DEFINE_list("mazes", list(ogbench_maze.MAZES), "Which mazes.")
    flags.DEFINE_list("kinds", list(ogbench_data.KINDS), "navigate, stitch.")
    flags.DEFINE_list("frames", ["5"], "Environment steps per model step, one model each.")
    flags.DEFINE_integer("updates", 2000, "Updates of the weights.", 100)
    flags.DEFINE_integer("batch", 1024, "Model steps per update.", 1)
    flags.DEFINE_integer("seed", 0, "Of the weights and batches.", 0)


def checkpoint(folder: str | pathlib.Path, maze: str, kind: str, name: int | str) -> pathlib.Path:
    """Where a model lies: `name` says of how many environment steps it is, or what it sees."""
    return pathlib.Path(folder) / f"{maze}_{kind}_{name}.safetensors"


def train(data: Recording, frames: int, updates: int, batch: int, seed: int) -> tuple:
    """A model and the facts of its training, errors on the last episodes among them."""
    began, cut = time.monotonic(), int(len(data.states) * (1 - HELD_OUT))
    model = models.fit(Recording(*(x[:cut] for x in data)), frames, updates, batch, seed)
    held = models.model_steps(Recording(*(x[cut:] for x in data)), frames)
    predicted = np.asarray(jax.jit(jax.vmap(model))(held.before, held.actions))
    errors = np.linalg.norm(predicted - held.after, axis=1)
    free = held.before + np.asarray(model.weights["motion"])[0, 0] * held.actions
    blind = np.linalg.norm(free - held.after, axis=1)
    facts = {
        "frames": frames,
        "updates": updates,
        "batch": batch,
        "seed": seed,
        "recorded_steps": int(data.actions.shape[0] * data.actions.shape[1]),
        "parameters": int(sum(x.size for x in model.weights.values())),
        "error_median": float(np.median(errors)),
        "error_mean": float(errors.mean()),
        "error_99": float(np.quantile(errors, 0.99)),
        "error_mean_without_walls": float(blind.mean()),
        "seconds": round(time.monotonic() - began, 1),
        "code": code_version(),
    }
    return model, facts


def main(argv: Sequence[str]) -> None:
    """Trains every model that is missing."""
    begin(argv)
    args = flags.FLAGS
    for maze in args.mazes:
        for kind in args.kinds:
            for frames in map(int, args.frames):
                path = checkpoint(args.output, maze, kind, frames)
                if path.exists():
                    continue
                found = train(
                    load(args.data, maze, kind), frames, args.updates, args.batch, args.seed
                )
                models.save(path, *found)
                print(path.name, found[1], flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
