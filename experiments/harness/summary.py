"""Cells of a planning table from recorded results."""

import numpy as np

from experiments.harness.log import Record, wilson_interval

_CLOSED_LOOP = ("replan_every", "control_steps", "control_seconds")


def undisturbed(records: list[Record]) -> list[Record]:
    """The records with planning times as the cell's fastest chunk of goals had them.

    Chunks of a cell run the same program; whatever else the machine does only slows them down.
    A goal's time to success keeps its share of its search. A cell of few goals has few chunks, and
    so fewer chances of a quiet moment.
    """
    fastest: dict[tuple[str, str, int], float] = {}
    for r in records:
        if "seconds" in r:
            fastest[_cell(r)] = min(r["seconds"], fastest.get(_cell(r), np.inf))
    found = []
    for r in records:
        if "seconds" in r:
            seconds = fastest[_cell(r)]
            until = r.get("seconds_to_success")
            until = None if until is None else until / r["seconds"] * seconds
            r = {**r, "seconds": seconds, "seconds_to_success": until}
        found.append(r)
    return found


def _cell(record: Record) -> tuple[str, str, int]:
    return record["mode"], record["planner"], record["horizon"]


def summarise(records: list[Record]) -> list[Record]:
    """One row per mode, planner and horizon, in the order in which they first appear."""
    cells: dict[tuple[str, str, int], list[Record]] = {}
    for record in undisturbed(records):
        cells.setdefault(_cell(record), []).append(record)
    rows = []
    for (_, planner, horizon), group in cells.items():
        wins = sum(r["success"] for r in group)
        low, high = wilson_interval(wins, len(group))
        times = times_to_success(group)
        rows.append(
            {
                **{k: group[0][k] for k in ("environment", "observation", "mode")},
                "horizon": horizon,
                "planner": planner,
                "goals": len(group),
                "success": round(wins / len(group), 4),
                "success_low": round(low, 4),
                "success_high": round(high, 4),
                "success_any_time": _mean(group, "success_any_time"),
                "predicted_success": _mean(group, "predicted_success"),
                "median_seconds": round(float(np.median(times)), 4) if times else None,
                "model_forward": _mean(group, "model_forward"),
                "model_backward": _mean(group, "model_backward"),
                "plan_seconds": _mean(group, "seconds"),
                "compile_seconds": _mean(group, "compile_seconds"),
                **{k: _mean(group, k) for k in _CLOSED_LOOP if k in group[0]},
            }
        )
    return rows


def times_to_success(group: list[Record]) -> list[float]:
    """Seconds to the first plan that succeeds, of the goals whose last plan does."""
    found = (r.get("seconds_to_success") for r in group if r["success"])
    return [seconds for seconds in found if seconds is not None]


def _mean(group: list[Record], field: str) -> float | None:
    values = [r[field] for r in group if r.get(field) is not None]
    return round(float(np.mean(values)), 4) if values else None


def success_curves(records: list[Record]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each planner, seconds `[n]` and the share of goals `[n]` solved within them."""
    curves = {}
    records = undisturbed(records)
    for name in dict.fromkeys(r["planner"] for r in records):
        group = [r for r in records if r["planner"] == name and "seconds" in r]
        if group:
            solved = sorted(times_to_success(group))
            seconds = np.array([*solved, max(r["seconds"] for r in group)])
            share = np.array([*range(1, len(solved) + 1), len(solved)]) / len(group)
            curves[name] = (seconds, share)
    return curves
