"""What the tables share: rates with intervals, goals that one planner alone solves."""

import csv
import functools
import pathlib

from scipy.stats import binomtest

from experiments.harness.log import read_results

RESULTS = pathlib.Path(__file__).parents[1] / "results"


def read_summary(name: str) -> list[dict[str, str]]:
    """The rows of `experiments/results/<name>/summary.csv`."""
    with (RESULTS / name / "summary.csv").open() as file:
        return list(csv.DictReader(file))


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


def rate(row: dict[str, str] | None) -> str:
    """Success in % with its interval; empty for a cell that was not planned."""
    if row is None:
        return ""
    middle, low, high = (100 * float(row[k]) for k in ("success", "success_low", "success_high"))
    return f"{middle:.1f} [{low:.0f}–{high:.0f}]"


def in_seconds(value: str | None) -> str:
    """Seconds, or nothing where there are none."""
    return f"{float(value):.3f}" if value else ""
