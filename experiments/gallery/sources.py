"""What the pictures take from the other experiments, imported here and nowhere else."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.environments import ball
from experiments.environments.pointmaze import simulator as pointmaze
from experiments.environments.pusht import goals as pusht_goals
from experiments.environments.pusht import simulator as pusht
from experiments.environments.wall import simulator as wall
from experiments.harness import plots
from experiments.harness.flags import begin
from experiments.harness.version import code_version
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state import model as pusht_state
from experiments.models.pusht_state.features import COG, rotate
from experiments.planning import tasks

__all__ = [
    "Way",
    "ball",
    "begin",
    "code_version",
    "plots",
    "pusht_model",
    "pusht_start",
    "pusht_step",
    "pusht_tasks",
    "tasks",
    "ways",
]


def pusht_model() -> pusht_state.PushTStateModel:
    """The shipped model of Push-T's states."""
    return pusht_state.load_model()


def pusht_tasks(count: int, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and goals `[n, 10]` of the simulator, and the actions `[n, H, 2]` between them."""
    goals = pusht_goals.sample_goals(count, horizon, 0, "tune")
    return goals.start, goals.goal, goals.actions


def pusht_start(state: np.ndarray) -> Array:
    """The simulator's state `[10]` as `pusht_step` reads it: `[8]`, in units of 100 px.

    Agent, its velocity, the block's centre of gravity, cosine and sine of its angle.
    """
    seen = np.asarray(coordinates.encode(np.asarray(state, np.float64)))
    c, s = seen[4] / coordinates.ANGLE_RADIUS, seen[5] / coordinates.ANGLE_RADIUS
    centre = seen[2:4] + np.asarray(rotate(jnp.asarray(c), jnp.asarray(s), jnp.asarray(COG)))
    return jnp.asarray(np.concatenate([seen[0:2], seen[6:8], centre, [c, s]]), jnp.float32)


def pusht_step(model: pusht_state.PushTStateModel, state: Array, action: Array) -> Array:
    """One environment step of the learned model: `[8]` and `[2]` to `[8]`."""
    position, velocity, centre, c, s = model.environment_step(
        state[0:2], state[2:4], state[4:6], state[6], state[7], action
    )
    return jnp.concatenate([position, velocity, centre, jnp.stack([c, s])])


class Way(NamedTuple):
    """True ways to goals.

    Attributes:
      title: Of the world and its distance.
      distances: `[n, H + 1]` to each way's goal, in the units in which success is judged.
      tolerance: Below it the goal counts as reached.
      unit: Of both.
    """

    title: str
    distances: np.ndarray
    tolerance: float
    unit: str


def ways(count: int) -> list[Way]:
    """Distances along `count` true ways of each world: recorded there, or known from the map."""
    found = []
    start, goal, actions = pusht_tasks(count, 80)
    states = tasks.PUSHT.execute(start, actions)
    gaps = pusht.position_error(states, goal[:, None])
    found.append(Way("Push-T: agent and block", gaps, pusht.POSITION_TOLERANCE, "px"))
    for task, module, unit in ((tasks.WALL, wall, "px"), (tasks.POINTMAZE, pointmaze, "m")):
        goals = task.goals(count, 80, 0, "tune")
        states = task.execute(goals.start, goals.actions)
        gaps = module.position_error(states, goals.goal[:, None])
        found.append(Way(f"{task.title}: position", gaps, module.TOLERANCE, unit))
    starts, ends = ball.sample_tasks("u_trap", count, 1)
    world = ball.dynamics("u_trap")
    follow = jax.jit(ball.rollout)
    states = np.stack(
        [
            np.asarray(follow(world, jnp.asarray(s), jnp.asarray(ball.known_way("u_trap", s, g))))
            for s, g in zip(starts, ends, strict=True)
        ]
    )
    gaps = np.linalg.norm(states - ends[:, None], axis=-1)
    found.append(Way("Ball, U-trap: position", gaps, ball.SUCCESS_RADIUS, ""))
    return found
