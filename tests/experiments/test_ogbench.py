"""The point-maze study: recordings, the model, the oracle's ways, one short episode."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("ogbench")

from experiments.environments import ogbench_data, ogbench_maze
from experiments.environments.ogbench_data import Recording
from experiments.ogbench import model as models
from experiments.ogbench import planners, runs, worlds


@pytest.fixture(scope="module")
def recording() -> Recording:
    return ogbench_data.collect("medium", "stitch", 4, (0, 1))


def test_a_seed_makes_a_recording(recording: Recording):
    again = ogbench_data.collect("medium", "stitch", 4, (0, 1))
    np.testing.assert_array_equal(recording.states, again.states)
    assert recording.states.shape == (4, 201, 2) and recording.actions.shape == (4, 200, 2)
    other = ogbench_data.collect("medium", "stitch", 1, (0, 2))
    assert np.abs(other.states[0] - recording.states[0]).max() > 0.1


def test_actions_move_the_point(recording: Recording):
    moves = np.diff(recording.states, axis=1)
    free = np.abs(moves - 0.2 * recording.actions).max(-1) < 1e-3
    assert free.mean() > 0.9


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="maze must be one of"):
        ogbench_maze.make("small")
    with pytest.raises(ValueError, match="kind must be one of"):
        ogbench_data.episode_steps("giant", "explore")


def test_a_fresh_model_moves_freely(recording: Recording):
    steps = models.model_steps(recording, 5)
    model = models.init(steps.before, 5, jax.random.key(0))
    weights = {**model.weights, "out": jnp.zeros_like(model.weights["out"])}
    moved = models.MazeModel(weights, model.low)(jnp.ones(2), jnp.array([0.5, -1.0]))
    np.testing.assert_allclose(moved, [1.5, 0.0], atol=1e-6)


def test_model_steps_leave_teleports_out():
    states = np.zeros((1, 8, 2), np.float32)
    states[0, 4:] = 50.0
    steps = models.model_steps(Recording(states, np.ones((1, 7, 2), np.float32)), 2)
    assert len(steps.before) == 4 and np.all(steps.before == steps.after)
    np.testing.assert_array_equal(steps.actions, 1.0)


def test_a_wall_is_learned_from_data():
    """A world with a wall at x = 1: the model learns that the point stays before it."""
    rng = np.random.default_rng(0)
    states, actions = np.zeros((64, 41, 2), np.float32), rng.uniform(-1, 1, (64, 40, 2))
    states[:, 0] = rng.uniform(-3, 1, (64, 2))
    for t in range(40):
        moved = states[:, t] + 0.2 * actions[:, t]
        states[:, t + 1] = np.minimum(moved, [1.0, np.inf])
    data = Recording(states, actions.astype(np.float32))
    model = models.fit(data, 1, 300, 256, 0)
    stopped = model(jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0]))
    free = model(jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0]))
    assert abs(stopped[0] - 1.0) < 0.05 and abs(free[0] + 0.8) < 0.05


def test_a_model_is_saved_and_loaded(tmp_path: pathlib.Path, recording: Recording):
    model = models.init(recording.states.reshape(-1, 2), 5, jax.random.key(0))
    models.save(tmp_path / "model.safetensors", model, {"seed": 0})
    found = models.load(tmp_path / "model.safetensors")
    inputs = jnp.ones(2), jnp.array([0.3, 0.1])
    np.testing.assert_allclose(found(*inputs), model(*inputs), atol=1e-3)


def test_the_oracle_keeps_to_free_cells_and_a_plan_follows_it(recording: Recording):
    index = worlds.make_index(recording.states, recording.actions)
    steps = models.model_steps(recording, 5)
    model = models.init(steps.before, 5, jax.random.key(0))
    weights = {**model.weights, "out": jnp.zeros_like(model.weights["out"])}
    env = ogbench_maze.make("medium")
    world = worlds.World("medium", "stitch", env, index, models.MazeModel(weights, model.low))
    case = runs.cases("medium", 9, 1)[2]
    start, goal = case.episode.begin(env)
    path = world.oracle(goal)(jnp.asarray(start, jnp.float32), num_states=80, pace=0.7)
    assert path.known
    np.testing.assert_allclose(path.states[-1], goal, atol=1e-4)
    assert all(env.maze_map[env.xy_to_ij(p)] == 0 for p in np.asarray(path.states))
    row = planners.rows("open")["GRASP-oracle"]
    (record,) = runs.open_loop(world, row, [case], chunk=1)
    assert record["success"] and record["predicted_success"] and record["steps"] < 1000
