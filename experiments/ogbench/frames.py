"""Frames of recorded mazes, eyes that learn where the point is in them, a model of what eyes see.

    python -m experiments.ogbench.frames --data=data/ogbench --mazes=giant --kinds=navigate

Draws every fifth state of a recording of `experiments.ogbench.collect` (slow: tenths of a second a
frame on a CPU), trains `eyes` on pairs of frames and the actions between, encodes all frames, and
trains the same world model as from states on what they became. Positions serve to draw frames and
to report errors; nothing learns from them. Resumes after a kill.
"""

import json
import pathlib
import time
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.environments import ogbench_data, ogbench_maze
from experiments.environments.ogbench_data import Recording
from experiments.environments.ogbench_frames import Camera
from experiments.harness.files import write_text
from experiments.harness.flags import begin
from experiments.harness.progress import progress
from experiments.harness.version import code_version
from experiments.ogbench import collect, eyes, train
from experiments.ogbench import model as models

EVERY = 5
"""Environment steps from frame to frame: a model step."""
SHARD, SHORTEST = 500, 200
"""Frames of a file; steps of a piece of an episode, at least."""


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings; frames go there too.")
    flags.DEFINE_string("output", str(train.CHECKPOINTS), "Folder of the models.")
    flags.DEFINE_list("mazes", ["medium", "giant"], "Which mazes.")
    flags.DEFINE_list("kinds", list(ogbench_data.KINDS), "navigate, stitch.")
    flags.DEFINE_integer("steps", 80_000, "Recorded environment steps whose frames are drawn.", 1)
    flags.DEFINE_integer("updates", 1500, "Updates of the eyes.", 1)
    flags.DEFINE_integer("batch", 64, "Pairs of frames per update of the eyes.", 1)
    flags.DEFINE_integer("model_updates", 2000, "Updates of the model.", 100)
    flags.DEFINE_integer("seed", 0, "Of weights and batches.", 0)


def thinned(folder: pathlib.Path, maze: str, kind: str, steps: int) -> Recording:
    """Every fifth state, and the mean actions between: `[n, T/5 (+1), 2]`.

    Beginnings of as many episodes as there are: they begin everywhere.
    """
    recorded = collect.load(folder, maze, kind)
    episodes = min(len(recorded.actions), max(1, steps // SHORTEST))
    length = min(recorded.actions.shape[1], steps // episodes) // EVERY * EVERY
    actions = recorded.actions[:episodes, :length]
    actions = actions.reshape(episodes, length // EVERY, EVERY, 2).mean(2)
    return Recording(recorded.states[:episodes, : length + 1 : EVERY], actions)


def draw(folder: pathlib.Path, maze: str, kind: str, states: np.ndarray) -> np.ndarray:
    """Frames of states `[n, 2]`, shard by shard; shards that hold those states are read."""
    camera, found = None, []
    with progress(-(-len(states) // SHARD), f"shards of {SHARD} frames") as bar:
        for first in range(0, len(states), SHARD):
            shard = states[first : first + SHARD]
            path = folder / f"frames_{maze}_{kind}_{first // SHARD:03d}.npz"
            frames = _drawn(path, shard)
            if frames is None:
                camera = camera or Camera(maze)
                frames = camera.draw(shard)
                temporary = path.with_suffix(".tmp.npz")
                np.savez_compressed(temporary, frames=frames, states=shard)
                temporary.replace(path)
            found.append(frames)
            bar()
    return np.concatenate(found)


def _drawn(path: pathlib.Path, states: np.ndarray) -> np.ndarray | None:
    """The frames in a file, if it is there and they are of those states."""
    if not path.exists():
        return None
    with np.load(path) as held:
        return held["frames"] if np.array_equal(held["states"], states) else None


def latents(folder: pathlib.Path, maze: str, kind: str) -> Recording:
    """What the eyes made of the recording.

    Raises:
      FileNotFoundError: `main` has not run for it.
    """
    path = folder / f"latents_{maze}_{kind}.npz"
    if not path.exists():
        raise FileNotFoundError(f"no {path}: run experiments.ogbench.frames")
    with np.load(path) as held:
        return Recording(held["states"], held["actions"])


def errors_of(seen: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Distances `[n]` of latents to positions, both `[n, 2]`, after the best affine map."""
    inputs = np.c_[seen, np.ones(len(seen))]
    return np.linalg.norm(inputs @ np.linalg.lstsq(inputs, states)[0] - states, axis=1)


def learn(maze: str, kind: str) -> None:
    """Draws, trains and encodes what is missing of one recording."""
    args, began = flags.FLAGS, time.monotonic()
    folder = pathlib.Path(args.data)
    path = train.checkpoint(args.output, maze, kind, "pixels_model")
    if path.exists() and (folder / f"latents_{maze}_{kind}.npz").exists():
        return
    recorded = thinned(folder, maze, kind, args.steps)
    count, length = recorded.states.shape[:2]
    frames = draw(folder, maze, kind, recorded.states.reshape(-1, 2))
    drawn = time.monotonic()
    by_episode = frames.reshape(count, length, *frames.shape[1:])
    before, after = (
        x.reshape(-1, *frames.shape[1:]) for x in (by_episode[:, :-1], by_episode[:, 1:])
    )
    moves = ogbench_maze.STEP * EVERY * recorded.actions.reshape(-1, 2)
    pairs = eyes.Pairs(before, after, moves)
    found = eyes.fit(pairs, args.updates, args.batch, args.seed)
    eyes.save(train.checkpoint(args.output, maze, kind, "pixels_eyes"), found)
    seen = np.asarray(eyes.encode(found, jnp.asarray(frames)))
    data = Recording(seen.reshape(count, length, 2), recorded.actions)
    np.savez_compressed(folder / f"latents_{maze}_{kind}.npz", **data._asdict())
    model, facts = train.train(data, 1, args.model_updates, 1024, args.seed)
    errors = errors_of(seen, recorded.states.reshape(-1, 2))
    models.save(path, model, facts)
    report = {
        "frames": len(frames),
        "drawing_seconds": round(drawn - began, 1),
        "learning_seconds": round(time.monotonic() - drawn, 1),
        "position_error_median": float(np.median(errors)),
        "position_error_99": float(np.quantile(errors, 0.99)),
        "code": code_version(),
    }
    text = json.dumps(report, indent=1) + "\n"
    write_text(train.checkpoint(args.output, maze, kind, "pixels_eyes").with_suffix(".json"), text)
    print(maze, kind, report, flush=True)


def main(argv: Sequence[str]) -> None:
    """Learns from every recording asked for."""
    begin(argv)
    for maze in flags.FLAGS.mazes:
        for kind in flags.FLAGS.kinds:
            learn(maze, kind)


if __name__ == "__main__":
    define_flags()
    app.run(main)
