"""Rules that stand beside their fields: what settings may be."""

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grasp_jax._fields import as_count, check_fields, check_values, count, number, value_at

ACTIONS = jax.ShapeDtypeStruct((4, 2), jnp.float32)
STATES = {
    "x": jax.ShapeDtypeStruct((4, 3), jnp.float32),
    "y": jax.ShapeDtypeStruct((4,), "float32"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """One field for every kind of number."""

    plain: Any = number(0.1, low=0, high=1)
    scheduled: Any = number(0.1, schedule=True)
    optional: Any = number(None)
    of_actions: Any = number(0.1, like="actions")
    of_state: Any = number(0.1, like="state")
    of_leaves: Any = number(0.1, like="leaves")
    steps: Any = count(3)
    every: Any = count(None, least=0)

    def __post_init__(self) -> None:
        check_values(self)


GOOD: list[dict[str, Any]] = [
    {},
    {"plain": 0},
    {"plain": np.float64(0.5)},
    {"plain": jnp.asarray(0.5)},
    {"scheduled": lambda i: 0.1 * i},
    {"optional": 3.0},
    {"of_actions": np.ones(2)},
    {"of_actions": np.ones((4, 1))},
    {"of_state": {"x": 0.1, "y": jnp.ones(())}},
    {"of_leaves": {"x": np.ones(3), "y": 0.1}},
    {"of_leaves": {"x": np.ones((4, 1)), "y": np.ones(4)}},
    {"steps": np.uint8(7), "every": 0},
    {"every": jnp.asarray(2)},
]


@pytest.mark.parametrize("settings", GOOD, ids=lambda x: next(iter(x), "none"))
def test_settings_that_fit(settings: dict[str, Any]):
    check_fields(Settings(**settings), ACTIONS, STATES)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "below": ({"plain": -0.1}, "Settings.plain must be at least 0 and below 1, got -0.1"),
    "at the upper end": ({"plain": 1.0}, "Settings.plain must be at least 0 and below 1"),
    "NaN": ({"plain": np.nan}, "Settings.plain must be at least 0"),
    "inside a pytree": ({"plain": {"x": -1.0}}, "Settings.plain must be at least 0"),
    "a schedule where none will do": ({"plain": lambda i: 0.1}, "Settings.plain must be a number"),
    "an array where a number is asked": ({"plain": np.full(2, 0.5)}, "array of shape [2]"),
    "None where it will not do": ({"plain": None}, "Settings.plain must be a number, got NoneType"),
    "a switch for a number": ({"plain": True}, "Settings.plain must be a number, got bool"),
    "another schedule": ({"scheduled": lambda i: jnp.ones(2)}, "array of shape [2]"),
    "a schedule of nothing": ({"scheduled": lambda: 0.1}, "which fails when it is called with"),
    "another size": ({"of_actions": np.ones(3)}, "broadcasts to [4, 2], got an array of shape [3]"),
    "larger than the actions": ({"of_actions": np.ones((5, 4, 2))}, "shape [5, 4, 2]"),
    "another structure": (
        {"of_state": {"x": 0.1}},
        "like the state ({x: number, y: number}), got dict",
    ),
    "arrays for numbers": ({"of_state": {"x": np.ones(3), "y": 0.1}}, "got dict: {x: float64[3]"),
    "leaves that do not fit": ({"of_leaves": {"x": np.ones(2), "y": 0.1}}, "to its leaves"),
    "zero steps": ({"steps": 0}, "Settings.steps must be at least 1, got 0"),
    "no steps": ({"steps": None}, "Settings.steps must be an int"),
    "half a step": (
        {"steps": 1.5},
        "Settings.steps must be an int (it shapes the compiled program",
    ),
    "a whole float": ({"steps": 2.0}, "Settings.steps must be an int"),
    "a bool for a count": ({"steps": np.True_}, "Settings.steps must be an int"),
    "below its least": ({"every": -1}, "Settings.every must be at least 0, got -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_settings_that_do_not_fit_are_named(case: str):
    settings, message = BAD[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        check_fields(Settings(**settings), ACTIONS, STATES)
    assert message in str(caught.value)


def test_numbers_inside_a_program_are_not_read():
    jax.jit(lambda x: Settings(plain=x).plain)(-1.0)
    with pytest.raises(TypeError, match=r"Settings\.steps must be an int"):
        jax.jit(lambda x: Settings(steps=x).plain)(2)


@hypothesis.given(st.integers(1, 2**31 - 1), st.sampled_from([int, np.int32, np.int64, np.uint32]))
def test_integers_of_every_kind_are_counts(value: int, kind: Any):
    assert as_count(kind(value), "n") == value and type(as_count(kind(value), "n")) is int


def test_a_schedule_is_read_at_an_iteration():
    assert value_at(0.5, 3) == 0.5
    found = jnp.asarray(value_at(lambda i: 2 * i, 3))
    assert found == 6 and found.dtype == jnp.int32
