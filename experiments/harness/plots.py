"""Figures that several experiments share: one colour per planner, intervals, floor and ceiling."""

import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from experiments.harness.log import CEILING, FLOOR, Record
from experiments.harness.tables import wilson_interval

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_COLORS = {
    "GRASP": "#d62728",
    "GRASP-author": "#ff9896",
    "GRASP-paper": "#f7b6d2",
    "GD-Adam": "#1f77b4",
    "GD": "#1f77b4",
    "GD-SGD": "#7fb8e6",
    "GD-restarts": "#17becf",
    "CEM": "#2ca02c",
    "CEM-white": "#2ca02c",
    "CEM-correlated": "#006d2c",
    "iCEM": "#98c11d",
    "ICEM": "#98c11d",
    "MPPI": "#ff7f0e",
    "LatCo": "#9467bd",
    "GRASP-lifted": "#e377c2",
    "GRASP-hops": "#8c564b",
    "GRASP-GD": "#a50f15",
    "GRASP-x2": "#67000d",
    "GRASP-sync-only": "#e7969c",
    "GRASP-plain": "#7b4173",
    "GRASP-iCEM": "#a50f15",
    "GRASP-state-gradient": "#393b79",
    "GRASP-author-state-gradient": "#637939",
    "GRASP-author-sync-only": "#c7a17a",
    "GD-Adam-x8": "#b5651d",
    "GD-Adam-x16": "#08306b",
    "iCEM-x2": "#5f7a12",
    "iCEM-15": "#5f7a12",
    "CEM-15": "#00441b",
    "GD-Adam-16x150": "#08306b",
}
_SPARE = ("#bcbd22", "#393b79", "#843c39", "#637939", "#7b4173", "#3182bd", "#b5651d")
_MARKERS = "osD^vP*X<>hp"
_DPI = 150


def color(planner: str) -> str:
    """The planner's colour, the same in every figure and every run."""
    if planner in (FLOOR, CEILING):
        return "#555555"
    return _COLORS.get(planner, _SPARE[zlib.crc32(planner.encode()) % len(_SPARE)])


def new_axes(width: float = 7.2, height: float = 4.6) -> tuple[Any, Any]:
    """A figure and its one pair of axes, in inches, with the house's grid and frame."""
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def save_figure(figure: Any, path: pathlib.Path | str) -> None:
    """Writes and closes the figure; makes the folder if needed."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _interval(row: Record) -> tuple[float, float]:
    low, high = row.get("success_low"), row.get("success_high")
    if low is None or high is None:
        low, high = wilson_interval(round(row["success"] * row["goals"]), row["goals"])
    return float(low), float(high)


def _error_bars(rows: Sequence[Record]) -> np.ndarray:
    """Distances `[2, n]` in percent from each success share down and up to its interval's ends."""
    bars = [
        (row["success"] - low, high - row["success"])
        for row in rows
        for low, high in [_interval(row)]
    ]
    return np.maximum(0, 100 * np.array(bars).T)


def _success_axis(axes: Any) -> None:
    """Success in percent from bottom to top, spread towards 100, where good planners differ."""

    def spread(percent: np.ndarray) -> np.ndarray:
        return -np.log(np.maximum(106 - percent, 1e-3))

    axes.set_yscale("function", functions=(spread, lambda y: 106 - np.exp(-y)))
    axes.set(ylabel="success (%), spread towards 100", ylim=(-4, 101.5))
    axes.set_yticks([0, 25, 50, 70, 80, 90, 95, 100])


def success_against_horizon(
    rows: Sequence[Record], path: pathlib.Path | str, title: str = ""
) -> None:
    """Success over horizon, a line per planner with Wilson intervals, floor and ceiling dashed.

    Args:
      rows: Summary rows (`reporting.COLUMNS`) of one environment.
      path: The png file.
      title: Above the figure.
    """
    figure, axes = new_axes()
    names = list(dict.fromkeys(row["planner"] for row in rows))
    names.sort(key=lambda n: n in (FLOOR, CEILING))
    horizons = sorted({row["horizon"] for row in rows})
    gap = min(np.diff(horizons), default=1.0)
    planners = [n for n in names if n not in (FLOOR, CEILING)]
    for name in names:
        own = sorted((r for r in rows if r["planner"] == name), key=lambda r: r["horizon"])
        x = np.array([r["horizon"] for r in own], float)
        y = np.array([100 * r["success"] for r in own])
        if name in (FLOOR, CEILING):
            style = "--" if name == CEILING else ":"
            label = f"{name} ({'ceiling' if name == CEILING else 'floor'})".replace("_", " ")
            # A line through one horizon would have no length.
            if len(x) == 1:
                x, y = x + np.array([-0.4, 0.4]) * gap, np.repeat(y, 2)
            axes.plot(x, y, style, color=color(name), label=label)
            continue
        index = planners.index(name)
        # Side by side, so that the bars of tied planners do not hide each other.
        shift = min(0.06, 0.3 / len(planners)) * gap * (index - (len(planners) - 1) / 2)
        axes.errorbar(
            x + shift,
            y,
            _error_bars(own),
            color=color(name),
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=2,
            label=name,
        )
    axes.set(xlabel="horizon (environment steps)")
    _success_axis(axes)
    axes.set_xticks(horizons)
    axes.set_title(title, loc="left")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save_figure(figure, path)


def success_against_time(
    curves: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]],
    path: pathlib.Path | str,
    title: str = "",
    time_label: str = "planning time (s)",
) -> None:
    """Share of goals solved within a time, as steps on a logarithmic time axis.

    Args:
      curves: Planner to `(seconds [n], success [n])`, seconds increasing, success in [0, 1].
      path: The png file.
      title: Above the figure.
      time_label: Of the horizontal axis, for another measure of effort.
    """
    figure, axes = new_axes()
    for index, (name, (seconds, share)) in enumerate(curves.items()):
        x, y = np.asarray(seconds, float), 100 * np.asarray(share, float)
        axes.step(x, y, where="post", color=color(name), linewidth=1.8)
        axes.plot(x[-1:], y[-1:], _MARKERS[index % len(_MARKERS)], color=color(name), markersize=6)
        axes.plot([], [], color=color(name), marker=_MARKERS[index % len(_MARKERS)], label=name)
    axes.set_xscale("log")
    axes.set(xlabel=time_label)
    _success_axis(axes)
    axes.set_title(title, loc="left")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save_figure(figure, path)


def save_gif(frames: Sequence[np.ndarray], path: pathlib.Path | str, fps: float = 10) -> None:
    """Writes an endless GIF.

    Args:
      frames: `[height, width, 3]` uint8 each, all of one size.
      path: The gif file.
      fps: Frames per second.
    """
    import imageio.v3 as imageio

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, np.stack(list(frames)), duration=1000 / fps, loop=0)


def figure_frame(figure: Any) -> np.ndarray:
    """The drawn figure as `[height, width, 3]` uint8; closes it."""
    figure.canvas.draw()
    frame = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return frame
