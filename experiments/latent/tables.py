"""The tables of the study's page, from reports and recorded results."""

import json
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from experiments.harness.log import Record, read_results
from experiments.harness.tables import (
    RESULTS,
    goals_solved,
    in_seconds,
    markdown,
    only_one,
    rate,
    read_summary,
    share,
)
from experiments.latent import planners
from experiments.models.checkpoint import CHECKPOINTS

FOLDER, FIRST = "pusht_latent", "pusht_code_first"
CHANGED = {
    "code": "pusht_code",
    "code with its first motion, plans kept near frames": "pusht_code_kept",
    "vector, scaled axes as the goal cost": "pusht_vector_scaled",
}
"""What changed against the vector with its latent distance, and the folder of its results."""

PAIRS = tuple(
    ("GRASP", name) for name in ("CEM", "iCEM", "MPPI", "GD-Adam-x8", "LatCo", "GRASP-sync-only")
)
"""Goal by goal, through the code."""
_COMPARED = ("CEM", "iCEM", "GD-Adam-x8", "LatCo", "GRASP-author", "GRASP")

_GATE = (
    ("agent, present frame, px", "present", "agent", 4),
    ("block", "present", "block", 8),
    ("angle, degrees", "present", "angle", 8),
    ("block after 10 model steps, px", "50", "block", 25),
)
_REPORTS = {
    "code": CHECKPOINTS / "pusht_code.json",
    "vector": CHECKPOINTS / "pusht_vector.json",
    "tokens": RESULTS / FOLDER / "pusht_tokens_report.json",
}


def gate() -> str:
    """What every model knows of held-out videos, beside what was wanted."""
    reports = {name: _read(path) for name, path in _REPORTS.items()}
    lines = []
    for title, at, part, wanted in _GATE:
        found = [
            (r["present"] if at == "present" else r["open_loop"][at])[part]["median"]
            for r in reports.values()
        ]
        lines.append([title, str(wanted), *(f"{x:.1f}" for x in found)])
    for horizon in (25, 50):
        shares = [
            next(g for g in r["goals"] if g["horizon"] == horizon)["agrees_with_true_actions"]
            for r in reports.values()
        ]
        wanted = "60%" if horizon == 50 else ""
        title = f"agrees with the true actions, H = {horizon}"
        lines.append([title, wanted, *(f"{100 * x:.0f}%" for x in shares)])
    return markdown(["", "wanted", *reports], lines)


def limits() -> str:
    """True actions from what a probe reads: through true physics, through the model."""
    lines = []
    for model, file in (("vector", "limits"), ("code", "limits_code")):
        for horizon, row in _read(RESULTS / FOLDER / f"{file}.json")["horizons"].items():
            agreed = row["model"]["agrees_with_true_actions"]
            kinds = (("true physics", row["encoder"]["reached"], row["encoder"]["errors"]),)
            kinds += (("the model", agreed, row["model"]["errors"]),)
            for name, reached, errors in kinds:
                middle = [f"{errors[k]['median']:.1f}" for k in ("agent", "block", "angle")]
                lines.append([model, horizon, name, f"{100 * reached:.0f}%", *middle])
    header = ["start read off", "H", "what runs the true actions", "reaches the goal", "agent, px"]
    return markdown([*header, "block, px", "angle, degrees"], lines)


def axes() -> str:
    """What the probe reads where only some principal axes of the vector are kept."""
    rows = _read(RESULTS / FOLDER / "limits.json")["axes"]
    lines = []
    for row in rows:
        middle = [f"{row['errors'][k]['median']:.1f}" for k in ("agent", "block", "angle")]
        share = f"{100 * row['variance']:.2f}%"
        lines.append([str(row["axes"]), share, f"{row['last_variance']:.4f}", *middle])
    header = ["axes kept", "of the variance", "variance of the last"]
    return markdown([*header, "agent, px", "block, px", "angle, degrees"], lines)


def loop() -> str:
    """Closed loop through the code, with and without the limit on actions."""
    free = {row["planner"]: row for row in read_summary(f"{FOLDER}/pusht_code_loop_free")}
    lines = []
    for row in read_summary(f"{FOLDER}/pusht_code_loop"):
        name = row["planner"]
        other = rate(free[name]) if name in free else ""
        lines.append([name, rate(row), other, row["goals"], in_seconds(row["control_seconds"])])
    header = ["planner", "success", "actions up to five deviations", "goals"]
    return markdown([*header, "s per control step"], lines)


def motions(horizons: tuple[int, ...] = (50, 80)) -> str:
    """The shipped motion and its limit on actions against the first one, in pairs."""
    after, before = (goals_solved(f"{FOLDER}/{name}") for name in ("pusht_code", FIRST))
    lines = []
    for planner in (*_COMPARED, "GRASP-sync-only"):
        cells = []
        for horizon in horizons:
            both = [found.get((planner, horizon), {}) for found in (before, after)]
            goals = both[0].keys() & both[1].keys()
            shares = (
                [share(sum(x[g] for g in goals), len(goals)) for x in both] if goals else [""] * 2
            )
            cells += [*shares, only_one(both[1], both[0])]
        lines.append([planner, *cells])
    header = [
        f"{what}H = {h}" for h in horizons for what in ("first motion, ", "", "new : first, ")
    ]
    return markdown(["planner", *header], lines)


def untuned() -> str:
    """Goals reached, of 100, through the two latents of the GPU run."""
    columns = (
        ("vector, H = 25", "pusht_vector", 25),
        ("vector, H = 50", "pusht_vector", 50),
        ("vector, distance in time, H = 50", "pusht_vector_temporal", 50),
        ("tokens, H = 50", "pusht_tokens", 50),
    )
    names = ["zero action", *planners.table(), *planners.ablations()]
    wins = {}
    for title, folder, horizon in columns:
        table = pd.DataFrame(read_results(RESULTS / FOLDER / folder))
        table = table[table["horizon"] == horizon]
        wins[title] = table.groupby("planner")["success"].agg(["sum", "size"])
    lines = []
    for name in names:
        cells = [_wins(wins[title], name) for title, _, _ in columns]
        if any(cells):
            lines.append([name, *cells])
    return markdown(["planner", *wins], lines)


def changed(horizon: int = 50) -> str:
    """Other dynamics or another goal cost, in pairs with the vector and its latent distance."""
    before = _of("pusht_vector", horizon)
    lines = []
    for title, folder in CHANGED.items():
        after = _of(folder, horizon)
        for planner in [name for name in _COMPARED if name in after and name in before]:
            goals = after[planner].keys() & before[planner].keys()
            both = [{g: found[planner][g] for g in goals} for found in (after, before)]
            shares = [
                f"{100 * np.mean([row[k] for row in rows.values()]):.0f}%"
                for rows in both
                for k in ("success", "predicted_success")
            ]
            pair = only_one(*({g: r["success"] for g, r in rows.items()} for rows in both))
            lines.append([title, planner, *shares, pair])
    header = ["", "planner", "reaches", "the model says", "vector: reaches", "the model says"]
    return markdown([*header, "only this : only the vector"], lines)


def _of(folder: str, horizon: int) -> dict[str, dict[int, Record]]:
    """Planner to goal to record."""
    found: dict[str, dict[int, Record]] = {}
    for record in read_results(RESULTS / FOLDER / folder):
        if record["horizon"] == horizon:
            found.setdefault(record["planner"], {})[record["goal"]] = record
    return found


def parts(horizon: int = 50) -> str:
    """GRASP against itself with another part, in pairs: goals that only one of them reaches."""
    solved = [goals_solved(f"{FOLDER}/{name}") for name in ("pusht_vector", "pusht_code")]
    lines = []
    for name, what in planners.PARTS.items():
        base = "GRASP-author" if name.startswith("author") else "GRASP"
        pairs = [only_one(*(s.get((n, horizon), {}) for n in (base, name))) for s in solved]
        if any(pairs):
            lines.append([f"{base} : {name}", what, *pairs])
    return markdown(["", "what is different", "vector", "code"], lines)


def _wins(table: pd.DataFrame, name: str) -> str:
    if name.replace(" ", "_") in table.index:
        name = name.replace(" ", "_")
    if name not in table.index or table.loc[name, "size"] < 100:
        return ""
    return str(int(table.loc[name, "sum"]))  # pyright: ignore[reportArgumentType]


def _read(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text())
