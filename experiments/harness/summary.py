"""Cells of a planning table from recorded results."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.harness.log import Record
from experiments.harness.tables import wilson_interval

CELL = ["environment", "mode", "planner", "horizon"]
_MEANS = {
    "success_any_time": "success_any_time",
    "predicted_success": "predicted_success",
    "model_forward": "model_forward",
    "model_backward": "model_backward",
    "plan_seconds": "seconds",
    "compile_seconds": "compile_seconds",
}
_CLOSED_LOOP = ("replan_every", "control_steps", "control_seconds")
_NUMBERS = ("success", "seconds", "seconds_to_success", *_MEANS.values(), *_CLOSED_LOOP)


def undisturbed(records: list[Record]) -> pd.DataFrame:
    """The records with planning times as the cell's fastest chunk of goals had them.

    Chunks of a cell run the same program; whatever else the machine does only slows them down.
    A goal's time to success keeps its share of its search. A cell of few goals has few chunks, and
    so fewer chances of a quiet moment.
    """
    table = pd.DataFrame(records)
    for name in dict.fromkeys(_NUMBERS):
        table[name] = table[name].astype(float) if name in table else np.nan
    fastest = table.groupby(CELL)["seconds"].transform("min")
    share = table["seconds_to_success"] / table["seconds"]
    return table.assign(seconds=fastest, seconds_to_success=share * fastest)


def summarise(records: list[Record]) -> list[Record]:
    """One row per environment, mode, planner and horizon, in the order in which they appear."""
    if not records:
        return []
    cells = undisturbed(records).groupby(CELL, sort=False)
    return [_row(group) for _, group in cells]


def _row(group: pd.DataFrame) -> Record:
    wins, goals = int(np.sum(group["success"].to_numpy())), len(group)
    low, high = wilson_interval(wins, goals)
    first: dict[Any, Any] = group.iloc[0].to_dict()
    return {
        **{k: first[k] for k in ("environment", "observation", "mode")},
        "horizon": group["horizon"].to_numpy()[0].item(),
        "planner": first["planner"],
        "goals": goals,
        "success": round(wins / goals, 4),
        "success_low": round(low, 4),
        "success_high": round(high, 4),
        "median_seconds": _rounded(times_to_success(group).median()),
        **{name: _rounded(group[field].mean()) for name, field in _MEANS.items()},
        **{k: _rounded(group[k].mean()) for k in _CLOSED_LOOP if first["mode"] == "closed_loop"},
    }


def _rounded(value: Any) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def times_to_success(group: pd.DataFrame) -> pd.Series:
    """Seconds to the first plan that succeeds, of the goals whose last plan does."""
    return group.loc[group["success"] == 1, "seconds_to_success"].dropna()


def success_curves(records: list[Record]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each planner, seconds `[n]` and the share of goals `[n]` solved within them."""
    curves = {}
    for name, every in undisturbed(records).groupby("planner", sort=False):
        group = every.dropna(subset=["seconds"])
        if len(group):
            solved = np.sort(times_to_success(group))
            counts = np.append(np.arange(1, len(solved) + 1), len(solved))
            curves[name] = np.append(solved, group["seconds"].max()), counts / len(group)
    return curves
