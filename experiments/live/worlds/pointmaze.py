"""PointMaze's U, planned in through a model of its frames."""

import numpy as np

from experiments.environments.pointmaze import frames, simulator
from experiments.live import drawing
from experiments.live.controls import Settings
from experiments.live.world import Handle, World
from experiments.live.worlds.frames import maze
from experiments.planning import tasks

_EDGE = 1.6  # m from the maze's centre; the free cells end at 1.5
_BALL = 0.1
_MARGIN = 0.15  # m from a wall at which a goal is held


def _point(state: np.ndarray) -> tuple[float, float]:
    """The maze's y points up, the page's down."""
    return float(state[0]), -float(state[1])


def _move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
    """To the nearest place in the free cells, at rest."""
    del goal, number
    wanted, reach = np.array([handle.x, -handle.y]), 0.5 - _MARGIN
    places = np.clip(wanted, simulator.CELLS - reach, simulator.CELLS + reach)
    nearest = np.argmin(np.linalg.norm(places - wanted, axis=1))
    return np.array([*places[nearest], 0.0, 0.0])


def point_maze() -> World:
    """A ball with inertia in a U, through a model of the frames."""
    blocks = (drawing.wall_box(x - 0.5, y - 0.5, x + 0.5, y + 0.5) for x, y in frames.BLOCKS)
    return World(
        name="pointmaze",
        title="PointMaze, from pixels",
        about="A ball with inertia in a U; the direct way is walled. The model sees nothing but "
        "64 × 64 frames; virtual states are latents, drawn where a probe says that the ball is.",
        max_horizon=14,
        draw=lambda state: drawing.dot(*_point(state), _BALL),
        view=(-_EDGE, -_EDGE, 2 * _EDGE, 2 * _EDGE),
        point=_point,
        handles=lambda goal: (Handle(*_point(goal), None, 0.25),),
        move=_move,
        backdrop="".join(blocks),
        presets={
            "GRASP": Settings("GRASP", "gradients", 12, 12, 0.1, 0.5, 0.1),
            "GD": Settings("GD", "gradients", 20, 12, 0.0, 0.7, 0.1),
            "CEM": Settings("CEM", "none", 15, 12, 0.0, 1.5),
            "iCEM": Settings("iCEM", "none", 15, 12, 0.0, 0.5),
            "MPPI": Settings("MPPI", "none", 15, 12, 0.0, 1.0),
        },
        **maze(tasks.POINTMAZE, 50),
    )
