"""Costs along the way: what a state that carries them would cost, in every planner's terms."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, LatCo, Objective, Problem, restarted_grasp
from grasp_jax.lifted import lifted_gradient, predict
from grasp_jax.rollout import rollout_cost, trajectory
from tests import matrix
from tests.jaxprs import count_primitive
from tests.matrix import DETERMINISTIC, PLANNERS, assert_close, key

T = 6
START, GOAL = jnp.zeros(2), jnp.ones(2)
GUESS = jnp.linspace(-0.3, 0.4, 2 * T).reshape(T, 2)
MIDDLE = 0.5


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.3 * jnp.tanh(action)


def near(state: jax.Array, goal: jax.Array) -> jax.Array:
    """Dear near the middle of the way to the goal."""
    return jnp.exp(-jnp.sum(jnp.square(state - MIDDLE * goal)) / 0.1)


def carrying(state: dict[str, jax.Array], action: jax.Array) -> dict[str, jax.Array]:
    """The same world, whose state carries what it has paid."""
    x = move(state["x"], action)
    return {"x": x, "paid": state["paid"] + near(x, GOAL)}


def reach_and_pay(state: dict[str, jax.Array], goal: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(state["x"] - goal)) + state["paid"]


ALONG = Objective(running_cost=near)


def problem(objective: Objective = ALONG, **changes: Any) -> Problem:
    arguments: dict[str, Any] = {
        "dynamics": move,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
    }
    return grasp_jax.make_problem(**(arguments | changes), objective=objective)


# Planners on rollouts alone; those that lift cannot but tell the two apart.
UNLIFTED = [n for n in matrix.NAMES if n not in (*matrix.LIFTED, "GRASP restarted")]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in matrix.VARIANTS)) for n in UNLIFTED],
)
def test_a_plan_is_that_of_a_state_that_carries_its_cost(name: str):
    planner = PLANNERS[name]
    found = grasp_jax.plan(move, START, GOAL, GUESS, key(), planner=planner, objective=ALONG)
    other = grasp_jax.plan(
        carrying,
        {"x": START, "paid": jnp.zeros(())},
        GOAL,
        GUESS,
        key(),
        planner=planner,
        objective=Objective(reach_and_pay),
    )
    tolerance = 1e-4 if name in DETERMINISTIC or "GD" in name else 1e-5
    assert_close(found.actions, other.actions, tolerance)
    assert_close(found.cost, other.cost, tolerance)


@pytest.mark.parametrize("horizon", [None, 1, 4])
@pytest.mark.parametrize("h", [1, 3])
def test_a_rollout_costs_what_its_states_up_to_the_goals_step_cost(horizon: int | None, h: int):
    context = grasp_jax.Context.repeat(START, h - 1, 2) if h > 1 else None

    def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
        return states[-1] + 0.3 * jnp.tanh(actions.mean(0))

    mine = problem(horizon=horizon, dynamics=windowed if context else move, context=context)
    states = trajectory(mine, GUESS)[1:]
    end = horizon or T
    expected = jnp.sum(jnp.square(states[end - 1] - GOAL))
    expected += sum(near(states[t], GOAL) for t in range(end))
    assert_close(rollout_cost(mine, GUESS), expected, 1e-6)
    assert_close(rollout_cost(mine, GUESS, remat=True), expected, 1e-6)
    assert_close(mine.cost(states, GUESS), expected, 1e-6)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("horizon", [None, 4])
def test_the_lifted_objective_pays_at_its_predictions(stop: bool, horizon: int | None):
    priced, free = problem(horizon=horizon), problem(Objective(), horizon=horizon)
    states = jax.random.normal(key(3), (T, 2))

    def along(states: jax.Array, actions: jax.Array) -> jax.Array:
        states = jax.lax.stop_gradient(states) if stop else states
        predictions = predict(priced, states, actions)
        return jnp.sum(jnp.stack([near(predictions[t], GOAL) for t in range(horizon or T)]))

    value, slopes = jax.jit(jax.value_and_grad(along, (0, 1)))(states, GUESS)
    gradient = jax.jit(lifted_gradient, static_argnums=4)
    with_cost = gradient(priced, states, GUESS, 0.3, stop)
    without = gradient(free, states, GUESS, 0.3, stop)
    assert jnp.abs(slopes[1]).max() > 1e-3
    assert_close(with_cost.loss, without.loss + value, 1e-5)
    assert_close(with_cost.dynamics_residual, without.dynamics_residual, 1e-6)
    assert_close(with_cost.states, without.states + slopes[0], 1e-5)
    assert_close(with_cost.actions, without.actions + slopes[1], 1e-5)


def test_it_costs_no_second_evaluation_of_the_model():
    # A marker that occurs nowhere else.
    def marked(state: jax.Array, action: jax.Array) -> jax.Array:
        return jax.lax.erf_inv(0.1 * jnp.tanh(state)) + 0.3 * action

    mine = problem(dynamics=marked)
    jaxpr = jax.make_jaxpr(lambda s, a: lifted_gradient(mine, s, a, 0.3))(GUESS, GUESS)
    assert count_primitive(jaxpr, "erf_inv") == 1


@pytest.mark.parametrize(
    "planner",
    [
        GD(learning_rate=0.1, iterations=150),
        GRASP(
            iterations=200,
            state_rate=0.03,
            action_rate=0.03,
            sync=GD(learning_rate=0.1, iterations=20),
        ),
        restarted_grasp(num_starts=4, num_cycles=4),
        LatCo(learning_rate=0.05, iterations=600, multiplier=10.0),
    ],
    ids=lambda p: type(p).__name__,
)
def test_planners_go_around_what_is_dear(planner: Any):
    # A little off the line, as a gradient on it does not know to which side.
    guess = jnp.zeros((12, 2)).at[:6, 0].set(0.05).at[6:, 1].set(0.05)

    def nearest(objective: Objective) -> jax.Array:
        found = grasp_jax.plan(
            move, START, GOAL, guess, key(), planner=planner, objective=objective
        )
        assert jnp.linalg.norm(found.states[-1] - GOAL) < 0.15
        return jnp.linalg.norm(found.states - MIDDLE * GOAL, axis=-1).min()

    heavy = Objective(running_cost=lambda s, g: 3 * near(s, g))
    assert nearest(heavy) > max(0.3, nearest(Objective()) + 0.1)


def test_a_broken_cost_along_the_way_is_a_broken_plan():
    broken = Objective(running_cost=lambda s, g: jnp.log(s[0] - 100))
    found = grasp_jax.plan(
        move,
        START,
        GOAL,
        GUESS,
        key(),
        planner=GD(learning_rate=0.1, iterations=3),
        objective=broken,
    )
    assert found.status == grasp_jax.Status.FAILED
    assert_close(found.actions, GUESS)


def test_half_precision_costs_are_summed_in_float32():
    def thousands(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.full((), 30_000, jnp.float16)

    start, goal, guess = (x.astype(jnp.float16) for x in (START, GOAL, GUESS))
    found = grasp_jax.plan(
        lambda s, a: s + a,
        start,
        goal,
        guess,
        key(),
        planner=GD(learning_rate=0.1, iterations=2),
        objective=Objective(running_cost=thousands),
    )
    assert found.cost.dtype == jnp.float32
    assert 30_000 * T <= found.cost < 30_100 * T
    chex.assert_tree_all_finite(found.actions)
