"""The tables of the study's page, from the recorded summary.

python -m experiments.classics.tables
"""

import csv
import pathlib

FOLDER = pathlib.Path(__file__).parents[1] / "results" / "classics"
HELD_OUT = FOLDER.with_name("classics_held_out")

Rows = list[dict[str, str]]


def success(rows: Rows) -> str:
    """Success in % with its 95% interval: a row per task, a column per planner, in Markdown."""
    tasks = dict.fromkeys(row["environment"] for row in rows)
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["environment"], row["planner"]): _rate(row) for row in rows}
    lines = [[t.replace("_", " "), *(cells.get((t, n), "") for n in names)] for t in tasks]
    solved = [_solved([r for r in rows if r["planner"] == n]) for n in names]
    return _markdown(["task", *names], [*lines, ["tasks with 90% or more", *solved]])


def cost(rows: Rows) -> str:
    """What a plan costs, median over the tasks: model evaluations per step of the plan, seconds."""
    lines = []
    for name in dict.fromkeys(row["planner"] for row in rows):
        own = [row for row in rows if row["planner"] == name and row["model_forward"]]
        if own:
            lines.append([name, *(_middle(own, c) for c in ("model_forward", "model_backward"))])
            lines[-1] += [f"{_median([float(r[c]) for r in own]):.2g}" for c in _SECONDS]
    header = ["planner", "evaluations / T", "derivatives / T", "s per plan", "s to compile"]
    return _markdown(header, lines)


_SECONDS = ("median_seconds", "compile_seconds")


def _middle(rows: Rows, column: str) -> str:
    return f"{_median([float(r[column]) / float(r['horizon']) for r in rows]):.0f}"


def _median(values: list[float]) -> float:
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _rate(row: dict[str, str]) -> str:
    value, low, high = (
        round(100 * float(row[c])) for c in ("success", "success_low", "success_high")
    )
    return f"{value} [{low}–{high}]"


def _solved(rows: Rows) -> str:
    return f"{sum(float(r['success']) >= 0.9 for r in rows)} of {len(rows)}"


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    first, *rest = ["| " + " | ".join(cells) + " |" for cells in (header, *lines)]
    return "\n".join([first, "|" + "---|" * len(header), *rest])


def main() -> None:
    """Prints those of what is recorded: natural units, scaled ones, held-out tasks, costs."""
    rows, held_out = read(FOLDER), read(HELD_OUT)
    scaled = [row for row in rows if row["planner"].endswith("scaled")]
    natural = [row for row in rows if row not in scaled]
    shown = [success(part) for part in (natural, scaled, held_out) if part]
    print(*shown, cost(rows), sep="\n\n")


def read(folder: pathlib.Path) -> Rows:
    """The rows of a folder's summary."""
    with (folder / "summary.csv").open() as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
