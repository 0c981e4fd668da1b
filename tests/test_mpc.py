"""Receding horizon: what is shifted, when plans are made, and that feedback pays."""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, MPC, Context, MPCState, Status, mpc

GUESS, GOAL, KEY = jnp.zeros((6, 2)), jnp.array([1.0, -0.5]), jax.random.key(0)
START = jnp.zeros(2)


def model(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.3 * jnp.tanh(action)


def world(state: jax.Array, action: jax.Array) -> jax.Array:
    """The model does not know the wind."""
    return model(state, action) + jnp.array([-0.05, 0.05])


def episode(controller: MPC, steps: int, truth: Any = world) -> tuple[Any, Any, MPCState]:
    """States `[steps+1, 2]`, predicted costs `[steps]`, and the controller's last memory."""
    state, observation = controller.init(GUESS, KEY), START
    step = jax.jit(controller.step)
    states, costs = [observation], []
    for _ in range(steps):
        action, state, cost = step(state, observation, GOAL)
        observation = truth(observation, action)
        states.append(observation)
        costs.append(cost)
    return jnp.stack(states), jnp.stack(costs), state


CONTROLLER = MPC(model, GD(learning_rate=0.3, iterations=40), bounds=(-2.0, 2.0))


def test_shift_drops_the_first_actions():
    actions = jnp.arange(8.0).reshape(4, 2)
    assert (mpc.shift(actions) == jnp.concatenate([actions[1:], jnp.zeros((1, 2))])).all()
    assert (mpc.shift(actions, 3)[0] == actions[3]).all() and not mpc.shift(actions, 3)[1:].any()
    assert (mpc.shift(actions, 0) == actions).all()


def test_feedback_beats_a_plan_followed_blindly():
    blind, _, _ = episode(dataclasses.replace(CONTROLLER, replan_every=6), 6)
    closed, _, _ = episode(dataclasses.replace(CONTROLLER, shrink=True), 6)
    assert jnp.linalg.norm(blind[-1] - GOAL) > 0.3
    assert jnp.linalg.norm(closed[-1] - GOAL) < 0.1


def test_a_plan_followed_to_its_end_is_the_plan():
    controller = dataclasses.replace(CONTROLLER, replan_every=6)
    found = grasp_jax.plan(
        model,
        START,
        GOAL,
        GUESS,
        jax.random.fold_in(KEY, 0),
        planner=CONTROLLER.planner,
        bounds=(-2.0, 2.0),
    )
    states, costs, _ = episode(controller, 6, truth=model)
    assert jnp.allclose(states, found.states, atol=1e-5)
    assert jnp.allclose(costs[0], found.cost, atol=1e-5)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_plans_are_made_when_they_are_due(every: int):
    _, costs, state = episode(dataclasses.replace(CONTROLLER, replan_every=every), 6)
    assert (jnp.isfinite(costs) == (jnp.arange(6) % every == 0)).all()
    assert state.taken == 6


@pytest.mark.parametrize("shrink", [True, False])
def test_a_shrinking_horizon_arrives_in_time(shrink: bool):
    """With a fixed horizon there is always time left, so that a plan may dawdle."""
    objective = grasp_jax.Objective(control_cost=grasp_jax.QuadraticControlCost(1e-3))
    controller = dataclasses.replace(
        CONTROLLER, planner=GD(learning_rate=0.1, iterations=150), shrink=shrink, objective=objective
    )
    states, _, _ = episode(controller, 6, truth=model)
    assert (jnp.linalg.norm(states[-1] - GOAL) < 0.05) == shrink


def test_a_whole_episode_is_one_scan_and_equals_the_loop():
    controller = MPC(model, CEM(num_samples=32, num_elites=4, iterations=5), bounds=(-2.0, 2.0))

    def body(carry: Any, _: None) -> Any:
        state, observation = carry
        action, state, cost = controller.step(state, observation, GOAL)
        observation = world(observation, action)
        return (state, observation), (observation, cost)

    first = (controller.init(GUESS, KEY), START)
    _, (states, costs) = jax.jit(lambda c: jax.lax.scan(body, c, length=5))(first)
    expected, expected_costs, _ = episode(controller, 5)
    assert jnp.allclose(states, expected[1:], atol=1e-5)
    assert jnp.allclose(costs, expected_costs, atol=1e-5)


def test_episodes_side_by_side_plan_only_when_due():
    controller = dataclasses.replace(CONTROLLER, replan_every=3)
    axes = MPCState(0, 0, None, 0, 0)
    goals = jnp.stack([GOAL, -GOAL, 0.5 * GOAL])
    states = jax.vmap(controller.init, (None, 0), axes)(GUESS, jax.random.split(KEY, 3))
    step = jax.vmap(controller.step, (axes, None, 0), (0, axes, 0))
    assert "cond[" in str(jax.make_jaxpr(step)(states, START, goals))
    actions, states, costs = step(states, START, goals)
    alone, _, cost = controller.step(
        controller.init(GUESS, jax.random.split(KEY, 3)[1]), START, goals[1]
    )
    assert jnp.allclose(actions[1], alone, atol=1e-6) and jnp.allclose(costs[1], cost, atol=1e-6)
    assert jnp.isnan(step(states, START, goals)[2]).all()


def test_the_context_is_filled_from_real_frames():
    def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
        return model(states[-1], actions.mean(0))

    controller = MPC(windowed, GRASP(iterations=4, sync=None), bounds=(-2.0, 2.0))
    state = controller.init(GUESS, KEY, Context.repeat(START, history_len=2, action_size=2))
    observations, actions = [START], []
    for _ in range(3):
        action, state, _ = controller.step(state, observations[-1], GOAL)
        actions.append(action)
        observations.append(world(observations[-1], action))
    assert state.context is not None
    assert (state.context.states == jnp.stack(observations[1:3])).all()
    assert (state.context.actions == jnp.stack(actions[1:3])).all()


@pytest.mark.parametrize("name", ["replan_every", "shortest"])
@pytest.mark.parametrize("value", [0, 7, 1.5])
def test_counts_that_do_not_fit_the_horizon(name: str, value: int):
    with pytest.raises(ValueError, match=rf"MPC.{name} is {value}.*choose 1..6"):
        dataclasses.replace(CONTROLLER, **{name: value}).init(GUESS, KEY)


def test_a_step_outside_jit_compiles_nothing_the_second_time():
    controller = dataclasses.replace(CONTROLLER, replan_every=2, shrink=True)
    state, other = controller.init(GUESS, KEY), -GOAL
    for _ in range(2):
        _, state, _ = controller.step(state, START, GOAL)
    with jax.log_compiles(), warnings.catch_warnings(), capture_compiles() as compiled:
        warnings.simplefilter("ignore")
        for _ in range(4):
            _, state, _ = controller.step(state, START, other)
    assert compiled == []


@contextlib.contextmanager
def capture_compiles() -> Iterator[list[str]]:
    """What JAX compiles meanwhile."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Compiling" in record.getMessage():
                found.append(record.getMessage())

    logger, handler = logging.getLogger("jax"), Handler()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_the_memory_tells_a_failed_plan_from_a_followed_one():
    controller = dataclasses.replace(CONTROLLER, replan_every=2)
    for broken in (jnp.nan, jnp.inf):
        _, memory, cost = controller.step(controller.init(GUESS, KEY), START, GOAL * broken)
        assert jnp.isnan(cost) and memory.status == Status.FAILED
    memory = controller.init(GUESS, KEY)
    for planned in (True, False):
        _, memory, cost = controller.step(memory, START, GOAL)
        assert jnp.isnan(cost) != planned and memory.status == Status.OK


def test_a_guess_without_a_time_axis():
    with pytest.raises(ValueError, match=r"MPC.init: actions must have shape \[T, A\], got \[6\]"):
        CONTROLLER.init(jnp.zeros(6), KEY)


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match=r"key must be a JAX random key, got int"):
        CONTROLLER.init(GUESS, 0)  # pyright: ignore[reportArgumentType]


def test_a_shrinking_plan_is_never_shorter_than_it_is_followed():
    controller = dataclasses.replace(CONTROLLER, replan_every=3, shrink=True, bounds=(0.2, 2.0))
    memory, observation = controller.init(GUESS, KEY), START
    step = jax.jit(controller.step)
    for taken in range(12):
        action, memory, _ = step(memory, observation, jnp.full(2, 9.0))
        # Rows behind a plan's length would be the bound.
        assert jnp.all(action > 0.3), taken
