"""The distance to the goal along ways that reach it: it rises before it falls."""

from typing import Any

import numpy as np

from experiments.gallery.sources import Way, plots, ways


def summary(way: Way) -> dict[str, Any]:
    """How far from monotone the distances of a world are."""
    gaps = way.distances
    beyond = gaps.max(axis=1) > gaps[:, 0] + way.tolerance
    steps = np.diff(gaps, axis=1)
    moving = np.abs(steps) > 1e-6
    away = (steps > 1e-6).sum() / max(moving.sum(), 1)
    return {
        "way": way.title,
        "ways": len(gaps),
        "share_that_first_leaves_the_goal": round(float(beyond.mean()), 4),
        "share_of_moving_steps_away": round(float(away), 4),
        "reached": round(float((gaps[:, -1] <= way.tolerance).mean()), 4),
    }


def measure(count: int = 60) -> list[Way]:
    """True ways of every world."""
    return ways(count)


def draw(found: list[Way], path: Any, drawn: int = 25) -> None:
    """A panel per world; those that first leave the goal in red."""
    figure, axes = plots.plt.subplots(
        1, len(found), figsize=(4.1 * len(found), 4.1), layout="constrained"
    )
    for panel, way in zip(axes, found, strict=True):
        for row in way.distances[:drawn]:
            leaves = row.max() > row[0] + way.tolerance
            panel.plot(row, color="#d62728" if leaves else "#9aa5b8", linewidth=0.9, alpha=0.75)
        panel.axhline(way.tolerance, color="#149a52", linestyle="--", linewidth=1.2)
        share = summary(way)["share_that_first_leaves_the_goal"]
        unit = f" ({way.unit})" if way.unit else ""
        title = f"{way.title}\n{100 * share:.0f}% of {len(way.distances)} first leave it"
        panel.set_title(title, fontsize=10)
        panel.set(xlabel="environment steps", ylabel=f"distance to the goal{unit}", ylim=(0, None))
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "Along true ways the distance to the goal is not monotone "
        "(red: rises above its start; dashed: reached)"
    )
    plots.save_figure(figure, path)
