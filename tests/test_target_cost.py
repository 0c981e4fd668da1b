"""`target_cost`: a search that is good enough stops, alone and in a batch."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from tests import matrix
from tests.jaxprs import count_primitive

STOPPING = ["GD", "GRASP", "CEM", "Chain"]


def until(planner: Any, target: Any, problem: Any = None, **kwargs: Any) -> grasp_jax.Plan:
    planner = matrix.PLANNERS[planner] if isinstance(planner, str) else planner
    problem = matrix.problem() if problem is None else problem
    return grasp_jax.solve(
        problem, jax.random.key(0), planner=planner, target_cost=target, **kwargs
    )


@pytest.mark.parametrize("name", STOPPING)
def test_a_target_out_of_reach_changes_nothing(name: str) -> None:
    found, plain = until(name, -1.0), matrix.solved(name)
    chex.assert_trees_all_close(found, plain, rtol=1e-5, atol=1e-6)
    assert found.metrics.iterations_taken == matrix.PLANNERS[name].iterations


@pytest.mark.parametrize("name", ["GD", "CEM"])
def test_it_stops_at_the_first_iteration_that_is_good_enough(name: str) -> None:
    plain = matrix.solved(name)
    costs = np.asarray(plain.metrics.best_cost)
    step = int(np.flatnonzero(costs < costs[0])[0])
    found = until(name, float(costs[step]) * 1.00001)
    taken = int(found.metrics.iterations_taken)
    assert taken == step + 1 < len(costs)
    assert found.metrics.cost.shape == plain.metrics.cost.shape
    np.testing.assert_allclose(found.metrics.best_cost[:taken], costs[:taken], rtol=1e-5)
    np.testing.assert_array_equal(
        found.metrics.best_cost[taken:], found.metrics.best_cost[taken - 1]
    )
    assert not np.any(found.metrics.evaluated[taken:])
    assert found.cost <= costs[step] * 1.0001


def test_a_guess_that_is_good_enough_is_the_plan() -> None:
    found = until("GD", 1e6)
    assert found.metrics.iterations_taken == 0
    np.testing.assert_allclose(found.actions, np.clip(matrix.ACTIONS, *matrix.BOUNDS))


def test_a_batch_goes_on_until_its_last_goal_is_there() -> None:
    problem = matrix.batch()
    plain = grasp_jax.solve(problem, jax.random.key(0), planner=matrix.PLANNERS["GD"])
    costs = np.asarray(plain.metrics.best_cost)
    step = 2
    target = float(costs[:, step].max()) * 1.00001
    found = until("GD", target, problem)
    assert found.metrics.iterations_taken.tolist() == [step + 1] * 3
    assert np.all(np.asarray(found.cost) <= target * 1.0001)
    # One goal at a time, each stops by itself.
    alone = until("GD", target, problem, goal_batch_size=1)
    first = [int(np.flatnonzero(row <= target)[0]) for row in costs]
    # The first iteration evaluates the guess, which is evaluated before any.
    assert alone.metrics.iterations_taken.tolist() == [i and i + 1 for i in first]
    assert min(first) < step


def test_in_a_batch_a_sync_stays_a_branch() -> None:
    def jaxpr(target: Any) -> Any:
        def plan(key: jax.Array) -> jax.Array:
            return grasp_jax.solve(
                matrix.batch(), key, planner=matrix.PLANNERS["GRASP"], target_cost=target
            ).actions

        return jax.make_jaxpr(plan)(jax.random.key(0))

    assert count_primitive(jaxpr(0.1), "cond") == count_primitive(jaxpr(None), "cond") > 0


def test_a_new_target_compiles_nothing() -> None:
    until("GD", 0.5)
    count = len(matrix.traces)
    until("GD", 0.4)
    until("GD", jnp.float32(0.3))
    assert len(matrix.traces) == count


def test_a_search_that_stalls_stops_after_its_patience() -> None:
    still = grasp_jax.GD(learning_rate=0.0, iterations=9)
    found = grasp_jax.solve(matrix.problem(), jax.random.key(0), planner=still, patience=4)
    assert found.metrics.iterations_taken == 4
    assert found.metrics.cost.shape == (9,)


def test_iterations_that_a_chain_skipped_on_its_way_were_taken() -> None:
    """A fallback with nothing to do spends nothing, and the search went past it."""
    first = grasp_jax.GD(learning_rate=0.1, iterations=3)
    never = grasp_jax.GD(learning_rate=0.1, iterations=5)
    chain = grasp_jax.Chain(first, never, turns=(0, 1, 0), fallbacks=(1,), good_enough=1.0)
    metrics = grasp_jax.solve(matrix.problem(), jax.random.key(0), planner=chain).metrics
    assert (metrics.model_vjps[4:8] == 0).all() and metrics.model_vjps[-1] > 0
    assert metrics.iterations_taken == len(metrics.cost)


@pytest.mark.parametrize("name", ["GD", "Chain"])
def test_patience_with_a_search_that_gets_better_changes_nothing(name: str) -> None:
    planner = matrix.PLANNERS[name]
    found = grasp_jax.solve(matrix.problem(), jax.random.key(0), planner=planner, patience=50)
    chex.assert_trees_all_close(found, matrix.solved(name), rtol=1e-5, atol=1e-6)


def test_a_batch_waits_for_the_last_that_gets_better() -> None:
    """The rate of each goal is its own: the first stands still, the second moves."""

    def moved(state: Any, action: jax.Array) -> jax.Array:
        return state + jnp.where(state[1] > 0, 1.0, 0.0) * jnp.array([action[0], 0.0])

    found = grasp_jax.plan_batch(
        moved,
        jnp.array([[0.0, 0.0], [0.0, 1.0]]),
        jnp.array([[1.0, 0.0], [1.0, 1.0]]),
        jnp.zeros((2, 1)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.01, iterations=12),
        patience=3,
    )
    assert found.metrics.iterations_taken.tolist() == [12, 12]


@pytest.mark.parametrize("patience", [0, -1])
def test_patience_is_at_least_one(patience: int) -> None:
    with pytest.raises(ValueError, match="patience must be at least 1"):
        grasp_jax.solve(matrix.problem(), jax.random.key(0), patience=patience)


@pytest.mark.parametrize("target", ["low", True, np.ones(3), None.__class__])
def test_no_number_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="target_cost must be one number"):
        until("GD", target)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="target_cost must be a number"):
        until("GD", float("nan"))
