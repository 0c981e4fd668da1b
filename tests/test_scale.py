"""One program whatever the horizon and the iterations; memory linear in time, or bounded."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import programs
from grasp_jax._frozen import Frozen
from grasp_jax._tree import is_number

SIZE, HIDDEN = 8, 512


def model(weights: tuple[jax.Array, jax.Array], state: jax.Array, action: jax.Array) -> jax.Array:
    """Hidden layers far wider than the state, whose memory `time_batch_size` is there to bound."""
    first, last = weights
    hidden = jnp.tanh(jnp.concatenate([state, action]) @ first)
    return state + jnp.tanh(jnp.sin(hidden) * hidden) @ last


def lowered(horizon: int, iterations: int = 10, **settings: Any) -> Any:
    weights = jnp.ones((SIZE + 2, HIDDEN)), jnp.ones((HIDDEN, SIZE))
    chosen = {"sync": grasp_jax.GD(learning_rate=0.1, iterations=3), **settings}
    planner = grasp_jax.GRASP(iterations=iterations, sync_every=5, **chosen)
    problem = grasp_jax.make_problem(
        jax.tree_util.Partial(model, weights),
        jnp.zeros(SIZE),
        jnp.ones(SIZE),
        jnp.zeros((horizon, 2)),
    )
    frozen, key = Frozen(planner, is_number), jax.random.key(0)
    return programs.solve.lower(problem, frozen, key, batch_size=None)


@functools.cache
def temporary(horizon: int, **settings: Any) -> int:
    return lowered(horizon, **settings).compile().memory_analysis().temp_size_in_bytes


def test_the_program_does_not_grow_with_horizon_or_iterations():
    def operations(*arguments: Any) -> int:
        return lowered(*arguments).as_text().count("\n")

    assert operations(8) == operations(128) == operations(8, 1000)


@pytest.mark.parametrize(
    "settings",
    [{}, {"sync": None}, pytest.param({"time_batch_size": 4}, marks=pytest.mark.slow)],
    ids=str,
)
def test_memory_grows_linearly_with_the_horizon(settings: dict[str, Any]):
    first, second, third = (temporary(horizon, **settings) for horizon in (32, 64, 128))
    assert third - second <= 2.2 * (second - first) + 4096
    # A few copies of the hidden layers and of the state per step, no more.
    assert third <= 128 * 4 * (8 * HIDDEN + 64 * SIZE)


def test_time_batch_sizes_bound_the_memory_of_lifted_iterations():
    whole = temporary(128, sync=None)
    chunked = temporary(128, sync=None, time_batch_size=4)
    assert chunked < 0.6 * whole


def test_recomputing_bounds_the_memory_of_a_serial_gradient():
    whole = temporary(128, sync=grasp_jax.GD(learning_rate=0.1, iterations=3), time_batch_size=4)
    bounded = temporary(
        128, sync=grasp_jax.GD(learning_rate=0.1, iterations=3, remat=True), time_batch_size=4
    )
    assert bounded < 0.6 * whole


def test_recomputing_changes_no_plan():
    keys = jax.random.split(jax.random.key(1))
    shapes = ((SIZE + 2, HIDDEN), (HIDDEN, SIZE))
    weights = tuple(0.1 * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))
    guess = jnp.full((6, 2), 0.1)
    problem = grasp_jax.make_problem(
        jax.tree_util.Partial(model, weights), jnp.full(SIZE, 0.3), jnp.ones(SIZE), guess
    )
    kept, again = (
        grasp_jax.solve(
            problem,
            jax.random.key(0),
            planner=grasp_jax.GD(learning_rate=0.1, iterations=5, remat=remat),
        )
        for remat in (False, True)
    )
    assert jnp.abs(kept.actions - guess).max() > 0.1
    assert jnp.allclose(kept.actions, again.actions, atol=1e-5)
