"""Costs of states and of actions: their closed forms, in every precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grasp_jax import Objective, QuadraticControlCost, mean_squared_distance, squared_distance

STATE = {"x": jnp.array([1.0, 2.0]), "y": jnp.array([[3.0], [4.0], [5.0]])}
GOAL = {"x": jnp.zeros(2), "y": jnp.ones((3, 1))}


def test_the_squared_distance_sums_over_entries_and_leaves():
    assert squared_distance(STATE, GOAL) == 1 + 4 + (4 + 9 + 16)


def test_the_mean_squared_distance_takes_the_mean_within_a_leaf():
    np.testing.assert_allclose(mean_squared_distance(STATE, GOAL), 5 / 2 + 29 / 3, rtol=1e-6)
    empty = {"x": jnp.zeros((0,)), "y": STATE["y"]}
    np.testing.assert_allclose(mean_squared_distance(empty, {**GOAL, "x": empty["x"]}), 29 / 3)


@pytest.mark.parametrize("distance", [squared_distance, mean_squared_distance])
def test_half_precision_is_squared_in_float32(distance):
    # 400² is infinite in float16.
    found = distance(jnp.full(4, 400, jnp.float16), jnp.zeros(4, jnp.float16))
    assert found.dtype == jnp.float32 and found in (160_000, 640_000)


def test_a_control_cost_weighs_every_action_dimension():
    actions = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    assert QuadraticControlCost(0.5)(actions) == 7.5
    assert QuadraticControlCost(jnp.array([1.0, 2.0]))(actions) == 10 + 2 * 5
    slope = jax.grad(QuadraticControlCost(jnp.array([1.0, 2.0])))(actions)
    np.testing.assert_allclose(slope, 2 * jnp.array([1.0, 2.0]) * actions)


def test_weights_of_an_objective_are_its_leaves():
    objective = Objective(control_cost=QuadraticControlCost(0.5))
    assert [x for x in jax.tree.leaves(objective) if not callable(x)] == [0.5, 100.0]


def test_a_constraint_has_no_negative_price():
    with pytest.raises(ValueError, match=r"Objective\.constraint_weight must be at least 0"):
        Objective(constraint_weight=-1.0)
