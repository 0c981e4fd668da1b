"""Scores every candidate of the ball-navigation planners on starts that the table does not use.

    python -m experiments.ball.tune       # some minutes on 2 cores

Resumable. Writes `tuning.csv`: the settings of each planner and candidate, success on both maps,
effort, and which one `ball_navigation_planners.CHOSEN` names.
"""

import csv
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.ball.planners import CHOSEN, candidates
from experiments.ball.runner import settings_of
from experiments.environments import ball
from experiments.harness.flags import refuse_arguments
from experiments.harness.log import ResultLog, progress
from experiments.harness.settings import describe
from experiments.harness.workers import run_tasks

_STARTS = flags.DEFINE_integer("starts", 60, "Tasks per map.", lower_bound=1)
_PLANNERS = flags.DEFINE_list("planners", [], "Names of the table; all by default.")
_SEED = flags.DEFINE_integer("seed", 1000, "Seed of tasks and keys; the table uses another.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "experiments/results/ball_navigation", "Folder.")

Row = dict[str, Any]
KEY_FIELDS = ("planner", "settings", "starts", "seed")


def score(task: tuple[str, int, int, tuple[int, ...]]) -> Iterator[Row]:
    """One row per candidate of one planner; candidates that differ in numbers share a program.

    Args:
      task: The planner's name, tasks per map, seed, and which candidates.
    """
    name, count, seed, indices = task
    for index in indices:
        planner = candidates()[name][index]
        row: Row = {"planner": name, "settings": settings_of(planner)}
        for layout in ball.MAPS:
            starts, goals = ball.sample_tasks(layout, count, seed)
            found = grasp_jax.plan_batch(
                ball.dynamics(layout),
                jnp.asarray(starts),
                jnp.asarray(goals),
                jnp.zeros((ball.HORIZON, 2)),
                jax.random.key(seed),
                planner=planner,
                bounds=(-1.0, 1.0),
            )
            reached = ball.success(np.asarray(found.states[:, -1]), goals)
            row[layout] = round(float(reached.mean()), 4)
            spent = jnp.sum(found.metrics.forward + found.metrics.backward)
            row["evaluations"] = round(float(spent) / count)
        row["mean"] = round(float(np.mean([row[layout] for layout in ball.MAPS])), 4)
        yield row | {"starts": count, "seed": seed}


def main(argv: list[str]) -> None:
    """Scores, writes, names the best."""
    refuse_arguments(argv)
    names = _PLANNERS.value or list(candidates())
    log = ResultLog(pathlib.Path(_OUTPUT.value) / "tuning.jsonl", KEY_FIELDS)
    tasks = [(n, _STARTS.value, _SEED.value, _missing(log, n)) for n in names]
    with progress(sum(len(task[3]) for task in tasks), "tuning") as bar:
        for row in run_tasks(score, tasks, _WORKERS.value):
            log.append(row)
            bar(1, row["planner"])
    write_table(log, pathlib.Path(_OUTPUT.value) / "tuning.csv")


def _key(planner: Any) -> Row:
    return {"settings": settings_of(planner), "starts": _STARTS.value, "seed": _SEED.value}


def _missing(log: ResultLog, name: str) -> tuple[int, ...]:
    tried = enumerate(candidates()[name])
    return tuple(i for i, planner in tried if not log.done(planner=name, **_key(planner)))


def write_table(log: ResultLog, path: pathlib.Path) -> None:
    """Writes all candidates scored so far, and prints each planner's best."""
    rows: list[Row] = []
    for name, tried in candidates().items():
        for index, planner in enumerate(tried):
            found = log.lookup(planner=name, **_key(planner))
            if found is not None:
                place = {"candidate": index, "chosen": int(CHOSEN[name] == index)}
                plain = {"settings": json.dumps(describe(planner))}
                scores = {k: v for k, v in found.items() if k not in (*KEY_FIELDS, "code")}
                rows.append({"planner": name, **place, **scores, **_key(planner), **plain})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for name in dict.fromkeys(row["planner"] for row in rows):
        own = [row for row in rows if row["planner"] == name]
        best = max(own, key=lambda row: row["mean"])
        print(f"{name}: candidate {best['candidate']}, mean {best['mean']:.3f}")


if __name__ == "__main__":
    app.run(main)
