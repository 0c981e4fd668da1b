"""Rollouts parallel in time: the serial numbers, whatever the guess."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, _tree
from grasp_jax.newton import MAX_SWEEPS, parallel_gradient
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost, trajectory
from tests.matrix import assert_close, key

T = 33


def pendulum(state: dict[str, jax.Array], action: jax.Array) -> dict[str, jax.Array]:
    """Two coupled pendulums; a state of two leaves, the second with two axes."""
    pull = jnp.sin(state["angle"]) - 0.3 * jnp.sin(state["angle"] - state["angle"][::-1])
    speed = state["speed"][0] + 0.1 * (action - pull)
    return {"angle": state["angle"] + 0.1 * speed, "speed": speed[None]}


def chaos(state: jax.Array, action: jax.Array) -> jax.Array:
    """A map that stretches by four and folds: no guess but its own rollout is near."""
    return jnp.cos(4 * state + action)


def swing(state: dict[str, jax.Array], goal: Any) -> jax.Array:
    """A cost along the way."""
    del goal
    return sum((jnp.sum(jnp.cos(x)) for x in jax.tree.leaves(state)), jnp.zeros(())) / T


def problem(model: Any, state: Any, steps: int = T, horizon: int | None = None) -> Problem:
    goal = jax.tree.map(jnp.ones_like, state)
    guess = jnp.zeros((steps, 2))
    objective = grasp_jax.Objective(
        control_cost=grasp_jax.QuadraticControlCost(0.01), running_cost=swing
    )
    return grasp_jax.make_problem(model, state, goal, guess, objective=objective, horizon=horizon)


def pendulums(dtype: Any = None, **changes: Any) -> Problem:
    start = {"angle": jnp.array([0.3, -0.1], dtype), "speed": jnp.zeros((1, 2), dtype)}
    return problem(pendulum, start, **changes)


def moved(seed: int = 1) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (T, 2))


@jax.jit
def following(one: Problem, actions: jax.Array) -> Any:
    return _tree.take(trajectory(one, actions), slice(1, None))


@jax.jit
def serial(one: Problem, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cost and gradient, one step after the other."""
    return jax.value_and_grad(rollout_cost, argnums=1)(one, actions)


parallel = jax.jit(parallel_gradient)


@pytest.mark.parametrize("horizon", [None, 20])
def test_cost_gradient_and_states_are_the_serial_ones(horizon: int | None):
    one, actions = pendulums(horizon=horizon), moved()
    cost, gradient = serial(one, actions)
    found = parallel(one, actions, following(one, actions + 0.05))
    assert jnp.abs(gradient).max() > 0.1
    assert_close(found.found.cost, cost, 1e-5)
    assert_close(found.found.gradient, gradient, 1e-5)
    assert_close(found.states, following(one, actions), 1e-5)


def test_in_double_precision_the_numbers_agree_to_twelve_digits():
    with jax.enable_x64(True):
        one, actions = pendulums(jnp.float64), moved().astype(jnp.float64)
        _, gradient = serial(one, actions)
        found = parallel(one, actions, following(one, actions + 0.05))
        assert found.found.gradient.dtype == jnp.float64
        assert_close(found.found.gradient, gradient, 1e-12)


def test_from_a_neighbours_rollout_a_few_sweeps_do():
    one, actions = pendulums(), moved()
    near = parallel(one, actions, following(one, actions + 0.05))
    sweeps = near.model_evals // T - 2
    assert 1 <= sweeps <= 4
    assert near.model_vjps == T * (4 * (sweeps + 1) + 1)
    # A wrong guess costs sweeps, no accuracy.
    far = parallel(one, actions, following(one, -3 * actions))
    assert_close(far.found.gradient, near.found.gradient, 1e-5)


def test_what_does_not_converge_is_rolled_out():
    one, actions = problem(chaos, jnp.full(2, 0.2)), moved()
    found = parallel(one, actions, jnp.zeros((T, 2)))
    assert found.model_evals == T * (MAX_SWEEPS + 2) + T
    assert found.model_vjps == T * (2 * (MAX_SWEEPS + 1) + 1) + T
    cost, gradient = serial(one, actions)
    assert_close(found.states, following(one, actions), 0.0)
    assert_close((found.found.cost, found.found.gradient), (cost, gradient), 1e-4)


def test_a_large_coordinate_does_not_excuse_a_small_one():
    def timed(state: dict[str, Any], action: jax.Array) -> dict[str, Any]:
        return {**pendulum(state, action), "clock": state["clock"] + 1}

    start = {"angle": jnp.array([0.3, -0.1]), "speed": jnp.zeros((1, 2)), "clock": jnp.array(1e5)}
    one, actions = problem(timed, start), moved()
    one = dataclasses.replace(one, goal={**one.goal, "clock": start["clock"] + T})
    cost, gradient = serial(one, actions)
    found = parallel(one, actions, following(one, -3 * actions))
    assert_close(found.found.cost, cost, 1e-5)
    assert_close(found.found.gradient, gradient, 1e-4)


def test_jacobians_that_overflow_leave_the_serial_gradient():
    def steep(state: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.stack([0.9 * state[0] + 0.1 * jnp.tanh(action[0]), 8 * state[1]])

    one, actions = problem(steep, jnp.array([0.5, 0.0]), steps=160), jnp.full((160, 2), 0.1)
    _, gradient = serial(one, actions)
    found = parallel(one, actions, following(one, actions))
    assert jnp.all(jnp.isfinite(gradient)) and jnp.abs(gradient).max() > 1e-3
    assert_close(found.found.gradient, gradient, 1e-6)


def test_a_goal_that_does_not_converge_leaves_its_neighbours_alone():
    def model(state: jax.Array, action: jax.Array) -> jax.Array:
        moved = jnp.where(state[2] > 0, chaos(state[:2], action), 0.9 * state[:2] + 0.1 * action)
        return jnp.append(moved, state[2])

    tame, wild = (problem(model, jnp.array([0.2, 0.1, wild])) for wild in (-1.0, 1.0))
    both = jax.tree.map(lambda *x: jnp.stack(x), tame, wild)
    guess = jnp.stack([following(tame, moved()), jnp.zeros((T, 3))])
    found = jax.jit(jax.vmap(parallel_gradient, (0, None, 0)))(both, moved(), guess)
    alone = parallel(tame, moved(), guess[0])
    assert (
        found.model_evals[1] == T * (MAX_SWEEPS + 3)
        and found.model_evals[0] == alone.model_evals <= 4 * T
    )
    assert_close(jax.tree.map(lambda x: x[0], found), alone, 1e-6)


@pytest.mark.parametrize(
    "planner",
    [
        GD(learning_rate=0.1, iterations=30),
        GRASP(iterations=30, sync=GD(learning_rate=0.1, iterations=5), sync_every=10),
    ],
)
def test_plans_are_those_of_the_serial_planner(planner: Any):
    if isinstance(planner, GD):
        other: Any = dataclasses.replace(planner, parallel_in_time=True)
    else:
        sync = dataclasses.replace(planner.sync, parallel_in_time=True)
        other = dataclasses.replace(planner, sync=sync)
    start = {"angle": jnp.array([0.3, -0.1]), "speed": jnp.zeros((1, 2))}
    goal = jax.tree.map(jnp.ones_like, start)
    one, two = (
        grasp_jax.plan(pendulum, start, goal, jnp.zeros((T, 2)), key(), planner=p)
        for p in (planner, other)
    )
    assert jnp.abs(one.actions).max() > 0.1
    assert_close(two.actions, one.actions, 1e-3)
    assert_close(two.cost, one.cost, 1e-3)


def test_what_cannot_be_parallel_is_refused():
    def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
        return states[-1] + actions.mean(0)

    context = grasp_jax.Context.repeat(jnp.zeros(2), 1, 2)
    arguments: Any = (jnp.zeros(2), jnp.ones(2), jnp.zeros((4, 2)), key())
    with pytest.raises(ValueError, match=r"GD\.parallel_in_time is for models of one frame"):
        grasp_jax.plan(windowed, *arguments, planner=GD(parallel_in_time=True), context=context)
    half: Any = [x.astype(jnp.bfloat16) for x in arguments[:2]]

    def narrow(state: jax.Array, action: jax.Array) -> jax.Array:
        return chaos(state, action).astype(jnp.bfloat16)

    with pytest.raises(
        ValueError, match=r"GD\.parallel_in_time needs states of float32 .*bfloat16"
    ):
        grasp_jax.plan(narrow, *half, *arguments[2:], planner=GD(parallel_in_time=True))
    with pytest.raises(ValueError, match=r"GD\.remat bounds the memory of a serial rollout"):
        grasp_jax.plan(chaos, *arguments, planner=GD(parallel_in_time=True, remat=True))
