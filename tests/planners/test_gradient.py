"""GD: its steps by hand, its noises, and what happens where a cost is broken."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, LatCo, LatCoGaussNewton, Status, White
from tests import matrix
from tests.matrix import assert_close, key

T, A = 4, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)
SGD = GD(learning_rate=0.1, iterations=3, optimizer=optax.sgd)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def problem(**changes: Any) -> grasp_jax.Problem:
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
    }
    return grasp_jax.make_problem(**(arguments | changes))


@jax.jit
def slope(actions: jax.Array) -> jax.Array:
    def cost(actions: jax.Array) -> jax.Array:
        state = START
        for action in actions:
            state = step(state, action)
        return jnp.sum((state - GOAL) ** 2)

    return jax.grad(cost)(actions)


def test_its_steps_are_those_of_the_optimizer_on_the_slope_of_the_rollout():
    actions = GUESS
    for _ in range(3):
        actions = jnp.clip(actions - 0.1 * slope(actions), -0.4, 0.4)
    _, search = matrix.searched(SGD, problem(bounds=(-0.4, 0.4)))
    assert_close(search.inner.actions, actions)


def test_a_rate_may_be_a_schedule_or_differ_between_dimensions():
    falling = optax.piecewise_constant_schedule(0.1, {1: 0.0})
    _, once = matrix.searched(dataclasses.replace(SGD, learning_rate=falling), problem())
    assert_close(once.inner.actions, GUESS - 0.1 * slope(GUESS))
    half = dataclasses.replace(SGD, learning_rate=jnp.array([0.1, 0.0]), iterations=1)
    _, search = matrix.searched(half, problem())
    assert_close(search.inner.actions[:, 0], (GUESS - 0.1 * slope(GUESS))[:, 0])
    assert_close(search.inner.actions[:, 1], GUESS[:, 1], 0)


def test_noise_comes_after_every_step_or_before_the_first():
    still = dataclasses.replace(SGD, learning_rate=0.0, iterations=1)
    _, quiet = matrix.searched(still, problem())
    assert_close(quiet.inner.actions, GUESS, 0)
    for field in ("action_std", "start_std"):
        noisy = dataclasses.replace(still, **{field: 0.5}, noise=White())
        _, search = matrix.searched(noisy, problem())
        assert 0.1 < jnp.std(search.inner.actions - GUESS) < 1.5
        # The guess itself is evaluated by the search alone, where noise moved it first.
        assert noisy.evaluates_guess == (field == "action_std")


def test_a_step_out_of_the_finite_range_comes_back_to_the_best_plan():
    def cliff(state: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.where(action > 0.5, jnp.nan, step(state, action))

    planner = GD(learning_rate=5.0, iterations=4, optimizer=optax.sgd)
    found = grasp_jax.solve(problem(dynamics=cliff), key(), planner=planner)
    assert found.status == Status.NON_FINITE and jnp.isfinite(found.cost)
    assert found.metrics.evaluated.tolist()[:3] == [True, False, True]
    assert found.metrics.cost[2] == found.metrics.cost[0]


@jax.custom_vjp
def solver(state: jax.Array) -> jax.Array:
    """What an ODE solver with an adjoint of its own looks like."""
    return 0.9 * state


solver.defvjp(lambda s: (0.9 * s, None), lambda _, g: (0.9 * g,))


def with_adjoint(state: jax.Array, action: jax.Array) -> jax.Array:
    return solver(state) + 0.3 * action


@pytest.mark.parametrize(
    ("planner", "name"),
    [
        (GD(iterations=2, parallel_in_time=True), r"GD\.parallel_in_time"),
        (
            GRASP(iterations=2, sync=GD(iterations=2, parallel_in_time=True), sync_every=1),
            r"GD\.parallel_in_time",
        ),
        (LatCoGaussNewton(iterations=2), "LatCoGaussNewton"),
    ],
    ids=["GD", "sync", "LatCoGaussNewton"],
)
def test_models_without_forward_mode_are_refused_where_it_is_needed(planner: Any, name: str):
    """Bug: JAX's own "can't apply forward-mode autodiff"."""
    with pytest.raises(TypeError, match=name + r" takes JVPs of the dynamics, which has none"):
        grasp_jax.solve(problem(dynamics=with_adjoint), key(), planner=planner)


def test_models_without_forward_mode_are_planned_with_elsewhere():
    found = grasp_jax.solve(problem(dynamics=with_adjoint), key(), planner=SGD)
    assert found.status == Status.OK and found.cost < found.metrics.cost[0]


@pytest.mark.parametrize(
    "planner", [SGD, LatCo(iterations=4, evaluate_every=2)], ids=lambda p: type(p).__name__
)
def test_a_plan_has_a_gradient_in_the_model(planner: Any):
    """Bug: NaN for LatCo."""

    def cost(gain: jax.Array) -> jax.Array:
        model = jax.tree_util.Partial(lambda g, s, a: g * step(s, a), gain)
        found = grasp_jax.solve(problem(dynamics=model), key(), planner=planner)
        return jnp.sum(found.actions**2) + found.cost

    gain, cost = jnp.asarray(1.0), jax.jit(cost)
    numeric = (cost(gain + 1e-2) - cost(gain - 1e-2)) / 2e-2
    np.testing.assert_allclose(jax.jit(jax.grad(cost))(gain), numeric, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize(
    "planner",
    [
        GD(learning_rate=0.1, iterations=3),
        GRASP(iterations=3, sync_every=2, sync=GD(learning_rate=0.1, iterations=2)),
        LatCo(iterations=3, evaluate_every=1),
    ],
    ids=lambda p: type(p).__name__,
)
def test_a_plan_has_a_gradient_where_slopes_are_exactly_zero(planner: Any):
    """Bug: NaN, the root in Adam has no slope at zero. Here the goal is where the start is."""

    def cost(gain: jax.Array) -> jax.Array:
        model = jax.tree_util.Partial(lambda g, s, a: s + g * a, gain)
        return grasp_jax.solve(
            problem(dynamics=model, goal=START), key(), planner=planner
        ).actions.sum()

    assert jnp.isfinite(jax.jit(jax.grad(cost))(jnp.asarray(1.0)))


def test_a_plan_parallel_in_time_has_none_and_says_so():
    planner = GD(iterations=2, parallel_in_time=True)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(lambda s: grasp_jax.solve(problem(state=s), key(), planner=planner).cost)(START)
    assert "`plan` then has no gradient itself" in " ".join((GD.__doc__ or "").split())
