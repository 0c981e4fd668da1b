import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import grasp_jax
from experiments.ball import pictures
from experiments.ball.planners import CHOSEN, candidates, planners
from experiments.environments import ball
from experiments.harness.log import CEILING, FLOOR
from experiments.harness.settings import describe
from experiments.harness.summary import summarise
from experiments.planning import cells, runner, tasks
from experiments.planning.runner import Setting

TRAPPED = np.array([0.1, 0.0], np.float32)
BEHIND = np.array([0.7, 0.0], np.float32)


def crosses(path: np.ndarray, walls: np.ndarray) -> bool:
    """Whether a path [..., n, 2] meets a wall's centre line, by orientation of triangles."""
    a, b = path[..., :-1, None, :], path[..., 1:, None, :]
    c, d = walls[:, 0], walls[:, 1]

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        x, y = q - p, r - p
        return np.sign(x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0])

    return bool(np.any((side(a, b, c) != side(a, b, d)) & (side(c, d, a) != side(c, d, b))))


_roll_all = jax.jit(jax.vmap(ball.rollout, (None, None, 0)))


def roll_all(world: ball.Ball, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
    return np.asarray(_roll_all(world, start, actions))


@pytest.mark.parametrize("name", ball.MAPS)
def test_no_sweep_of_actions_crosses_a_wall_or_leaves_the_arena(name):
    world = ball.dynamics(name)
    angles = np.linspace(0, 2 * np.pi, 721)
    constant = 1.5 * np.stack([np.cos(angles), np.sin(angles)], -1)
    turns = np.random.default_rng(0).uniform(-3, 3, (500, 6, 2)).repeat(25, axis=1)
    starts, _ = ball.sample_tasks(name, 4, 0)
    for start in starts:
        for actions in (np.repeat(constant[:, None], 150, 1), turns):
            paths = roll_all(world, start, actions.astype(np.float32))
            assert not crosses(paths, np.asarray(world.walls))
            assert np.abs(paths).max() <= 1 + 1e-6
            assert ball.nearest_surface(world, paths).min() > -1e-5


def test_the_crossing_check_sees_a_crossing():
    wall = np.array([[[0.3, 0.5], [0.3, -0.5]]])
    assert crosses(np.array([[0.2, 0.0], [0.4, 0.1]]), wall)
    assert not crosses(np.array([[0.2, 0.0], [0.25, 0.1]]), wall)


def test_a_step_in_the_open_moves_by_the_action_and_slides_along_walls():
    world = ball.dynamics("u_trap")
    free = world(jnp.array([-0.6, 0.0]), jnp.array([0.5, -1.0]))
    np.testing.assert_allclose(free, [-0.6 + 0.5 * ball.STEP, -ball.STEP], atol=1e-5)
    slid = world(jnp.array([0.279, 0.0]), jnp.array([1.0, 1.0]))
    assert slid[0] < 0.28 + 1e-6 and slid[1] == pytest.approx(ball.STEP, abs=1e-5)


@pytest.mark.parametrize("name", ball.MAPS)
def test_gradients_are_finite_everywhere_even_on_and_inside_walls(name):
    world = ball.dynamics(name)
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (500, 2)).astype(np.float32)
    points = jnp.concatenate([points, world.walls.reshape(-1, 2), world.walls.mean(1)])
    actions = jax.random.uniform(jax.random.key(0), points.shape, minval=-1.0)
    slopes = jax.jit(jax.vmap(jax.jacrev(world, (0, 1))))
    for acts in (actions, jnp.zeros_like(points)):
        by_state, by_action = slopes(points, acts)
        assert jnp.all(jnp.isfinite(by_state)) and jnp.all(jnp.isfinite(by_action))


@pytest.mark.parametrize("name", ball.MAPS)
def test_tasks_are_free_repeatable_and_solved_by_the_known_way(name):
    starts, goals = ball.sample_tasks(name, 12, 0)
    fewer, _ = ball.sample_tasks(name, 5, 0)
    other, _ = ball.sample_tasks(name, 12, 1)
    np.testing.assert_array_equal(starts[:5], fewer)
    assert not np.array_equal(starts, other) and starts.dtype == np.float32
    world = ball.dynamics(name)
    assert ball.nearest_surface(world, np.stack([starts, goals])).min() > ball.CLEARANCE
    for start, goal in zip(starts, goals, strict=True):
        actions = ball.known_way(name, start, goal)
        assert np.abs(actions).max() <= 1 + 1e-6
        assert ball.success(roll_all(world, start, actions[None])[0, -1], goal)
        assert not ball.success(start, goal)


@pytest.mark.parametrize("solves", [False, True])
def test_descent_stays_in_the_trap_and_the_lifted_population_leaves_it(solves):
    planner = planners()["GRASP"] if solves else grasp_jax.GD(learning_rate=0.1, iterations=200)
    found = grasp_jax.plan(
        ball.dynamics("u_trap"),
        jnp.asarray(TRAPPED),
        jnp.asarray(BEHIND),
        jnp.zeros((ball.HORIZON, 2)),
        jax.random.key(0),
        planner=planner,
        bounds=(-1.0, 1.0),
    )
    assert bool(ball.success(found.states[-1], BEHIND)) is solves


def test_a_lookahead_of_one_step_stays_in_the_trap():
    world, state = ball.dynamics("u_trap"), jnp.asarray(TRAPPED)
    angles = jnp.linspace(0, 2 * jnp.pi, 33)
    choices = jnp.concatenate(
        [jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1), jnp.zeros((1, 2))]
    )

    @jax.jit
    def greedy(state: jax.Array) -> jax.Array:
        following = jax.vmap(world, (None, 0))(state, choices)
        return following[jnp.argmin(jnp.sum((following - BEHIND) ** 2, -1))]

    for _ in range(ball.HORIZON):
        state = greedy(state)
    assert state[0] < 0.3 and not ball.success(state, BEHIND)


def test_every_planner_has_a_chosen_candidate_and_settings_of_its_own():
    assert set(CHOSEN) == set(candidates()) == set(planners())
    assert len({json.dumps(describe(p)) for p in planners().values()}) == len(CHOSEN)


def test_both_maps_are_planned_scored_and_drawn(tmp_path):
    settings = tuple(Setting(task, task.checkpoint) for task in tasks.BALL)
    chosen = {FLOOR: None, CEILING: None, "GRASP": grasp_jax.GD(learning_rate=0.1, iterations=40)}
    todo = cells.make_cells(chosen, [ball.HORIZON], 3, 0, checks=1, settings=settings)
    records = [r for c in todo for rows in runner.run_cell(c) for r in rows]
    rows = {(r["environment"], r["planner"]): r for r in summarise(records)}
    assert len(rows) == 6 and all(r["goals"] == 3 for r in rows.values())
    assert all(rows[task.name, CEILING]["success"] == 1 for task in tasks.BALL)
    for record in records:
        if record["planner"] == "GRASP":
            effort = record["evaluations_to_success"]
            total = record["model_forward"] + record["model_backward"]
            assert record["success"] == (effort is not None)
            assert effort is None or 0 < effort <= total
    found = pictures.effort_curves([r for r in records if r["environment"] == "ball_u_trap"])
    assert set(found) == {"GRASP"}
    pictures.success_bars(list(rows.values()), tmp_path / "success.png")
    pictures.plans_on_maps(records, tmp_path / "plans.png")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("success.png", "plans.png"))


@pytest.mark.slow
def test_the_film_shows_the_population_and_then_the_syncs(tmp_path):
    sync = grasp_jax.GD(learning_rate=0.1, iterations=2)
    lifted = grasp_jax.GRASP(iterations=2, sync=sync, sync_every=2)
    hops = grasp_jax.GRASP(iterations=3, sync=sync, sync_every=1)
    planner = grasp_jax.Chain(grasp_jax.MultiStart(lifted, num_starts=3, start_std=0.5), hops)
    path = tmp_path / "film.gif"
    pictures.virtual_states_gif(path, "u_trap", 0, planner, hops=1)
    film: Any = Image.open(path)
    # Held three frames until the population is done, once for the hop, and the last one held on;
    # GIF joins equal frames.
    assert 3 <= film.n_frames <= 3 * 3 + 1 + 8
    shown = {
        np.asarray(film.seek(i) or film.convert("RGB")).tobytes() for i in range(film.n_frames)
    }
    assert len(shown) >= 3
