"""What the camera above an OGBench point maze sees: the package's own frames (`ob_type="pixels"`).

The camera sees the whole maze from above; the point is a ball of two (giant) to five pixels.
"""

import os
import sys

import numpy as np

from experiments.environments import ogbench_maze

SIZE = 64
"""Height and width of a frame, as in the package."""


class Camera:
    """Draws one maze.

    MuJoCo renders through EGL unless `MUJOCO_GL` says otherwise; on a CPU a frame takes tenths of
    a second.
    """

    def __init__(self, maze: str) -> None:
        """The first environment of a process is to be one of these: MuJoCo chooses then.

        Raises:
          ValueError: The package has no such maze.
          RuntimeError: MuJoCo was imported before anybody said how to render.
        """
        if "mujoco" in sys.modules and "MUJOCO_GL" not in os.environ:
            raise RuntimeError("MuJoCo is imported without a renderer: set MUJOCO_GL=egl before.")
        os.environ.setdefault("MUJOCO_GL", "egl")
        size = {"width": SIZE, "height": SIZE}
        self._env = ogbench_maze.make(maze, ob_type="pixels", render_mode="rgb_array", **size)
        self._env.reset(seed=0)

    def draw(self, positions: np.ndarray) -> np.ndarray:
        """Frames `[n, 64, 64, 3]` uint8 of the point at positions `[n, 2]`."""
        frames = []
        for position in np.asarray(positions, np.float64):
            self._env.set_xy(position)
            frames.append(self._env.get_ob())
        return np.stack(frames)
