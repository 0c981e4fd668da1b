"""CEM, iCEM and MPPI against restatements of one refit, and what sampling must never do."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import CEM, GRASP, ICEM, MPPI, Plan, White
from grasp_jax import search as searching
from tests import matrix
from tests.matrix import assert_close, key

T, A = 4, 2
START, GOAL = jnp.zeros(2), jnp.array([0.7, -0.4])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)
FLAT = grasp_jax.Objective(terminal_cost=lambda state, goal: jnp.zeros(()))


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.5 * jnp.sin(action)


def solve(planner: Any, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {"state": START, "goal": GOAL, "init_actions": GUESS, "key": key()}
    return grasp_jax.plan(step, **(arguments | changes), planner=planner)


def last(planner: Any, **changes: Any) -> Any:
    """The planner's own state after its last iteration."""
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
    }
    problem = grasp_jax.make_problem(**(arguments | changes))
    return matrix.searched(planner, problem)[1].inner


def costs(samples: np.ndarray) -> np.ndarray:
    """The cost of `[N, T, A]` samples in this additive world."""
    return np.sum((np.sum(0.5 * np.sin(samples), axis=1) - np.asarray(GOAL)) ** 2, axis=-1)


def first_samples(std: float, count: int) -> np.ndarray:
    """What the first iteration draws: `mean + std * ξ`, the mean itself first."""
    problem, planner = grasp_jax.make_problem(step, START, GOAL, GUESS), CEM(iterations=1)
    data = searching.initialize(problem, planner, key(), evaluate=False).key
    run_key = jax.random.wrap_key_data(data, impl="threefry2x32")
    iteration = jax.random.fold_in(run_key, 0)
    draws = jax.vmap(lambda n: White()(jax.random.fold_in(iteration, n), GUESS))(jnp.arange(count))
    return np.asarray((GUESS + std * draws).at[0].set(GUESS))


def test_one_cem_iteration_refits_to_the_elites():
    samples = first_samples(0.8, 40)
    elites = samples[np.argsort(costs(samples))[:5]]
    found, search = matrix.searched(
        CEM(num_samples=40, num_elites=5, iterations=1, std=0.8),
        grasp_jax.make_problem(step, START, GOAL, GUESS),
    )
    assert_close(search.inner.mean, elites.mean(0))
    assert_close(search.inner.std, elites.std(0))
    np.testing.assert_allclose(found.metrics.cost[0], costs(samples).min(), rtol=1e-4, atol=1e-7)
    floor = last(CEM(num_samples=40, num_elites=5, iterations=1, std=0.8, min_std=0.5))
    assert_close(floor.std, np.maximum(elites.std(0), 0.5))


def test_one_icem_iteration_refits_with_momentum_and_keeps_the_best():
    samples = first_samples(0.8, 40)
    elites = samples[np.argsort(costs(samples))[:5]]
    planner = ICEM(
        num_samples=40,
        num_elites=5,
        num_kept=0,
        iterations=1,
        std=0.8,
        momentum=0.25,
        noise=White(),
    )
    found = last(planner)
    assert_close(found.mean, 0.25 * GUESS + 0.75 * elites.mean(0))
    assert_close(found.std, 0.25 * 0.8 + 0.75 * elites.std(0))
    kept = last(dataclasses.replace(planner, num_kept=2)).kept
    assert kept.shape == (2, T, A)
    np.testing.assert_allclose(kept[0], elites[0], rtol=1e-5, atol=1e-6)


def test_icem_never_loses_its_best_sample():
    found = solve(ICEM(num_samples=8, num_elites=3, num_kept=2, iterations=12))
    assert jnp.all(jnp.diff(found.metrics.cost) <= 1e-7)
    lossy = solve(ICEM(num_samples=8, num_elites=3, num_kept=0, iterations=12))
    assert jnp.any(jnp.diff(lossy.metrics.cost) > 1e-4)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_one_mppi_iteration_is_the_softmax_average(temperature: float):
    samples = first_samples(0.8, 40)
    excess = costs(samples) - costs(samples).min()
    weights = np.exp(-excess / (temperature * np.sqrt(np.mean(excess**2))))
    mean = np.einsum("n,nta->ta", weights / weights.sum(), samples)
    found = last(MPPI(num_samples=40, iterations=1, std=0.8, temperature=temperature))
    assert_close(found.mean, mean, 1e-4)


def test_mppi_at_zero_temperature_follows_the_best_sample():
    samples = first_samples(0.8, 40)
    found = last(MPPI(num_samples=40, iterations=1, std=0.8, temperature=0.0))
    assert_close(found.mean, samples[np.argmin(costs(samples))], 1e-4)


def test_mppi_does_not_depend_on_the_units_of_the_objective():
    large = grasp_jax.Objective(terminal_cost=lambda s, g: 1e4 * jnp.sum((s - g) ** 2))
    planner = MPPI(num_samples=40, iterations=1)
    assert_close(last(planner).mean, last(planner, objective=large).mean, 1e-4)


def test_deviations_may_differ_between_action_dimensions():
    found = last(CEM(num_samples=40, num_elites=5, iterations=1, std=jnp.array([0.0, 1.0])))
    assert_close(found.mean[:, 0], GUESS[:, 0], 1e-6)
    assert jnp.abs(found.mean[:, 1] - GUESS[:, 1]).max() > 0.05


@pytest.mark.parametrize(
    "planner",
    [
        CEM(num_samples=40, num_elites=30, iterations=4),
        ICEM(num_samples=40, num_elites=30, num_kept=5, iterations=4),
        MPPI(num_samples=40, iterations=4, temperature=100.0),
        GRASP(iterations=4, sync=CEM(num_samples=40, num_elites=30, iterations=2), sync_every=2),
    ],
    ids=lambda p: type(p).__name__,
)
def test_means_of_samples_on_a_bound_do_not_round_past_it(planner: Any):
    """Bug: 30 elites, all on a bound of 0.7, had a mean of 0.70000005."""
    for high in (0.7, 0.3, 0.9, 1.1):
        problem = grasp_jax.make_problem(
            step, START, GOAL + 100, jnp.full((T, A), high), bounds=(-high, high)
        )
        still = dataclasses.replace(planner, std=0.0) if hasattr(planner, "std") else planner
        found, search = matrix.searched(still, problem)
        present = planner.actions(problem, search.inner)
        assert jnp.all(found.actions <= jnp.float32(high))
        assert jnp.all(present <= jnp.float32(high)), present - jnp.float32(high)


def test_a_sample_depends_on_its_number_but_not_on_how_many_there_are():
    few, many = (
        last(CEM(num_samples=8, num_elites=8, iterations=1)),
        last(CEM(num_samples=9, num_elites=9, iterations=1)),
    )
    assert_close(9 * many.mean - 8 * few.mean, first_samples(1.0, 9)[8], 1e-4)


def test_one_huge_finite_sample_is_as_harmless_as_one_of_nan():
    def world(poison: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
        # Beyond the cliff the model diverges to large numbers that are still finite.
        return jnp.where(action[0] > 0.9, poison, state + 0.3 * action)

    found = {}
    for poison in (1e6, jnp.nan):
        arguments = (jnp.zeros(2), jnp.array([0.8, -0.5]), jnp.zeros((4, 2)), jax.random.key(0))
        planner = MPPI(num_samples=64, iterations=30, std=0.5, temperature=0.1)
        model = jax.tree_util.Partial(world, jnp.asarray(poison))
        found[str(poison)] = grasp_jax.plan(model, *arguments, planner=planner).cost
    assert found["1000000.0"] < 1.5 * found["nan"] + 1e-3


def test_half_precision_has_the_range_and_the_digits_that_a_refit_needs():
    goal, guess = jnp.array([900.0, -700.0]), jnp.zeros((2, A), jnp.float16)
    wide, search = matrix.searched(
        CEM(num_samples=64, num_elites=16, iterations=8, std=400.0),
        grasp_jax.make_problem(lambda s, a: s + a, START, goal, guess, bounds=(-512.0, 512.0)),
    )
    # The square of a deviation of 400 is beyond the largest half.
    assert jnp.isfinite(search.inner.std).all() and wide.cost < 1e3
    for planner in (
        CEM(num_samples=64, num_elites=30, iterations=30, std=0.01),
        ICEM(num_samples=64, num_elites=30, num_kept=5, iterations=30, std=0.01),
        MPPI(num_samples=64, iterations=30, std=0.01),
    ):
        guess = jnp.full((2, A), 5.0, jnp.bfloat16)
        mean = last(planner, dynamics=lambda s, a: s, init_actions=guess, objective=FLAT).mean
        # Rounded shares that do not sum to one would push it away from zero at every refit.
        assert jnp.abs(mean.astype(jnp.float32) - 5.0).max() < 0.1
