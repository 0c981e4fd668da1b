"""PointMaze: exact restoration, agreement with gymnasium-robotics, frames, success rule, goals."""

import numpy as np
import pytest

from experiments.environments.goals import PAST
from experiments.environments.pointmaze import frames as pointmaze_frames
from experiments.environments.pointmaze import goals as pointmaze_goals
from experiments.environments.pointmaze import simulator as pointmaze
from experiments.environments.pointmaze.simulator import FRAME_SKIP, PointMaze


def assert_like_mujoco(drawn: np.ndarray, real: np.ndarray) -> None:
    """Frames `[n, 64, 64, 3]` agree: MuJoCo's ball is a polyhedron with blended edges, ours not."""
    error = np.abs(drawn.astype(int) - real).max(axis=-1)
    assert error.mean() < 0.15
    assert error.max() < 60
    assert ((error > 30).sum(axis=(1, 2)) <= 4).all()
    # The ball is where MuJoCo draws it: centroids of what differs from the empty maze.
    places = [_centroid(frames) for frames in (drawn, real)]
    np.testing.assert_allclose(places[0], places[1], atol=0.25)
    assert np.abs((places[0] - places[1]).mean(axis=0)).max() < 0.1


def _centroid(frames: np.ndarray) -> np.ndarray:
    weight = np.abs(frames.astype(int) - pointmaze_frames.background()).sum(axis=-1)
    rows, columns = np.indices(weight.shape[1:])
    total = weight.sum(axis=(1, 2))
    return np.stack([(weight * axis).sum(axis=(1, 2)) / total for axis in (columns, rows)], axis=1)


def test_replay_from_any_stored_state_is_exact() -> None:
    simulator, rng = PointMaze(), np.random.default_rng(0)
    for _ in range(8):
        actions = rng.uniform(-1, 1, (60, 2))
        states = simulator.execute(pointmaze.sample_state(rng), actions)
        np.testing.assert_array_equal(simulator.execute(states[0], actions), states)
        later = simulator.execute(states[20], actions[20:])
        np.testing.assert_allclose(later, states[20:], atol=1e-9)


def test_steps_are_those_of_the_gymnasium_environment() -> None:
    import gymnasium
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    environment = gymnasium.make("PointMaze_UMaze-v3", continuing_task=False)
    observation, _ = environment.reset(seed=3)
    rng, simulator = np.random.default_rng(3), PointMaze()
    state = simulator.reset_to(observation["observation"])
    for _ in range(30):
        action = rng.uniform(-1, 1, 2)
        for _ in range(FRAME_SKIP):
            observation, *_ = environment.step(action)
        state = simulator.step(action)
        np.testing.assert_allclose(state, observation["observation"], atol=1e-9)
    environment.close()


def test_the_ball_stays_in_the_maze_and_coasts() -> None:
    states, actions = pointmaze_goals.sample_trajectories(6, 60, seed=5)
    assert np.abs(states[..., :2]).max() < 1.5
    middle = (states[..., 0] < 0.5) & (np.abs(states[..., 1]) < 0.5)
    assert not middle.any()
    assert np.abs(actions).max() <= 1
    still = PointMaze().execute([-1.0, 1.0, 0.5, 0.0], np.zeros((4, 2)))
    # Free motion: velocity decays with damping / mass, 1 / (density * volume of the sphere).
    decay = 1 / (1000 * 4 / 3 * np.pi * 0.1**3)
    np.testing.assert_allclose(still[:, 2], 0.5 * np.exp(-decay * 0.05 * np.arange(5)), rtol=1e-3)


def test_success_reads_positions_only_and_is_strict() -> None:
    goal = np.array([0.0, 1.0, 3.0, -3.0])
    assert pointmaze.success([0.49, 1.0, 0, 0], goal)
    assert not pointmaze.success([0.5, 1.0, 3, -3], goal)
    assert not pointmaze.success(goal * np.nan, goal)
    with pytest.raises(ValueError, match=r"expected \(4,\)"):
        PointMaze().reset_to([0.0, 1.0])


def test_frames_equal_recorded_frames_of_mujoco() -> None:
    with np.load(pointmaze_frames.GOLDEN) as golden:
        positions, frames = golden["positions"], golden["frames"]
    assert_like_mujoco(pointmaze_frames.render(positions), frames)


def test_frames_equal_mujoco_drawing_now() -> None:
    if not pointmaze.has_renderer():
        pytest.skip("MuJoCo cannot draw here: install libosmesa6 (OSMesa) or libegl1 (EGL)")
    rng = np.random.default_rng(7)
    states = np.stack([pointmaze.sample_state(rng) for _ in range(20)])
    real = pointmaze.mujoco_frames(states)
    assert_like_mujoco(pointmaze_frames.render(states), real)


def test_frames_come_in_any_batch() -> None:
    states = np.array(
        [[[-1.0, 1.0, 0, 0], [1.0, 0.2, 1, 1]], [[0.3, -0.7, 0, 0], [1.3, 1.3, 0, 0]]]
    )
    frames = pointmaze_frames.render(states)
    assert frames.shape == (2, 2, 64, 64, 3)
    np.testing.assert_array_equal(frames[1, 0], pointmaze_frames.render(states[1, 0]))


@pytest.mark.parametrize("horizon", [10, 40])
def test_goals_are_reached_exactly_and_not_satisfied_at_the_start(horizon: int) -> None:
    goals = pointmaze_goals.sample_goals(8, horizon, split="tune")
    simulator = PointMaze()
    for i in range(8):
        states = simulator.execute(goals.start[i], goals.actions[i])
        np.testing.assert_array_equal(states[-1], goals.goal[i])
        past = simulator.execute(goals.past_states[i, 0], goals.past_actions[i])
        np.testing.assert_allclose(past[PAST], goals.start[i], atol=1e-6)
    assert not pointmaze.success(goals.start, goals.goal).any()
    few = pointmaze_goals.sample_goals(2, horizon, split="tune")
    np.testing.assert_array_equal(few.goal, goals.goal[:2])
