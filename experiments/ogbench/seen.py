"""One picture of a maze as it is seen: two frames, and what the eyes made of all of them.

python -m experiments.ogbench.seen --data=data/ogbench --output=experiments/results/ogbench_pixels
"""

import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.harness.flags import begin
from experiments.ogbench import frames, planners, runs, train, worlds

TASK, SEED = 1, 9


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings and their frames.")
    flags.DEFINE_string("models", str(train.CHECKPOINTS), "Folder of the world models.")
    flags.DEFINE_string("output", "outputs/ogbench_pixels", "Folder of the picture.")
    flags.DEFINE_string("maze", "giant", "Which maze.")
    flags.DEFINE_string("kind", "stitch", "navigate, stitch.")


def draw(world: worlds.World, latents: np.ndarray, path: pathlib.Path) -> None:
    """Start and goal as frames; latents `[n, 2]` of the recording, and the way among them."""
    import matplotlib.pyplot as plt

    case = next(c for c in runs.cases(world.maze, SEED, 1) if c.episode.task == TASK)
    shown = world.observe(np.stack(case.episode.begin(world.env)))
    start, goal = np.asarray(world.encode(shown))
    way = world.known_ways(goal)(jnp.asarray(start), num_states=planners.STEPS - 1,
                                 pace=planners.PACE).states  # fmt: skip
    figure = plt.figure(figsize=(11, 5.6), dpi=80)
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 2.2])
    for row, (frame, name) in enumerate(zip(shown, ("start", "goal"), strict=True)):
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(frame, interpolation="nearest")
        axes.set_title(f"{name}, as the planner sees it", fontsize=10)
        axes.axis("off")
    axes = figure.add_subplot(grid[:, 1])
    axes.plot(*latents[::2].T, ".", ms=1.5, color="C0", alpha=0.4, label="what eyes made of frames")
    axes.plot(*way.T, "o", ms=4, color="C1", label="virtual states: the shortest way")
    axes.plot(*start, "s", ms=9, color="k")
    axes.plot(*goal, "*", ms=14, color="k")
    axes.set(aspect="equal", xlabel="latent 1", ylabel="latent 2")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.09), ncols=2, frameon=False)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def main(argv: Sequence[str]) -> None:
    """Draws."""
    begin(argv)
    import matplotlib

    matplotlib.use("Agg")
    args = flags.FLAGS
    folder = pathlib.Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    world = worlds.load_seen(args.data, args.models, args.maze, args.kind)
    recorded = frames.latents(pathlib.Path(args.data), args.maze, args.kind)
    draw(world, recorded.states.reshape(-1, 2), folder / "seen.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
