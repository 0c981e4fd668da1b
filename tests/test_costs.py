"""Every cost a user writes, with every planner: time, actions, rewards, constraints, goal sets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    ICEM,
    AnyGoal,
    Constrained,
    LatCo,
    Objective,
    Reached,
    Scaled,
    restarted_grasp,
)
from tests.matrix import (
    ACTIONS,
    BOUNDS,
    GOAL,
    HORIZON,
    PLANNERS,
    START,
    WORLD,
    assert_close,
    every_slope,
    key,
)

REFERENCE = jnp.linspace(0.1, 0.4, HORIZON)


def value(state: Any, goal: Any) -> jax.Array:
    """A learned value would be this: larger is better, and nobody needs a goal."""
    del goal
    return jnp.exp(-jnp.sum((state["position"] - 0.4) ** 2)) - jnp.sum(state["memory"] ** 2)


def tracked(state: Any, goal: Any, action: jax.Array, t: jax.Array) -> jax.Array:
    gap = state["position"][0] - REFERENCE[t - 1]
    return gap**2 + 0.1 * jnp.sum(action**2) * (1 + state["position"][1] ** 2) - 50.0


def below(state: Any, goal: Any, action: jax.Array, t: jax.Array) -> jax.Array:
    """Two rules: a wall that comes nearer, and a limit on what an action may do there."""
    return jnp.stack([state["position"][0] - 0.5 + 0.05 * t, jnp.sum(action**2) - 0.3])


EVERYTHING = Objective(
    terminal_cost=lambda s, g: -value(s, g),
    running_cost=tracked,
    constraint=below,
    constraint_weight=3.0,
)


@every_slope
def test_what_a_plan_costs_is_what_was_written(name: str) -> None:
    found = grasp_jax.plan(
        WORLD,
        START,
        None,
        ACTIONS,
        key(),
        planner=PLANNERS[name],
        bounds=BOUNDS,
        objective=EVERYTHING,
    )
    states = [jax.tree.map(lambda x, t=t: x[t + 1], found.states) for t in range(HORIZON)]
    cost, worst = -value(states[-1], None), 0.0
    for t, (state, action) in enumerate(zip(states, found.actions, strict=True)):
        excess = np.maximum(below(state, None, action, jnp.asarray(t + 1)), 0)
        cost += tracked(state, None, action, jnp.asarray(t + 1)) + 3.0 * np.sum(excess)
        worst = max(worst, float(np.max(excess)))
    np.testing.assert_allclose(found.cost, cost, rtol=1e-5)
    np.testing.assert_allclose(found.violation, worst, atol=1e-6)
    problem = grasp_jax.make_problem(WORLD, START, None, ACTIONS, objective=EVERYTHING)
    guess = grasp_jax.rollout_cost(problem, ACTIONS)
    # In six iterations these three need not: a large rate, no sync, small steps of the states.
    slow = name in ("GD dino_wm", "GRASP sync=None", "Segments")
    assert found.cost < guess or (slow and found.cost == guess), "it made nothing better"
    assert found.status == grasp_jax.Status.OK


@pytest.mark.parametrize("name", ["GD", "GD parallel", "GRASP", "CEM", "MPPI", "LatCo", "Segments"])
def test_costs_may_be_negative(name: str) -> None:
    """A constant below every cost changes no plan."""

    def last(offset: jax.Array, state: Any, goal: Any) -> jax.Array:
        return grasp_jax.squared_distance(state, goal) - offset

    def on_the_way(offset: jax.Array, state: Any, goal: Any) -> jax.Array:
        return -offset

    def plan(offset: float) -> grasp_jax.Plan:
        below = jnp.asarray(offset)
        objective = Objective(
            terminal_cost=jax.tree_util.Partial(last, below),
            running_cost=jax.tree_util.Partial(on_the_way, below),
        )
        return grasp_jax.plan(
            WORLD,
            START,
            GOAL,
            ACTIONS,
            key(),
            planner=PLANNERS[name],
            bounds=BOUNDS,
            objective=objective,
        )

    # A power of two, so that the sum itself rounds little.
    plain, other = plan(0.0), plan(4.0)
    assert_close(other.actions, plain.actions, 2e-3)
    np.testing.assert_allclose(other.cost, plain.cost - 4.0 * (HORIZON + 1), rtol=1e-4)


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.2 * action


def test_a_running_cost_with_two_arguments_is_called_with_two() -> None:
    def weighted(state: jax.Array, goal: jax.Array, weight: float = 2.0) -> jax.Array:
        return weight * jnp.sum((state - goal) ** 2)

    problem = grasp_jax.make_problem(
        move,
        jnp.zeros(2),
        jnp.ones(2),
        jnp.zeros((3, 2)),
        objective=Objective(running_cost=weighted),
    )
    assert grasp_jax.rollout_cost(problem, jnp.zeros((3, 2))) == 2 + 3 * 4


@pytest.mark.parametrize("horizon", [None, 3])
def test_steps_count_from_one_up_to_the_goals_step(horizon: int | None) -> None:
    problem = grasp_jax.make_problem(
        move,
        jnp.zeros(1),
        jnp.zeros(1),
        jnp.zeros((5, 1)),
        horizon=horizon,
        objective=Objective(
            running_cost=lambda s, g, a, t: t.astype(jnp.float32),
            constraint=lambda s, g, a, t: t.astype(jnp.float32) - 2.0,
            constraint_weight=0.0,
        ),
    )
    end = horizon or 5
    assert grasp_jax.rollout_cost(problem, jnp.zeros((5, 1))) == sum(range(1, end + 1))
    found = grasp_jax.solve(problem, key(), planner=GD(learning_rate=0.0, iterations=1))
    assert found.violation == end - 2


WALL = Objective(constraint=lambda s, g: 0.4**2 - jnp.sum((s - 0.5) ** 2), constraint_weight=10.0)
"""A disc in the middle of the way that no state may enter."""


@pytest.mark.parametrize(
    "planner",
    [
        GD(learning_rate=0.1, iterations=60),
        CEM(num_samples=100, num_elites=10, iterations=8, std=0.6),
        LatCo(iterations=200),
        restarted_grasp(num_starts=4, num_cycles=2),
        Scaled(ICEM(num_samples=100, num_elites=10, iterations=8, std=0.5)),
    ],
    ids=["GD", "CEM", "LatCo", "restarted", "Scaled"],
)
def test_constraints_hold_with_any_planner(planner: Any) -> None:
    found = grasp_jax.plan(
        move,
        jnp.zeros(2),
        jnp.ones(2),
        jnp.zeros((12, 2)).at[:6, 0].set(0.3),
        key(),
        planner=Constrained(planner),
        bounds=(-1.0, 1.0),
        objective=WALL,
    )
    inside = 0.4 - jnp.linalg.norm(found.states[1:] - 0.5, axis=-1)
    assert float(jnp.max(inside)) < 0.02
    assert float(jnp.linalg.norm(found.states[-1] - 1.0)) < 0.15
    np.testing.assert_allclose(
        found.violation, max(0.0, float(jnp.max(0.16 - (0.4 - inside) ** 2))), atol=1e-6
    )


def test_a_constraint_that_cannot_hold_is_told() -> None:
    found = grasp_jax.plan(
        move,
        jnp.zeros(1),
        jnp.ones(1),
        jnp.zeros((4, 1)),
        key(),
        planner=Constrained(GD(learning_rate=0.1, iterations=20), iterations=3),
        bounds=(-1.0, 1.0),
        objective=Objective(constraint=lambda s, g: 2.0 - s),
    )
    # It goes as far as it can: 0.2 in the first step.
    np.testing.assert_allclose(found.violation, 1.8, rtol=1e-3)
    assert np.all(np.isfinite(found.actions))


def test_a_batch_has_constraints_of_its_goals() -> None:
    found = grasp_jax.plan_batch(
        move,
        jnp.zeros((2, 1)),
        jnp.array([[0.5], [2.0]]),
        jnp.zeros((8, 1)),
        key(),
        planner=Constrained(GD(learning_rate=0.1, iterations=40)),
        objective=Objective(constraint=lambda s, g: s - 0.5 * g),
    )
    np.testing.assert_allclose(found.states[:, -1, 0], [0.25, 1.0], atol=0.02)
    assert found.violation.shape == (2,)


@pytest.mark.parametrize(
    "planner",
    [GD(learning_rate=0.1, iterations=40), LatCo(iterations=300), CEM(iterations=10, std=0.5)],
    ids=["GD", "LatCo", "CEM"],
)
def test_the_nearest_of_several_goals(planner: Any) -> None:
    found = grasp_jax.plan(
        move,
        jnp.zeros(2),
        jnp.array([[5.0, 5.0], [-0.6, 0.4], [3.0, 0.0]]),
        jnp.zeros((8, 2)),
        key(),
        planner=planner,
        objective=Objective(AnyGoal()),
    )
    np.testing.assert_allclose(found.states[-1], [-0.6, 0.4], atol=0.05)


def test_between_two_goals_it_goes_to_one() -> None:
    slope = jax.grad(AnyGoal())(jnp.zeros(1), jnp.array([[1.0], [-1.0]]))
    np.testing.assert_array_equal(slope, [-2.0])


def test_one_state_is_no_choice_of_goals() -> None:
    for goal in (jnp.ones(2), jnp.ones(()), {"at": jnp.ones((3, 2))}):
        with pytest.raises(ValueError, match="the goal must be several states"):
            AnyGoal()(jnp.zeros(2), goal)
    assert AnyGoal(lambda s, g: jnp.sum(s) - g)(jnp.ones(2), jnp.array([1.0, 5.0])) == -3.0


def test_a_predicate_stops_the_search() -> None:
    reached = Reached(lambda s, g: jnp.all(s > g), lambda s, g: jnp.sum((s - g - 0.1) ** 2))
    found = grasp_jax.plan(
        move,
        jnp.zeros(2),
        jnp.full(2, 0.5),
        jnp.zeros((8, 2)),
        key(),
        planner=GD(learning_rate=0.1, iterations=100),
        objective=Objective(reached),
        target_cost=0.0,
    )
    assert np.all(found.states[-1] > 0.5) and found.cost == 0
    assert 0 < found.metrics.iterations_taken < 50


def test_a_constraint_that_cannot_hold_is_told_by_the_violation() -> None:
    """The rest of the objective is planned for all the same."""

    def never(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.full((), 0.5)

    objective = Objective(constraint=never)
    arguments = (move, jnp.zeros(2), jnp.ones(2), jnp.zeros((8, 2)), key())
    planner = grasp_jax.Constrained(grasp_jax.GD(learning_rate=0.1, iterations=60), iterations=3)
    found = grasp_jax.plan(*arguments, planner=planner, objective=objective)
    np.testing.assert_allclose(found.violation, 0.5, rtol=1e-6)
    assert found.status == grasp_jax.Status.OK
    assert jnp.linalg.norm(found.states[-1] - 1) < 0.05 * jnp.linalg.norm(found.states[0] - 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_gives_the_guess_back_and_says_so(value: float) -> None:
    objective = Objective(terminal_cost=lambda s, g: -value + 0 * jnp.sum(s))
    guess = jnp.full((4, 2), 0.1)
    arguments = (move, jnp.zeros(2), jnp.ones(2), guess, key())
    found = grasp_jax.plan(*arguments, planner=PLANNERS["GD"], objective=objective)
    assert found.status == grasp_jax.Status.FAILED
    np.testing.assert_array_equal(found.actions, guess)
