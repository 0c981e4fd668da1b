"""Where virtual states start."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import (
    AR1,
    CEM,
    GRASP,
    BrownianBridge,
    Colored,
    Objective,
    Problem,
    Rollout,
    StraightLine,
    ViaPoints,
    White,
)
from grasp_jax.init_states import with_end
from tests import matrix
from tests.matrix import ACTIONS, GOAL, START, WORLD, assert_close

KEY = jax.random.key(1)
PATHS = [
    StraightLine(),
    StraightLine(std=0.1),
    BrownianBridge(std=0.5),
    ViaPoints(),
    ViaPoints(num_points=0),
    Rollout(),
]


def problem(horizon: int = 8, **changes: Any) -> Problem:
    arguments: dict[str, Any] = {
        "dynamics": WORLD,
        "state": START,
        "goal": GOAL,
        "init_actions": jnp.zeros((horizon, 2)),
    }
    return grasp_jax.make_problem(**(arguments | changes))


def draws(init_states: Any, horizon: int = 8, count: int = 2000) -> np.ndarray:
    """`[count, horizon - 1, 2]` draws of the position leaf, without the straight line."""
    keys = jax.random.split(KEY, count)
    drawn = jax.jit(jax.vmap(lambda k: init_states(problem(horizon), k)))(keys)
    return np.asarray(drawn["position"] - StraightLine()(problem(horizon), KEY)["position"])


def test_the_line_is_exact():
    for t, state in enumerate(
        zip(*jax.tree.leaves(StraightLine()(problem(), KEY)), strict=True), start=1
    ):
        for x, s, g in zip(state, jax.tree.leaves(START), jax.tree.leaves(GOAL), strict=True):
            np.testing.assert_allclose(x, s + t / 8 * (g - s), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("init_states", PATHS, ids=repr)
def test_paths_have_one_state_fewer_than_steps_and_the_dtype_of_the_state(
    init_states: Any, horizon: int
):
    states = init_states(problem(horizon), KEY)
    expected = jax.tree.map(lambda x: ((horizon - 1, *x.shape), x.dtype), START)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), states) == expected


def test_line_noise_has_the_given_deviation():
    assert abs(draws(StraightLine(std=0.3)).std() - 0.3) < 0.01


def test_a_brownian_bridge_has_its_scale_in_the_middle_and_is_tied_to_both_ends():
    horizon, scale = 8, 0.5
    variance = draws(BrownianBridge(std=scale), horizon).var(axis=(0, 2))
    t = np.arange(1, horizon) / horizon
    np.testing.assert_allclose(variance, scale**2 * 4 * t * (1 - t), rtol=0.12)


def test_via_points_are_joined_by_straight_pieces():
    # Three via-points over eight steps: knots at t = 2, 4, 6, straight in between.
    x = draws(ViaPoints(num_points=3, std=0.5), 8, 500)
    x = np.concatenate([np.zeros_like(x[:, :1]), x, np.zeros_like(x[:, :1])], axis=1)
    bends = np.abs(np.diff(x, 2, axis=1)).max(axis=(0, 2))
    assert bends[[0, 2, 4, 6]].max() < 1e-5 < 0.1 < bends[[1, 3, 5]].min()
    np.testing.assert_allclose(x[:, [2, 4, 6]].std(axis=(0, 2)), 0.5, rtol=0.1)


def test_no_via_points_is_the_line():
    assert_close(ViaPoints(num_points=0)(problem(), KEY), StraightLine()(problem(), KEY), 1e-6)


@pytest.mark.parametrize(
    "init_states", [BrownianBridge, functools.partial(ViaPoints, num_points=3)]
)
def test_scales_may_differ_between_leaves_and_entries(init_states: Any):
    scale = {"position": jnp.array([0.0, 1.0]), "memory": 0.0}
    states, line = init_states(std=scale)(problem(), KEY), StraightLine()(problem(), KEY)
    assert_close(states["memory"], line["memory"], 1e-7)
    assert_close(states["position"][:, 0], line["position"][:, 0], 1e-7)
    assert jnp.abs(states["position"][:, 1] - line["position"][:, 1]).max() > 0.05


def test_where_a_path_is_broken_virtual_states_start_on_the_line():
    def explodes(problem: Problem, key: jax.Array) -> Any:
        return jax.tree.map(lambda x: (x + 1).at[2:].set(jnp.inf), StraightLine()(problem, key))

    found, line = with_end(explodes, problem(6), KEY), with_end(StraightLine(), problem(6), KEY)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(line), strict=True):
        assert_close(x[:2], y[:2] + 1)
        assert_close(x[2:], y[2:])


def test_the_rollout_path_is_the_rollout_of_the_guess():
    states = Rollout()(problem(4, init_actions=ACTIONS), KEY)
    expected = matrix.rollout(matrix.WEIGHTS, START, ACTIONS)
    assert_close(states, jax.tree.map(lambda x: x[1:-1], expected), 1e-6)


@pytest.mark.parametrize("init_states", PATHS, ids=repr)
def test_a_goal_of_another_structure_keeps_paths_at_the_start(init_states: Any):
    objective = Objective(terminal_cost=lambda s, g: jnp.sum((s["position"] - g) ** 2))
    mine = problem(goal=jnp.ones(2), objective=objective)
    states = init_states(mine, KEY)
    assert jax.tree.structure(states) == jax.tree.structure(START)
    if init_states == StraightLine():
        still = jax.tree.map(lambda x: jnp.broadcast_to(x, (7, *x.shape)), START)
        assert_close(states, still, 1e-7)


NOISES = [White(), AR1(), Colored(), AR1(action_block=2), Colored(action_block=2)]


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_every_noise_and_start_and_restart_works_at_short_horizons(noise: Any, steps: int):
    """Bug: a rollout with 1/f noise divided by zero rows at a horizon of one."""
    mine = problem(steps)
    # Blocks are of action dimensions; the matrix world's state has no such axis in every leaf.
    of_states = noise if getattr(noise, "action_block", None) is None else White()
    around = Rollout(std=0.1, noise=of_states)
    for start in (*PATHS, around):
        found = jax.eval_shape(lambda s=start: with_end(s, mine, KEY))
        assert {x.shape[0] for x in jax.tree.leaves(found)} == {steps}
    planner = GRASP(
        iterations=1,
        state_std=0.1,
        noise=of_states,
        init_states=around,
        sync=CEM(num_samples=2, num_elites=1, iterations=1, noise=noise),
        sync_every=1,
        sync_std=0.1,
        sync_noise=noise,
        restart_states=around,
    )
    found = jax.eval_shape(lambda: grasp_jax.solve(mine, KEY, planner=planner))
    assert found.actions.shape == (steps, 2)


def test_a_plan_of_one_step_from_rollouts_with_colored_noise():
    around = Rollout(std=0.1, noise=Colored())
    planner = GRASP(
        iterations=2, sync_every=1, init_states=around, restart_states=around, sync_noise=Colored()
    )
    assert grasp_jax.solve(problem(1), KEY, planner=planner).status == grasp_jax.Status.OK
