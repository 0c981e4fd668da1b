"""The tasks of the depth study: what is planned, and when a plan has succeeded."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.environments.pusht import simulator
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.goals import sample_goals
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state.model import load_model
from experiments.planning import runner, tasks

SEEN = {
    "pusht_pixels": (tasks.PUSHT, "pusht_pixels", 60),
    "wall_lewm": (tasks.WALL, "wall_lewm", 50),
    "pointmaze_lewm": (tasks.POINTMAZE, "pointmaze_lewm", 50),
}
"""Planned from frames: environment, checkpoint and how far away goals are, environment steps."""
CLASSICS = ("pendulum", "cart_pole", "mountain_car", "unicycle")
TASKS = ("pusht", *SEEN, *CLASSICS)
_HORIZON = 60


@dataclasses.dataclass(frozen=True)
class World:
    """A task as this study asks for it.

    Attributes:
      dynamics: The planner's model.
      state: Starts, leaves `[B, ...]`.
      goal: Goals, leaves `[B, ...]`.
      init_actions: `[T, A]`.
      bounds: `(low, high)`.
      objective: The cost.
      succeeded: A plan of all goals to `[B]` bool.
      context: Of models that read a window, leaves `[B, ...]`.
    """

    dynamics: Any
    state: Any
    goal: Any
    init_actions: jax.Array
    bounds: Any
    objective: grasp_jax.Objective | None
    succeeded: Callable[[grasp_jax.Plan], np.ndarray]
    context: grasp_jax.Context | None = None


def make_world(name: str, num_goals: int) -> World:
    """A task of `TASKS` with so many goals."""
    if name == "pusht":
        return _pusht(num_goals)
    return _seen(name, num_goals) if name in SEEN else _classic(name, num_goals)


def _pusht(num_goals: int) -> World:
    """Push-T from states, goals that are 60 environment steps away."""
    goals = sample_goals(num_goals, _HORIZON, 0, "report")

    def succeeded(plan: grasp_jax.Plan) -> np.ndarray:
        commands = np.clip(coordinates.split_actions(np.asarray(plan.actions)), -1, 1)
        world = FastPushT()
        ends = [world.execute(s, a)[-1] for s, a in zip(goals.start, commands, strict=True)]
        return np.asarray(simulator.success(np.stack(ends), goals.goal))

    bound = 1 / coordinates.ACTION_STD
    return World(
        load_model(),
        jnp.asarray(coordinates.encode(goals.start), jnp.float32),
        jnp.asarray(coordinates.encode(goals.goal), jnp.float32),
        jnp.zeros((_HORIZON // coordinates.FRAMESKIP, coordinates.ACTION_SIZE)),
        (-bound, bound),
        grasp_jax.Objective(terminal_cost=coordinates.goal_distance),
        succeeded,
    )


def _seen(name: str, num_goals: int) -> World:
    """A task from frames, through the encoder of a visual model."""
    task, checkpoint, horizon = SEEN[name]
    model, goals = task.load(checkpoint), task.goals(num_goals, horizon, 0, "report")

    def succeeded(plan: grasp_jax.Plan) -> np.ndarray:
        commands = np.asarray(model.to_environment(np.asarray(plan.actions)))
        return np.asarray(task.success(task.execute(goals.start, commands)[:, -1], goals.goal))

    return World(
        model,
        jnp.asarray(runner.encode_states(model, task, goals.start)),
        jnp.asarray(runner.encode_states(model, task, goals.goal)),
        jnp.zeros((horizon // model.frameskip, model.action_size), jnp.float32),
        model.bounds,
        model.objective,
        succeeded,
        runner.context_of(model, task, goals),
    )


def _classic(name: str, num_goals: int) -> World:
    """One of the classical tasks."""
    from experiments.classics.tasks import all_tasks

    task = all_tasks()[name]
    state, goal = task.sample_batch(num_goals, 0)
    return World(
        task.dynamics,
        state,
        goal,
        task.init_actions,
        task.bounds,
        task.objective,
        lambda plan: np.asarray(jax.vmap(task.success)(plan.states, goal)),
    )
