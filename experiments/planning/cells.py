"""The work of a planning experiment: which goals each planner still has to plan, by whom."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from experiments.harness.log import Record, ResultLog
from experiments.harness.progress import progress
from experiments.harness.workers import Work, run_tasks


@dataclasses.dataclass(frozen=True)
class Cell:
    """One planner at one horizon (or several), over the goals that are not done yet.

    Attributes:
      name: The planner's name in records and tables.
      planner: The planner, or None for the floor and the ceiling.
      horizon: Environment steps; the longest of `horizons`.
      goals: Goals of the benchmark; goal `i` is the same for every planner.
      todo: Which of them to plan; with `horizons`, goal `i` of the `k`-th is `k * goals + i`.
      seed: Seed of goals and keys.
      split: `tune` or `report`.
      checks: Reads of a search, at most.
      chunk: Goals planned side by side.
      time_budget: Seconds of planning per goal, measured as `timing` says, or None.
      timing: `alone` (the time of one goal planned alone on one core) or `batch` (the share of one
        goal in the time of a batch on one core).
      setting: What else the experiment must know; picklable.
      horizons: Several horizons whose goals share one program, padded to the longest, and its
        times; empty for one.
    """

    name: str
    planner: Any
    horizon: int
    goals: int
    todo: tuple[int, ...]
    seed: int
    split: str
    checks: int = 10
    chunk: int = 50
    time_budget: float | None = None
    timing: str = "batch"
    setting: Any = None
    horizons: tuple[int, ...] = ()

    def job(self, number: int) -> tuple[int, int]:
        """The horizon and the goal that an entry of `todo` stands for."""
        if not self.horizons:
            return self.horizon, int(number)
        index, goal = divmod(int(number), self.goals)
        return self.horizons[index], goal


def together(cells: list[Cell], chunk: int) -> list[Cell]:
    """One cell for all horizons of a planner, which compiles once: for short runs.

    Args:
      cells: Any.
      chunk: Goals planned side by side; fewer show results sooner.
    """
    found = []
    for kind in dict.fromkeys((cell.name, cell.setting) for cell in cells):
        parts = [c for c in cells if (c.name, c.setting) == kind]
        parts.sort(key=lambda c: c.horizon)
        horizons = tuple(c.horizon for c in parts) if len(parts) > 1 else ()
        todo = tuple(k * c.goals + i for k, c in enumerate(parts) for i in c.todo)
        found.append(dataclasses.replace(parts[-1], todo=todo, horizons=horizons, chunk=chunk))
    return found


def make_cells(
    chosen: dict[str, Any],
    horizons: Sequence[int],
    goals: int,
    seed: int,
    log: ResultLog | None = None,
    split: str = "report",
    checks: int = 10,
    time_budget: float | None = None,
    timing: str = "batch",
    share: tuple[int, int] = (0, 1),
    settings: Sequence[Any] = (),
) -> list[Cell]:
    """Every planner in every setting at every horizon, with the goals that are not done yet.

    Of `share = (i, n)` processes, process `i` plans every `n`-th goal. A setting says which
    `task` it plans, and in which `mode`.
    """
    cells = []
    for setting, (name, planner), horizon in itertools.product(settings, chosen.items(), horizons):
        key = {"environment": setting.task.name, "mode": setting.mode}
        todo = tuple(
            g
            for g in range(share[0], goals, share[1])
            if log is None or not log.done(planner=name, horizon=horizon, goal=g, **key)
        )
        if todo:
            options = (checks, 50, time_budget, timing, setting)
            cells.append(Cell(name, planner, horizon, goals, todo, seed, split, *options))
    return cells


def cost_order(cell: Cell) -> float:
    """A rough guess of a cell's cost, larger first, so that workers finish together."""
    if cell.planner is None:
        return -1e9
    samples = getattr(cell.planner, "samples", 8)
    return -float(samples * cell.planner.iterations * cell.horizon * len(cell.todo))


def run_cells(
    work: Work,
    cells: Iterable[Cell],
    log: ResultLog,
    workers: int,
    title: str,
    compile_fast: bool = False,
    first_core: int = 0,
    look: Callable[[list[Record]], None] | None = None,
) -> None:
    """Runs the cells on worker processes, and shows progress; each result is logged at once.

    Args:
      work: Yields lists of records of a cell; a module-level function.
      cells: The work.
      log: Where records go.
      workers: Processes, one core each.
      title: Beside the progress.
      compile_fast: See `run_tasks`.
      first_core: See `run_tasks`.
      look: Is shown each batch of records, once it is logged.
    """
    # A short run begins with the table's first planner, so that something can be seen soon.
    tasks = sorted(cells, key=lambda c: c.planner is None if compile_fast else cost_order(c))
    with progress(sum(len(cell.todo) for cell in tasks), title) as bar:
        for records in run_tasks(work, tasks, workers, compile_fast, first_core):
            for record in records:
                log.append(record)
            bar(len(records), _latest(records))
            if look is not None:
                look(records)


def _latest(records: list[Record]) -> str:
    """What a batch of results says: who, where, and how many goals it solved."""
    first, solved = records[0], sum(r["success"] for r in records)
    horizons = "/".join(str(h) for h in dict.fromkeys(r["horizon"] for r in records))
    name = f"{first['environment']} from {first['observation']}, {first['planner']}"
    return f"{name}, H = {horizons}: {solved} of {len(records)} goals"
