"""The tables of the study's page, from the recorded summaries."""

import statistics

from experiments.harness.tables import markdown, rate, read_summary


def success(name: str = "classics") -> str:
    """Success with its interval: a row per task, a column per planner."""
    rows = read_summary(name)
    tasks = dict.fromkeys(row["environment"] for row in rows)
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["environment"], row["planner"]): row for row in rows}
    lines = [[t.replace("_", " "), *(rate(cells.get((t, n))) for n in names)] for t in tasks]
    shares = [[float(r["success"]) for r in rows if r["planner"] == n] for n in names]
    solved = [f"{sum(x >= 0.9 for x in of_one)} of {len(of_one)}" for of_one in shares]
    header = ["task", *(n.replace("_", " ") for n in names)]
    return markdown(header, [*lines, ["tasks with 90% or more", *solved]])


def costs() -> str:
    """What a plan costs, median over the tasks: model evaluations per step of it, seconds."""
    lines = []
    rows = [row for row in read_summary("classics") if row["model_forward"]]
    for name in dict.fromkeys(row["planner"] for row in rows):
        own = [row for row in rows if row["planner"] == name]
        per_step = [
            f"{statistics.median(float(row[c]) / float(row['horizon']) for row in own):.0f}"
            for c in ("model_forward", "model_backward")
        ]
        seconds = [
            f"{statistics.median(float(row[c]) for row in own):.2g}"
            for c in ("median_seconds", "compile_seconds")
        ]
        lines.append([name, *per_step, *seconds])
    header = ["planner", "evaluations / T", "derivatives / T", "s per plan", "s to compile"]
    return markdown(header, lines)
