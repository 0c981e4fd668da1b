r"""A stop rule on the classical tasks: with it, the time to success is the time to return.

    python -m experiments.classics.stopping --output=experiments/results/classics_stopping

A target cost per task is read off plans for other goals: half the highest cost up to which every
one of them arrived. Then each goal is planned alone, with the target and without, by the same
program. One JSON line per goal; resumes.
"""

import dataclasses
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.classics import runner
from experiments.classics.planners import planners
from experiments.classics.tables import stopping
from experiments.classics.task import Task
from experiments.classics.tasks import all_tasks, names
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.progress import progress
from experiments.harness.workers import run_tasks

PLANNERS = ("portfolio", "restarted GRASP", "iCEM")
TUNING_GOALS, TUNING_SEED = 20, 1000
KEY_FIELDS = (*runner.KEY_FIELDS, "stops")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A planner on a task: a key of `planners()`, one of `all_tasks()`, goals, their seed."""

    task: str
    planner: str
    num_goals: int
    seed: int

    def identity(self, goal: int, stops: bool) -> Record:
        """What names a record."""
        plain = runner.Cell(self.task, self.planner, self.num_goals, self.seed).identity
        return {**plain, "goal": goal, "stops": stops}


def target_of(costs: np.ndarray, success: np.ndarray) -> float:
    """Half the highest of the costs `[n]` up to which all plans arrived; 0 where none did.

    A cost below 0 says nothing of what is left, and these tasks have none.
    """
    order = np.argsort(costs)
    arrived = np.cumprod(success[order].astype(int))
    return float(costs[order][arrived.sum() - 1]) / 2 if arrived[0] else 0.0


def _plan(task: Task, planner: Any, state: Any, goal: Any, key: jax.Array, target: Any) -> Any:
    """A plan, and what the world says of it."""
    plan = grasp_jax.plan(
        task.dynamics,
        state,
        goal,
        task.init_actions,
        key,
        planner=planner,
        bounds=task.bounds,
        objective=task.objective,
        target_cost=target,
    )
    return plan, runner.achieved(task, state, goal, plan.actions)


def _other_goals(task: Task, planner: Any) -> float:
    """The target cost."""
    states, goals = task.sample_batch(TUNING_GOALS, TUNING_SEED)
    keys = jax.random.split(jax.random.key(TUNING_SEED), TUNING_GOALS)

    def one(state: Any, goal: Any, key: jax.Array) -> Any:
        plan, found = _plan(task, planner, state, goal, key, None)
        return plan.cost, found["success"]

    search = jax.jit(lambda *rows: jax.lax.map(lambda row: one(*row), rows, batch_size=5))
    return target_of(*map(np.asarray, search(states, goals, keys)))


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans every goal of a cell twice, one plan at a time; yields their records."""
    task, planner = all_tasks()[cell.task], planners()[cell.planner]
    target = _other_goals(task, planner)
    states, goals = task.sample_batch(cell.num_goals, cell.seed)

    def search(state: Any, goal: Any, key: jax.Array, target: jax.Array) -> Any:
        plan, found = _plan(task, planner, state, goal, key, target)
        return {**found, "cost": plan.cost, "iterations": plan.metrics.iterations_taken}

    # Nothing costs less than nothing: that target is never met.
    targets = {True: jnp.float32(target), False: jnp.float32(-1.0)}
    compiled = jax.jit(search)
    for goal in range(cell.num_goals):
        row = jax.tree.map(lambda x, i=goal: x[i], (states, goals))
        key = jax.random.fold_in(jax.random.key(cell.seed), goal)
        if goal == 0:
            jax.block_until_ready(compiled(*row, key, targets[True]))
        records = []
        for stops, wanted in targets.items():
            began = time.perf_counter()
            found = jax.device_get(compiled(*row, key, wanted))
            seconds = time.perf_counter() - began
            record = {name: value.item() for name, value in found.items()}
            known = {"target": target, "of_iterations": planner.iterations, "seconds": seconds}
            records.append({**cell.identity(goal, stops), **record, **known})
        yield records


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("goals", 50, "Goals per task.", lower_bound=1)
    flags.DEFINE_multi_enum("task", names(), list(all_tasks()), "Tasks; by default the table's.")
    flags.DEFINE_integer("seed", 0, "Seed of starts, goals and keys.")
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
    flags.DEFINE_string("output", "runs/classics_stopping", "Folder for results.")


def main(argv: list[str]) -> None:
    """Plans and prints."""
    begin(argv)
    given = flags.FLAGS
    folder = pathlib.Path(given.output)
    log = ResultLog(folder / "results.jsonl", KEY_FIELDS)
    cells = [Cell(t, p, given.goals, given.seed) for t in given.task for p in PLANNERS]

    def is_done(cell: Cell) -> bool:
        keys = (cell.identity(i, stops) for i in range(cell.num_goals) for stops in (True, False))
        return all(log.done(**{k: key[k] for k in KEY_FIELDS}) for key in keys)

    todo = [cell for cell in cells if not is_done(cell)]
    with progress(len(todo) * given.goals, "goals") as bar:
        for records in run_tasks(run_cell, todo, given.workers, compile_fast=True):
            for record in records:
                if not log.done(**{k: record[k] for k in KEY_FIELDS}):
                    log.append(record)
            bar(1, f"{records[0]['planner']}, {records[0]['environment']}")
    print(stopping(folder))


if __name__ == "__main__":
    define_flags()
    app.run(main)
