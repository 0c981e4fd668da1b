"""Model evaluations: what metrics say is what was spent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, Chain, LatCo, MultiStart, Plan, Rollout
from tests.matrix import ITERATIONS, PLANNERS, assert_close, key

T, A = 4, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def counting() -> tuple[Callable[..., jax.Array], list[int], list[int]]:
    """A model that notes its evaluations, forward and backward."""
    forward, backward = [], []

    @jax.custom_vjp
    def tick(x: jax.Array) -> jax.Array:
        jax.debug.callback(lambda _: forward.append(1), x)
        return x

    def tick_forward(x: jax.Array) -> tuple[jax.Array, None]:
        return tick(x), None

    def tick_backward(_: None, slope: jax.Array) -> tuple[jax.Array]:
        jax.debug.callback(lambda _: backward.append(1), slope)
        return (slope,)

    tick.defvjp(tick_forward, tick_backward)
    return lambda s, a: step(s, tick(a)), forward, backward


def solve(planner: Any, dynamics: Any = step, guess: jax.Array = GUESS) -> Plan:
    return grasp_jax.plan(dynamics, START, GOAL, guess, key(), planner=planner)


COUNTED = [
    "GD",
    "GRASP",
    "GRASP sync=CEM",
    "GRASP sync=None",
    "GRASP restart",
    "CEM",
    "ICEM",
    "MPPI",
    "LatCo",
    "MultiStart GRASP",
    "Hops",
    "MultiStart Hops",
    "Chain",
]


@pytest.mark.parametrize("name", COUNTED)
def test_metrics_count_the_model_evaluations_really_spent(name: str):
    model, forward, backward = counting()
    found = solve(PLANNERS[name], model)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert sum(backward) == found.metrics.model_vjps.sum()
    # Before the first iteration the starting guess is evaluated, where no iteration does so; after
    # the last one two plans. Several starts have a guess each, and at the end their present actions
    # are compared.
    planner = PLANNERS[name]
    starts, guess = getattr(planner, "num_starts", 0), int(not planner.evaluates_guess)
    assert sum(forward) == found.metrics.model_evals.sum() + T * (guess + 2 + 2 * starts)


RESTARTS = MultiStart(GD(learning_rate=0.1, iterations=2), num_starts=3)
PARTS = {
    "restarts as the sync": GRASP(iterations=2, sync=RESTARTS, sync_every=1),
    "a noisy start as the sync": GRASP(
        iterations=2, sync=GD(learning_rate=0.1, iterations=2, start_std=0.5), sync_every=2
    ),
    "LatCo as the sync": GRASP(
        iterations=2,
        sync=LatCo(learning_rate=0.1, iterations=2, init_states=Rollout()),
        sync_every=1,
    ),
    "a chain as the sync": GRASP(
        iterations=1,
        sync=Chain(CEM(num_samples=4, num_elites=2, iterations=2), RESTARTS),
        sync_every=1,
    ),
    "restarts before another": Chain(
        RESTARTS, GRASP(iterations=2, sync=None, init_states=Rollout())
    ),
    "a rollout to restart from": GRASP(
        iterations=2,
        sync=GD(learning_rate=0.1, iterations=2),
        sync_every=1,
        restart_states=Rollout(std=0.1),
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_planners_are_counted_too(name: str):
    model, forward, backward = counting()
    search = grasp_jax.start(
        grasp_jax.make_problem(model, START, GOAL, GUESS), key(), planner=PARTS[name]
    )
    jax.block_until_ready(search)
    jax.effects_barrier()
    forward.clear()
    backward.clear()
    search = grasp_jax.advance(search, PARTS[name].iterations)
    jax.block_until_ready(search)
    jax.effects_barrier()
    (rows,) = search.metrics
    assert sum(forward) == rows.model_evals.sum() and sum(backward) == rows.model_vjps.sum()


def test_the_counts_of_an_iteration_are_the_methods():
    gd, j, k = PLANNERS["GD"], 2, 3
    assert_close(solve(gd).metrics.model_evals, jnp.full(ITERATIONS, float(T)))
    cem = solve(PLANNERS["CEM"]).metrics
    assert jnp.all(cem.model_evals == 8 * T) and jnp.all(cem.model_vjps == 0)
    grasp = solve(PLANNERS["GRASP"]).metrics
    synced = jnp.arange(1, ITERATIONS + 1) % k == 0
    # A lifted iteration is one evaluation of the T terms; a sync adds J steps and a last rollout.
    assert_close(grasp.model_vjps, jnp.where(synced, T + j * T, T).astype(float))
    assert_close(grasp.model_evals, jnp.where(synced, T + j * T + T, T).astype(float))


@pytest.mark.parametrize(
    "sync",
    [GD(learning_rate=0.0, iterations=1, start_std=2.0), LatCo(learning_rate=2.0, iterations=1)],
)
def test_a_sync_never_hands_on_less_than_it_was_given(sync: Any):
    good = solve(GD(learning_rate=0.1, iterations=200))
    found = solve(GRASP(iterations=1, action_rate=0.0, sync=sync, sync_every=1), guess=good.actions)
    # Not only the best plan of the search, which the guess begins: what the sync itself came to.
    assert_close(found.metrics.cost[0], good.cost, 1e-6)
