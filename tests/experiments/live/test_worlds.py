"""The worlds that come with the page: what is drawn, dragged and sent in an address."""

import numpy as np
import pytest

from experiments.environments import ball
from experiments.environments.pointmaze.simulator import CELLS
from experiments.environments.pusht import simulator as pusht
from experiments.environments.pusht.block import WALL_HIGH, WALL_LOW, block_clearance, block_corners
from experiments.environments.wall import simulator as wall
from experiments.live.world import Handle, from_numbers, numbers
from experiments.live.worlds import WORLDS


@pytest.mark.parametrize("name", ["pusht", "wall", "pointmaze", "ball_u_trap", "ball_two_rooms"])
def test_a_task_is_drawn_and_survives_an_address(name):
    world = WORLDS[name]()
    state, goal = world.task(0)
    assert not world.success(state, goal)
    assert world.success(goal, goal)
    assert "<" in world.draw(state)
    again = from_numbers(numbers(goal), goal, "goal")
    assert again.dtype == goal.dtype
    np.testing.assert_allclose(again, goal, atol=1e-4)
    for number, handle in enumerate(world.handles(goal)):
        same = world.move(goal, number, handle)
        assert world.success(same, goal)


def test_what_a_model_says_of_a_state_is_where_it_is():
    """The way into the model and back: exact for states, within a pixel or two through frames."""
    for name, tolerance in (("pusht", 1e-3), ("wall", 2.0), ("pointmaze", 0.1)):
        world = WORLDS[name]()
        state, _ = world.task(1)
        back = world.decode(np.asarray(world.encode(state))[None])[0]
        gap = np.subtract(world.point(back), world.point(state))
        assert np.linalg.norm(gap) < tolerance, name


def test_a_turned_block_keeps_its_centre_its_walls_and_its_agent():
    world = WORLDS["pusht"]()
    _, goal = world.task(0)
    block, agent = world.handles(goal)
    assert block.angle is not None
    moved = world.move(goal, 0, Handle(250.0, 250.0, block.angle + 1.0))
    found, its_agent = world.handles(moved)
    assert (found.x, found.y) == pytest.approx((250.0, 250.0))
    assert found.angle == pytest.approx(block.angle + 1.0)
    before = np.hypot(agent.x - block.x, agent.y - block.y)
    assert np.hypot(its_agent.x - 250, its_agent.y - 250) == pytest.approx(before)
    cornered = block_corners(world.move(goal, 0, Handle(-50.0, 900.0, 0.3)))
    assert cornered.min() > WALL_LOW
    assert cornered.max() < WALL_HIGH
    inside = world.move(moved, 1, Handle(250.0, 250.0))
    np.testing.assert_array_equal(inside, moved)
    aside = world.move(moved, 1, Handle(30.0, 60.0))
    np.testing.assert_array_equal(aside[pusht.AGENT_POSITION], (30.0, 60.0))
    np.testing.assert_array_equal(aside[pusht.BLOCK_POSITION], moved[pusht.BLOCK_POSITION])


def test_a_far_block_is_pushed_piece_by_piece():
    world = WORLDS["pusht"]()
    assert world.toward is not None
    start, _ = world.task(0)
    here = world.point(start)
    assert world.toward(start, start) is start
    angle = float(start[pusht.BLOCK_ANGLE])
    for x, y, turn in (
        (350.0, 350.0, 0.0),
        (150.0, 350.0, 2.0),
        (*here, 2.5),
        (350.0, 150.0, -3.0),
    ):
        goal = world.move(start, 0, Handle(x, y, angle + turn))
        state, steps = start, 0
        while (aim := world.toward(state, goal)) is not goal:
            moved = np.subtract(world.point(aim), world.point(state))
            assert np.linalg.norm(moved) < 111 and abs(aim[6] - state[6]) < 1.11
            gap = block_clearance(aim[pusht.BLOCK_POSITION.start : 7].tolist(), aim[:2].tolist())
            assert gap >= 15
            state, steps = aim, steps + 1
            assert steps < 8
        assert steps >= 1


def test_a_goal_stays_out_of_walls():
    rooms = WORLDS["wall"]()
    _, goal = rooms.task(0)
    place = rooms.move(goal, 0, Handle(30.0, 50.0))
    assert wall.room(place) == 0
    np.testing.assert_array_equal(rooms.move(goal, 0, Handle(32.0, 30.0)), (32.0, 30.0))
    trap = WORLDS["ball_u_trap"]()
    _, goal = trap.task(0)
    x0, y0, x1, y1 = ball.MAPS["u_trap"].walls[0]
    np.testing.assert_array_equal(trap.move(goal, 0, Handle((x0 + x1) / 2, (y0 + y1) / 2)), goal)


def test_a_goal_in_the_maze_stays_in_its_cells():
    maze = WORLDS["pointmaze"]()
    _, goal = maze.task(0)
    for x, y in ((0.0, 0.1), (-0.8, -0.4), (3.0, -3.0), (1.2, 0.3)):
        place = maze.move(goal, 0, Handle(x, y))
        gaps = np.abs(place[:2] - CELLS).max(axis=1)
        assert gaps.min() <= 0.36 and not place[2:].any()
    np.testing.assert_allclose(place[:2], (1.2, -0.3))


def test_a_recorded_way_leads_around_the_wall():
    """It begins near the state, ends near the goal, and passes the door of the two rooms."""
    world = WORLDS["ball_two_rooms"]()
    state, goal = world.task(0)
    assert world.recorded is not None
    recorded = world.recorded()
    assert recorded.graph.count("M") > 1000
    way = np.asarray(recorded.way(state, goal))
    assert way.shape == (world.max_horizon - 1, 2)
    assert np.linalg.norm(way[0] - state) < 0.2
    ends = [np.linalg.norm(way[-1] - goal), np.linalg.norm(state - goal)]
    assert ends[0] < 0.5 * ends[1]
    assert ball.nearest_surface(ball.dynamics("two_rooms"), way.astype(np.float32)).min() > 0
