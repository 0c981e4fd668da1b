"""Pictures of the benchmark: how close to the bare model, and how many plans per second."""

import pathlib
from collections.abc import Sequence

from experiments.plots import color, new_axes, save_figure
from experiments.reporting import Record

_STYLES = ("-", "--", ":", "-.")


def _lines(rows: Sequence[Record], x: str, y: str, group: tuple[str, ...]) -> dict:
    found: dict = {}
    for row in sorted(rows, key=lambda r: r[x]):
        found.setdefault(tuple(row[g] for g in group), []).append((row[x], row[y]))
    return found


def ratio_against_horizon(rows: Sequence[Record], path: pathlib.Path) -> None:
    """GRASP's lifted iteration over forward plus action-VJP, a line per model and goals."""
    rows = [r for r in rows if r["planner"] == "GRASP"]
    if not rows:
        return
    figure, axes = new_axes()
    for i, ((model, goals), points) in enumerate(
        _lines(rows, "horizon", "ratio", ("model", "goals")).items()
    ):
        axes.plot(*zip(*points, strict=True), "o" + _STYLES[i // 10 % 4], color=f"C{i % 10}",
                  label=f"{model}, {goals} goal{'s' * (goals > 1)}")  # fmt: skip
    axes.axhline(1.1, color="#555555", linestyle=":", label="1.10, the most we allow")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({r["horizon"] for r in rows}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="horizon T (model steps)", ylabel="lifted iteration / (forward + action-VJP)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save_figure(figure, path)


def throughput_against_goals(rows: Sequence[Record], path: pathlib.Path) -> None:
    """Plans per second against goals planned together, a line per planner, model and horizon."""
    figure, axes = new_axes()
    cells = sorted({(r["model"], r["horizon"]) for r in rows})
    for (model, horizon, planner), points in _lines(
        rows, "goals", "plans_per_second", ("model", "horizon", "planner")
    ).items():
        style = _STYLES[cells.index((model, horizon)) % 4]
        axes.plot(*zip(*points, strict=True), "o" + style, color=color(planner),
                  label=f"{planner}, {model}, T = {horizon}")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({r["goals"] for r in rows}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_yscale("log")
    axes.set(xlabel="goals planned together", ylabel="plans per second")
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save_figure(figure, path)
