"""Wall, planned in through a model of its frames."""

import numpy as np

from experiments.environments.wall import simulator as wall
from experiments.live import drawing
from experiments.live.controls import Settings
from experiments.live.world import Handle, World
from experiments.live.worlds.frames import maze
from experiments.planning import tasks


def _wall_backdrop() -> str:
    edge = wall.WORLD_SIZE - 0.5
    boxes = (
        (-0.5, -0.5, edge, wall.LOW),
        (-0.5, wall.HIGH, edge, edge),
        (-0.5, -0.5, wall.LOW, edge),
        (wall.HIGH, -0.5, edge, edge),
        (wall.WALL_LEFT, wall.LOW, wall.WALL_RIGHT, wall.DOOR_TOP),
        (wall.WALL_LEFT, wall.DOOR_BOTTOM, wall.WALL_RIGHT, wall.HIGH),
    )
    return "".join(drawing.wall_box(left, top, right, low) for left, top, right, low in boxes)


def _wall_move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
    """To the nearest place that is not solid."""
    del goal, number
    x, y = (float(np.clip(v, wall.LOW + 2, wall.HIGH - 2)) for v in (handle.x, handle.y))
    in_wall = wall.WALL_LEFT - 2 < x < wall.WALL_RIGHT + 2
    if in_wall and not wall.DOOR_TOP + 2 < y < wall.DOOR_BOTTOM - 2:
        middle = (wall.WALL_LEFT + wall.WALL_RIGHT) / 2
        x = wall.WALL_LEFT - 2 if x < middle else wall.WALL_RIGHT + 2
    return np.array([x, y])


def wall_rooms() -> World:
    """Two rooms and a door, through a model of the frames."""
    return World(
        name="wall",
        title="Wall, from pixels",
        about="Two rooms and a door. The model sees nothing but 64 × 64 frames; virtual states "
        "are latents, drawn where a probe says that the dot is.",
        max_horizon=12,
        draw=lambda state: drawing.dot(state[0], state[1], 1.7),
        view=(-0.5, -0.5, wall.WORLD_SIZE, wall.WORLD_SIZE),
        point=lambda state: (float(state[0]), float(state[1])),
        handles=lambda goal: (Handle(float(goal[0]), float(goal[1]), None, 4.0),),
        move=_wall_move,
        backdrop=_wall_backdrop(),
        presets={
            "GRASP": Settings("GRASP", "gradients", 12, 10, 0.1, 0.5, 0.1),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 10, 0.005, 0.5, 0.1),
            "GD": Settings("GD", "gradients", 20, 10, 0.0, 1.0, 0.1),
            "CEM": Settings("CEM", "none", 15, 10, 0.0, 1.0),
            "iCEM": Settings("iCEM", "none", 15, 10, 0.0, 0.5),
            "MPPI": Settings("MPPI", "none", 15, 10, 0.0, 0.5),
        },
        **maze(tasks.WALL, 50),
    )
