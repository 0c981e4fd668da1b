r"""A stop rule on the classical tasks: with it, the time to success is the time to return.

    python -m experiments.classics.stopping --output=experiments/results/classics_stopping

A target cost per task is read off plans for other goals, as they are and with more and more noise:
half the highest cost up to which all of them arrive. Then every goal is planned alone, with the
target and without, by the same program. One JSON line per goal; resumes.
"""

import dataclasses
import itertools
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
NOISES = np.geomspace(1e-3, 1.0, 16)
"""Deviations of the noise, in half ranges of an action."""
KEY_FIELDS = (*runner.KEY_FIELDS, "stops")


@dataclasses.dataclass(frozen=True)
class Cell:
    """Planners, keys of `planners()`, on a task, a key of `all_tasks()`."""

    task: str
    num_goals: int
    seed: int
    planners: tuple[str, ...] = PLANNERS

    def identity(self, planner: str, goal: int, stops: bool) -> Record:
        """What names a record."""
        plain = runner.Cell(self.task, planner, self.num_goals, self.seed).identity
        return {**plain, "goal": goal, "stops": stops}


def target_of(costs: np.ndarray, success: np.ndarray) -> float:
    """Half the highest of the costs `[n]` up to which all plans arrive; 0 where none does.

    The costs of these tasks are never negative.
    """
    order = np.argsort(costs)
    arrived = np.cumprod(success[order].astype(int))
    return float(costs[order][arrived.sum() - 1]) / 2 if arrived[0] else 0.0


def find_target(task: Task) -> float:
    """The target cost, from other goals than those of the table."""
    states, goals = task.sample_batch(TUNING_GOALS, TUNING_SEED)
    keys = jax.random.split(jax.random.key(TUNING_SEED), TUNING_GOALS)
    half = (task.bounds[1] - task.bounds[0]) / 2

    def one(row: Any) -> Any:
        state, goal, key = row
        problem = task.problem(state, goal)
        actions = grasp_jax.solve(problem, key, planner=planners()["portfolio"]).actions
        noise = half * jax.random.normal(key, actions.shape)

        def disturbed(std: jax.Array) -> Any:
            rough = jnp.clip(actions + std * noise, *task.bounds)
            found = runner.achieved(task, state, goal, rough)
            return grasp_jax.rollout_cost(problem, rough), found["success"]

        return jax.vmap(disturbed)(jnp.asarray([0.0, *NOISES]))

    search = jax.jit(lambda rows: jax.lax.map(one, rows, batch_size=runner.SIDE_BY_SIDE))
    costs, success = search((states, goals, keys))
    return target_of(np.ravel(costs), np.ravel(success))


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans every goal of a cell twice, one plan at a time; yields the records of a goal."""
    task = all_tasks()[cell.task]
    target = find_target(task)
    for name in cell.planners:
        yield from _run_planner(cell, task, name, target)


def _run_planner(cell: Cell, task: Task, name: str, target: float) -> Iterator[list[Record]]:
    planner = planners()[name]
    states, goals = task.sample_batch(cell.num_goals, cell.seed)

    def search(state: Any, goal: Any, key: jax.Array, target: jax.Array) -> Any:
        problem = task.problem(state, goal)
        plan = grasp_jax.solve(problem, key, planner=planner, target_cost=target)
        found = runner.achieved(task, state, goal, plan.actions)
        return {**found, "cost": plan.cost, "iterations": plan.metrics.iterations_taken}

    # Nothing costs less than nothing: that target is never met.
    targets = {False: jnp.float32(-1.0), True: jnp.float32(target)}
    compiled = jax.jit(search)
    for goal in range(cell.num_goals):
        row = jax.tree.map(lambda x, i=goal: x[i], (states, goals))
        key = jax.random.fold_in(jax.random.key(cell.seed), goal)
        if goal == 0:
            jax.block_until_ready(compiled(*row, key, targets[True]))
        records = []
        for stops, wanted in targets.items():
            began = time.perf_counter()
            found = jax.block_until_ready(compiled(*row, key, wanted))
            seconds = time.perf_counter() - began
            record = {name: np.asarray(value).item() for name, value in found.items()}
            known = {"target": target, "of_iterations": planner.iterations, "seconds": seconds}
            records.append({**cell.identity(name, goal, stops), **record, **known})
        yield records


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("goals", 50, "Goals per task.", lower_bound=1)
    flags.DEFINE_multi_enum("task", names(), list(all_tasks()), "Tasks; by default the table's.")
    flags.DEFINE_integer("seed", 0, "Seed of starts, goals and keys.")
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
    flags.DEFINE_string("output", "runs/classics_stopping", "Folder for results.")


def _records_of(cell: Cell) -> Iterator[Record]:
    for name, goal, stops in itertools.product(PLANNERS, range(cell.num_goals), (False, True)):
        yield cell.identity(name, goal, stops)


def _is_done(log: ResultLog, record: Record) -> bool:
    return log.done(**{k: record[k] for k in KEY_FIELDS})


def main(argv: list[str]) -> None:
    """Plans and prints."""
    begin(argv)
    given = flags.FLAGS
    folder = pathlib.Path(given.output)
    log = ResultLog(folder / "results.jsonl", KEY_FIELDS)
    cells = [Cell(task, given.goals, given.seed) for task in given.task]
    todo = [cell for cell in cells if not all(_is_done(log, key) for key in _records_of(cell))]
    with progress(len(todo) * len(PLANNERS) * given.goals, "goals") as bar:
        for records in run_tasks(run_cell, todo, given.workers, compile_fast=True):
            for record in records:
                if not _is_done(log, record):
                    log.append(record)
            bar(1, f"{records[0]['planner']}, {records[0]['environment']}")
    print(stopping(folder))


if __name__ == "__main__":
    define_flags()
    app.run(main)
