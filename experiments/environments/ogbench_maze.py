"""OGBench's point mazes (package `ogbench`): the worlds, their fixed tasks, their success rule.

A state is the point's position `[2]` in maze units of a quarter cell; an action `[2]` in [-1, 1]
moves it by at most `STEP` per axis, then walls push back. An episode ends where the point comes
within `GOAL_RADIUS` of its goal, or after `MAX_STEPS` actions. In `teleport`, places on the way
throw the point to a random exit, one of which is a dead end.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

MAZES = ("medium", "large", "giant", "teleport")
TASKS = (1, 2, 3, 4, 5)
MAX_STEPS = 1000
STEP = 0.2
GOAL_RADIUS = 1.0
STEP_SECONDS = 0.1
"""Simulated seconds of one action."""


def make(maze: str, **settings: Any) -> Any:
    """The package's environment, without the wrappers that hide its methods.

    Args:
      maze: A name of `MAZES`.
      **settings: The package's own, such as `ob_type`.

    Raises:
      ValueError: The package has no such maze.
    """
    if maze not in MAZES:
        raise ValueError(f"maze must be one of {MAZES}, got {maze!r}.")
    import gymnasium
    import ogbench  # noqa: F401  (registers the environments)

    return gymnasium.make(f"pointmaze-{maze}-v0", **settings).unwrapped


@dataclasses.dataclass(frozen=True)
class Episode:
    """One of the benchmark's episodes.

    Attributes:
      maze: A key of `MAZES`.
      task: 1 to 5, the benchmark's start and goal cells.
      seed: Of the noise on both, and of what happens on the way.
    """

    maze: str
    task: int
    seed: int

    def begin(self, env: Any) -> tuple[np.ndarray, np.ndarray]:
        """Puts `env` at the start; returns start and goal, `[2]` each."""
        # The package draws its noise from NumPy's global generator.
        np.random.seed(self.seed)
        env.action_space.seed(self.seed)
        start, info = env.reset(seed=self.seed, options={"task_id": self.task})
        return np.asarray(start), np.asarray(info["goal"])


Policy = Callable[[np.ndarray], np.ndarray]
"""The present position `[2]` to the next action `[2]`; called once per environment step."""


def run(env: Any, policy: Policy, steps: int = MAX_STEPS) -> tuple[bool, np.ndarray]:
    """Drives until the goal is reached, or for `steps`.

    Returns:
      Whether the goal was reached, and the positions passed, `[n + 1, 2]`.
    """
    positions = [env.get_xy()]
    for _ in range(steps):
        _, _, _, _, info = env.step(np.clip(policy(positions[-1]), -1, 1))
        positions.append(env.get_xy())
        if info["success"]:
            return True, np.stack(positions)
    return False, np.stack(positions)


def replay(actions: np.ndarray) -> Policy:
    """Plays actions `[n, 2]` blindly, then rests."""
    rest = iter(np.asarray(actions, np.float64))
    return lambda position: next(rest, np.zeros(2))


def free_cells(env: Any) -> list[tuple[int, int]]:
    """Row and column of every cell without a wall."""
    return [(int(i), int(j)) for i, j in np.argwhere(env.maze_map == 0)]
