"""Wrong batches, and searches resumed or advanced that are none."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    Context,
)
from tests.test_bad_input import GOAL, GUESS, KEY, START, call, windowed

STARTS, GOALS = jnp.zeros((3, 3)), jnp.ones((3, 3))
WRONG_BATCH: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "fewer goals": ({"goal": GOALS[:2]}, ValueError, ["goal", "3 goals", "float32[2, 3]"]),
    "one goal": ({"goal": GOAL[0]}, ValueError, ["goal", "leading axis", "broadcast_to"]),
    "fewer guesses": (
        {"actions": jnp.zeros((2, 4, 2))},
        ValueError,
        ["actions", "3 goals", "float32[2, 4, 2]"],
    ),
    "no goals": (
        {"state": STARTS[:0], "goal": GOALS[:0]},
        ValueError,
        ["state must hold at least one goal"],
    ),
    "chunk 0": ({"chunk_size": 0}, ValueError, ["chunk_size must be a positive int", "0"]),
    "chunk float": ({"chunk_size": 2.0}, ValueError, ["chunk_size must be a positive int", "2.0"]),
    "chunk bool": ({"chunk_size": True}, ValueError, ["chunk_size must be a positive int", "True"]),
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
    "the state of one search": (
        {"resume": lambda: call().state},
        ValueError,
        ["resume", "leading axis of 3 goals"],
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
    changes = {k: v() if k == "resume" else v for k, v in changes.items()}
    with pytest.raises(error) as caught:
        call(grasp_jax.plan_batch, **({"state": STARTS, "goal": GOALS} | changes))
    for word in words:
        assert word in str(caught.value)


RESUMED = {
    "another planner": {"planner": CEM(num_samples=8, num_elites=3, iterations=2)},
    "another horizon": {"actions": jnp.zeros((5, 2))},
    "another optimiser": {"planner": GD(learning_rate=0.1, iterations=2, optimizer=optax.sgd)},
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_search_of_something_else_cannot_be_resumed(case: str):
    other = call(**RESUMED[case]).state
    with pytest.raises(ValueError, match="resume must be the state of a search with the same"):
        call(resume=other)


def test_the_state_of_a_batch_does_not_resume_one_plan():
    batch = call(grasp_jax.plan_batch, state=STARTS, goal=GOALS).state
    with pytest.raises(ValueError, match=r"resume must be .*\[3, 4, 2\], expected") as caught:
        call(resume=batch)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("function", [grasp_jax.read, lambda s: grasp_jax.advance(s, 1)])
def test_only_searches_advance(function: Any):
    with pytest.raises(TypeError, match=r"search must be a Search made by .* resume=plan\.state"):
        function(call())


@pytest.mark.parametrize("wrong", [types.SimpleNamespace(), 3, "state"])
def test_resuming_from_no_search_at_all(wrong: Any):
    with pytest.raises((TypeError, ValueError), match="resume must be"):
        call(resume=wrong)


def test_resuming_from_a_plan_names_its_state():
    with pytest.raises((TypeError, ValueError), match=r"resume must be .*plan\.state"):
        call(resume=call())


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3"])
def test_a_search_advances_by_a_positive_count(count: Any):
    search = call(grasp_jax.start)
    with pytest.raises(ValueError, match="iterations must be a positive int, got"):
        grasp_jax.advance(search, count)
