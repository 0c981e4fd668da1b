"""One picture: which planner solves which task, at its defaults."""

import pathlib

import numpy as np

from experiments.harness.log import Record
from experiments.harness.plots import new_axes, save_figure


def draw(folder: pathlib.Path, rows: list[Record]) -> None:
    """Writes `success.png`: tasks down, planners across, success in % in every cell."""
    tasks = list(dict.fromkeys(r["environment"] for r in rows))
    names = list(dict.fromkeys(r["planner"] for r in rows))
    grid = np.full((len(tasks), len(names)), np.nan)
    for row in rows:
        place = tasks.index(row["environment"]), names.index(row["planner"])
        grid[place] = 100 * row["success"]
    figure, axes = new_axes(1.8 + 0.62 * len(names), 1.9 + 0.33 * len(tasks))
    axes.imshow(grid, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto", alpha=0.75)
    for i, j in np.argwhere(np.isfinite(grid)):
        axes.text(j, i, f"{grid[i, j]:.0f}", ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(tasks)), [t.replace("_", " ") for t in tasks])
    axes.grid(False)
    axes.set_title(f"Success in %, {rows[0]['goals']} goals")
    save_figure(figure, folder / "success.png")
