"""What a planner of a point maze is given: the model, the index over recorded states, paths."""

import dataclasses
import functools
import pathlib
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.environments import ogbench_maze
from experiments.environments.ogbench_frames import Camera
from experiments.ogbench import collect, frames, train
from experiments.ogbench import model as models
from experiments.ogbench.eyes import Eyes, encode
from experiments.ogbench.eyes import load as load_eyes
from grasp_jax.paths_from_data import StateIndex, build_index
from grasp_jax.proposals import PathTree

FRAMES = frames.EVERY
"""Environment steps per model step; an action of the model is held for so many."""
NODES, RADIUS, MAX_JUMP = 2000, 2.0, 1.0
SEEN_NODES, SEEN_PER_NODE = 1000, 16
"""Of the index over frames, of which there are fewer; and frames that a node has at least."""
CELL = 4.0


@dataclasses.dataclass(frozen=True)
class World:
    """One maze with one recording.

    Attributes:
      maze: A name of `ogbench_maze.MAZES`.
      kind: navigate or stitch.
      env: The package's environment.
      index: Over the recorded states.
      model: Learned from the same recording; a step is `FRAMES` environment steps.
      camera, eyes: Where the planner gets frames: what draws them, and what reads them.
    """

    maze: str
    kind: str
    env: Any
    index: StateIndex
    model: models.MazeModel
    camera: Camera | None = None
    eyes: Eyes | None = None

    @property
    def observation(self) -> str:
        """What is seen of the world."""
        return "state" if self.eyes is None else "pixels"

    def observe(self, positions: np.ndarray) -> np.ndarray:
        """What the simulator shows of positions `[n, 2]`: themselves, or frames."""
        return positions if self.camera is None else self.camera.draw(positions)

    def encode(self, seen: np.ndarray) -> jax.Array:
        """States of the model `[n, 2]`."""
        if self.eyes is None:
            return jnp.asarray(seen, jnp.float32)
        return encode(self.eyes, jnp.asarray(seen))

    def known_ways(self, goal: np.ndarray) -> PathTree:
        """The recording's shortest ways to `goal` `[2]`."""
        return self.index.towards(goal)

    def oracle(self, goal: np.ndarray) -> PathTree:
        """The maze's own shortest ways from cell to cell: a ceiling that knows the map."""
        env = self.env
        _, steps = env.get_oracle_subgoal(goal, goal)
        cells = ogbench_maze.free_cells(env)
        cells = [c for c in cells if steps[c] >= 0]
        number = {c: i for i, c in enumerate(cells)}
        nexts = [_towards(c, steps, number, len(cells)) for c in cells] + [len(cells)]
        centers = np.array([env.ij_to_xy(c) for c in cells] + [goal], np.float32)
        to_go = np.array([CELL * steps[c] + 1.0 for c in cells] + [0.0], np.float32)
        return PathTree(
            nodes=jnp.asarray(centers),
            following=jnp.asarray(nexts, jnp.int32),
            steps_to_go=jnp.asarray(to_go),
            scale=jnp.ones(2),
            radius=jnp.asarray(CELL / 2 * 2**0.5),
            speed=jnp.asarray(1.0),
        )


def _towards(
    cell: tuple[int, int], steps: np.ndarray, number: dict[tuple[int, int], int], goal: int
) -> int:
    """The neighbor of a cell that is one nearer to the goal; the goal itself from its own cell."""
    if steps[cell] == 0:
        return goal
    around = [(cell[0] + i, cell[1] + j) for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    return next(number[c] for c in around if c in number and steps[c] == steps[cell] - 1)


def load(data: str, checkpoints: str, maze: str, kind: str) -> World:
    """The recording's index (kept beside the recording once built) and the trained model."""
    path = train.checkpoint(checkpoints, maze, kind, FRAMES)
    index = _index(pathlib.Path(data), maze, kind)
    return World(maze, kind, ogbench_maze.make(maze), index, models.load(path))


def load_seen(data: str, checkpoints: str, maze: str, kind: str) -> World:
    """The same from frames: `experiments.ogbench.frames` has recorded and trained."""
    camera, latents = Camera(maze), frames.latents(pathlib.Path(data), maze, kind)
    count = latents.states.shape[0] * latents.states.shape[1]
    # Nodes that few frames pass lead nowhere: medium's fourth goal was cut off by 1000 of 6,150.
    nodes = min(SEEN_NODES, max(1, count // SEEN_PER_NODE))
    index = make_index(latents.states, latents.actions, 1, nodes)
    parts = ("pixels_eyes", "pixels_model")
    eyes, model = (train.checkpoint(checkpoints, maze, kind, part) for part in parts)
    world = World(maze, kind, ogbench_maze.make(maze), index, models.load(model))
    return dataclasses.replace(world, camera=camera, eyes=load_eyes(eyes))


@functools.cache
def _index(folder: pathlib.Path, maze: str, kind: str) -> StateIndex:
    path = folder / f"index_{maze}_{kind}.pkl"
    if path.exists():
        return pickle.loads(path.read_bytes())  # our own file
    found = make_index(*collect.load(folder, maze, kind))
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps(found))
    temporary.replace(path)
    return found


def make_index(
    states: np.ndarray, actions: np.ndarray, rows_per_step: int = FRAMES, num_nodes: int = NODES
) -> StateIndex:
    """The index over a recording's `[n, T + 1, 2]` states and `[n, T, 2]` actions."""
    episodes, rows = states.shape[:2]
    padded = np.concatenate([actions, np.zeros_like(actions[:, :1])], 1)
    return build_index(
        states.reshape(-1, 2),
        np.repeat(np.arange(episodes), rows),
        actions=padded.reshape(-1, 2),
        num_nodes=num_nodes,
        rows_per_step=rows_per_step,
        radius=RADIUS,
        max_jump=MAX_JUMP,
    )


def stack(trees: list[PathTree]) -> PathTree:
    """One tree whose arrays have a leading axis of goals."""
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)
