"""Wall: the collision rules by hand-computed steps, the success rule, frames, goals."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.environments.goals import PAST
from experiments.environments.random_steps import correlated_actions
from experiments.environments.wall import goals as wall_goals
from experiments.environments.wall import simulator as wall


def solid(states: np.ndarray) -> np.ndarray:
    x, y = states[..., 0], states[..., 1]
    outside = (x < wall.LOW) | (x > wall.HIGH) | (y < wall.LOW) | (y > wall.HIGH)
    between = (x > wall.WALL_LEFT) & (x < wall.WALL_RIGHT)
    return outside | (between & ((y < wall.DOOR_TOP) | (y > wall.DOOR_BOTTOM)))


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        ((20, 20), (0.5, -1), (21, 18)),  # free: position + 2 * action
        ((20, 20), (3, 0), (22, 20)),  # actions are clipped to [-1, 1]
        ((27.5, 20), (1, 1), (28.5, 21)),  # stops where its path meets the wall, half way
        ((28.5, 20), (1, 1), (28.5, 20)),  # pressed against a wall it does not slide
        ((28.5, 20), (0, 1), (28.5, 22)),  # along the wall it moves freely
        ((28.5, 20), (-1, 0), (26.5, 20)),  # and away from it
        ((36.5, 50), (-1, 0), (35.5, 50)),  # the other face
        ((28, 30), (1, 0), (30, 30)),  # through the door
        ((30, 26), (0, -1), (30, 25.5)),  # in the passage the ends of the door are walls
        ((32, 34), (0, 1), (32, 34.5)),
        ((27.5, 24.5), (1, 1), (29.5, 26.5)),  # a corner that is only touched stops nothing
        ((27.5, 24.4), (1, 1), (28.5, 25.4)),  # just above it the wall does
        ((5, 20), (-1, 0.5), (4.5, 20.25)),  # the outer wall, after a quarter of the step
        ((58, 59.25), (1, 1), (58.25, 59.5)),  # the nearer of two walls stops it
    ],
)
def test_steps_by_hand(start: tuple, action: tuple, end: tuple) -> None:
    found = wall.step(np.array(start, float), np.array(action, float))
    np.testing.assert_allclose(found, end, atol=1e-12)


def test_nothing_enters_a_wall_or_jumps_through_one() -> None:
    rng = np.random.default_rng(0)
    states = wall.execute(
        wall_goals.sample_positions(rng, 500), correlated_actions(rng, 500, 100, 2.0)
    )
    assert not solid(states).any()
    # Finely sampled paths of the steps stay free too, so no step jumps through a corner.
    share = np.linspace(0, 1, 21)[:, None, None, None]
    assert not solid(states[:, :-1] + share * np.diff(states, axis=1)).any()
    rooms = wall.room(states)
    changed = (rooms == 0).any(axis=1) & (rooms == 1).any(axis=1)
    assert 0.02 < changed.mean() < 0.5


def test_a_batch_equals_its_members() -> None:
    rng = np.random.default_rng(1)
    starts, actions = wall_goals.sample_positions(rng, 6), rng.uniform(-1, 1, (6, 40, 2))
    together = wall.execute(starts, actions)
    for i in range(6):
        np.testing.assert_array_equal(together[i], wall.execute(starts[i], actions[i]))


def test_success_is_strict_and_rooms_are_named() -> None:
    goal = np.array([10.0, 10.0])
    assert wall.success(goal + np.array([4.49, 0]), goal)
    assert not wall.success(goal + np.array([4.5, 0]), goal)
    assert not wall.success(goal * np.nan, goal)
    assert wall.room(np.array([[28.5, 9], [35.5, 9], [30, 30]])).tolist() == [0, 1, -1]


def test_frames_show_the_walls_and_the_dot() -> None:
    place = np.array([20.0, 40.0])
    frame = wall.render(place, wall.WORLD_SIZE).astype(int)
    # At the world's own size walls are whole pixels: black exactly where the dot may not be.
    black = (frame == 0).all(axis=-1)
    assert black[10, 29:36].all()
    assert not black[26:35, 29:36].any()
    assert black[4, :].all()
    assert black[:, 60].all()
    redness = (255 - frame[..., 1]) * (frame[..., 0] == 255)
    rows, columns = np.indices(redness.shape)
    centre = [(redness * axis).sum() / redness.sum() for axis in (columns, rows)]
    np.testing.assert_allclose(centre, place, atol=0.02)


def test_frames_are_the_same_from_jax_and_in_batches() -> None:
    places = wall_goals.sample_positions(np.random.default_rng(0), 8)
    frames = wall.render(places)
    assert frames.shape == (8, 64, 64, 3)
    assert np.abs(frames - np.asarray(wall.render(jnp.asarray(places))).astype(int)).max() <= 1
    np.testing.assert_array_equal(frames[3], wall.render(places[3]))


@pytest.mark.parametrize("horizon", [10, 50])
def test_goals_lie_in_the_other_room_and_recorded_actions_reach_them(horizon: int) -> None:
    goals = wall_goals.sample_goals(60, horizon, split="tune")
    assert goals.actions.shape == (60, horizon, 2)
    assert (wall.room(goals.start) + wall.room(goals.goal) == 1).all()
    ends = wall.execute(goals.start, goals.actions)[:, -1]
    np.testing.assert_array_equal(ends, goals.goal)
    before = wall.execute(goals.past_states[:, 0], goals.past_actions)
    np.testing.assert_array_equal(before[:, PAST], goals.start)
    np.testing.assert_array_equal(wall.execute(goals.start, 0 * goals.actions)[:, -1], goals.start)
    assert not wall.success(goals.start, goals.goal).any()


def test_goals_are_a_prefix_and_splits_differ() -> None:
    few, many = wall_goals.sample_goals(3, 20), wall_goals.sample_goals(5, 20)
    np.testing.assert_array_equal(few.goal, many.goal[:3])
    assert not np.isclose(few.goal, wall_goals.sample_goals(3, 20, split="tune").goal).any()
    with pytest.raises(ValueError, match="fewer than 5 steps"):
        wall_goals.sample_goals(1, 4)
