"""Plans Push-T goals with one planner and scores the plans in the simulator.

Protocol (METHOD of the README): every planner gets the same goals and keys. A search is read at
fixed intervals of its iterations; each plan read is executed open loop in the simulator. A goal's
time to success is the planning time up to the first read whose plan succeeds, compilation apart:
the time of one goal planned alone on one core (`timing="alone"`), or the share of one goal in the
time of a batch on one core (`timing="batch"`). Success is that of the last plan read.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments import pusht_state_model as state_model
from experiments.environments import pusht
from experiments.environments.pusht_fast import FastPushT
from experiments.environments.pusht_goals import Goals, sample_goals

ACTION_BOUND = 1 / state_model.ACTION_STD
OBJECTIVE = grasp_jax.Objective(distance=state_model.goal_distance)
KEY_FIELDS = ("planner", "horizon", "goal")
FLOOR, CEILING = "zero_action", "ground_truth"
FILMED_GOALS = 8
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One planner at one horizon, over the goals that are not done yet.

    Attributes:
      name: The planner's name in records and tables.
      planner: The planner, or None for the floor and the ceiling.
      horizon: Environment steps.
      goals: Goals of the benchmark; goal `i` is the same for every planner.
      todo: Which of them to plan.
      seed: Seed of goals and keys.
      split: `tune` or `report`.
      checks: Reads of a search, at most.
      chunk: Goals planned side by side.
      time_budget: Seconds of planning per goal, measured as `timing` says, or None.
      timing: `alone` or `batch`, see the module's docstring.
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


@functools.cache
def _goals(count: int, horizon: int, seed: int, split: Any) -> Goals:
    return sample_goals(count, horizon, seed, split)


@functools.cache
def _model() -> Any:
    return state_model.load_model()


@functools.cache
def _simulator() -> FastPushT:
    return FastPushT()


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans and scores a cell; yields the records of one chunk of goals at a time."""
    if cell.planner is None:
        yield _fixed_actions(cell)
        return
    alone = _time_alone(cell, cell.todo[0]) if cell.timing == "alone" else None
    compile_seconds = _compile(cell, _padded(cell, cell.todo[: cell.chunk]))
    for first in range(0, len(cell.todo), cell.chunk):
        todo = cell.todo[first : first + cell.chunk]
        yield _plan_chunk(cell, todo, alone, compile_seconds)


def _padded(cell: Cell, todo: tuple[int, ...]) -> np.ndarray:
    """A short last chunk is filled up, so that it reuses the compiled program."""
    return np.resize(np.asarray(todo), min(cell.chunk, len(cell.todo)))


def _reads(cell: Cell) -> tuple[int, int]:
    """Iterations between reads, and how many reads: the most, up to `checks`, that divide."""
    iterations = cell.planner.iterations
    reads = max(r for r in range(1, cell.checks + 1) if iterations % r == 0)
    return iterations // reads, reads


def _search(cell: Cell, index: np.ndarray) -> grasp_jax.Search:
    """A fresh search for the goals `index` `[n]`; goal `i` has the key of `i` everywhere."""
    goals = _goals(cell.goals, cell.horizon, cell.seed, cell.split)
    start = jnp.asarray(state_model.encode(goals.start[index]), jnp.float32)
    goal = jnp.asarray(state_model.encode(goals.goal[index]), jnp.float32)
    steps = cell.horizon // state_model.FRAMESKIP
    return grasp_jax.start_batch(
        _model(),
        start,
        goal,
        jnp.zeros((steps, state_model.ACTION_SIZE)),
        jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(cell.seed), jnp.asarray(index)),
        planner=cell.planner,
        bounds=(-ACTION_BOUND, ACTION_BOUND),
        objective=OBJECTIVE,
    )


def _compile(cell: Cell, index: np.ndarray) -> float:
    """Compiles the programs for as many goals as `index` has; seconds of the first use."""
    every, _ = _reads(cell)
    began = time.perf_counter()
    search = grasp_jax.advance(_search(cell, index), every)
    jax.block_until_ready(grasp_jax.read(search).cost)
    return time.perf_counter() - began


def _time_alone(cell: Cell, goal: int, repeats: int = 3) -> np.ndarray:
    """`[reads]` seconds up to each read of a search for one goal, median of some repeats."""
    every, reads = _reads(cell)
    index = np.array([goal])
    _compile(cell, index)
    rows = []
    for _ in range(repeats):
        search, seconds = _search(cell, index), 0.0
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
    cell: Cell, todo: tuple[int, ...], alone: np.ndarray | None, compile_seconds: float
) -> list[Record]:
    every, reads = _reads(cell)
    index = _padded(cell, todo)
    search = _search(cell, index)
    score = _Score(cell, index[: len(todo)])
    seconds = 0.0
    for read in range(reads):
        search, spent = _timed_advance(search, every)
        seconds = seconds + spent / len(index) if alone is None else float(alone[read])
        score.update(grasp_jax.read(search), seconds)
        if cell.time_budget is not None and seconds >= cell.time_budget:
            break
    metrics = search.metrics
    assert metrics is not None
    spent_on_model = {
        "model_forward": np.asarray(metrics.forward.sum(axis=1)),
        "model_backward": np.asarray(metrics.backward.sum(axis=1)),
    }
    common = {"seconds": round(seconds, 5), "compile_seconds": round(compile_seconds, 2)}
    return score.records(spent_on_model, common)


class _Score:
    """Executes plans as they are read and remembers the outcomes of some goals."""

    def __init__(self, cell: Cell, index: np.ndarray):
        self._cell, self._index = cell, index
        goals = _goals(cell.goals, cell.horizon, cell.seed, cell.split)
        self._starts, self._goals = goals.start[index], goals.goal[index]
        self._actions: list[np.ndarray | None] = [None] * len(index)
        self._outcome: list[Record] = [{} for _ in index]
        self._seconds: list[float | None] = [None] * len(index)

    def update(self, plans: grasp_jax.Plan, seconds: float) -> None:
        """Executes the plans that changed; `seconds` of planning led to them."""
        actions = np.asarray(plans.actions)
        final = np.asarray(jax.tree.map(lambda x: x[:, -1], plans.states))
        for i in range(len(self._index)):
            before = self._actions[i]
            if before is None or not np.array_equal(before, actions[i]):
                self._actions[i] = actions[i]
                self._outcome[i] = _execute(self._starts[i], self._goals[i], actions[i], final[i])
                self._outcome[i]["cost"] = float(plans.cost[i])
                self._outcome[i]["status"] = int(plans.status[i])
            if self._seconds[i] is None and self._outcome[i]["success"]:
                self._seconds[i] = seconds

    def records(self, spent: dict[str, np.ndarray], common: Record) -> list[Record]:
        """One record per goal; `spent` holds a number for each, `common` holds for all."""
        return [
            {
                **_identity(self._cell, int(self._index[i])),
                **self._outcome[i],
                "seconds_to_success": self._seconds[i],
                **common,
                **{name: float(values[i]) for name, values in spent.items()},
                **self._film(i),
            }
            for i in range(len(self._index))
        ]

    def _film(self, i: int) -> Record:
        """The plan itself, for the first goals only: the GIF needs a few, the log stays small."""
        if self._index[i] >= FILMED_GOALS:
            return {}
        return {"actions": np.round(np.asarray(self._actions[i], np.float64), 4).tolist()}


def _identity(cell: Cell, goal: int) -> Record:
    return {
        "environment": "pusht",
        "observation": "state",
        "mode": "open_loop",
        "horizon": cell.horizon,
        "planner": cell.name,
        "goal": goal,
        "seed": cell.seed,
        "split": cell.split,
    }


def _execute(
    start: np.ndarray, goal: np.ndarray, actions: np.ndarray, predicted: np.ndarray
) -> Record:
    """Runs a plan `[T, 10]` in the simulator from `start` `[10]`; errors against `goal` `[10]`."""
    commands = np.clip(state_model.split_actions(actions), -1, 1)
    states = _simulator().execute(start, commands)
    encoded = state_model.encode(np.asarray(goal))
    return {
        "success": bool(pusht.success(states[-1], goal)),
        "success_any_time": bool(np.any(pusht.success(states[1:], goal))),
        "predicted_success": bool(state_model.predicted_success(predicted, encoded)),
        "position_error": round(float(pusht.position_error(states[-1], goal)), 3),
        "angle_error": round(float(pusht.angle_error(states[-1], goal)), 4),
    }


def _fixed_actions(cell: Cell) -> list[Record]:
    """The zero-action floor, or the ceiling: the recorded actions that reached the goals."""
    goals = _goals(cell.goals, cell.horizon, cell.seed, cell.split)
    todo = np.asarray(cell.todo)
    steps = cell.horizon // state_model.FRAMESKIP
    actions = np.asarray(state_model.stack_actions(goals.actions[todo]), np.float32)
    actions = np.zeros_like(actions) if cell.name == FLOOR else actions
    start = jnp.asarray(state_model.encode(goals.start[todo]), jnp.float32)
    model = _model()

    def final(state: jax.Array, actions: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda s, a: (model(s, a), None), state, actions)[0]

    predicted = np.asarray(jax.jit(jax.vmap(final))(start, jnp.asarray(actions)))
    return [
        {
            **_identity(cell, int(i)),
            **_execute(goals.start[i], goals.goal[i], actions[row], predicted[row]),
            "model_forward": float(steps),
            "model_backward": 0.0,
        }
        for row, i in enumerate(todo)
    ]
