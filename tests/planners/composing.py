"""A small smooth problem that the tests of planners made of planners share."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import grasp_jax
from grasp_jax import GD, GRASP, Plan, SearchState
from tests import matrix

T, A = 4, 2
START, GOAL = jnp.array([0.0, 0.2]), jnp.array([1.0, -0.5])
GUESS = jnp.linspace(-0.3, 0.3, T * A).reshape(T, A)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * jnp.tanh(action) + 0.1 * jnp.sin(state[::-1])


def bumpy(state: jax.Array, goal: jax.Array) -> jax.Array:
    """Many local minima."""
    gap = state - goal
    return jnp.sum(gap**2) + 0.5 * jnp.sum(jnp.sin(8 * gap) ** 2)


def problem(**changes: Any) -> grasp_jax.Problem:
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
    }
    return grasp_jax.make_problem(**(arguments | changes))


def solve(planner: Any, key: jax.Array | None = None, **changes: Any) -> Plan:
    key = jax.random.key(0) if key is None else key
    return grasp_jax.solve(problem(**changes), key, planner=planner)


def searched(planner: Any, **changes: Any) -> tuple[Plan, SearchState]:
    return matrix.searched(planner, problem(**changes))


SGD = GD(learning_rate=0.1, iterations=4, optimizer=optax.sgd)
UNEVALUATED = GRASP(iterations=30, action_rate=0.1, state_std=None, sync=None)
"""Evaluates no rollout: what it finds is in its present actions alone."""
