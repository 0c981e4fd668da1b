"""Bounds hold for any planner, resumed or not, in every dtype; those that cannot work are told."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD
from grasp_jax import problem as problem_module

PROBLEM = (jnp.zeros(2), jnp.full(2, 9.0), jnp.zeros((3, 2)), jax.random.key(0))


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.1 * action


class Unbounded:
    """A caller's own planner that forgets to clip."""

    iterations = 3

    def init(self, problem: grasp_jax.Problem, key: jax.Array) -> jax.Array:
        return problem.actions

    def step(self, problem: grasp_jax.Problem, state: jax.Array, progress: Any) -> Any:
        actions = state + 5.0
        cost = grasp_jax.rollout_cost(problem, actions)
        return actions, grasp_jax.proposal(actions, cost, jnp.isfinite(cost), problem.horizon)

    def actions(self, problem: grasp_jax.Problem, state: jax.Array) -> jax.Array:
        return state


def test_a_planner_that_does_not_clip_stays_inside():
    found = grasp_jax.plan(step, *PROBLEM, planner=Unbounded(), bounds=(-0.5, 0.5))
    assert jnp.all(found.actions == 0.5)
    np.testing.assert_allclose(found.states[-1], 0.15, rtol=1e-5)


def test_a_resumed_search_stays_inside_new_bounds():
    planner = GD(learning_rate=0.5, iterations=8)
    wide = grasp_jax.plan(step, *PROBLEM, planner=planner)
    assert jnp.abs(wide.actions).max() > 1
    narrow = {"planner": planner, "bounds": (-0.1, 0.1), "resume": wide.state}
    assert jnp.abs(grasp_jax.plan(step, *PROBLEM, **narrow).actions).max() <= 0.1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("bound", [0.3, 0.1, 1.0])
def test_bounds_are_rounded_inwards(dtype: Any, bound: float):
    state, goal, actions, key = PROBLEM
    found = grasp_jax.plan(
        step,
        state,
        goal * jnp.array([1, -1]),
        actions.astype(dtype),
        key,
        planner=GD(learning_rate=0.5, iterations=4),
        bounds=(-bound, bound),
    )
    largest = jnp.abs(found.actions.astype(jnp.float32)).max()
    assert 0.99 * bound <= largest <= jnp.float32(bound)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("whole", [3, 259, 2051, 100_000, 2**40])
def test_whole_numbers_are_bounds_like_others(dtype: Any, whole: int):
    # In half precision 259 and 2051 round outwards; 2**40 is none of int32; 100000 none of float16.
    actions = PROBLEM[2].astype(dtype)
    with np.errstate(all="raise"):
        for bound in (whole, np.full(2, whole), [whole, float(whole)]):
            low, high = problem_module._bounds((-whole, bound), actions)
            assert low.dtype == high.dtype == dtype
            exact = np.asarray(high).astype(np.float64)
            assert (exact <= whole).all() and (exact >= min(whole, 65504) * 0.99).all()
            assert np.asarray(low).astype(np.float64).tolist() == (-exact).tolist()


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([(-1.0, 1.0), (-1.0, 1.0)], "not a pair per dimension"),
        ((0.5, 0.5), "no action can move"),
        ((jnp.inf, jnp.inf), "low=-jnp.inf"),
        ((-np.inf, np.array([1.0, -np.inf])), "no action lies between"),
    ],
)
def test_bounds_that_leave_no_choice_are_told(bounds: Any, message: str):
    with pytest.raises(ValueError, match=message):
        grasp_jax.plan(step, *PROBLEM, planner=GD(learning_rate=0.1, iterations=2), bounds=bounds)
