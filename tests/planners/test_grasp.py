"""GRASP: the paper's updates restated, what a sync does, and what an iteration costs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, Plan, StraightLine
from grasp_jax import search as searching
from tests import matrix
from tests.jaxprs import count_primitive, equations
from tests.matrix import PLANNERS, assert_close, assert_same, key

T, D, A = 4, 2, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
ACTIONS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def rollout(actions: jax.Array) -> jax.Array:
    state = START
    for action in actions:
        state = step(state, action)
    return state


def distance(actions: jax.Array) -> jax.Array:
    return jnp.sum((rollout(actions) - GOAL) ** 2)


def solve(planner: Any, dynamics: Any = step, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "state": START,
        "goal": GOAL,
        "init_actions": ACTIONS,
        "key": key(),
    }
    return grasp_jax.plan(dynamics, **(arguments | changes), planner=planner)


def last(planner: Any, **changes: Any) -> Any:
    """The planner's own state after its last iteration."""
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": ACTIONS,
    }
    problem = grasp_jax.make_problem(**(arguments | changes))
    return matrix.searched(planner, problem)[1].inner


PLAIN = GRASP(
    iterations=4,
    state_rate=0.1,
    action_rate=0.2,
    goal_weight=0.5,
    state_std=0.0,
    optimizer=optax.sgd,
    sync=None,
)


def test_the_papers_updates_equal_a_hand_written_loop():
    states = jnp.stack([START + t / T * (GOAL - START) for t in range(1, T)])
    actions = ACTIONS

    def loss(s: jax.Array, a: jax.Array) -> jax.Array:
        inputs = jax.lax.stop_gradient(jnp.concatenate([START[None], s]))
        fits = jax.vmap(step)(inputs, a)
        following = jnp.concatenate([s, GOAL[None]])
        return jnp.sum((fits - following) ** 2) + 0.5 * jnp.sum((fits - GOAL) ** 2)

    slopes = jax.jit(jax.grad(loss, (0, 1)))
    for _ in range(4):
        slope_s, slope_a = slopes(states, actions)
        states, actions = states - 0.1 * slope_s, actions - 0.2 * slope_a
    search = last(PLAIN)
    assert_close(search.states[:-1], states)
    assert_close(search.actions, actions)


def test_noise_moves_virtual_states_only():
    quiet = last(dataclasses.replace(PLAIN, iterations=1))
    noisy = last(dataclasses.replace(PLAIN, iterations=1, state_std=3.0))
    assert_close(noisy.actions, quiet.actions, 0)
    difference = noisy.states - quiet.states
    assert 1 < jnp.std(difference) < 6
    # Where nothing moves the actions, no noise reaches them.
    still = last(dataclasses.replace(PLAIN, action_rate=0.0, state_std=3.0))
    assert_close(still.actions, ACTIONS, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_sync_of_j_gradient_steps_takes_j_gradient_steps(count: int):
    """Bug: the last step of a sync was computed, never evaluated, and thrown away (J=1: all)."""
    planner = dataclasses.replace(
        PLAIN,
        iterations=2,
        action_rate=0.0,
        sync=GD(learning_rate=0.1, iterations=count, optimizer=optax.sgd),
        sync_every=2,
    )
    actions = ACTIONS
    for _ in range(count):
        actions = actions - 0.1 * jax.grad(distance)(actions)
    found, search = matrix.searched(planner, grasp_jax.make_problem(step, START, GOAL, ACTIONS))
    assert_close(search.inner.actions, actions)
    assert_close(found.metrics.cost[-1], distance(actions))


def test_the_sync_comes_every_k_iterations_and_leaves_virtual_states_alone():
    planner = dataclasses.replace(
        PLAIN,
        iterations=6,
        state_std=0.1,
        action_rate=0.0,
        sync=GD(learning_rate=0.1, iterations=2),
        sync_every=3,
    )
    found = solve(planner)
    assert found.metrics.evaluated.tolist() == [False, False, True] * 2
    # With frozen actions the states of the first period follow the same path with and without.
    first = dataclasses.replace(planner, iterations=3)
    without = dataclasses.replace(first, sync=None)
    assert_close(solve(first).virtual_states, solve(without).virtual_states, 1e-6)


def test_a_sync_starts_both_optimizers_anew():
    planner = GRASP(iterations=3, sync=GD(learning_rate=0.1, iterations=2), sync_every=3)
    search = last(planner)
    assert all(jnp.all(x == 0) for x in jax.tree.leaves(search.action_optimizer))
    assert all(jnp.all(x == 0) for x in jax.tree.leaves(search.state_optimizer))


def test_sync_noise_perturbs_the_start_of_the_sync():
    quiet = dataclasses.replace(
        PLAIN,
        iterations=1,
        action_rate=0.0,
        sync=GD(learning_rate=0.0, iterations=1, optimizer=optax.sgd),
        sync_every=1,
    )
    noisy = last(dataclasses.replace(quiet, sync_std=0.5)).actions
    assert 0.05 < jnp.std(noisy - ACTIONS) < 2
    assert_close(last(quiet).actions, ACTIONS, 0)


def test_schedules_are_functions_of_the_iteration():
    # A weight that is zero but in the third iteration equals no goal term before it.
    late = dataclasses.replace(PLAIN, goal_weight=lambda i: jnp.where(i == 2, 0.5, 0.0))
    none = dataclasses.replace(PLAIN, goal_weight=0.0)
    losses, base = solve(late).metrics.loss, solve(none).metrics.loss
    assert_close(losses[:2], base[:2])
    assert jnp.abs(losses[2] - base[2]) > 1e-3
    # Rates too: optax schedules count the updates.
    stop = dataclasses.replace(PLAIN, action_rate=optax.piecewise_constant_schedule(0.2, {1: 0.0}))
    once = dataclasses.replace(PLAIN, iterations=1)
    assert_close(last(stop).actions, last(once).actions)


def test_presets_are_what_their_sources_say():
    author, paper = GRASP(), GRASP.paper()
    assert (author.iterations, author.state_rate, author.action_rate) == (750, 0.1, 0.005)
    assert (author.state_std, author.sync_every) == (0.005, 50)
    assert author.sync == GD(learning_rate=0.05, iterations=10)
    assert paper.optimizer is optax.sgd and paper.sync_every == 100
    assert paper.init_states == StraightLine(std=0.01)


@pytest.mark.parametrize("stop", [True, False])
def test_the_lifted_phase_never_reads_the_state_derivative(stop: bool):
    @jax.custom_vjp
    def poisoned(state: jax.Array) -> jax.Array:
        return state

    poisoned.defvjp(lambda s: (s, None), lambda _, g: (jnp.full_like(g, jnp.nan),))

    def world(state: jax.Array, action: jax.Array) -> jax.Array:
        return step(poisoned(state), action)

    for sync in (None, CEM(num_samples=8, num_elites=3, iterations=2)):
        planner = dataclasses.replace(PLAIN, stop_state_gradient=stop, sync=sync, sync_every=2)
        clean, found = solve(planner), solve(planner, world)
        if stop:
            assert_close(found.metrics, clean.metrics)
            assert_close(found.actions, clean.actions)
            assert found.status == grasp_jax.Status.OK
        else:
            assert found.status == grasp_jax.Status.NON_FINITE


def branches_that_search(jaxpr: Any) -> int:
    """How many `cond` equations hold a loop (the sync's scan) inside."""
    conds = [e for e in equations(jaxpr) if e.primitive.name == "cond"]
    return sum(any(count_primitive(b, "scan") for b in e.params["branches"]) for e in conds)


@pytest.mark.parametrize("name", ["GRASP", "GRASP sync=CEM", "MultiStart GRASP", "Chain"])
def test_the_sync_stays_a_branch_under_vmap(name: str):
    goals = matrix.stacked(*matrix.GOALS)
    keys = jax.random.split(key(), 3)

    def mine(goals: Any, keys: Any) -> Plan:
        return jax.vmap(lambda g, k: matrix.solve(name, goal=g, key=k))(goals, keys)

    def batch(goals: Any, key: Any) -> Plan:
        problem = matrix.batch(goal=goals)
        return grasp_jax.solve(problem, key, planner=PLANNERS[name], goal_batch_size=2)

    expected = branches_that_search(
        jax.make_jaxpr(lambda g: matrix.solve(name, goal=g))(matrix.GOAL).jaxpr
    )
    assert expected >= 1
    assert branches_that_search(jax.make_jaxpr(mine)(goals, keys).jaxpr) == expected
    assert branches_that_search(jax.make_jaxpr(batch)(goals, key()).jaxpr) == expected


def test_a_batched_iteration_would_turn_the_branch_into_a_select():
    # The detector of the test above can fail.
    problem, planner = matrix.problem(), matrix.PLANNERS["GRASP"]
    state = searching.initialize(problem, planner, key())
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)

    def resumed(state: Any) -> Any:
        return searching.advance(problem, planner, state, 3)

    assert branches_that_search(jax.make_jaxpr(resumed)(state)) == 1
    assert branches_that_search(jax.make_jaxpr(jax.vmap(resumed))(states)) == 0


def test_a_schedule_of_a_rate_follows_the_iteration_across_syncs():
    # Rates fall to zero before the second period: from there on nothing moves any more.
    def fading(iteration: jax.Array) -> jax.Array:
        return jnp.where(iteration < 3, 0.1, 0.0)

    still = GD(learning_rate=0.0, iterations=1)
    planner = GRASP(
        iterations=6,
        state_rate=fading,
        action_rate=fading,
        state_std=None,
        sync=still,
        sync_every=3,
    )
    early = last(dataclasses.replace(planner, iterations=3))
    late = last(planner)
    assert_same(late.states, early.states)
    assert_same(late.actions, early.actions)
    moving = last(dataclasses.replace(planner, state_rate=0.1))
    assert jnp.abs(moving.states - late.states).max() > 0.05


def test_rates_and_noises_of_states_may_differ_between_leaves():
    def steps(planner: GRASP) -> Any:
        return matrix.searched(planner, matrix.problem())[1].inner.states

    still = GRASP(iterations=3, state_rate=0.0, state_std=None, sync=None)
    both = dataclasses.replace(still, state_rate=0.1)
    one = dataclasses.replace(still, state_rate={"position": 0.1, "memory": 0.0})
    faded = dataclasses.replace(still, state_rate=lambda i: {"position": 0.1, "memory": 0.0 * i})
    shaken = dataclasses.replace(still, state_std={"position": 0.0, "memory": 0.2})
    first, frozen = steps(both), steps(still)
    for planner in (one, faded):
        found = steps(planner)
        assert_same(found["memory"], frozen["memory"])
        assert jnp.abs(found["position"] - frozen["position"]).max() > 0.05
    assert jnp.abs(first["memory"] - frozen["memory"]).max() > 0.05
    assert_same(steps(shaken)["position"], frozen["position"])
    assert jnp.abs(steps(shaken)["memory"] - frozen["memory"]).max() > 0.05
    equal = dataclasses.replace(still, state_rate={"position": 0.1, "memory": 0.1})
    assert_close(steps(equal), first, 1e-6)
