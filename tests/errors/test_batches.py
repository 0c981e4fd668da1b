"""Wrong batches, and searches advanced that are none."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import Context
from tests.errors.test_input import GOAL, GUESS, KEY, PLANNER, START, call, make, windowed

STARTS, GOALS = jnp.zeros((3, 3)), jnp.ones((3, 3))
WRONG_BATCH: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "fewer goals": ({"goal": GOALS[:2]}, ValueError, ["goal", "3 goals", "float32[2, 3]"]),
    "one goal": ({"goal": GOAL[0]}, ValueError, ["goal", "leading axis", "broadcast_to"]),
    "fewer guesses": (
        {"init_actions": jnp.zeros((2, 4, 2))},
        ValueError,
        ["actions", "3 goals", "float32[2, 4, 2]"],
    ),
    "no goals": (
        {"state": STARTS[:0], "goal": GOALS[:0]},
        ValueError,
        ["state must hold at least one goal"],
    ),
    "chunk 0": ({"goal_batch_size": 0}, ValueError, ["goal_batch_size must be at least 1", "0"]),
    "chunk float": ({"goal_batch_size": 2.0}, TypeError, ["goal_batch_size must be an int", "2.0"]),
    "chunk bool": (
        {"goal_batch_size": True},
        TypeError,
        ["goal_batch_size must be an int", "bool"],
    ),
    "keys of another number": (
        {"key": jax.random.split(KEY, 2)},
        ValueError,
        ["key", "3 goals"],
    ),
    "keys of two axes": ({"key": jax.random.split(KEY, (3, 2))}, ValueError, ["key", "[3, 2]"]),
    "context of one goal": (
        {"dynamics": windowed, "context": Context(START[None], GUESS[:1])},
        ValueError,
        ["context", "3 goals", "float32[1, 3]"],
    ),
    "one state for many goals": (
        {"state": START},
        ValueError,
        ["state float32[3] has no axis of goals", "goal float32[3, 3] has 3", "broadcast_to"],
    ),
    "int seed": ({"key": 0}, TypeError, ["key must be a JAX random key", "int"]),
    "goals do not look like states": (
        {"goal": jnp.ones((3, 4))},
        ValueError,
        ["goal must look like state", "float32[4]"],
    ),
    "no state": ({"state": None}, ValueError, ["state"]),
}


@pytest.mark.parametrize("case", WRONG_BATCH)
def test_wrong_batches_are_told_too(case: str):
    changes, error, words = WRONG_BATCH[case]
    with pytest.raises(error) as caught:
        call(grasp_jax.plan_batch, **({"state": STARTS, "goal": GOALS} | changes))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("function", [grasp_jax.read, lambda s: grasp_jax.advance(s, 1)])
def test_only_searches_advance(function: Any):
    with pytest.raises(
        TypeError, match=r"search must be a Search made by grasp_jax.start, got Plan"
    ):
        function(call())


@functools.cache
def started() -> grasp_jax.Search:
    return grasp_jax.start(make(), KEY, planner=PLANNER)


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3"])
def test_a_search_advances_by_a_positive_count(count: Any):
    with pytest.raises((TypeError, ValueError), match=r"iterations must be (an int|at least 1)"):
        grasp_jax.advance(started(), count)
