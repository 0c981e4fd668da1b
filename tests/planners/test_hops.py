"""Hops: noise on the best plan, then any planner."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import CEM, GD, Hops, MultiStart, White
from tests.matrix import assert_close, assert_same
from tests.planners.composing import GUESS, SGD, T, bumpy, searched, solve, step


def test_a_hop_starts_from_the_best_plan_plus_noise():
    # A planner that does not move shows where it starts from.
    still = GD(learning_rate=0.0, iterations=1, optimizer=optax.sgd)
    found, search = searched(Hops(planner=still, iterations=3, std=0.5, noise=White()))
    assert 0.1 < jnp.std(search.inner - search.best_actions) < 1.5
    quiet, search = searched(Hops(planner=still, iterations=3, std=None))
    assert_same(search.inner, GUESS)
    assert found.cost <= quiet.cost
    # Per round: the starting actions' step, and a last rollout.
    assert found.metrics.model_evals.tolist() == [2 * T] * 3


def test_hops_without_noise_go_on_where_the_planner_stopped():
    once = solve(dataclasses.replace(SGD, iterations=12))
    assert_close(solve(Hops(planner=SGD, iterations=3, std=None)).actions, once.actions, 1e-6)


def test_hops_leave_local_minima_that_one_descent_stays_in():
    objective = grasp_jax.Objective(terminal_cost=bumpy)
    descent = GD(learning_rate=0.03, iterations=20)
    found = solve(Hops(planner=descent, iterations=10, std=0.5), objective=objective)
    one = solve(dataclasses.replace(descent, iterations=200), objective=objective)
    assert found.cost < one.cost - 1e-2


def test_hops_need_a_planner_that_is_one():
    with pytest.raises(TypeError, match=r"Hops\.planner must be an instance, got the class GD"):
        solve(Hops(planner=GD))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"CEM\.num_elites is 9"):
        solve(Hops(planner=CEM(num_samples=4, num_elites=9)))


def test_hops_of_a_sampler_take_no_derivative():
    """Bug: restarts with a sync by CEM failed on models that have none, though CEM works."""

    def looping(state: jax.Array, action: jax.Array) -> jax.Array:
        def body(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            return carry[0] + 1, step(carry[1], action / 2)

        return jax.lax.while_loop(lambda c: c[0] < 2, body, (jnp.asarray(0), state))[1]

    cem = CEM(num_samples=8, num_elites=3, iterations=2)
    planner = MultiStart(Hops(planner=cem, iterations=2), num_starts=2, resample_every=1)
    found = solve(planner, dynamics=looping)
    assert found.status == grasp_jax.Status.OK and found.cost < found.metrics.best_cost[0] + 1e-6
    assert found.metrics.model_vjps.sum() == 0
