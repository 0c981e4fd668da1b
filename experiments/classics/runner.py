"""Plans a task's goals with one planner; the world is the planner's model, so once is enough."""

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
from experiments.classics.planners import planners
from experiments.classics.task import Task, last, rollout
from experiments.classics.tasks import all_tasks
from experiments.harness.log import FLOOR, Record
from experiments.harness.settings import describe, in_use
from experiments.harness.tables import wilson_interval

SIDE_BY_SIDE = 5
"""Goals planned at once: of a hundred, the samples of a wide latent leave a core's cache."""
KEY_FIELDS = ("environment", "planner", "settings", "seed", "goal")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One planner on one task.

    Attributes:
      task: A key of `all_tasks()`.
      planner: A key of `planners()`, or the floor.
      num_goals: How many.
      seed: Of starts, goals and keys.
    """

    task: str
    planner: str
    num_goals: int
    seed: int

    @property
    def identity(self) -> Record:
        """What every record of the cell has in common."""
        return {
            "environment": self.task,
            "observation": "state",
            "mode": "open_loop",
            "horizon": all_tasks()[self.task].horizon,
            "planner": self.planner,
            "settings": settings_of(None if self.planner == FLOOR else planners()[self.planner]),
            "seed": self.seed,
        }


def settings_of(planner: Any) -> str:
    """A short fingerprint of a planner's settings, so that a resume never mixes two of them."""
    return f"{zlib.crc32(repr(in_use(describe(planner))).encode()):08x}"


@functools.cache
def _goals(task: str, num_goals: int, seed: int) -> Any:
    """Starts and goals of a task; a worker has many of its cells."""
    return all_tasks()[task].sample_batch(num_goals, seed)


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans all goals of a cell, five side by side; yields their records."""
    task = all_tasks()[cell.task]
    states, goals = _goals(cell.task, cell.num_goals, cell.seed)
    if cell.planner == FLOOR:
        actions = jnp.clip(task.init_actions, *task.bounds)
        found = jax.jit(jax.vmap(lambda s, g: achieved(task, s, g, actions)))(states, goals)
        yield [{**cell.identity, "goal": i, **_row(found, i)} for i in range(cell.num_goals)]
        return
    planner = planners()[cell.planner]

    def search(states: Any, goals: Any, key: jax.Array) -> Record:
        plan, found = plan_goals(task, planner, states, goals, key)
        return {
            **found,
            "cost": plan.cost,
            "model_evals": jnp.sum(plan.metrics.model_evals, axis=1),
            "model_vjps": jnp.sum(plan.metrics.model_vjps, axis=1),
        }

    key = jax.random.key(cell.seed)
    began = time.perf_counter()
    compiled = jax.jit(search).lower(states, goals, key).compile()
    compile_seconds = time.perf_counter() - began
    began = time.perf_counter()
    found = jax.block_until_ready(compiled(states, goals, key))
    seconds = {
        "seconds": (time.perf_counter() - began) / cell.num_goals,
        "compile_seconds": compile_seconds,
    }
    yield [{**cell.identity, "goal": i, **_row(found, i), **seconds} for i in range(cell.num_goals)]


def plan_goals(
    task: Task, planner: Any, states: Any, goals: Any, key: jax.Array
) -> tuple[grasp_jax.Plan, Record]:
    """Plans from states to goals, leaves `[n, ...]`, a few side by side, and what they achieve."""
    problem = task.problem(states, goals, batched=True)
    plan = grasp_jax.solve(problem, key, planner=planner, goal_batch_size=SIDE_BY_SIDE)
    found = jax.vmap(lambda s, g, a: achieved(task, s, g, a))(states, goals, plan.actions)
    return plan, found


def achieved(task: Task, state: Any, goal: Any, actions: jax.Array) -> Record:
    """Whether actions `[T, A]` bring the world to the goal, and the terminal cost of where they do.

    The trajectory is the world's own, and the actions are clipped as its motors would.
    """
    states = rollout(task.dynamics, state, jnp.clip(actions, *task.bounds))
    objective = task.objective or grasp_jax.Objective()
    return {
        "success": task.success(states, goal),
        "distance": objective.terminal_cost(last(states), goal),
    }


def _row(found: Record, index: int) -> Record:
    """One goal's numbers."""
    row = {name: np.asarray(value)[index].item() for name, value in found.items()}
    return {**row, "success": bool(row["success"])}


def make_cells(names: list[str], tasks: list[str], num_goals: int, seed: int) -> list[Cell]:
    """Every planner on every task, task by task."""
    return [Cell(t, n, num_goals, seed) for t in tasks for n in (FLOOR, *names)]


def is_done(cell: Cell, log: Any) -> bool:
    """Whether the log holds all goals of a cell."""
    key = {k: v for k, v in cell.identity.items() if k in KEY_FIELDS}
    return all(log.done(**key, goal=i) for i in range(cell.num_goals))


def summarize(records: list[Record]) -> list[Record]:
    """One row per task and planner, in the order in which they first appear."""
    cells: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        cells.setdefault((record["environment"], record["planner"]), []).append(record)
    return [_summary(group) for group in cells.values()]


def _summary(group: list[Record]) -> Record:
    wins = sum(r["success"] for r in group)
    low, high = wilson_interval(wins, len(group))
    known = {k: group[0][k] for k in ("environment", "observation", "mode", "horizon", "planner")}
    return {
        **known,
        "goals": len(group),
        "success": round(wins / len(group), 4),
        "success_low": round(low, 4),
        "success_high": round(high, 4),
        "median_seconds": _mean(group, "seconds"),
        "model_forward": _mean(group, "model_evals"),
        "model_backward": _mean(group, "model_vjps"),
        "compile_seconds": _mean(group, "compile_seconds"),
    }


def _mean(group: list[Record], field: str) -> float | None:
    values = [r[field] for r in group if r.get(field) is not None]
    return round(float(np.mean(values)), 5) if values else None
