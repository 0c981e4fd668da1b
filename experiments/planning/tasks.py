"""Planning tasks, as records of functions: one record per environment and observation."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.environments import ball
from experiments.environments.goals import PAST, Goals
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
from experiments.models import load
from experiments.models.exact import Exact
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state import model as pusht_state

States = NDArray[np.float64]
STATE, PIXELS = "state", "pixels"


@dataclasses.dataclass(frozen=True)
class Task:
    """What the runner asks of an environment; every field can be pickled and compared.

    Attributes:
      name: In records and tables.
      title: In figures.
      observation: `state` or `pixels`, what the model is shown.
      checkpoint: The model: the name of a shipped one, or of the exact dynamics.
      load: A model's name or file to the model.
      goals: `(count, horizon, seed, split) -> Goals`.
      render: States `[..., S]` to frames `[..., 64, 64, 3]` uint8; states as they are where those
        are shown.
      execute: States `[n, S]` and actions `[n, N, A]` to states `[n, N + 1, S]`.
      success: States `[..., S]` against goals `[..., S]`: `[...]` bool.
      predicted: The same rule on what the model measures `[..., M]` of a predicted state.
      errors: A state `[S]` and a goal `[S]` to named numbers, for records.
      show: States `[n, S]` and a goal `[S]` to frames `[n, P, P, 3]` for the GIF, the goal in them;
        None where `render` is what to show.
      frameskip: Environment steps in a model step.
      success_cost: Where the model is the world: a plan of this cost or less succeeds.
    """

    name: str
    title: str
    observation: str
    checkpoint: str
    load: Callable[[str], Any]
    goals: Callable[[int, int, int, Any], Goals]
    render: Callable[[States], NDArray[Any]]
    execute: Callable[[States, NDArray[Any]], States]
    success: Callable[[Any, Any], NDArray[np.bool_]]
    predicted: Callable[[Any, Any], NDArray[np.bool_]]
    errors: Callable[[States, States], Record]
    show: Callable[[States, States], NDArray[np.uint8]] | None = None
    frameskip: int = 5
    success_cost: float | None = None


def unchanged(states: States) -> States:
    """The states themselves, for models that see them."""
    return states


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


def pusht_seen(measured: Any) -> States:
    """States `[..., 10]` at rest, from agent, block, cosine and sine of its angle `[..., 6]`."""
    measured = np.asarray(measured, np.float64)
    state = np.zeros((*measured.shape[:-1], pusht.STATE_SIZE))
    state[..., pusht.AGENT_POSITION] = measured[..., 0:2]
    state[..., pusht.BLOCK_POSITION] = measured[..., 2:4]
    state[..., pusht.BLOCK_ANGLE] = np.arctan2(measured[..., 5], measured[..., 4])
    return state


def pusht_predicted(measured: Any, goal: Any) -> NDArray[np.bool_]:
    """Push-T's rule on agent and block position, cosine and sine of the angle `[..., 6]`."""
    return pusht.success(pusht_seen(measured), np.asarray(goal, np.float64))


def pusht_errors(state: States, goal: States) -> Record:
    """Joint position error (px) and angle error (rad)."""
    return {
        "position_error": round(float(pusht.position_error(state, goal)), 3),
        "angle_error": round(float(pusht.angle_error(state, goal)), 4),
    }


def pusht_predicted_from_state(measured: Any, goal: Any) -> NDArray[np.bool_]:
    """Push-T's rule on planning states `[..., 8]`."""
    return np.asarray(coordinates.predicted_success(measured, coordinates.encode(goal)))


@functools.cache
def _pusht_camera() -> pusht.PushT:
    return pusht.PushT()


def show_pusht(states: States, goal: States) -> NDArray[np.uint8]:
    """The simulator's own pictures, the goal drawn in them."""
    frames = []
    for state in states:
        _pusht_camera().reset_to(state)
        frames.append(_pusht_camera().render(goal, 192))
    return np.stack(frames)


@dataclasses.dataclass(frozen=True)
class _BallGoals:
    """Starts and goals of a map; the actions are a way found on it. Tuning has seeds of its own."""

    layout: str

    def __call__(self, count: int, horizon: int, seed: int, split: str) -> Goals:
        starts, goals = ball.sample_tasks(self.layout, count, seed + 1000 * (split == "tune"))
        ways = [ball.known_way(self.layout, s, g) for s, g in zip(starts, goals, strict=True)]
        actions, past = np.stack(ways)[:, :horizon], np.zeros((count, PAST, 2), np.float32)
        return Goals(starts, goals, actions, past, past)  # pyright: ignore[reportArgumentType]


@dataclasses.dataclass(frozen=True)
class _BallExecute:
    """Runs actions on a map."""

    layout: str

    def __call__(self, states: States, actions: NDArray[Any]) -> States:
        world = ball.dynamics(self.layout)
        return np.asarray(ball.rollouts(world, jnp.asarray(states), jnp.asarray(actions)))


def load_ball(name: str) -> Exact:
    """The dynamics of the map `ball_<map>`, as a model."""
    return Exact(ball.dynamics(name.removeprefix("ball_")))


def ball_errors(state: States, goal: States) -> Record:
    """Distance to the goal, in shares of half the arena's width."""
    return {"distance": round(float(np.linalg.norm(state - goal)), 5)}


PUSHT = Task(
    name="pusht",
    title="Push-T",
    observation=PIXELS,
    load=load.load_model,
    goals=pusht_goals.sample_goals,
    render=pusht_frames.render,
    execute=execute_pusht,
    success=pusht.success,
    predicted=pusht_predicted,
    errors=pusht_errors,
    checkpoint="pusht_pixels",
)

PUSHT_STATE = dataclasses.replace(
    PUSHT,
    observation=STATE,
    checkpoint="pusht_state",
    load=pusht_state.load_model,
    render=unchanged,
    predicted=pusht_predicted_from_state,
    show=show_pusht,
)

WALL = Task(
    name="wall",
    title="Wall",
    observation=PIXELS,
    load=load.load_model,
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
    observation=PIXELS,
    load=load.load_model,
    goals=pointmaze_goals.sample_goals,
    render=pointmaze_frames.render,
    execute=execute_pointmaze,
    success=pointmaze.success,
    predicted=pointmaze.success,
    errors=pointmaze_errors,
    checkpoint="pointmaze_pixels",
)

BALL = tuple(
    Task(
        name=f"ball_{layout}",
        title=f"Ball navigation, {layout.replace('_', ' ')},",
        observation=STATE,
        checkpoint=f"ball_{layout}",
        load=load_ball,
        goals=_BallGoals(layout),
        render=unchanged,
        execute=_BallExecute(layout),
        success=ball.success,
        predicted=ball.success,
        errors=ball_errors,
        frameskip=1,
        success_cost=ball.SUCCESS_RADIUS**2,
    )
    for layout in ball.MAPS
)

TASKS = {task.name: task for task in (PUSHT, WALL, POINTMAZE)}
"""Those over frames, by name."""
