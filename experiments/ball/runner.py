"""Plans ball-navigation tasks and scores the plans; the world is its own model, so once is enough.

Every planner gets the same starts, goals and keys, and begins with zero actions.
"""

import dataclasses
import functools
import time
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.environments import ball
from experiments.harness.log import CEILING, FLOOR, Record, wilson_interval
from experiments.harness.settings import describe, in_use
from experiments.harness.summary import times_to_success

KEY_FIELDS = ("environment", "planner", "settings", "seed", "goal")
_KEPT_PLANS = 8
"""Tasks whose actions are recorded, for the pictures."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One planner on all maps: one process compiles it once.

    Attributes:
      name: The planner's name in records and tables.
      planner: The planner, or None for the floor and the ceiling.
      todo: For each map, which tasks to plan.
      starts: Tasks per map.
      seed: Seed of tasks and keys.
    """

    name: str
    planner: Any
    todo: tuple[tuple[str, tuple[int, ...]], ...]
    starts: int
    seed: int


def settings_of(planner: Any) -> str:
    """A short fingerprint of a planner's settings, so that a resume never mixes two of them."""
    return f"{zlib.crc32(repr(in_use(describe(planner))).encode()):08x}"


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans a cell; yields the records of one map at a time."""
    for name, todo in cell.todo:
        if todo:
            yield _fixed(cell, name, todo) if cell.planner is None else _plan(cell, name, todo)


def environment(name: str) -> str:
    """The map's name in records and tables."""
    return f"ball_{name}"


def _identity(cell: Cell, name: str, goal: int) -> Record:
    return {
        "environment": environment(name),
        "observation": "state",
        "mode": "open_loop",
        "horizon": ball.HORIZON,
        "planner": cell.name,
        "settings": settings_of(cell.planner),
        "seed": cell.seed,
        "goal": goal,
    }


def _outcome(states: np.ndarray, goal: np.ndarray) -> Record:
    """What a rollout `[T+1, 2]` achieved."""
    reached = ball.success(states, goal)
    return {
        "success": bool(reached[-1]),
        "success_any_time": bool(reached.any()),
        "predicted_success": bool(reached[-1]),
        "distance": float(np.linalg.norm(states[-1] - goal)),
    }


def _fixed(cell: Cell, name: str, todo: tuple[int, ...]) -> list[Record]:
    """The floor (zero actions) or the ceiling (a way found on the map)."""
    starts, goals = ball.sample_tasks(name, cell.starts, cell.seed)
    world, records = ball.dynamics(name), []
    roll = jax.jit(ball.rollout)
    for index in todo:
        actions = np.zeros((ball.HORIZON, 2), np.float32)
        if cell.name == CEILING:
            actions = ball.known_way(name, starts[index], goals[index])
        states = np.asarray(roll(world, starts[index], actions))
        records.append({**_identity(cell, name, index), **_outcome(states, goals[index])})
    return records


@functools.cache
def _compiled(cell: Cell, size: int) -> tuple[Any, float]:
    """The planner for `size` tasks at once, compiled for every map, and the seconds it took."""

    def search(world: ball.Ball, start: jax.Array, goal: jax.Array, key: jax.Array) -> Any:
        found = grasp_jax.plan_batch(
            world,
            start,
            goal,
            jnp.zeros((ball.HORIZON, 2)),
            key,
            planner=cell.planner,
            bounds=(-1.0, 1.0),
        )
        return found.states, found.actions, found.metrics

    tasks = jnp.zeros((size, 2))
    keys = jax.random.split(jax.random.key(0), size)
    began = time.perf_counter()
    world = ball.dynamics(next(iter(ball.MAPS)))
    compiled = jax.jit(search).lower(world, tasks, tasks, keys).compile()
    return compiled, time.perf_counter() - began


def _plan(cell: Cell, name: str, todo: tuple[int, ...]) -> list[Record]:
    """Plans some tasks of one map side by side."""
    size = max(len(indices) for _, indices in cell.todo)
    index = np.resize(np.asarray(todo), size)
    compiled, compile_seconds = _compiled(cell, size)
    starts, goals = ball.sample_tasks(name, cell.starts, cell.seed)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(cell.seed), jnp.asarray(index))
    arguments = (ball.dynamics(name), jnp.asarray(starts[index]), jnp.asarray(goals[index]), keys)
    began = time.perf_counter()
    states, actions, metrics = jax.block_until_ready(compiled(*arguments))
    share = (time.perf_counter() - began) / size

    spent = np.cumsum(np.asarray(metrics.forward) + np.asarray(metrics.backward), axis=1)
    solved = np.asarray(metrics.best_cost) <= ball.SUCCESS_RADIUS**2
    records = []
    for row, goal in enumerate(todo):
        first = float(spent[row, np.argmax(solved[row])]) if solved[row].any() else None
        record = {
            **_identity(cell, name, goal),
            **_outcome(np.asarray(states[row]), goals[goal]),
            "model_forward": float(np.sum(metrics.forward[row])),
            "model_backward": float(np.sum(metrics.backward[row])),
            "seconds": share,
            "evaluations_to_success": first,
            "seconds_to_success": None if first is None else share * first / spent[row, -1],
            "compile_seconds": compile_seconds,
        }
        if goal < _KEPT_PLANS:
            record["actions"] = np.round(np.asarray(actions[row], np.float64), 4)
        records.append(record)
    return records


def summarise(records: list[Record]) -> list[Record]:
    """One row per map and planner, in the order in which they first appear."""
    cells: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        cells.setdefault((record["environment"], record["planner"]), []).append(record)
    return [_row(group) for group in cells.values()]


def _row(group: list[Record]) -> Record:
    wins = sum(r["success"] for r in group)
    low, high = wilson_interval(wins, len(group))
    times = times_to_success(group)
    known = {k: group[0][k] for k in ("environment", "observation", "mode", "horizon", "planner")}
    return {
        **known,
        "goals": len(group),
        "success": round(wins / len(group), 4),
        "success_low": round(low, 4),
        "success_high": round(high, 4),
        "success_any_time": _mean(group, "success_any_time"),
        "predicted_success": _mean(group, "predicted_success"),
        "median_seconds": round(float(np.median(times)), 5) if times else None,
        "model_forward": _mean(group, "model_forward"),
        "model_backward": _mean(group, "model_backward"),
        "plan_seconds": _mean(group, "seconds"),
        "compile_seconds": _mean(group, "compile_seconds"),
    }


def _mean(group: list[Record], field: str) -> float | None:
    values = [r[field] for r in group if r.get(field) is not None]
    return round(float(np.mean(values)), 5) if values else None


def make_cells(
    chosen: dict[str, Any], maps: list[str], starts: int, seed: int, log: Any = None
) -> list[Cell]:
    """Every planner on every map, with the tasks that the log does not hold yet."""
    cells = []
    for name, planner in chosen.items():
        key = {"planner": name, "settings": settings_of(planner), "seed": seed}
        todo = tuple(
            (m, tuple(i for i in range(starts) if not _is_done(log, m, key, i))) for m in maps
        )
        if any(indices for _, indices in todo):
            cells.append(Cell(name, planner, todo, starts, seed))
    return cells


def _is_done(log: Any, name: str, key: Record, goal: int) -> bool:
    return log is not None and log.done(environment=environment(name), goal=goal, **key)


def with_bounds(chosen: dict[str, Any]) -> dict[str, Any]:
    """The floor and the ceiling, then the chosen planners."""
    return {FLOOR: None, CEILING: None, **chosen}
