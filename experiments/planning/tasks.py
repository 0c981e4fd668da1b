"""Planning tasks over images, as records of functions: one record per environment."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.environments.goals import Goals
from experiments.environments.pointmaze import frames as pointmaze_frames
from experiments.environments.pointmaze import goals as pointmaze_goals
from experiments.environments.pointmaze import simulator as pointmaze
from experiments.environments.pusht import fast as pusht_fast
from experiments.environments.pusht import frames as pusht_frames
from experiments.environments.pusht import goals as pusht_goals
from experiments.environments.pusht import simulator as pusht
from experiments.environments.wall import goals as wall_goals
from experiments.environments.wall import simulator as wall
from experiments.harness.log import Record

States = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Task:
    """What the runner asks of an environment; all functions live in modules, to be picklable.

    Attributes:
      name: In records and tables.
      title: In figures.
      goals: `(count, horizon, seed, split) -> Goals`.
      render: States `[..., S]` to frames `[..., 64, 64, 3]` uint8.
      execute: States `[n, S]` and actions `[n, N, A]` to states `[n, N + 1, S]`.
      success: States `[..., S]` against goals `[..., S]`: `[...]` bool.
      predicted: The same rule on what the model's probe measures `[..., M]` of a predicted latent.
      errors: A state `[S]` and a goal `[S]` to named numbers, for records.
      checkpoint: The shipped model.
    """

    name: str
    title: str
    goals: Callable[[int, int, int, Any], Goals]
    render: Callable[[States], NDArray[np.uint8]]
    execute: Callable[[States, NDArray[Any]], States]
    success: Callable[[Any, Any], NDArray[np.bool_]]
    predicted: Callable[[Any, Any], NDArray[np.bool_]]
    errors: Callable[[States, States], Record]
    checkpoint: str


def wall_errors(state: States, goal: States) -> Record:
    """Distance to the goal, px."""
    return {"position_error": round(float(wall.position_error(state, goal)), 3)}


@functools.cache
def _pointmaze() -> pointmaze.PointMaze:
    return pointmaze.PointMaze()


def execute_pointmaze(states: States, actions: NDArray[Any]) -> States:
    """Runs actions `[n, N, 2]` from states `[n, 4]`, one after the other: `[n, N + 1, 4]`."""
    runs = [_pointmaze().execute(s, a) for s, a in zip(states, actions, strict=True)]
    return np.stack(runs)


def pointmaze_errors(state: States, goal: States) -> Record:
    """Distance to the goal, m."""
    return {"position_error": round(float(pointmaze.position_error(state, goal)), 4)}


@functools.cache
def _pusht() -> pusht_fast.FastPushT:
    return pusht_fast.FastPushT()


def execute_pusht(states: States, actions: NDArray[Any]) -> States:
    """Runs actions `[n, N, 2]` from states `[n, 10]`, one after the other: `[n, N + 1, 10]`."""
    runs = [_pusht().execute(s, a) for s, a in zip(states, actions, strict=True)]
    return np.stack(runs)


def pusht_predicted(measured: Any, goal: Any) -> NDArray[np.bool_]:
    """Push-T's rule on agent and block position, cosine and sine of the angle `[..., 6]`."""
    measured, goal = np.asarray(measured, np.float64), np.asarray(goal, np.float64)
    state = np.zeros((*measured.shape[:-1], pusht.STATE_SIZE))
    state[..., pusht.AGENT_POSITION] = measured[..., 0:2]
    state[..., pusht.BLOCK_POSITION] = measured[..., 2:4]
    state[..., pusht.BLOCK_ANGLE] = np.arctan2(measured[..., 5], measured[..., 4])
    return pusht.success(state, goal)


def pusht_errors(state: States, goal: States) -> Record:
    """Joint position error (px) and angle error (rad)."""
    return {
        "position_error": round(float(pusht.position_error(state, goal)), 3),
        "angle_error": round(float(pusht.angle_error(state, goal)), 4),
    }


PUSHT = Task(
    name="pusht",
    title="Push-T",
    goals=pusht_goals.sample_goals,
    render=pusht_frames.render,
    execute=execute_pusht,
    success=pusht.success,
    predicted=pusht_predicted,
    errors=pusht_errors,
    checkpoint="pusht_pixels",
)

WALL = Task(
    name="wall",
    title="Wall",
    goals=wall_goals.sample_goals,
    render=wall.render,
    execute=wall.execute,
    success=wall.success,
    predicted=wall.success,
    errors=wall_errors,
    checkpoint="wall_pixels",
)

POINTMAZE = Task(
    name="pointmaze",
    title="PointMaze",
    goals=pointmaze_goals.sample_goals,
    render=pointmaze_frames.render,
    execute=execute_pointmaze,
    success=pointmaze.success,
    predicted=pointmaze.success,
    errors=pointmaze_errors,
    checkpoint="pointmaze_pixels",
)

TASKS = {task.name: task for task in (PUSHT, WALL, POINTMAZE)}
