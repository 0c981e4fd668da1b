"""A controller along a path: a corner, a push off the path, an unknown place, many episodes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grasp_jax import (
    CEM,
    GD,
    GRASP,
    GivenPath,
    Objective,
    QuadraticControlCost,
    Status,
    make_problem,
    solve,
)
from grasp_jax.paths_from_data import build_index
from grasp_jax.proposals import PathTree, ProposedPath, straight_line
from grasp_jax.subgoals import SubgoalMPC, SubgoalState
from tests.test_paths_from_data import GOAL, START, corridor

T = 4
traces: list[int] = []


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    traces.append(1)
    return state + 0.6 * action


def fit(states: jax.Array) -> GRASP:
    return GRASP(
        iterations=10,
        state_rate=0.0,
        action_rate=0.8,
        goal_weight=0.0,
        state_std=None,
        init_states=GivenPath(states),
        optimizer=optax.sgd,
        sync=None,
    )


DESCENT = GD(learning_rate=0.1, iterations=100)


@pytest.fixture(scope="module")
def tree() -> PathTree:
    states, episodes, _ = corridor()
    return build_index(states, episodes, num_nodes=40, radius=0.6).towards(GOAL)


def controller(tree: Any, **changes: Any) -> SubgoalMPC:
    problem = make_problem(move, jnp.zeros(2), jnp.zeros(2), jnp.zeros((T, 2)), bounds=(-1.0, 1.0))
    settings: dict[str, Any] = {"planner": fit, "num_states": 12, "leave_distance": 1.0}
    settings |= {"problem": problem, "proposer": tree}
    return SubgoalMPC(**(settings | changes))


def drive(agent: SubgoalMPC, start: Any, goal: Any, steps: int, push: Any = None) -> Any:
    """Positions `[steps + 1, 2]`, and whether a path was known at each step."""
    start, goal = jnp.asarray(start, jnp.float32), jnp.asarray(goal, jnp.float32)
    memory = agent.init(start, goal, jax.random.key(0))
    push = jnp.zeros((steps, 2)) if push is None else push

    def body(carry: tuple, shove: jax.Array) -> tuple:
        memory, position = carry
        action, memory, _ = agent.step(memory, position, goal)
        position = move(position, action) + shove
        return (memory, position), (position, memory.known)

    _, (positions, known) = jax.lax.scan(body, (memory, start), push)
    return jnp.concatenate([start[None], positions]), known


@pytest.mark.parametrize("by_steps", [True, False])
def test_it_goes_around_the_corner(tree: PathTree, by_steps: bool):
    positions, known = drive(controller(tree, by_steps=by_steps), START, GOAL, 48)
    assert known.all()
    assert jnp.linalg.norm(positions[-1] - GOAL) < 0.05
    # Never off the two corridors.
    assert jnp.minimum(jnp.abs(positions[:, 1]), jnp.abs(positions[:, 0] - 10)).max() < 0.2


def test_standing_on_its_first_row_it_moves_on():
    """Taken for the row before the first, that row was aimed at for ever."""

    def ahead(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        states = state + 0.3 * jnp.arange(1, num_states + 1)[:, None] * jnp.array([1.0, 0.0])
        return ProposedPath(states, jnp.asarray(jnp.inf), jnp.asarray(True))

    positions, _ = drive(controller(ahead), [0.0, 0.0], [9.0, 0.0], 5)
    np.testing.assert_allclose(positions[:, 0], 0.3 * np.arange(6), atol=0.02)


def test_pushed_off_its_path_it_finds_another(tree: PathTree):
    push = jnp.zeros((70, 2)).at[10].set(jnp.array([-4.0, 0.0]))
    positions, known = drive(controller(tree), START, GOAL, 70, push)
    assert known.all() and positions[11, 0] < 3
    assert jnp.linalg.norm(positions[-1] - GOAL) < 0.05
    assert jnp.minimum(jnp.abs(positions[:, 1]), jnp.abs(positions[:, 0] - 10)).max() < 0.2


def test_where_nothing_is_known_it_goes_straight_and_asks_again(tree: PathTree):
    positions, known = drive(controller(tree), [4.0, 4.0], GOAL, 40)
    assert not known[0] and known[-1]
    assert jnp.linalg.norm(positions[-1] - GOAL) < 0.05


def test_episodes_side_by_side_equal_one_by_one(tree: PathTree):
    states, episodes, _ = corridor()
    index = build_index(states, episodes, num_nodes=40, radius=0.6)
    goals = [GOAL, np.array([7.0, 0.0])]
    trees = [index.towards(g) for g in goals]
    starts = jnp.asarray([START, [10.0, 6.0]], jnp.float32)
    agent = controller(tree)

    def run(tree: PathTree, start: jax.Array) -> jax.Array:
        return drive(dataclasses.replace(agent, proposer=tree), start, tree.goal, 30)[0]

    traces.clear()
    together = jax.jit(jax.vmap(run))(jax.tree.map(lambda *x: jnp.stack(x), *trees), starts)
    once = len(traces)
    for i in range(2):
        np.testing.assert_allclose(together[i], run(trees[i], starts[i]), atol=1e-4)
    jitted = jax.jit(jax.vmap(run))
    jitted(jax.tree.map(lambda *x: jnp.stack(x), *trees), starts)
    traces.clear()
    jitted(jax.tree.map(lambda *x: jnp.stack(x), *trees[::-1]), starts)
    assert once > 0 and not traces


def test_any_planner_may_go_for_the_subgoals(tree: PathTree):
    cem = CEM(num_samples=64, num_elites=8, iterations=6, std=0.7)
    agent = controller(tree, planner=lambda states: cem)
    positions, _ = drive(agent, START, GOAL, 60)
    assert jnp.linalg.norm(positions[-1] - GOAL) < 0.5


def test_a_guess_that_is_good_enough_is_the_plan(tree: PathTree):
    cem = CEM(num_samples=64, num_elites=8, iterations=6, std=0.7)
    start, goal = jnp.asarray(START), jnp.asarray(GOAL)
    for target, moves in ((1e9, False), (-1.0, True)):
        agent = controller(tree, planner=lambda states: cem, target_cost=target)
        action = agent.step(agent.init(start, goal, jax.random.key(0)), start, goal)[0]
        assert bool(jnp.any(action != 0)) == moves


@pytest.mark.parametrize(("least", "late"), [(None, True), (1, False)])
def test_plans_arrive_when_their_path_does(least: int | None, late: bool):
    """A plan that always takes `T` steps to a goal that is nearer puts it off at every step."""

    def path(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        shares = jnp.minimum(jnp.arange(1, num_states + 1) / 7, 1)[:, None]
        return ProposedPath(state + shares * (goal - state), jnp.asarray(6.2), jnp.asarray(True))

    effort = Objective(control_cost=QuadraticControlCost(0.1))
    guess, bounds = jnp.zeros((T, 2)), (-1.0, 1.0)
    problem = make_problem(move, jnp.zeros(2), jnp.zeros(2), guess, bounds=bounds, objective=effort)
    agent = controller(
        path,
        problem=problem,
        planner=lambda states: DESCENT,
        by_steps=True,
        min_horizon=least,
    )
    positions, _ = drive(agent, [0.0, 0.0], [4.2, 0.0], 7)
    assert (jnp.abs(positions[-1, 0] - 4.2) > 0.25) == late


def test_what_it_remembers_is_finite_where_no_path_is_known():
    """An `inf` in the output of a program stops users of `jax_debug_infs`."""
    agent = controller(straight_line, min_horizon=1)
    memory = agent.init(jnp.zeros(2), jnp.ones(2), jax.random.key(0))
    with jax.debug_infs(True):
        _, memory, _ = jax.jit(agent.step)(memory, jnp.zeros(2), jnp.ones(2))
    assert memory.num_steps == -1 and not memory.known


def test_a_callers_own_proposer():
    positions, known = drive(controller(straight_line), [0.0, 0.0], [3.0, 1.0], 20)
    assert not known.any()
    np.testing.assert_allclose(positions[-1], [3.0, 1.0], atol=0.05)


def test_bad_proposers_and_settings_are_refused(tree: PathTree):
    def short(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        return straight_line(state, goal, num_states=num_states - 1)

    with pytest.raises(ValueError, match=r"proposer must return .*\(12, 2\).*got \(11, 2\)"):
        drive(controller(short), START, GOAL, 1)
    with pytest.raises(ValueError, match=r"proposer failed on a state .*TypeError"):
        drive(controller(lambda state, goal: state), START, GOAL, 1)
    with pytest.raises(ValueError, match=r"num_states is 4, but a plan looks 4 steps ahead"):
        drive(controller(tree, num_states=4), START, GOAL, 1)


def test_a_broken_observation_is_a_failed_plan_and_no_more(tree: PathTree):
    agent, goal = controller(tree), jnp.asarray(GOAL, jnp.float32)
    start = jnp.asarray(START, jnp.float32)
    memory = agent.init(start, goal, jax.random.key(0))
    action, memory, info = agent.step(memory, jnp.full(2, jnp.nan), goal)
    assert jnp.isfinite(action).all() and info.status == Status.FAILED
    assert isinstance(memory, SubgoalState)
    action, memory, info = agent.step(memory, start, goal)
    assert memory.known and info.status == Status.OK


def test_a_path_through_a_wall_ends_at_the_wall():
    """The plan's own rollout and cost tell that it does not arrive; the agent waits, sound."""

    def walled(state: jax.Array, action: jax.Array) -> jax.Array:
        moved = state + 0.6 * action
        return jnp.stack([jnp.minimum(moved[0], 2.0), moved[1]])

    def through(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        return straight_line(state, goal, num_states=num_states)._replace(known=jnp.asarray(True))

    start, goal = jnp.zeros(2), jnp.array([8.0, 0.0])
    path = through(start, goal, num_states=29).states
    problem = make_problem(walled, start, goal, jnp.zeros((30, 2)), bounds=(-1.0, 1.0))
    plan = solve(problem, jax.random.key(0), planner=fit(path))
    np.testing.assert_allclose(plan.states[-1], [2.0, 0.0], atol=0.05)
    np.testing.assert_allclose(plan.cost, 36.0, atol=0.5)
    short = dataclasses.replace(problem, init_actions=jnp.zeros((T, 2)))
    agent = SubgoalMPC(
        problem=short, proposer=through, planner=fit, num_states=12, leave_distance=1.0
    )
    memory, position = agent.init(start, goal, jax.random.key(0)), start
    for _ in range(15):
        action, memory, info = agent.step(memory, position, goal)
        position = walled(position, action)
        assert jnp.isfinite(action).all() and info.status != Status.FAILED
    np.testing.assert_allclose(position, [2.0, 0.0], atol=0.2)


def test_a_proposer_of_broken_states_is_a_failed_plan_and_no_more():
    def broken(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        states = jnp.full((num_states, 2), jnp.nan)
        return ProposedPath(states, jnp.asarray(jnp.nan), jnp.asarray(True))

    agent, goal = controller(broken), jnp.ones(2)
    memory = agent.init(jnp.zeros(2), goal, jax.random.key(0))
    action, memory, info = agent.step(memory, jnp.zeros(2), goal)
    assert info.status == Status.FAILED and jnp.isfinite(action).all()


def test_its_own_proposer_where_ranks_are_strict():
    problem = make_problem(lambda s, a: s + a, jnp.zeros(2), jnp.ones(2), jnp.zeros((3, 2)))
    controller = SubgoalMPC(
        problem=problem, proposer=straight_line, planner=lambda _: GD(iterations=2), num_states=5
    )
    with jax.numpy_rank_promotion("raise"):
        memory = controller.init(jnp.zeros(2), jnp.ones(2), jax.random.key(0))
        action, _, _ = controller.step(memory, jnp.zeros(2), jnp.ones(2))
    assert jnp.isfinite(action).all()
