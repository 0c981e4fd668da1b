r"""Pictures of the point-maze study.

    python -m experiments.ogbench.figures --data=data/ogbench \
        --output=experiments/results/ogbench_states

`maze.png`: recorded places, their graph's way to the goal, the plan and the drive. `settling.gif`:
the model's rollout of the plan as the lifted fit goes on. `depth.png`: success and time against
the plan's length, success and distance from the path against the segments' width.
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.environments import ogbench_maze
from experiments.harness.flags import begin
from experiments.harness.log import Record
from experiments.ogbench import depth, planners, runs, train, worlds

TASK, SEED = 1, 9
EVERY, FRAMES = 2, 9
COLORS = {"lifted": "C3", "segments": "C1", "GD": "C0", "CEM": "C2", "CEM-smooth": "C4"}
LABELS = {"lifted": "lifted fit", "segments": "fit + segments", "GD": "serial gradients"}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings.")
    flags.DEFINE_string("models", str(train.CHECKPOINTS), "Folder of the world models.")
    flags.DEFINE_string("output", "outputs/ogbench_states", "Folder of results and pictures.")
    flags.DEFINE_list("pictures", ["maze", "settling", "depth"], "Which.")


def _axes(world: worlds.World, figure: Any) -> Any:
    """Axes with the maze's walls."""
    axes = figure.add_subplot()
    for i, j in np.argwhere(world.env.maze_map == 1):
        x, y = world.env.ij_to_xy((i, j))
        axes.add_patch(_square(x, y))
    height, width = world.env.maze_map.shape
    axes.set(xlim=(-6, 4 * width - 6), ylim=(4 * height - 6, -6), aspect="equal")
    axes.axis("off")
    return axes


def _square(x: float, y: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 2, y - 2), 4, 4, color="0.75", lw=0)


class Drive:
    """One episode of the far task: its path, its plans, where it went."""

    def __init__(self, world: worlds.World):
        case = next(c for c in runs.cases(world.maze, SEED, 1) if c.episode.task == TASK)
        start, goal = case.episode.begin(world.env)
        self.world, self.case, self.start = world, case, jnp.asarray(start, jnp.float32)
        self.goal = jnp.asarray(goal, jnp.float32)
        self.tree = world.known_ways(goal)
        path = self.tree(self.start, num_states=planners.STEPS - 1, pace=planners.PACE)
        self.path = path.states
        zeros = jnp.zeros((planners.STEPS, 2))
        self.problem = grasp_jax.make_problem(
            world.model, self.start, self.goal, zeros, bounds=runs.BOUNDS
        )

    def plan(self) -> grasp_jax.Plan:
        """The table's plan."""
        planner = planners.lifted()(self.path)
        return grasp_jax.solve(self.problem, jax.random.key(0), planner=planner)

    def driven(self, actions: Any) -> np.ndarray:
        """Positions of the drive under actions `[T, 2]`."""
        self.case.episode.begin(self.world.env)
        policy = ogbench_maze.replay(np.repeat(np.asarray(actions), worlds.FRAMES, 0))
        return ogbench_maze.run(self.world.env, policy)[1]

    def stages(self) -> list[np.ndarray]:
        """The rollout `[T+1, 2]` after every few iterations, at a third of the table's rate."""
        planner, found = planners.lifted(rate=0.13)(self.path), []
        search = grasp_jax.start(self.problem, jax.random.key(0), planner=planner)
        for _ in range(FRAMES):
            search = grasp_jax.advance(search, EVERY)
            found.append(np.asarray(grasp_jax.read(search).states))
        return found


def draw_maze(world: worlds.World, folder: pathlib.Path) -> None:
    """Graph, path, plan and drive in one picture."""
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    drive = Drive(world)
    figure = plt.figure(figsize=(9, 6.8), dpi=80)
    axes = _axes(world, figure)
    edges = world.index.transitions.tocoo()
    lines = np.stack([world.index.nodes[edges.row], world.index.nodes[edges.col]], 1)
    axes.add_collection(LineCollection(list(lines[::3]), colors="C0", lw=0.3, alpha=0.25))
    axes.plot(*world.index.nodes.T, ".", ms=2, color="C0", label="recorded places, transitions")
    plan = drive.plan()
    states, driven = plan.states, drive.driven(plan.actions)
    axes.plot(*drive.path.T, "o", ms=4, color="C1", label="virtual states: the shortest way")
    axes.plot(*states.T, "-", lw=1.5, color="C3", label="the plan's rollout in the model")
    axes.plot(*driven.T, "--", lw=1.5, color="k", label="driven blindly in the simulator")
    axes.plot(*drive.start, "s", ms=9, color="k")
    axes.plot(*drive.goal, "*", ms=14, color="k")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.07), ncols=2, frameon=False)
    figure.savefig(folder / "maze.png", bbox_inches="tight")
    plt.close(figure)


def draw_settling(world: worlds.World, folder: pathlib.Path) -> None:
    """The rollout in the model as the fit goes on."""
    import imageio.v2 as imageio
    import matplotlib.pyplot as plt

    drive, frames = Drive(world), []
    for stage, states in enumerate(drive.stages(), 1):
        figure = plt.figure(figsize=(5.4, 4.2), dpi=75)
        axes = _axes(world, figure)
        axes.plot(*drive.path.T, "o", ms=3, color="C1")
        axes.plot(*states.T, "-", lw=1.5, color="C3")
        axes.plot(*drive.goal, "*", ms=12, color="k")
        axes.set_title(f"virtual states and rollout after {EVERY * stage} iterations", fontsize=9)
        figure.tight_layout()
        figure.canvas.draw()
        canvas: Any = figure.canvas
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        plt.close(figure)
    imageio.mimsave(folder / "settling.gif", [*frames, *frames[-1:] * 4], duration=0.5, loop=0)


def draw_depth(folder: pathlib.Path) -> None:
    """Both questions of `experiments.ogbench.depth`."""
    import matplotlib.pyplot as plt

    lines = (folder / "depth.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    lengths = [r for r in records if r["study"] == "length"]
    widths = [r for r in records if r["study"] == "width"]
    figure, grid = plt.subplots(2, 2, figsize=(10, 6.4), dpi=80)
    for name, color in COLORS.items():
        rows = [r for r in lengths if r["planner"] == name]
        style = {"color": color, "marker": "o", "label": LABELS.get(name, name)}
        grid[0, 0].plot(*_means(rows, "horizon", lambda r: 100 * r["success"]), **style)
        grid[1, 0].plot(*_means(rows, "horizon", lambda r: r["seconds"]), **style)
    for noise, dash in ((0.0, "-"), (0.1, "--")):
        rows = [r for r in widths if r["path_noise"] == noise]
        if not rows:
            continue
        label = f"states off by {noise}" if noise else "the path as it is"
        style = {"color": "C1", "ls": dash, "marker": "o", "label": label}
        grid[0, 1].plot(*_means(rows, "width", lambda r: 100 * r["success"]), **style)
        grid[1, 1].plot(*_means(rows, "width", lambda r: r["model_miss"]), **style)
    grid[0, 0].set(ylabel="success in the simulator, %", title="one search from one path")
    grid[1, 0].set(ylabel="processor seconds", yscale="log", xlabel="model steps T", xscale="log")
    grid[0, 0].set(xscale="log", ylim=(-5, 105))
    grid[0, 1].set(xscale="log", ylim=(-5, 105), title=f"T = {depth.WIDTH_HORIZON}, segments alone")
    grid[1, 1].set(
        xscale="log", yscale="log", ylabel="rollout's end to goal",
        xlabel="steps per segment w (an iteration is 2w calls deep)",
    )  # fmt: skip
    from matplotlib.ticker import NullLocator

    for column, ticks in enumerate((depth.LENGTHS, depth.WIDTHS)):
        for axes in grid[:, column]:
            axes.grid(alpha=0.3)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(ticks, map(str, ticks))
    grid[0, 0].legend(fontsize=8)
    grid[0, 1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "depth.png")
    plt.close(figure)


def _means(rows: list[Record], field: str, value: Callable[[Record], float]) -> tuple:
    """Values of a field, in order, and the mean of another at each."""
    at = sorted({r[field] for r in rows})
    return at, [float(np.mean([value(r) for r in rows if r[field] == x])) for x in at]


def main(argv: Sequence[str]) -> None:
    """Draws what was asked for."""
    begin(argv)
    import matplotlib

    matplotlib.use("Agg")
    args = flags.FLAGS
    folder = pathlib.Path(args.output)
    if "depth" in args.pictures:
        draw_depth(folder)
    if {"maze", "settling"} & set(args.pictures):
        world = worlds.load(args.data, args.models, depth.MAZE, depth.KIND)
        if "maze" in args.pictures:
            draw_maze(world, folder)
        if "settling" in args.pictures:
            draw_settling(world, folder)


if __name__ == "__main__":
    define_flags()
    app.run(main)
