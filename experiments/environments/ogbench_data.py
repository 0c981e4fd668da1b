"""Recordings of the point mazes, rebuilt with OGBench's recipe: its data cannot be downloaded here.

A noisy oracle drives: the direction of the maze's own next subgoal (`get_oracle_subgoal`) plus
white noise of deviation 0.5, clipped. `navigate`: long episodes, a new random goal whenever one
is reached. `stitch`: short episodes whose goal lies four cells from the start; no episode sees
much of a maze.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.environments import ogbench_maze

KINDS = ("navigate", "stitch")
NOISE_STD = 0.5
STITCH_CELLS = 4


class Recording(NamedTuple):
    """Episodes of one length: `states` `[n, steps + 1, 2]`, `actions` `[n, steps, 2]`, float32."""

    states: np.ndarray
    actions: np.ndarray


def episode_steps(maze: str, kind: str) -> int:
    """Actions of one episode, as in the public data."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    if kind == "stitch":
        return 200
    return 2000 if maze == "giant" else 1000


def collect(maze: str, kind: str, episodes: int, seed: tuple[int, ...]) -> Recording:
    """Drives `episodes` episodes; the same seed gives the same recording."""
    env, steps = ogbench_maze.make(maze), episode_steps(maze, kind)
    rng = np.random.default_rng(seed)
    np.random.seed(int(rng.integers(2**31)))  # the package's own generator: starts, exits
    oracle = _Oracle(env)
    found = [_episode(env, kind, steps, oracle, rng) for _ in range(episodes)]
    states, actions = zip(*found, strict=True)
    return Recording(np.stack(states).astype(np.float32), np.stack(actions).astype(np.float32))


class _Oracle:
    """The maze's own next subgoal, asked once per pair of cells: it searches anew at each call."""

    def __init__(self, env: Any) -> None:
        self._env, self._known = env, {}

    def __call__(self, position: np.ndarray, goal: np.ndarray) -> np.ndarray:
        pair = (self._env.xy_to_ij(position), self._env.xy_to_ij(goal))
        if pair not in self._known:
            self._known[pair] = self._env.get_oracle_subgoal(position, goal)[0]
        return self._known[pair]


def _episode(
    env: Any, kind: str, steps: int, oracle: _Oracle, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions `[steps + 1, 2]` and actions `[steps, 2]`."""
    cells = ogbench_maze.free_cells(env)
    start = cells[rng.integers(len(cells))]
    near = _cells_away(env, start, STITCH_CELLS) if kind == "stitch" else cells
    goal = near[rng.integers(len(near))]
    env.reset(options={"task_info": {"init_ij": start, "goal_ij": goal}})
    positions, actions = [env.get_xy()], []
    for _ in range(steps):
        wanted = oracle(positions[-1], env.cur_goal_xy) - positions[-1]
        wanted = wanted / (np.linalg.norm(wanted) + 1e-6)
        action = np.clip(wanted + rng.normal(0, NOISE_STD, 2), -1, 1)
        _, _, _, _, info = env.step(action)
        actions.append(action)
        positions.append(env.get_xy())
        if info["success"] and kind == "navigate":
            cell = cells[rng.integers(len(cells))]
            env.set_goal(goal_xy=env.add_noise(env.ij_to_xy(cell)))
    return np.stack(positions), np.stack(actions)


def _cells_away(env: Any, start: tuple[int, int], distance: int) -> list[tuple[int, int]]:
    """The free cells at `distance` steps from `start`, or the farthest ones below that."""
    _, steps = env.get_oracle_subgoal(env.ij_to_xy(start), env.ij_to_xy(start))
    farthest = min(distance, int(steps.max()))
    return [(int(i), int(j)) for i, j in np.argwhere(steps == farthest)]
