"""Prints the README's result tables from the recorded summaries.

python -m experiments.tables        # the text between the README's <!-- table --> marks
"""

import csv
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results"


def read_summary(name: str) -> list[dict[str, str]]:
    """The rows of `experiments/results/<name>/summary.csv`."""
    with (RESULTS / name / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def pusht_state() -> str:
    """One row per planner: success in the simulator with its 95% interval at each horizon.

    Cells with fewer goals than the others are left to `summary.csv`.
    """
    rows = read_summary("pusht_state")
    most = max(int(row["goals"]) for row in rows)
    rows = [row for row in rows if int(row["goals"]) == most]
    horizons = sorted({int(row["horizon"]) for row in rows})
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], int(row["horizon"])): row for row in rows}
    header = ["planner", *(f"H = {h}" for h in horizons), "s to success", "s per plan"]
    middle = horizons[len(horizons) // 2]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in names:
        shown = [_rate(cells.get((name, h))) for h in horizons]
        row = cells.get((name, middle), {})
        times = [_seconds(row.get("median_seconds")), _seconds(row.get("plan_seconds"))]
        lines.append("| " + " | ".join([name.replace("_", " "), *shown, *times]) + " |")
    return "\n".join(lines)


def ball_navigation() -> str:
    """One row per planner: success on both maps."""
    rows = read_summary("ball_navigation")
    maps = list(dict.fromkeys(row["environment"] for row in rows))
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], row["environment"]): row for row in rows}
    header = ["planner", *(m.removeprefix("ball_").replace("_", " ") for m in maps)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in names:
        shown = [_rate(cells.get((name, m))) for m in maps]
        lines.append("| " + " | ".join([name.replace("_", " "), *shown]) + " |")
    return "\n".join(lines)


def _rate(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    rate, low, high = (100 * float(row[k]) for k in ("success", "success_low", "success_high"))
    return f"{rate:.1f} [{low:.0f}–{high:.0f}]"


def _seconds(value: str | None) -> str:
    return f"{float(value):.3f}" if value else ""


def main() -> None:
    """Prints every table under its name."""
    for name, table in (("pusht_state", pusht_state()), ("ball_navigation", ball_navigation())):
        print(f"<!-- table {name} -->\n{table}\n<!-- end -->\n")


if __name__ == "__main__":
    main()
