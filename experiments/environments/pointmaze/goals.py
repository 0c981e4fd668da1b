"""PointMaze: random steps for training, and evaluation goals along driven trajectories."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.environments.goals import PAST, Goals, cut
from experiments.environments.pointmaze import simulator as pointmaze
from experiments.environments.pointmaze.simulator import CELLS, PointMaze
from experiments.environments.random_steps import STREAMS, TRAINING_STREAM, correlated_actions

_DRIVE_STEPS = 60  # environment steps beyond the horizon
_ARRIVED = 0.35  # m
_JITTER = 0.3  # m around a cell's centre
_STIFFNESS, _DAMPING = 1.5, 0.5  # force per metre, and per metre per second


def sample_trajectories(
    count: int, steps: int, seed: int, shard: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random steps from random states: states `[count, steps + 1, 4]`, actions `[count, steps, 2]`.

    Both are float32.
    """
    rng = np.random.default_rng((seed, TRAINING_STREAM, shard))
    simulator = PointMaze()
    actions = correlated_actions(rng, count, steps)
    states = [simulator.execute(pointmaze.sample_state(rng), row) for row in actions]
    return np.stack(states).astype(np.float32), actions


def _drive(
    simulator: PointMaze, rng: np.random.Generator, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Drives from cell to cell to random ends of the maze: states and actions of `steps` steps."""
    noise = correlated_actions(rng, 1, steps, scale=0.3)[0]
    cell = int(rng.integers(len(CELLS)))
    target, waypoint = cell, CELLS[cell]
    pace = rng.uniform(0.6, 1.0)
    state = simulator.reset_to(np.concatenate([waypoint, rng.uniform(-1, 1, 2)]))
    states, actions = [state], []
    for index in range(steps):
        if np.linalg.norm(state[:2] - waypoint) < _ARRIVED:
            while target == cell:
                target = int(rng.integers(len(CELLS)))
            cell += int(np.sign(target - cell))
            waypoint = CELLS[cell] + rng.uniform(-_JITTER, _JITTER, 2)
        force = pace * _STIFFNESS * (waypoint - state[:2]) - _DAMPING * state[2:] * (1 - pace / 2)
        actions.append(np.clip(force + noise[index], -1, 1).astype(np.float32))
        state = simulator.step(actions[-1])
        states.append(state)
    return np.stack(states), np.stack(actions)


def sample_goals(
    count: int, horizon: int, seed: int = 0, split: Literal["tune", "report"] = "report"
) -> Goals:
    """Segments of driven trajectories whose goal is not satisfied where they start.

    Goal i depends on (seed, split, horizon, i) only, so fewer goals are a prefix of more.

    Args:
        count: number of goals.
        horizon: environment steps from start to goal.
        seed: seed of the benchmark.
        split: settings are chosen on "tune" and figures come from "report".
    """
    simulator = PointMaze()
    found = [
        _sample_goal(simulator, np.random.default_rng((seed, STREAMS[split], horizon, i)), horizon)
        for i in range(count)
    ]
    return Goals(*(np.concatenate(field) for field in zip(*found, strict=True)))


def _sample_goal(simulator: PointMaze, rng: np.random.Generator, horizon: int) -> Goals:
    while True:
        states, actions = _drive(simulator, rng, PAST + horizon + int(rng.integers(_DRIVE_STEPS)))
        begin = len(actions) - horizon
        # Restored, because the simulator's contact solver remembers what a state does not hold.
        replayed = simulator.execute(states[begin], actions[begin:])
        states[begin:] = replayed
        if not pointmaze.success(replayed[0], replayed[-1]):
            return cut(states[None], actions[None], np.array([begin]), horizon)
