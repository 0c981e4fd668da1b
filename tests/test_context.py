"""Models that read a window of frames: one F in the lifted phase, the sync and the rollout."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, Context, LatCo, LatCoGaussNewton, Plan
from tests.matrix import assert_close, key, stacked

T, A = 4, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([0.8, -0.5])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)
WINDOW = 3
CONTEXT = Context(jnp.array([[-0.2, 0.1], [-0.1, 0.1]]), jnp.array([[0.3, 0.0], [0.2, -0.1]]))
GRASP_SMALL = GRASP(
    iterations=6, action_rate=0.05, sync=GD(learning_rate=0.1, iterations=2), sync_every=3
)


def single(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
    """Momentum from the last two frames and delayed actions."""
    assert states.shape == (WINDOW, 2) and actions.shape == (WINDOW, A)
    moved = states[-1] + 0.3 * (states[-1] - states[-2]) + 0.1 * jnp.sin(states[0])
    return moved + 0.2 * jnp.tanh(actions[-1]) + 0.2 * actions[-2] + 0.1 * actions[0]


def present_only(states: jax.Array, actions: jax.Array) -> jax.Array:
    return single(states[-1], actions[-1])


def solve(planner: Any, dynamics: Any = windowed, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "key": key(),
        "context": CONTEXT,
    }
    return grasp_jax.plan(dynamics, **(arguments | changes), planner=planner)


SMALL = [
    GD(learning_rate=0.1, iterations=4),
    GRASP_SMALL,
    CEM(num_samples=8, num_elites=3, iterations=3),
    LatCo(iterations=4, evaluate_every=2),
    LatCoGaussNewton(iterations=2),
]


@pytest.mark.parametrize("planner", SMALL, ids=lambda p: type(p).__name__)
def test_a_model_that_ignores_its_past_plans_as_without_context(planner: Any):
    with_context, without = solve(planner, present_only), solve(planner, single, context=None)
    assert_close(with_context.actions, without.actions)
    assert_close(with_context.metrics.loss, without.metrics.loss, 1e-4)


@pytest.mark.parametrize("planner", SMALL, ids=lambda p: type(p).__name__)
def test_states_are_the_rollout_with_the_past(planner: Any):
    found = solve(planner)
    states, actions = [*CONTEXT.states, START], [*CONTEXT.actions]
    for action in found.actions:
        actions.append(action)
        states.append(windowed(jnp.stack(states[-3:]), jnp.stack(actions[-3:])))
    assert_close(found.states, jnp.stack(states[2:]), 1e-6)
    assert_close(found.cost, jnp.sum((states[-1] - GOAL) ** 2), 1e-5)


def test_the_lifted_residual_of_the_rollout_itself_is_zero():
    # The same F in both phases: virtual states on the rollout leave no dynamics error at all.
    planner = GRASP(iterations=1, state_std=0.0, init_states=grasp_jax.Rollout(), sync=None)
    first = solve(planner)
    found = solve(planner, init_actions=first.actions, goal=first.states[-1])
    assert found.metrics.dynamics_residual[0] < 1e-10


def test_the_past_matters():
    other = Context(CONTEXT.states + 0.5, CONTEXT.actions)
    assert (
        jnp.abs(solve(GRASP_SMALL).actions - solve(GRASP_SMALL, context=other).actions).max() > 1e-3
    )


def test_repeat_is_the_first_moment_of_an_episode():
    context = Context.repeat({"x": START}, 2, A)
    assert_close(context, Context({"x": jnp.stack([START, START])}, jnp.zeros((2, A))))


def test_batches_carry_one_context_per_goal():
    contexts = [CONTEXT, jax.tree.map(lambda x: x + 0.1, CONTEXT)]
    found = grasp_jax.plan_batch(
        windowed,
        stacked(START, START),
        stacked(GOAL, -GOAL),
        GUESS,
        key(),
        planner=GRASP_SMALL,
        context=stacked(*contexts),
        goal_batch_size=1,
    )
    for b, goal in enumerate((GOAL, -GOAL)):
        alone = solve(GRASP_SMALL, goal=goal, context=contexts[b], key=jax.random.fold_in(key(), b))
        assert_close(found.actions[b], alone.actions)


def test_context_actions_of_another_precision_are_refused_by_name():
    """Bug: they failed inside the rollout's scan with a message about carries."""
    with jax.enable_x64():
        context = Context(CONTEXT.states, CONTEXT.actions.astype("float64"))
        with pytest.raises(TypeError, match=r"context\.actions .*float64.* float32"):
            solve(GRASP_SMALL, context=context)
