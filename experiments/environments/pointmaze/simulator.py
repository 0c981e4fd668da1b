"""PointMaze on gymnasium-robotics (U-maze, MuJoCo): exact state save and restore, success, frames.

A state is `[4]` float64: x, y (metres; the maze's free cells are one metre wide, its centre is 0),
and their velocities (m/s). An action in [-1, 1]^2 is a force, and an environment step holds it for
`FRAME_SKIP` steps of the simulator: 0.05 s. (In one simulator step the force moves a resting ball
by 1 mm. A goal within ten of them would lie within the success radius of 0.5 m of wherever the
ball coasts to, and doing nothing would solve every short horizon.)
"""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.environments.pointmaze import frames as pointmaze_frames

STATE_SIZE = 4
ACTION_SIZE = 2
FRAME_SKIP = 5
TOLERANCE = 0.5  # m
MAX_SPEED = 5.0  # m/s along each axis, the simulator's own limit
CELLS = np.array(
    [(-1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (0.0, -1.0), (-1.0, -1.0)]
)
"""Centres of the free cells, [7, 2], along the U."""

_MARGIN = 0.12  # m from a wall at which states are drawn; the ball's own radius is 0.1


def position_error(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """Distance of positions, the first two of states `[..., 2+]` and goals: `[...]` m."""
    places = [np.asarray(x, np.float64)[..., :2] for x in (state, goal)]
    return np.linalg.norm(places[0] - places[1], axis=-1)


def success(state: ArrayLike, goal: ArrayLike) -> NDArray[np.bool_]:
    """Whether states `[..., 2+]` are less than 0.5 m from goals `[..., 2+]`: `[...]` bool."""
    return position_error(state, goal) < TOLERANCE


def sample_position(rng: np.random.Generator) -> NDArray[np.float64]:
    """A uniform place in the free cells, clear of the walls: `[2]`."""
    while True:
        place = rng.uniform(-1.5 + _MARGIN, 1.5 - _MARGIN, 2)
        if place[0] > 0.5 + _MARGIN or abs(place[1]) > 0.5 + _MARGIN:
            return place


def sample_state(rng: np.random.Generator, speed: float = MAX_SPEED) -> NDArray[np.float64]:
    """A uniform place and a uniform velocity up to `speed` along each axis: `[4]`."""
    return np.concatenate([sample_position(rng), rng.uniform(-speed, speed, 2)])


@functools.cache
def _gym_environment(render_size: int | None) -> Any:
    """gymnasium-robotics' environment, with MuJoCo's renderer where it has a size."""
    import gymnasium
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    size = {} if render_size is None else {"width": render_size, "height": render_size}
    environment = gymnasium.make(
        "PointMaze_UMaze-v3",
        render_mode=None if render_size is None else "rgb_array",
        continuing_task=False,
        disable_env_checker=True,
        **size,
    ).unwrapped
    environment.reset(seed=0)
    return environment


class PointMaze:
    """gymnasium-robotics' environment with restorable states."""

    def __init__(self, render_size: int | None = None) -> None:
        """Makes the simulator.

        Args:
            render_size: Also make MuJoCo's off-screen renderer, for `render_mujoco` frames of this
                size; needs a backend named by MUJOCO_GL before MuJoCo is imported.
        """
        self._point = _gym_environment(render_size).point_env
        if render_size is not None:
            self._point.mujoco_renderer.default_cam_config = dict(pointmaze_frames.CAMERA)
            self._point.mujoco_renderer.camera_id = None
            # The environment's own goal is not this benchmark's.
            self._point.model.site("target").rgba[3] = 0

    def reset_to(self, state: ArrayLike) -> NDArray[np.float64]:
        """Restores a state `[4]`; returns it. Nothing of the past remains in the solver."""
        import mujoco

        values = np.asarray(state, np.float64)
        if values.shape != (STATE_SIZE,):
            raise ValueError(f"state has shape {values.shape}, expected ({STATE_SIZE},)")
        # Clears what the contact solver would otherwise start from: its last accelerations.
        mujoco.mj_resetData(self._point.model, self._point.data)  # pyright: ignore[reportAttributeAccessIssue]
        self._point.set_state(values[:2], values[2:])
        return self.get_state()

    def get_state(self) -> NDArray[np.float64]:
        """The state `[4]`."""
        data = self._point.data
        return np.concatenate([data.qpos, data.qvel])

    def step(self, action: ArrayLike) -> NDArray[np.float64]:
        """Holds the force `[2]` for one environment step; returns the next state `[4]`."""
        force = np.asarray(action, np.float64)
        for _ in range(FRAME_SKIP):
            self._point.step(force)
        return self.get_state()

    def execute(self, state: ArrayLike, actions: ArrayLike) -> NDArray[np.float64]:
        """Restores a state `[4]` and runs actions `[N, 2]`: the states `[N + 1, 4]`."""
        plan = np.asarray(actions, np.float64)
        states = np.empty((len(plan) + 1, STATE_SIZE))
        states[0] = self.reset_to(state)
        for index, action in enumerate(plan):
            states[index + 1] = self.step(action)
        return states

    def render_mujoco(self, state: ArrayLike) -> NDArray[np.uint8]:
        """MuJoCo's own frame of a state, which `pointmaze_frames.render` draws without MuJoCo."""
        self.reset_to(state)
        return self._point.render()


def mujoco_frames(states: ArrayLike, size: int = pointmaze_frames.SIZE) -> NDArray[np.uint8]:
    """MuJoCo's own frames of states `[n, 4]`: `[n, size, size, 3]`; see `has_renderer`.

    From a process of its own: OpenGL wants a fresh MuJoCo and does not survive the interpreter's
    end.
    """
    return _render_apart(np.asarray(states, np.float64), size, os.environ.get("MUJOCO_GL"))


def has_renderer() -> bool:
    """Whether MuJoCo can draw here, with OSMesa or EGL; if so, MUJOCO_GL names it from now on."""
    for backend in dict.fromkeys([os.environ.get("MUJOCO_GL"), "osmesa", "egl"]):
        try:
            _render_apart(np.zeros((1, STATE_SIZE)), pointmaze_frames.SIZE, backend)
        except RuntimeError:
            continue
        os.environ["MUJOCO_GL"] = backend or ""
        return True
    return False


_RENDER = """
import os, sys, numpy as np
from experiments.environments.pointmaze.simulator import PointMaze
simulator = PointMaze(int(sys.argv[3]))
frames = np.stack([simulator.render_mujoco(state) for state in np.load(sys.argv[1])])
np.save(sys.argv[2], frames)
os._exit(0)
"""


def _render_apart(states: NDArray[np.float64], size: int, backend: str | None) -> NDArray[np.uint8]:
    with tempfile.TemporaryDirectory() as folder:
        given, drawn = pathlib.Path(folder) / "states.npy", pathlib.Path(folder) / "frames.npy"
        np.save(given, states)
        environment = {**os.environ, **({"MUJOCO_GL": backend} if backend else {})}
        command = [sys.executable, "-c", _RENDER, str(given), str(drawn), str(size)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0 or not drawn.exists():
            raise RuntimeError(f"MuJoCo cannot draw with {backend}: {done.stderr[-500:]}")
        return np.load(drawn)
