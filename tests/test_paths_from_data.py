"""Paths from recorded states: shortest ways around a wall, retrieval, and refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GRASP, GivenPath, make_problem
from grasp_jax.lifted import lifted_gradient
from grasp_jax.paths_from_data import StateIndex, build_index
from grasp_jax.proposals import straight_line


def corridor() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two kinds of episodes that meet at a corner of an L: none goes the whole way.

    States, episodes, actions: x from 0 to 10 at y = 0, then y from 0 to 10 at x = 10.
    """
    steps = np.arange(0, 10.1, 0.5)
    flat = np.stack([steps, np.zeros_like(steps)], 1)
    up = np.stack([np.full_like(steps, 10.0), steps], 1)
    episodes = [flat, flat[::-1], up, up[::-1]]
    states = np.concatenate(episodes)
    actions = np.concatenate([np.diff(e, axis=0, append=e[-1:]) for e in episodes])
    return states, np.repeat(np.arange(4), len(steps)), actions


@pytest.fixture(scope="module")
def index() -> StateIndex:
    states, episodes, actions = corridor()
    return build_index(states, episodes, actions=actions, num_nodes=40, radius=0.6)


START, GOAL = np.array([0.0, 0.0]), np.array([10.0, 10.0])


def test_a_path_goes_where_recordings_went(index: StateIndex) -> None:
    states, steps = index.path(START, GOAL)
    assert np.all(np.minimum(np.abs(states[:, 1]), np.abs(states[:, 0] - 10)) < 1e-6)
    np.testing.assert_allclose(states[[0, -1]], [START, GOAL])
    # 20 units at half a unit per recorded step.
    np.testing.assert_allclose(steps[-1], 40, atol=1)
    assert np.all(np.diff(steps[1:]) > 0)


def test_a_tree_gives_one_state_per_step(index: StateIndex) -> None:
    tree = index.towards(GOAL)
    found = jax.jit(lambda s: tree(s, num_states=50))(jnp.asarray(START, jnp.float32))
    assert found.known and found.states.shape == (50, 2)
    np.testing.assert_allclose(found.num_steps, 40, atol=1)
    moves = np.linalg.norm(np.diff(found.states[:38], axis=0), axis=1)
    np.testing.assert_allclose(moves, 0.5, atol=0.16)  # shorter at the corner alone
    np.testing.assert_allclose(found.states[-5:], np.tile(GOAL, (5, 1)), atol=1e-5)


def test_a_tree_under_x64_and_from_whole_numbers(index: StateIndex) -> None:
    tree = index.towards(GOAL)
    want = tree(jnp.asarray(START, jnp.float32), num_states=5).states
    np.testing.assert_allclose(tree(jnp.zeros(2, int), num_states=5).states, want, atol=1e-6)
    with jax.enable_x64():
        found = tree(jnp.asarray(START, jnp.float32), num_states=5)
    np.testing.assert_allclose(found.states, want, atol=1e-6)


def test_a_radius_is_what_was_asked_for() -> None:
    states = np.arange(6.0)[:, None] * np.array([[1.0, 0.0]])
    tree = build_index(states, np.zeros(6, int), num_nodes=6, radius=0.1).towards([5.0, 0.0])
    assert tree(jnp.array([0.0, 0.05]), num_states=2).known
    assert not tree(jnp.array([0.0, 0.9]), num_states=2).known


def test_a_slower_pace_takes_more_steps(index: StateIndex) -> None:
    tree, start = index.towards(GOAL), jnp.asarray(START, jnp.float32)
    fast = jax.jit(lambda: tree(start, num_states=40))()
    slow = jax.jit(lambda: tree(start, num_states=81, pace=0.5))()
    np.testing.assert_allclose(slow.num_steps, 2 * fast.num_steps)
    np.testing.assert_allclose(slow.states[1::2][:38], fast.states[:38], atol=1e-4)


def test_trees_stack_under_vmap(index: StateIndex) -> None:
    goals = [GOAL, np.array([4.0, 0.0])]
    trees = [index.towards(g) for g in goals]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *trees)
    start = jnp.asarray(START, jnp.float32)
    call = jax.jit(lambda tree: tree(start, num_states=45))
    found = jax.jit(jax.vmap(call))(stacked)
    for i, tree in enumerate(trees):
        np.testing.assert_allclose(found.states[i], call(tree).states, atol=1e-6)
        np.testing.assert_allclose(found.states[i, -1], goals[i], atol=1e-5)


def test_recorded_rows_may_be_finer_than_model_steps() -> None:
    states, episodes, _ = corridor()
    index = build_index(states, episodes, num_nodes=40, rows_per_step=4, radius=0.6)
    _, steps = index.path(START, GOAL)
    np.testing.assert_allclose(steps[-1], 10, atol=0.5)
    found = index.towards(GOAL)(jnp.asarray(START, jnp.float32), num_states=12)
    np.testing.assert_allclose(found.states[-1], GOAL, atol=1e-5)


def test_units_do_not_matter(index: StateIndex) -> None:
    states, episodes, _ = corridor()
    factors = np.array([256.0, 1 / 128])  # exact in binary: many ways are equally short
    other = build_index(states * factors, episodes, num_nodes=40, radius=0.6, scale=factors)
    there, steps = other.path(START * factors, GOAL * factors)
    here, own_steps = index.path(START, GOAL)
    np.testing.assert_allclose(there / factors, here, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(steps, own_steps, rtol=1e-4)


def test_a_teleport_is_no_way() -> None:
    states, _, _ = corridor()
    states = np.concatenate([states[:21], states[42:63] + 100])  # one episode, a jump in it
    episodes = np.zeros(42)
    _, steps = build_index(states, episodes, num_nodes=60, radius=0.6).path(START, [110.0, 110.0])
    assert np.isfinite(steps[-1])
    cut = build_index(states, episodes, num_nodes=60, radius=0.6, max_jump=5.0)
    with pytest.raises(ValueError, match="no way from state to goal"):
        cut.path(START, [110.0, 110.0])


def test_off_the_graph_the_line_takes_its_place(index: StateIndex) -> None:
    tree, far = index.towards(GOAL), jnp.array([3.0, 7.0])
    found = tree(far, num_states=9)
    assert not found.known and np.isinf(found.num_steps)
    np.testing.assert_allclose(
        found.states, straight_line(far, jnp.asarray(GOAL), num_states=9).states, rtol=1e-6
    )


def test_a_segment_leads_towards_the_goal(index: StateIndex) -> None:
    tree = index.towards(GOAL)
    found = index.segment([2.1, 0.1], tree, 10)
    np.testing.assert_allclose(found.states[-1] - found.states[0], [5.0, 0.0], atol=1e-5)
    assert found.actions is not None
    np.testing.assert_allclose(np.diff(found.states, axis=0), found.actions, atol=1e-5)
    actions = found.init_actions(12)
    assert actions.shape == (12, 2) and np.all(actions[10:] == 0)
    # An episode that ends is no reason to leave the recording.
    assert len(index.segment([9.0, 0.0], tree, 10).states) <= 11


@pytest.mark.parametrize(
    "states, episodes, words",
    [
        (np.zeros((1, 2)), np.zeros(1), "at least two rows"),
        (np.zeros((5, 2)), np.zeros(5), "never moves"),
        (np.zeros(5), np.zeros(5), r"\[M, D\]"),
        (np.ones((5, 2)), np.zeros(4), "one entry per row"),
        (np.array([[0.0, 1], [np.nan, 1], [2, 3]]), np.zeros(3), "the first is row 1"),
        (np.arange(6.0).reshape(3, 2), np.arange(3), "never moves"),
    ],
)
def test_bad_recordings_are_refused(states: np.ndarray, episodes: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_index(states, episodes)


def test_bad_queries_are_refused(index: StateIndex) -> None:
    with pytest.raises(ValueError, match=r"goal is .* from the nearest recorded state"):
        index.towards([50.0, 0.0])
    with pytest.raises(ValueError, match=r"state is .* from the nearest recorded state"):
        index.path([50.0, 0.0], GOAL)
    with pytest.raises(ValueError, match=r"goal must be \[2\]"):
        index.towards([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not finite"):
        index.path([np.nan, 0.0], GOAL)
    with pytest.raises(ValueError, match="num_rows"):
        index.segment(START, index.towards(GOAL), 0)
    with pytest.raises(ValueError, match="neighbors"):
        index.segment(START, index.towards(GOAL), 5, neighbors=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"radius": -1.0}, "radius must be positive"),
        ({"scale": [1.0, 1.0, 1.0]}, r"scale must be a number or \[2\], got \[3\]"),
        ({"reach": 0}, "reach must be at least 1"),
        ({"sweeps": -1}, "sweeps must be at least 0"),
    ],
)
def test_bad_settings_are_refused(settings: Any, words: str) -> None:
    states, episodes, _ = corridor()
    with pytest.raises(ValueError, match=words):
        build_index(states, episodes, **settings)


def test_disconnected_data_say_so() -> None:
    states, episodes, _ = corridor()
    states = states + 100.0 * (episodes >= 2)[:, None]
    index = build_index(states, episodes, num_nodes=40, radius=0.6)
    with pytest.raises(ValueError, match="no way from state to goal"):
        index.path(START, [110.0, 110.0])
    assert not index.towards([110.0, 110.0])(jnp.zeros(2), num_states=3).known


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.6 * jnp.tanh(action)


def test_actions_are_fitted_to_a_given_path(index: StateIndex) -> None:
    """Frozen virtual states: the fit follows the corner, which no straight line does."""
    path = index.towards(GOAL)(jnp.asarray(START, jnp.float32), num_states=49)
    planner = GRASP(
        iterations=200,
        state_rate=0.0,
        action_rate=0.1,
        goal_weight=0.0,
        state_std=None,
        init_states=GivenPath(path.states),
        sync=None,
    )
    plan = grasp_jax.plan(
        move,
        jnp.asarray(START, jnp.float32),
        jnp.asarray(GOAL, jnp.float32),
        jnp.zeros((50, 2)),
        jax.random.key(0),
        planner=planner,
    )
    np.testing.assert_array_equal(plan.virtual_states, path.states)
    np.testing.assert_allclose(plan.states[1:-1], path.states, atol=0.05)
    np.testing.assert_allclose(plan.states[-1], GOAL, atol=0.05)


def test_a_fit_is_the_gradient_of_the_squared_gaps() -> None:
    """The prototype's loss, written out: sum over t of |F(path_t, a_t) - path_{t+1}|^2."""
    states = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)
    actions = jnp.asarray(np.random.default_rng(1).normal(size=(6, 2)), jnp.float32)
    start, goal = jnp.zeros(2), jnp.ones(2)
    problem = make_problem(move, start, goal, actions)
    ends = jnp.concatenate([states, goal[None]])
    found = lifted_gradient(problem, ends, actions, 0.0)

    def written(actions: jax.Array) -> jax.Array:
        before = jnp.concatenate([start[None], states])
        moved = jax.vmap(move)(before, actions)
        return jnp.sum((moved - ends) ** 2)

    np.testing.assert_allclose(found.actions, jax.grad(written)(actions), rtol=1e-5, atol=1e-6)


def test_given_paths_are_checked_and_mended() -> None:
    arguments = (move, jnp.zeros(2), jnp.ones(2), jnp.zeros((6, 2)), jax.random.key(0))
    frozen = {"state_rate": 0.0, "state_std": None, "sync": None, "iterations": 2}
    with pytest.raises(ValueError, match=r"must return the states s_1..s_\(T-1\)"):
        grasp_jax.plan(
            *arguments, planner=GRASP(init_states=GivenPath(states=jnp.zeros((4, 2))), **frozen)
        )
    states = jnp.linspace(0, 1, 7)[1:-1, None] * jnp.ones(2)
    broken = states.at[2].set(jnp.nan)
    found = grasp_jax.plan(
        *arguments, planner=GRASP(init_states=GivenPath(states=broken), **frozen)
    )
    np.testing.assert_allclose(np.asarray(found.virtual_states), states, atol=1e-6)


def test_a_path_per_goal_by_vmap() -> None:
    paths = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 2)), jnp.float32)

    def one(path: jax.Array) -> jax.Array:
        planner = GRASP(
            iterations=3,
            state_rate=0.0,
            init_states=GivenPath(states=path),
            state_std=None,
            sync=None,
            goal_weight=0.0,
        )
        return grasp_jax.plan(
            move, jnp.zeros(2), jnp.ones(2), jnp.zeros((6, 2)), jax.random.key(0), planner=planner
        ).actions

    together = jax.vmap(one)(paths)
    for i in range(3):
        np.testing.assert_allclose(together[i], one(paths[i]), rtol=1e-5, atol=1e-6)
