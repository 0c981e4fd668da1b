"""Rollouts in segments side by side: converged sweeps give the gradient of the rollout."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import Correction, Problem
from grasp_jax.rollout import rollout_gradient
from grasp_jax.shooting import Swept, no_handover, serial, sweep
from tests.matrix import assert_close, assert_same

OBJECTIVE = grasp_jax.Objective(
    control_cost=grasp_jax.QuadraticControlCost(0.1),
    running_cost=lambda s, g: 0.1 * jnp.sum(jnp.square(s - 0.3 * g)),
)


def swing(state: jax.Array, action: jax.Array) -> jax.Array:
    """A pendulum, pushed hard: its state Jacobian is far from the identity."""
    turn = jnp.stack([state[1], action[0] - 2 * jnp.sin(state[0])])
    return state + 0.3 * turn


def of_windows(states: jax.Array, actions: jax.Array) -> jax.Array:
    return swing(states[-1], actions[-1]) + 0.1 * jnp.tanh(states[0] - states[1] + actions[0])


def make(steps: int, **changes: Any) -> tuple[Problem, jax.Array]:
    actions = jax.random.normal(jax.random.key(1), (steps, 1))
    start, goal = jnp.array([0.3, -0.2]), jnp.array([1.0, 0.5])
    dynamics = changes.pop("dynamics", swing)
    problem = grasp_jax.make_problem(dynamics, start, goal, actions, objective=OBJECTIVE, **changes)
    return problem, problem.until_end(actions)


def swept(
    problem: Problem, actions: jax.Array, num_segments: int, correction: Correction, sweeps: int
) -> Swept:
    found = None
    handover = no_handover(problem, num_segments, correction)
    one = jax.jit(lambda s: sweep(problem, actions, s, correction))
    for _ in range(sweeps):
        found = one(handover)
        handover = found.handover
    assert found is not None
    return found


CONTEXT = grasp_jax.Context(jnp.array([[0.1, 0.0], [0.2, -0.1]]), jnp.array([[0.5], [-0.5]]))
CASES = {
    "plain": (12, 4, {}),
    "one segment per step": (6, 6, {}),
    "last segment padded": (7, 3, {}),
    "horizon inside": (12, 4, {"horizon": 7}),
    "horizon of one": (6, 3, {"horizon": 1}),
    "windows": (8, 4, {"dynamics": of_windows, "context": CONTEXT}),
}


@pytest.mark.parametrize("case", CASES)
def test_converged_sweeps_give_the_gradient_of_the_rollout(case: str):
    steps, num_segments, changes = CASES[case]
    problem, actions = make(steps, **dict(changes))
    expected = rollout_gradient(problem, actions)
    # States are exact after K - 1 sweeps, costates after K - 1 more; the next one reads both.
    found = swept(problem, actions, num_segments, Correction.NONE, 2 * num_segments - 1)
    assert_close(found.found.cost, expected.cost)
    assert_close(found.found.gradient, expected.gradient, 1e-5)
    assert_close(found.gap, 0.0, 1e-10)


@pytest.mark.parametrize("correction", [Correction.IDENTITY, Correction.DIAGONAL])
def test_corrections_have_the_same_fixed_point(correction: Correction):
    problem, actions = make(12)
    found = swept(problem, actions, 4, correction, 40)
    assert_close(found.found.gradient, rollout_gradient(problem, actions).gradient, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_serial_pass_is_the_rollout_and_makes_the_next_sweep_exact(case: str):
    steps, num_segments, changes = CASES[case]
    problem, actions = make(steps, **dict(changes))
    expected = rollout_gradient(problem, actions)

    @jax.jit
    def pass_and_sweep(actions: jax.Array) -> Any:
        true = serial(problem, actions, no_handover(problem, num_segments, Correction.NONE))
        return true.found, sweep(problem, actions, true.handover, Correction.NONE).found

    for found in pass_and_sweep(actions):
        assert_close(found.cost, expected.cost)
        assert_close(found.gradient, expected.gradient, 1e-5)


def test_too_few_sweeps_do_not_give_the_gradient():
    problem, actions = make(12)
    found = swept(problem, actions, 4, Correction.NONE, 5)
    gap = jnp.abs(found.found.gradient - rollout_gradient(problem, actions).gradient)
    assert jnp.max(gap) > 1e-3


def test_the_identity_is_exact_at_once_where_states_stay_where_they_are_put():
    actions = jax.random.normal(jax.random.key(2), (12, 2))
    problem = grasp_jax.make_problem(
        lambda s, a: s + jnp.tanh(a), jnp.zeros(2), jnp.ones(2), actions
    )
    expected = rollout_gradient(problem, actions)
    found = swept(problem, actions, 12, Correction.IDENTITY, 3)
    assert_close(found.found.gradient, expected.gradient, 1e-5)
    plain = swept(problem, actions, 12, Correction.NONE, 3)
    assert jnp.max(jnp.abs(plain.found.gradient - expected.gradient)) > 1e-2


def test_the_diagonal_learns_slopes_that_differ_from_entry_to_entry():
    decay = jnp.array([0.9, 0.2])
    actions = jax.random.normal(jax.random.key(2), (12, 2))
    problem = grasp_jax.make_problem(
        lambda s, a: decay * s + jnp.tanh(a), jnp.zeros(2), jnp.ones(2), actions
    )
    expected = jax.jit(rollout_gradient)(problem, actions + 0.5).gradient

    def last_gradient(correction: Correction) -> jax.Array:
        def one(handover: Any, shift: jax.Array) -> Any:
            found = sweep(problem, actions + shift, handover, correction)
            return found.handover, found.found.gradient

        true = serial(problem, actions, no_handover(problem, 6, correction))
        # The first sweep fits the diagonal, three more see other actions.
        return jax.lax.scan(one, true.handover, jnp.array([0.0, 0.5, 0.5, 0.5]))[1][-1]

    errors = {
        correction: float(jnp.max(jnp.abs(found - expected)))
        for correction in Correction
        for found in [jax.jit(last_gradient, static_argnums=0)(correction)]
    }
    assert errors[Correction.DIAGONAL] < 0.3 * errors[Correction.NONE]
    assert errors[Correction.DIAGONAL] < 0.3 * errors[Correction.IDENTITY]


def test_a_broken_segment_is_not_handed_on():
    def fragile(state: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.where(action > 1, jnp.nan, state + action)

    actions = jnp.zeros((6, 1))
    problem = grasp_jax.make_problem(fragile, jnp.zeros(1), jnp.ones(1), actions)
    before = serial(problem, actions, no_handover(problem, 3, Correction.NONE)).handover
    after = sweep(problem, actions.at[2].set(2.0), before, Correction.NONE)
    assert not after.found.finite
    assert_same(after.handover.starts, before.starts)
    assert_same(after.handover.costates, before.costates)
