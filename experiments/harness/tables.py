"""What every experiment makes of its results: summaries, tables on a screen and in Markdown."""

import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from experiments.harness.log import Record, read_results

RESULTS = pathlib.Path(__file__).parents[1] / "results"

COLUMNS = (
    "environment",
    "observation",
    "mode",
    "horizon",
    "planner",
    "goals",
    "success",
    "success_low",
    "success_high",
    "success_any_time",
    "predicted_success",
    "median_seconds",
    "model_forward",
    "model_backward",
)
"""The first columns of a `summary.csv`; shares in [0, 1], times in seconds."""

_PERCENT = {"success_any_time", "predicted_success"}
_HIDDEN = {"success_low", "success_high"}


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval `(low, high)` of a success probability; (0, 1) without a trial."""
    if trials == 0:
        return 0.0, 1.0
    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def write_summary(path: pathlib.Path, rows: Sequence[Record]) -> None:
    """Writes one row per cell: the usual columns first, then the rows' own.

    Args:
      path: The csv file.
      rows: A missing or None value leaves its cell blank; a column that no row fills is left out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # As objects, so that whole numbers beside blanks stay whole.
    pd.DataFrame(rows, columns=_filled(rows), dtype=object).to_csv(path, index=False)


def _filled(rows: Sequence[Record]) -> list[str]:
    """The columns that some row fills."""
    columns = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    return [name for name in columns if any(row.get(name) is not None for row in rows)]


def _shown(name: str, row: Record) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "success" and row.get("success_low") is not None:
        interval = f"{100 * row['success_low']:.0f}–{100 * row['success_high']:.0f}"
        return f"{100 * value:.0f} [{interval}]"
    if name == "success" or name in _PERCENT:
        return f"{100 * value:.0f}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def print_table(rows: Sequence[Record], title: str = "", columns: Iterable[str] = ()) -> None:
    """Prints rows as a table, shares in percent, success with its 95% interval.

    Args:
      rows: As for `write_summary`.
      title: Above the table.
      columns: Which ones, in order; by default all that are filled somewhere.
    """
    chosen = list(columns) or [name for name in _filled(rows) if name not in _HIDDEN]
    cells = [{n.replace("_", " "): _shown(n, row) for n in chosen} for row in rows]
    print(f"\n{title}" + " (shares in %, [95% interval])" * any("success" in r for r in rows))
    print(pd.DataFrame(cells).to_string(index=False), flush=True)


def read_summary(name: str) -> list[dict[str, Any]]:
    """The rows of `experiments/results/<name>/summary.csv`, or `<name>.csv`, all cells as text."""
    folder = RESULTS / name
    path = folder / "summary.csv" if folder.is_dir() else folder.with_suffix(".csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.to_dict("records")  # pyright: ignore[reportReturnType]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    first, *rest = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join([first, "|" + "---|" * len(header), *rest])


def success_table(name: str, goals: int | None = None, timed: int | None = None) -> str:
    """One row per planner: success in the simulator, open loop, with its 95% interval.

    Cells with fewer goals than `goals`, or by default than the others, are left to `summary.csv`.
    Seconds are those at the horizon `timed`, by default the middle one.
    """
    rows = [row for row in read_summary(name) if row["mode"] == "open_loop"]
    fewest = goals or max(int(row["goals"]) for row in rows)
    rows = [row for row in rows if int(row["goals"]) >= fewest]
    horizons = sorted({int(row["horizon"]) for row in rows})
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], int(row["horizon"])): row for row in rows}
    header = ["planner", *(f"H = {h}" for h in horizons), "s to success", "s per plan"]
    timed = timed or horizons[len(horizons) // 2]
    lines = []
    for planner in names:
        shown = [rate(cells.get((planner, h))) for h in horizons]
        row = cells.get((planner, timed), {})
        times = [in_seconds(row.get("median_seconds")), in_seconds(row.get("plan_seconds"))]
        lines.append([planner.replace("_", " "), *shown, *times])
    return markdown(header, lines)


def pair_table(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """One row per pair of planners: `only_one` at each horizon."""
    solved = goals_solved(name)
    horizons = sorted({horizon for _, horizon in solved})
    header = ["planners", *(f"H = {h}" for h in horizons)]
    lines = []
    for first, second in pairs:
        cells = [
            only_one(solved.get((first, h), {}), solved.get((second, h), {})) for h in horizons
        ]
        lines.append([f"{first} : {second}", *cells])
    return markdown(header, lines)


@functools.cache  # megabytes, and several tables read the same
def goals_solved(
    name: str, environment: str | None = None
) -> dict[tuple[str, int], dict[int, bool]]:
    """(planner, horizon) to goal to success, open loop."""
    solved: dict[tuple[str, int], dict[int, bool]] = {}
    for record in read_results(RESULTS / name):
        if record.get("mode", "open_loop") == "open_loop" and (
            environment is None or record["environment"] == environment
        ):
            cell = solved.setdefault((record["planner"], record["horizon"]), {})
            cell[record["goal"]] = record["success"]
    return solved


def only_one(first: dict[int, bool], second: dict[int, bool]) -> str:
    """Goals that only the first, and only the second solves, with the p of a sign test."""
    goals = first.keys() & second.keys()
    wins = sum(first[g] and not second[g] for g in goals)
    losses = sum(second[g] and not first[g] for g in goals)
    if not goals:
        return ""
    p = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    shown = f"p = {p:.2f}" if p >= 0.01 else f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    return f"{wins} : {losses} of {len(goals)}, {shown}"


def share(wins: int, count: int) -> str:
    """`wins` of `count` in % with its interval."""
    low, high = wilson_interval(wins, count)
    return f"{100 * wins / count:.1f} [{100 * low:.0f}–{100 * high:.0f}]"


def rate(row: dict[str, str] | None) -> str:
    """Success in % with its interval; empty for a cell that was not planned."""
    if row is None:
        return ""
    middle, low, high = (100 * float(row[k]) for k in ("success", "success_low", "success_high"))
    return f"{middle:.1f} [{low:.0f}–{high:.0f}]"


def in_seconds(value: str | None) -> str:
    """Seconds, or nothing where there are none."""
    return f"{float(value):.3f}" if value else ""
