"""Plans Push-T goals with one planner and scores the plans in the simulator.

The protocol is that of `experiments.planning.searches`.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.environments.goals import Goals
from experiments.environments.pusht import simulator as pusht
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.goals import sample_goals
from experiments.harness.log import FLOOR, Record
from experiments.models.pusht_state import model as state_model
from experiments.planning.cells import Cell
from experiments.planning.searches import run_searches

ACTION_BOUND = 1 / state_model.ACTION_STD
OBJECTIVE = grasp_jax.Objective(distance=state_model.goal_distance)
KEY_FIELDS = ("planner", "horizon", "goal")


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

    def execute(number: int, actions: np.ndarray, predicted: np.ndarray) -> Record:
        start, goal, _ = _select(cell, [number])
        return _execute(start[0], goal[0], actions, predicted)

    yield from run_searches(
        cell, functools.partial(_search, cell), execute, functools.partial(_identity, cell)
    )


def _select(cell: Cell, numbers: Iterable[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and goals `[n, 10]`, and model steps between them `[n]`, of entries of `todo`."""
    jobs = [cell.job(number) for number in numbers]
    sets = [_goals(cell.goals, horizon, cell.seed, cell.split) for horizon, _ in jobs]
    start = np.stack([goals.start[i] for goals, (_, i) in zip(sets, jobs, strict=True)])
    goal = np.stack([goals.goal[i] for goals, (_, i) in zip(sets, jobs, strict=True)])
    return start, goal, np.array([horizon for horizon, _ in jobs]) // state_model.FRAMESKIP


def _search(cell: Cell, numbers: np.ndarray) -> grasp_jax.Search:
    """A fresh search for entries `[n]` of `todo`; goal `i` has the key of `i` everywhere."""
    start, goal, steps = _select(cell, numbers)
    index = jnp.asarray([cell.job(number)[1] for number in numbers])
    return grasp_jax.start_batch(
        _model(),
        jnp.asarray(state_model.encode(start), jnp.float32),
        jnp.asarray(state_model.encode(goal), jnp.float32),
        jnp.zeros((cell.horizon // state_model.FRAMESKIP, state_model.ACTION_SIZE)),
        jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(cell.seed), index),
        planner=cell.planner,
        bounds=(-ACTION_BOUND, ACTION_BOUND),
        objective=OBJECTIVE,
        length=steps if cell.horizons else None,
    )


def _identity(cell: Cell, number: int) -> Record:
    horizon, goal = cell.job(number)
    return {
        "environment": "pusht",
        "observation": "state",
        "mode": "open_loop",
        "horizon": horizon,
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
