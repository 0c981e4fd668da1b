"""The tables of the study's page, from the recorded summaries."""

import pathlib
import statistics

from experiments.classics.planners import planners
from experiments.harness.log import Record, ResultLog, read_results
from experiments.harness.tables import (
    RESULTS,
    goals_solved,
    markdown,
    only_one,
    rate,
    read_summary,
    share,
)

UNTUNED = {
    "Push-T, states": ("pusht_untuned", "pusht_state"),
    "Push-T, pixels": ("pusht_pixels_untuned", "pusht_pixels"),
    "Wall, pixels": ("wall_pixels_untuned", "wall_pixels"),
    "PointMaze, pixels": ("pointmaze_pixels_untuned", "pointmaze_pixels"),
}
"""Name to the results of defaults, and those of tuned planners on the same goals."""


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


def untuned() -> str:
    """Defaults beside tuned rows, on the goals that both planned."""
    lines = []
    for title, (name, tuned_name) in UNTUNED.items():
        defaults, tuned = goals_solved(name), goals_solved(tuned_name)
        for horizon in sorted(h for name, h in defaults if name == "untuned-portfolio"):
            default = defaults["untuned-portfolio", horizon]
            full = tuned["GRASP", horizon]
            baseline = _best_baseline(tuned, horizon, default)
            lines.append(
                [
                    f"{title}, H = {horizon}",
                    _share(default, default),
                    _share(defaults.get(("untuned-GRASP", horizon), {}), default),
                    _share(full, default),
                    f"{baseline}: {_share(tuned[baseline, horizon], default)}",
                    only_one(default, full),
                ]
            )
    header = ["goals", "`portfolio()`", "`restarted_grasp()`", "GRASP, tuned"]
    return markdown([*header, "best baseline, tuned", "only `portfolio()` : only GRASP"], lines)


def _best_baseline(
    solved: dict[tuple[str, int], dict[int, bool]], horizon: int, goals: dict[int, bool]
) -> str:
    """The planner but ours that solves most of the goals."""
    names = [
        name
        for (name, h), cell in solved.items()
        if h == horizon
        and not name.startswith(("GRASP", "zero", "ground"))
        and goals.keys() <= cell.keys()
    ]
    return max(names, key=lambda name: sum(solved[name, horizon][g] for g in goals))


def _share(solved: dict[int, bool], goals: dict[int, bool]) -> str:
    """Success in % with its interval on some goals; empty where not all were planned."""
    if not goals.keys() <= solved.keys():
        return ""
    return share(sum(solved[g] for g in goals), len(goals))


def textbook() -> str:
    """Direct collocation beside the default, on the goals that both planned."""
    folder = RESULTS / "classics"
    planned = read_results(folder)
    lines = []
    known = ResultLog(folder / "results_textbook.jsonl").records
    for task in dict.fromkeys(r["environment"] for r in known):
        theirs = [r for r in known if r["environment"] == task]
        goals = {r["goal"] for r in theirs}
        ours = [
            r
            for r in planned
            if (r["environment"], r["planner"]) == (task, "portfolio") and r["goal"] in goals
        ]
        lines.append([task.replace("_", " "), *_ends(theirs), *_ends(ours)])
    header = ["success", "median terminal cost", "s per plan"]
    return markdown(["task", *header, f"`portfolio()`: {header[0]}", *header[1:]], lines)


def _ends(records: list[Record]) -> list[str]:
    distance, seconds = (
        statistics.median(r[name] for r in records) for name in ("distance", "seconds")
    )
    return [
        share(sum(r["success"] for r in records), len(records)),
        f"{distance:.1e}",
        f"{seconds:.2f}",
    ]


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


def stopping(folder: pathlib.Path = RESULTS / "classics_stopping") -> str:
    """Success and seconds of plans made alone, without a target cost and with one."""
    records = read_results(folder)
    names = sorted({r["planner"] for r in records}, key=list(planners()).index)
    lines = []
    for task in dict.fromkeys(r["environment"] for r in records):
        cells = [[r for r in records if (r["environment"], r["planner"]) == (task, n)]
                 for n in names]  # fmt: skip
        lines.append([task.replace("_", " "), *(x for cell in cells for x in _stopped(cell))])
    header = [x for name in names for x in (name, "with a target", "s", "with a target")]
    return markdown(["task", *header], lines)


def _stopped(records: list[Record]) -> list[str]:
    """Success and mean seconds of whole searches and of those that stop."""
    whole, stopped = ([r for r in records if r["stops"] is stops] for stops in (False, True))
    if not stopped[0]["target"]:  # no plan for other goals arrived: there is nothing to stop at
        stopped = []
    rates, seconds = [], []
    for rows in (whole, stopped):
        rates.append(share(sum(r["success"] for r in rows), len(rows)) if rows else "")
        seconds.append(f"{statistics.mean(r['seconds'] for r in rows):.2g}" if rows else "")
    return [*rates, *seconds]


def proposals(folder: pathlib.Path = RESULTS / "classics_proposals") -> str:
    """Success of samplers with proposals: a row per task and sampler, a column per way."""
    records = read_results(folder)
    cells: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for r in records:
        sampler, way = r["planner"].split(", ")
        row = cells.setdefault((r["environment"], sampler), {})
        row.setdefault(way, []).append(r["success"])
    ways = list(dict.fromkeys(way for row in cells.values() for way in row))
    lines = [
        [task, sampler, *(share(sum(row[way]), len(row[way])) for way in ways)]
        for (task, sampler), row in sorted(cells.items())
    ]
    return markdown(["task", "sampler", *ways], lines)
