"""Chain: planners in turn, and planners inside planners."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, Chain, Hops, MultiStart, Plan
from tests.matrix import assert_close, key
from tests.planners.composing import (
    GOAL,
    SGD,
    START,
    UNEVALUATED,
    A,
    T,
    problem,
    searched,
    solve,
    step,
)


def test_a_chain_of_one_is_the_planner_itself():
    assert_close(solve(Chain(SGD)).actions, solve(SGD).actions, 1e-6)


def test_a_chain_hands_the_best_plan_on():
    # A second descent starts where the last step of the first led: here that is the best.
    first, search = searched(SGD)
    chain = solve(Chain(SGD, SGD))
    assert first.cost < search.best_cost
    again = solve(SGD, init_actions=first.actions)
    assert_close(chain.actions, again.actions, 1e-6)
    assert_close(chain.metrics.cost[4:], again.metrics.cost, 1e-6)


def test_each_planner_has_its_turn():
    chain = Chain(
        CEM(num_samples=8, num_elites=3, iterations=2),
        GD(learning_rate=0.1, iterations=3),
        GRASP(iterations=2, sync=None),
    )
    assert chain.iterations == 7
    metrics = solve(chain).metrics
    # A turn that begins rolls out what the planner before left behind.
    assert metrics.model_evals.tolist() == [8 * T] * 2 + [2 * T, T, T, 2 * T, T]
    assert metrics.model_vjps.tolist() == [0] * 2 + [T] * 5
    assert (metrics.dynamics_residual > 0).tolist() == [False] * 5 + [True] * 2


def test_the_last_planner_goes_on_past_its_own_count():
    planner = Chain(CEM(num_samples=8, num_elites=3, iterations=2), SGD)
    search = grasp_jax.start(problem(), key(), planner=planner)
    metrics = grasp_jax.read(grasp_jax.advance(search, 9)).metrics
    assert metrics.model_vjps.tolist() == [0] * 2 + [T] * 7


def test_a_later_grasp_lifts_from_the_plan_it_was_handed():
    # With frozen actions and no sync the second planner shows which actions it starts from.
    still = GRASP(iterations=1, action_rate=0.0, sync=None)
    _, search = searched(Chain(SGD, still))
    assert_close(search.inner.planners[1].actions, search.best_actions, 1e-6)


def test_a_planner_with_two_turns_is_two_equal_planners():
    planners = SGD, CEM(num_samples=8, num_elites=3, iterations=2)
    turns = (0, 1, 1, 0)
    found = solve(Chain(*planners, turns=turns))
    copies = solve(Chain(*(planners[i] for i in turns)))
    chex.assert_trees_all_close(found, copies, rtol=1e-6, atol=1e-7)


def test_a_planner_with_two_turns_stands_once_in_the_program():
    def slopes(chain: Chain) -> int:
        return str(jax.make_jaxpr(lambda state: solve(chain, state=state).cost)(START)).count("cos")

    sampler = CEM(num_samples=8, num_elites=3, iterations=2)
    assert slopes(Chain(SGD, sampler, turns=(0, 1, 0))) == slopes(Chain(SGD, sampler))
    assert slopes(Chain(SGD, sampler, SGD)) > slopes(Chain(SGD, sampler))


SOLVES = GD(learning_rate=0.1, iterations=60)


def test_a_fallback_is_not_needed_where_all_is_solved():
    chain = Chain(SOLVES, CEM(num_samples=8, num_elites=3, iterations=2), SGD, fallbacks=(1,))
    found, alone = solve(chain), solve(Chain(SOLVES, SGD))
    assert alone.cost < 1e-3 * solve(GD(learning_rate=0.0, iterations=1)).cost
    assert_close(found.actions, alone.actions, 1e-6)
    # Its first turn rolls out what the planner before it left, and nothing more.
    assert found.metrics.model_evals[60:62].tolist() == [T, 0]
    assert found.metrics.model_vjps[60:62].tolist() == [0, 0]


def in_the_box(worst: jax.Array, state: jax.Array, goal: jax.Array) -> jax.Array:
    """A reward of 1 near the goal, and no slope to it."""
    return worst - (jnp.sum((state - goal) ** 2) < 0.25)


@pytest.mark.parametrize("worst", [1.0, 0.0, -1.0])
def test_fallbacks_do_not_depend_on_the_sign_of_the_costs(worst: float):
    """Bug: a guess whose cost is not positive passed for solved."""
    sampler = CEM(num_samples=64, num_elites=8, iterations=4, std=1.0)
    cost = jax.tree_util.Partial(in_the_box, jnp.asarray(worst))
    chain, objective = Chain(SGD, sampler, fallbacks=(1,)), grasp_jax.Objective(terminal_cost=cost)
    found = solve(chain, key=jax.random.key(1), objective=objective)
    assert_close(found.cost, worst - 1.0)
    assert found.status == grasp_jax.Status.OK


def test_a_guess_that_is_not_finite_is_not_solved():
    """Bug: whatever is at most a share of infinity passed for good enough."""

    def breaks(state: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(action).min() < 0.1, jnp.inf, step(state, action))

    sampler = CEM(num_samples=64, num_elites=8, iterations=4, std=1.0)
    still = GD(learning_rate=0.0, iterations=1)
    found = solve(
        Chain(still, sampler, fallbacks=(1,)), dynamics=breaks, init_actions=jnp.zeros((1, A))
    )
    assert jnp.isfinite(found.cost)


def test_a_fallback_that_goes_on_from_the_best_plan_knows_none_but_the_guess():
    """Bug: it went on from the best plan of the turns before it."""
    stays = Hops(planner=GD(learning_rate=0.0, iterations=1), iterations=2, std=None)
    metrics = solve(Chain(SGD, stays, fallbacks=(1,))).metrics
    assert_close(metrics.loss[4:], jnp.broadcast_to(metrics.loss[0], (2,)), 1e-6)


def test_a_fallback_begins_at_the_guess():
    little = dataclasses.replace(SGD, iterations=1)
    found, alone = solve(Chain(little, SGD, fallbacks=(1,))), solve(SGD)
    # The first row also holds what the planner before left, which is better than the guess.
    assert_close(found.metrics.cost[2:], alone.metrics.cost[1:], 1e-6)
    handed_on = solve(Chain(little, SGD))
    assert jnp.abs(handed_on.metrics.cost[2:] - alone.metrics.cost[1:]).max() > 1e-3


@pytest.mark.parametrize(("good_enough", "spent"), [(0.0, True), (1.0, False)])
def test_how_good_is_good_enough_may_be_traced(good_enough: float, spent: bool):
    def plan(share: jax.Array) -> Plan:
        return solve(Chain(SGD, SOLVES, fallbacks=(1,), good_enough=share))

    found = jax.jit(plan)(jnp.asarray(good_enough))
    assert bool(jnp.any(found.metrics.model_vjps[4:] > 0)) == spent


def test_a_batch_falls_back_goal_by_goal():
    planner = Chain(SOLVES, CEM(num_samples=8, num_elites=3, iterations=2), fallbacks=(1,))
    goals = jnp.stack([GOAL, jnp.array([30.0, 30.0])])  # the second lies out of reach
    rows = {"state": jnp.stack([START, START]), "goal": goals, "batched": True}
    both = solve(planner, **rows)
    assert (both.metrics.model_evals[:, -1] > 0).tolist() == [False, True]
    for i in range(2):
        one = solve(planner, key=jax.random.fold_in(jax.random.key(0), i), goal=goals[i])
        assert_close(both.actions[i], one.actions, 1e-5)


def test_a_chain_hands_on_what_was_never_rolled_out():
    alone, still = solve(UNEVALUATED), GD(learning_rate=0.0, iterations=2)
    guess = solve(GD(learning_rate=0.0, iterations=1)).cost
    assert alone.cost < 0.5 * guess
    chain = solve(Chain(UNEVALUATED, still))
    assert_close(chain.cost, alone.cost, 1e-6)
    assert_close(chain.metrics.best_cost[30], alone.cost, 1e-6)


def test_a_chain_is_read_in_the_middle_of_a_turn():
    planner = Chain(UNEVALUATED, GD(learning_rate=0.1, iterations=5))
    search = grasp_jax.advance(
        grasp_jax.start(problem(), key(), planner=planner),
        30,
    )
    assert_close(grasp_jax.read(search).cost, solve(UNEVALUATED).cost, 1e-6)


def test_virtual_states_are_those_of_a_planner_that_has_had_a_turn():
    first = GRASP(iterations=2, sync=None)
    search = grasp_jax.start(problem(), key(), planner=Chain(first, first))
    search = grasp_jax.advance(search, 1)
    states = [p.states[:-1] for p in search.state.inner.planners]
    assert jnp.abs(states[0] - states[1]).max() > 1e-3
    assert_close(grasp_jax.read(search).virtual_states, states[0])
    search = grasp_jax.advance(search, 2)
    assert_close(grasp_jax.read(search).virtual_states, search.state.inner.planners[1].states[:-1])


@pytest.mark.parametrize(
    "planner",
    [
        Chain(
            MultiStart(SGD, num_starts=2, start_std=0.3),
            Chain(SGD, CEM(num_samples=8, num_elites=3, iterations=2)),
        ),
        MultiStart(
            Chain(SGD, CEM(num_samples=8, num_elites=3, iterations=2)), num_starts=2, start_std=0.3
        ),
        GRASP(iterations=4, sync=MultiStart(SGD, num_starts=2, start_std=0.3), sync_every=2),
        GRASP(
            iterations=4,
            sync=Chain(CEM(num_samples=8, num_elites=3, iterations=1), SGD),
            sync_every=2,
        ),
        GRASP(iterations=4, sync=GRASP(iterations=2, sync=None), sync_every=2),
    ],
    ids=["chain of chain", "starts of chain", "starts in sync", "chain in sync", "grasp in sync"],
)
def test_planners_nest(planner: Any):
    found = solve(planner)
    guess = solve(dataclasses.replace(SGD, iterations=1)).metrics.cost[0]
    assert found.status == grasp_jax.Status.OK and found.cost < guess


def test_rates_inside_a_composition_can_be_swept_with_vmap():
    def cost(rate: jax.Array) -> jax.Array:
        return solve(
            Chain(
                MultiStart(GD(learning_rate=rate, iterations=2), num_starts=2),
                GD(learning_rate=0.1, iterations=2),
            )
        ).cost

    costs = jax.jit(jax.vmap(cost))(jnp.array([0.0, 0.2]))
    assert costs[1] < costs[0]
