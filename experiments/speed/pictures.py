"""Pictures of the benchmark: how close to the bare model, and how many plans per second."""

import pathlib
from collections.abc import Sequence

from experiments.harness.log import Record
from experiments.harness.plots import color, new_axes, save_figure

_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")


def _lines(rows: Sequence[Record], x: str, y: str, group: tuple[str, ...]) -> dict:
    found: dict = {}
    for row in sorted(rows, key=lambda r: (*(r[g] for g in group), r[x])):
        found.setdefault(tuple(row[g] for g in group), []).append((row[x], row[y]))
    return found


def _devices(rows: Sequence[Record]) -> dict[str, str]:
    """What each device adds to a label: nothing where there is one alone."""
    names = sorted({r["device"] for r in rows})
    return {n: "" if len(names) == 1 else ", " + short_name(n) for n in names}


def short_name(device: str) -> str:
    """`H200` of `gpu: NVIDIA H200`."""
    name = device.partition(": ")[2].removeprefix("NVIDIA ")
    return name.split()[0] if name else device


def _style(index: int) -> dict[str, str]:
    """Ten colours, then the same with another stroke and marker."""
    turn = index // 10 % 4
    return {"color": f"C{index % 10}", "linestyle": _STYLES[turn], "marker": _MARKERS[turn]}


def ratio_against_horizon(rows: Sequence[Record], path: pathlib.Path) -> None:
    """GRASP's lifted iteration over forward plus action-VJP, a line per model and goals."""
    rows = [r for r in rows if r["planner"] == "GRASP"]
    if not rows:
        return
    figure, axes = new_axes()
    beside = _devices(rows)
    lines = _lines(rows, "horizon", "ratio", ("model", "goals", "device"))
    for i, ((model, goals, device), points) in enumerate(lines.items()):
        label = f"{model}, {goals} goal{'s' * (goals > 1)}{beside[device]}"
        axes.plot(*zip(*points, strict=True), label=label, **_style(i))
    axes.axhline(1.1, color="#555555", linestyle=":", label="1.10, the most we allow")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({r["horizon"] for r in rows}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set(xlabel="horizon T (model steps)", ylabel="lifted iteration / (forward + action-VJP)")
    axes.set_ylim(bottom=0)
    axes.legend(
        fontsize=8, handlelength=3.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False
    )
    save_figure(figure, path)


def throughput_against_goals(rows: Sequence[Record], path: pathlib.Path) -> None:
    """Plans per second against goals planned together, a line per planner, model and horizon."""
    figure, axes = new_axes()
    cells = sorted({(r["model"], r["horizon"]) for r in rows})
    beside, several = _devices(rows), len({r["planner"] for r in rows}) > 1
    lines = _lines(rows, "goals", "plans_per_second", ("model", "horizon", "planner", "device"))
    for i, ((model, horizon, planner, device), points) in enumerate(lines.items()):
        # Colours tell planners apart; where there is one alone, its cells.
        stroke = _STYLES[cells.index((model, horizon)) % 4]
        marker = _MARKERS[sorted(beside).index(device) % 4]
        by_planner = {"color": color(planner), "linestyle": stroke, "marker": marker}
        label = f"{planner}, {model}, T = {horizon}{beside[device]}"
        style = by_planner if several else _style(i)
        axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({r["goals"] for r in rows}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_yscale("log")
    axes.set(xlabel="goals planned together", ylabel="plans per second")
    axes.legend(
        fontsize=6, handlelength=3.5, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False
    )
    save_figure(figure, path)
