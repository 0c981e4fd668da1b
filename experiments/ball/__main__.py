"""When lifting pays: a ball among walls, where the direct way to the goal is a dead end.

    python -m experiments.ball              # about a minute on 2 idle cores
    python -m experiments.ball --starts=200 --output=experiments/results/ball_navigation

Plans 60 steps through the true dynamics from random starts on two maps, with every planner at
about the same number of model evaluations, between the zero-action floor and the ceiling of a way
found on the map. Prints and writes the table, three pictures and a GIF of GRASP's virtual states.
Results are written as they finish; the same command resumes after a kill.
"""

import pathlib
import time
from typing import Any

from absl import app, flags

from experiments.ball import runner
from experiments.ball.planners import planners
from experiments.environments import ball
from experiments.harness.flags import refuse_arguments
from experiments.harness.log import Record, ResultLog, print_table, progress, write_summary
from experiments.harness.workers import run_tasks

_SHOWN = (
    "environment",
    "planner",
    "goals",
    "success",
    "success_any_time",
    "median_seconds",
    "model_forward",
    "model_backward",
    "plan_seconds",
)


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("starts", 50, "Tasks per map.", lower_bound=1)
    flags.DEFINE_list("maps", list(ball.MAPS), "Maps; all by default.")
    flags.DEFINE_list("planners", [], "Names of the table; all by default.")
    flags.DEFINE_integer("seed", 0, "Seed of tasks and keys.")
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
    flags.DEFINE_string("output", "runs/ball_navigation", "Folder for results and pictures.")
    flags.DEFINE_bool("pictures", True, "Draw the plots and the GIF.")


def check_names(given: list[str], available: Any, flag: str) -> None:
    """Raises for a name that does not exist."""
    unknown = [name for name in given if name not in available]
    if unknown:
        raise app.UsageError(f"--{flag}: no {unknown[0]!r}; there are {', '.join(available)}.")


def run(cells: list[runner.Cell], log: ResultLog, workers: int) -> None:
    """Runs the cells on worker processes; each map of a planner is logged as it finishes."""
    total = sum(len(indices) for cell in cells for _, indices in cell.todo)
    if not total:
        print(f"Every result is already in {log.path}; delete it to plan anew.")
        return
    with progress(total, "ball navigation") as bar:
        for records in run_tasks(runner.run_cell, cells, workers):
            for record in records:
                log.append(record)
            bar(len(records), f"{records[0]['planner']}, {records[0]['environment']}")


def wanted(
    log: ResultLog, chosen: dict[str, Any], maps: list[str], starts: int, seed: int
) -> list[Record]:
    """The records of these planners, with these settings, in the order of the table."""
    found = [
        log.lookup(
            environment=runner.environment(layout),
            planner=name,
            settings=runner.settings_of(planner),
            seed=seed,
            goal=goal,
        )
        for layout in maps
        for name, planner in chosen.items()
        for goal in range(starts)
    ]
    return [record for record in found if record is not None]


def experiment(
    folder: pathlib.Path,
    starts: int,
    seed: int = 0,
    maps: list[str] | None = None,
    names: list[str] | None = None,
    workers: int = 2,
    pictures: bool = True,
) -> list[Record]:
    """Plans what the folder does not hold yet, then prints and draws all of it.

    Args:
      folder: Of results and pictures.
      starts: Tasks per map.
      seed: Of tasks and keys.
      maps: Keys of `ball.MAPS`; all by default.
      names: Planners of the table; all by default.
      workers: Processes.
      pictures: Whether to draw.

    Returns:
      The rows of the table.
    """
    maps = maps or list(ball.MAPS)
    chosen = runner.with_bounds({n: p for n, p in planners().items() if not names or n in names})
    log = ResultLog(folder / "results.jsonl", runner.KEY_FIELDS)
    run(runner.make_cells(chosen, maps, starts, seed, log), log, workers)
    # The summary holds all of the folder, the table and the pictures what was asked for.
    held = 1 + max(record["goal"] for record in log.records)
    everybody = runner.with_bounds(planners())
    every = wanted(log, everybody, list(ball.MAPS), held, seed)
    write_summary(folder / "summary.csv", runner.summarise(every))
    records = wanted(log, chosen, maps, starts, seed)
    rows = runner.summarise(records)
    title = f"Ball navigation, T = {ball.HORIZON}, the true world as model"
    print_table(rows, title, _SHOWN)
    if pictures:
        from experiments.ball.pictures import draw_all

        draw_all(folder, records, rows)
    return rows


def main(argv: list[str]) -> None:
    """Checks the flags and runs the experiment."""
    refuse_arguments(argv)
    began, given = time.perf_counter(), flags.FLAGS
    check_names(given.maps, list(ball.MAPS), "maps")
    check_names(given.planners, list(planners()), "planners")
    folder = pathlib.Path(given.output)
    experiment(
        folder,
        given.starts,
        given.seed,
        given.maps,
        given.planners,
        given.workers,
        given.pictures,
    )
    print(f"Finished in {time.perf_counter() - began:.0f} s. Results and pictures: {folder}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
