"""Fifteen control tasks in their natural units; every planner at its defaults, nothing tuned.

    python -m experiments.classics                     # ten minutes on two idle cores
    python -m experiments.classics --goals=100 --output=experiments/results/classics

The world is the planner's model, five goals of a cell are planned side by side. Prints and writes
the table and one picture. Results are written as they finish; the same command resumes.
"""

import pathlib
import time

from absl import app, flags

from experiments.classics import pictures, runner
from experiments.classics.planners import planners
from experiments.classics.tasks import all_tasks, names
from experiments.harness.flags import begin
from experiments.harness.log import ResultLog
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.harness.workers import run_tasks

_SHOWN = (
    "environment",
    "planner",
    "goals",
    "success",
    "median_seconds",
    "model_forward",
    "model_backward",
    "compile_seconds",
)


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("goals", 100, "Goals per task.", lower_bound=1)
    flags.DEFINE_multi_enum(
        "task", names(), list(all_tasks()), "Tasks; those of the table by default."
    )
    flags.DEFINE_bool("held_out", False, "All held-out tasks in their place.")
    table = [name for name in planners() if not name.endswith("scaled")]
    flags.DEFINE_multi_enum("planner", table, list(planners()), "Those of the first table.")
    flags.DEFINE_integer("seed", 0, "Seed of starts, goals and keys.")
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
    flags.DEFINE_string("output", "runs/classics", "Folder for results and the picture.")


def run(cells: list[runner.Cell], log: ResultLog, workers: int) -> None:
    """Runs what the log does not hold; each cell is logged as it finishes."""
    todo = [cell for cell in cells if not runner.is_done(cell, log)]
    with progress(len(todo), "classics") as bar:
        for records in run_tasks(runner.run_cell, todo, workers, compile_fast=True):
            for record in records:
                log.append(record)
            bar(1, f"{records[0]['planner']}, {records[0]['environment']}")


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    begin(argv)
    began, given = time.perf_counter(), flags.FLAGS
    folder = pathlib.Path(given.output)
    log = ResultLog(folder / "results.jsonl", runner.KEY_FIELDS)
    tasks = names(held_out=True) if given.held_out else given.task
    cells = runner.make_cells(given.planner, tasks, given.goals, given.seed)
    run(cells, log, given.workers)
    keys = [{k: v for k, v in c.identity.items() if k in runner.KEY_FIELDS} for c in cells]
    held = [log.lookup(**key, goal=i) for key in keys for i in range(given.goals)]
    rows = runner.summarize([record for record in held if record is not None])
    write_summary(folder / "summary.csv", rows)
    print_table(rows, "Classical control tasks, every planner at its defaults", _SHOWN)
    pictures.draw(folder, rows)
    print(f"Finished in {time.perf_counter() - began:.0f} s. Results and picture: {folder}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
