"""The work of a Push-T experiment: which goals each planner still has to plan, and who does it."""

from typing import Any

from experiments import pusht_runner
from experiments.pusht_runner import Cell
from experiments.reporting import ResultLog, progress
from experiments.workers import run_tasks


def make_cells(
    chosen: dict[str, Any],
    horizons: list[int],
    goals: int,
    seed: int,
    log: ResultLog | None = None,
    split: str = "report",
    checks: int = 10,
    time_budget: float | None = None,
    timing: str = "batch",
    share: tuple[int, int] = (0, 1),
) -> list[Cell]:
    """Every planner at every horizon, with the goals that the log does not hold yet.

    Of `share = (i, n)` processes, process `i` plans every `n`-th goal.
    """
    cells = []
    for name, planner in chosen.items():
        for horizon in horizons:
            todo = tuple(
                g
                for g in range(share[0], goals, share[1])
                if log is None or not log.done(planner=name, horizon=horizon, goal=g)
            )
            if todo:
                options = (checks, 50, time_budget, timing)
                cells.append(Cell(name, planner, horizon, goals, todo, seed, split, *options))
    return cells


def cost_order(cell: Cell) -> float:
    """A rough guess of a cell's cost, larger first, so that workers finish together."""
    if cell.planner is None:
        return -1e9
    samples = getattr(cell.planner, "samples", 8)
    return -float(samples * cell.planner.iterations * cell.horizon * len(cell.todo))


def run_cells(
    cells: list[Cell], log: ResultLog, workers: int, title: str, compile_fast: bool = False
) -> None:
    """Runs the cells on worker processes, with a progress bar; each result is logged at once."""
    tasks = sorted(cells, key=cost_order)
    with progress(sum(len(cell.todo) for cell in cells), title) as bar:
        for records in run_tasks(pusht_runner.run_cell, tasks, workers, compile_fast):
            for record in records:
                log.append(record)
            latest = f"{records[0]['planner']} H={records[0]['horizon']}"
            bar(len(records), latest)
