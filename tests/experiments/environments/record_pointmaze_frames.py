"""Records MuJoCo's frames for the PointMaze renderer: the empty maze and some balls.

    python -m tests.experiments.environments.record_pointmaze_frames

Needs OSMesa (Debian: libosmesa6) or EGL.
"""

import numpy as np

from experiments.environments.pointmaze import frames as pointmaze_frames
from experiments.environments.pointmaze import simulator as pointmaze

FAR = np.array([[30.0, 30.0, 0.0, 0.0]])  # out of the camera's sight


def main() -> None:
    """Writes `experiments/environments/pointmaze/frames.npz`."""
    if not pointmaze.has_renderer():
        raise SystemExit("MuJoCo cannot draw here: install libosmesa6 (OSMesa) or libegl1 (EGL)")
    rng = np.random.default_rng(0)
    positions = np.stack([pointmaze.sample_position(rng) for _ in range(24)])
    states = np.concatenate([positions, np.zeros_like(positions)], axis=1)
    fine = pointmaze_frames.SIZE * pointmaze_frames.SUPERSAMPLING
    np.savez_compressed(
        pointmaze_frames.GOLDEN,
        background=pointmaze.mujoco_frames(FAR)[0],
        fine_background=pointmaze.mujoco_frames(FAR, fine)[0],
        positions=positions,
        frames=pointmaze.mujoco_frames(states),
    )


if __name__ == "__main__":
    main()
