"""MultiStart: searches side by side."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, Hops, MultiStart, White
from tests.matrix import assert_close, assert_same, key
from tests.planners.composing import (
    GOAL,
    GUESS,
    SGD,
    START,
    UNEVALUATED,
    T,
    bumpy,
    problem,
    searched,
    solve,
    step,
)


def test_one_start_is_the_planner_itself():
    assert_close(solve(MultiStart(SGD, num_starts=1, start_std=5.0)).actions, solve(SGD).actions)


def test_starts_without_noise_are_alike_for_a_deterministic_planner():
    search = searched(MultiStart(SGD, num_starts=3))[1].inner
    assert_close(search.best_cost, jnp.broadcast_to(search.best_cost[0], (3,)))


def test_the_first_start_is_the_guess_and_the_others_are_noisy():
    planner = MultiStart(SGD, num_starts=4, start_std=0.5, noise=White())
    search = jax.jit(planner.init)(problem(), key())
    assert_same(search.best_actions[0], GUESS)
    noise = search.best_actions[1:] - GUESS
    assert 0.2 < jnp.std(noise) < 1.0
    assert jnp.abs(noise[0] - noise[1]).max() > 0.05


def test_the_best_start_wins():
    objective = grasp_jax.Objective(terminal_cost=bumpy)
    found, search = searched(
        MultiStart(GD(learning_rate=0.03, iterations=20), num_starts=6, start_std=0.7),
        objective=objective,
    )
    assert found.cost <= search.inner.best_cost.min() + 1e-6
    assert (
        found.cost < solve(GD(learning_rate=0.03, iterations=20), objective=objective).cost - 1e-3
    )
    assert_close(found.metrics.model_evals, jnp.full(20, 6.0 * T))


def test_virtual_states_are_those_of_the_best_start():
    planner = MultiStart(GRASP(iterations=4, sync=SGD, sync_every=2, state_std=0.5), num_starts=3)
    found, search = searched(planner)
    best = int(jnp.argmin(search.inner.best_cost))
    # The stored states end with the pinned s_T.
    assert_same(found.virtual_states, search.inner.inner.states[best, :-1])


NOISY = Hops(planner=SGD, iterations=6, std=0.3)


def searches(planner: MultiStart, iterations: int) -> Any:
    search = grasp_jax.start(problem(), key(), planner=planner)
    return grasp_jax.advance(search, iterations).state.inner


def test_a_resampling_replaces_the_worse_half_by_the_better_half():
    apart = searches(MultiStart(NOISY, num_starts=5, start_std=0.7), 2)
    mixed = searches(MultiStart(NOISY, num_starts=5, start_std=0.7, resample_every=2), 2)
    better = jnp.sort(apart.best_cost)[:2]
    assert len(jnp.unique(apart.best_cost)) == 5
    # The middle one of five stays.
    kept = jnp.concatenate([jnp.sort(apart.best_cost)[:3], better])
    assert_close(jnp.sort(mixed.best_cost), jnp.sort(kept))
    assert_same(mixed.key, apart.key)  # keys stay where they are
    best, worst = jnp.argmin(apart.best_cost), jnp.argmax(apart.best_cost)
    copies = jnp.where(mixed.best_cost == mixed.best_cost.min())[0]
    assert best in copies and len(copies) == 2
    assert_same(mixed.inner[copies[0]], mixed.inner[copies[1]])
    assert mixed.best_cost[worst] < apart.best_cost[worst]


def test_a_resampling_before_any_evaluation_changes_nothing():
    grasp = GRASP(
        iterations=6, sync=SGD, sync_every=6, init_states=grasp_jax.ViaPoints(num_points=2, std=1.0)
    )
    apart = searches(MultiStart(grasp, num_starts=4), 2)
    assert_same(searches(MultiStart(grasp, num_starts=4, resample_every=2), 2), apart)


def test_resamplings_are_the_same_in_a_batch_and_in_pieces():
    planner = MultiStart(NOISY, num_starts=4, start_std=0.7, resample_every=2)
    goals = jnp.stack([GOAL, -GOAL])
    arguments = (step, jnp.stack([START, START]), goals, GUESS)
    together = grasp_jax.plan_batch(*arguments, key(), planner=planner)
    for i in range(2):
        alone = solve(planner, goal=goals[i], key=jax.random.fold_in(key(), i))
        assert_close(together.actions[i], alone.actions, 1e-4)
    search = grasp_jax.start(problem(), key(), planner=planner)
    pieces = grasp_jax.advance(grasp_jax.advance(search, 3), 3)
    assert_close(grasp_jax.read(pieces).cost, solve(planner).cost, 1e-4)


def test_copies_part_again_after_resampling():
    after = searches(MultiStart(NOISY, num_starts=4, start_std=0.7, resample_every=3), 4)
    assert len(jnp.unique(after.inner[:, 0, 0])) == 4


def test_copies_of_nested_searches_part_again():
    inner = MultiStart(NOISY, num_starts=2, start_std=0.7)
    after = searches(MultiStart(inner, num_starts=4, resample_every=2), 3).inner
    assert len(jnp.unique(after.inner[:, :, 0, 0])) == 8


def test_a_resampling_count_must_be_positive():
    with pytest.raises(ValueError, match=r"MultiStart\.resample_every must be at least 1"):
        solve(MultiStart(SGD, num_starts=3, resample_every=0))


def test_the_best_start_is_found_among_present_actions():
    planner = MultiStart(
        dataclasses.replace(UNEVALUATED, iterations=3), num_starts=6, start_std=1.5, noise=White()
    )
    found, search = searched(planner)
    present = search.inner.inner.actions
    costs = [jnp.sum((rolled(a)[-1] - GOAL) ** 2) for a in present]
    assert jnp.argmin(jnp.stack(costs)) != 0
    assert_close(found.cost, min(costs), 1e-5)


def rolled(actions: jax.Array) -> list[jax.Array]:
    states = [START]
    for action in actions:
        states.append(step(states[-1], action))
    return states
