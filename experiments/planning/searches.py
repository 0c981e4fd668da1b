"""Runs the searches of a cell and scores the plans that are read from them.

Protocol: every planner gets the same goals and keys. A search is read at fixed intervals of its
iterations; each plan read is executed open loop in the simulator. A goal's time to success is the
planning time up to the first read whose plan succeeds, compilation apart. Success is that of the
last plan read.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import grasp_jax
from experiments.harness.log import Record
from experiments.planning.cells import Cell

FILMED_GOALS = 8

Begin = Callable[[np.ndarray], grasp_jax.Search]
"""Goal numbers `[n]` to a fresh search for them; goal `i` must have the key of `i` everywhere."""

Execute = Callable[[int, np.ndarray, Any], Record]
"""`(goal number, actions [T, A], predicted final state)` to the outcome: at least `success`."""

Identity = Callable[[int], Record]
"""A goal's number to the fields that identify its record."""


def run_searches(
    cell: Cell,
    begin: Begin,
    execute: Execute,
    identity: Identity,
    success_cost: float | None = None,
) -> Iterator[list[Record]]:
    """Plans and scores a cell; yields the records of one chunk of goals at a time.

    Where the model is the world, a plan of `success_cost` or less succeeds: records then tell after
    how many evaluations one was found, and times to success are as fine as iterations.
    """
    alone = _time_alone(cell, begin) if cell.timing == "alone" else None
    compile_seconds = _compile(cell, begin, padded(cell, cell.todo[: cell.chunk]))
    for first in range(0, len(cell.todo), cell.chunk):
        todo = cell.todo[first : first + cell.chunk]
        search = begin(padded(cell, todo))
        score = _Score(np.asarray(todo), _steps(search), execute, identity)
        yield _plan_chunk(cell, search, score, alone, compile_seconds, success_cost)


def _steps(search: grasp_jax.Search) -> np.ndarray:
    """`[n]` model steps of each plan; the rest of a padded plan is not executed."""
    goals, length = len(search.state.best_cost), search.problem.given_horizon
    return np.full(goals, search.horizon) if length is None else np.asarray(length)


def padded(cell: Cell, todo: tuple[int, ...]) -> np.ndarray:
    """A short last chunk is filled up, so that it reuses the compiled program."""
    return np.resize(np.asarray(todo), min(cell.chunk, len(cell.todo)))


def _reads(cell: Cell) -> tuple[int, int]:
    """Iterations between reads, and how many reads: the most, up to `checks`, that divide."""
    iterations = cell.planner.iterations
    reads = max(r for r in range(1, cell.checks + 1) if iterations % r == 0)
    return iterations // reads, reads


def _compile(cell: Cell, begin: Begin, index: np.ndarray) -> float:
    """Compiles the programs for as many goals as `index` has; seconds of the first use."""
    every, _ = _reads(cell)
    began = time.perf_counter()
    search = grasp_jax.advance(begin(index), every)
    jax.block_until_ready(grasp_jax.read(search).cost)
    return time.perf_counter() - began


def _time_alone(cell: Cell, begin: Begin, repeats: int = 3) -> np.ndarray:
    """`[reads]` seconds up to each read of a search for one goal, median of some repeats."""
    every, reads = _reads(cell)
    index = np.array([cell.todo[0]])
    _compile(cell, begin, index)
    rows = []
    for _ in range(repeats):
        search, seconds = begin(index), 0.0
        row = []
        for _ in range(reads):
            search, spent = _timed_advance(search, every)
            seconds += spent
            row.append(seconds)
        rows.append(row)
    return np.median(np.asarray(rows), axis=0)


def _timed_advance(search: grasp_jax.Search, every: int) -> tuple[grasp_jax.Search, float]:
    jax.block_until_ready(search.state.best_cost)
    began = time.perf_counter()
    search = grasp_jax.advance(search, every)
    jax.block_until_ready(search.state.best_cost)
    return search, time.perf_counter() - began


def _plan_chunk(
    cell: Cell,
    search: grasp_jax.Search,
    score: "_Score",
    alone: np.ndarray | None,
    compile_seconds: float,
    success_cost: float | None,
) -> list[Record]:
    every, reads = _reads(cell)
    goals = len(search.state.best_cost)
    seconds = 0.0
    for read in range(reads):
        search, spent = _timed_advance(search, every)
        seconds = seconds + spent / goals if alone is None else float(alone[read])
        score.update(grasp_jax.read(search), seconds)
        if cell.time_budget is not None and seconds >= cell.time_budget:
            break
    spent_on_model = {
        "model_forward": sum(np.asarray(rows.model_evals).sum(axis=1) for rows in search.metrics),
        "model_backward": sum(np.asarray(rows.model_vjps).sum(axis=1) for rows in search.metrics),
    }
    common = {"seconds": round(seconds, 5), "compile_seconds": round(compile_seconds, 2)}
    records = score.records(spent_on_model, common)
    if success_cost is not None:
        for record, effort in zip(records, _efforts(search, success_cost), strict=False):
            total = record["model_forward"] + record["model_backward"]
            until = None if effort is None else round(seconds * effort / total, 7)
            record |= {"evaluations_to_success": effort, "seconds_to_success": until}
    return records


def _efforts(search: grasp_jax.Search, cost: float) -> list[float | None]:
    """Model evaluations of each search until its best plan costs that little; None if never."""
    rows = search.metrics
    spent = np.concatenate(
        [np.asarray(r.model_evals) + np.asarray(r.model_vjps) for r in rows], axis=1
    )
    solved = np.concatenate([np.asarray(r.best_cost) for r in rows], axis=1) <= cost
    efforts = np.take_along_axis(np.cumsum(spent, axis=1), solved.argmax(axis=1)[:, None], axis=1)
    return [float(e) if s.any() else None for e, s in zip(efforts[:, 0], solved, strict=True)]


class _Score:
    """Executes plans as they are read and remembers the outcomes of some goals."""

    def __init__(self, index: np.ndarray, steps: np.ndarray, execute: Execute, identity: Identity):
        self._index, self._steps = index, steps
        self._execute, self._identity = execute, identity
        self._actions: list[np.ndarray | None] = [None] * len(index)
        self._outcome: list[Record] = [{} for _ in index]
        self._seconds: list[float | None] = [None] * len(index)

    def update(self, plans: grasp_jax.Plan, seconds: float) -> None:
        """Executes the plans that changed; `seconds` of planning led to them."""
        actions = np.asarray(plans.actions)
        final = jax.tree.map(lambda x: np.asarray(x[:, -1]), plans.states)
        for i, goal in enumerate(self._index):
            found, before = actions[i, : self._steps[i]], self._actions[i]
            if before is None or not np.array_equal(before, found):
                self._actions[i] = found
                predicted = jax.tree.map(lambda x, row=i: x[row], final)
                self._outcome[i] = self._execute(int(goal), found, predicted)
                self._outcome[i]["cost"] = float(plans.cost[i])
                self._outcome[i]["status"] = int(plans.status[i])
            if self._seconds[i] is None and self._outcome[i]["success"]:
                self._seconds[i] = seconds

    def records(self, spent: dict[str, Any], common: Record) -> list[Record]:
        """One record per goal; `spent` holds a number for each, `common` holds for all."""
        identities = [self._identity(int(goal)) for goal in self._index]
        return [
            {
                **identity,
                **self._outcome[i],
                "seconds_to_success": self._seconds[i],
                **common,
                **{name: float(values[i]) for name, values in spent.items()},
                **self._film(i, identity),
            }
            for i, identity in enumerate(identities)
        ]

    def _film(self, i: int, identity: Record) -> Record:
        """The plan itself, for the first goals only: the GIF needs a few, the log stays small."""
        if identity["goal"] >= FILMED_GOALS:
            return {}
        return {"actions": np.round(np.asarray(self._actions[i], np.float64), 4).tolist()}
