"""Frozen pytrees: what is traced, what is structure, and what tells two structures apart."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import Colored, AR1
from grasp_jax._tree import freeze, is_number


def test_frozen_trees_thaw_to_what_they_were() -> None:
    tree = {"a": jnp.ones(2), "b": (np.tanh, "name", None), "c": [True, 3]}
    thawed = freeze(tree, "tree").thaw()
    assert jax.tree.structure(thawed) == jax.tree.structure(tree)
    assert thawed["b"] == tree["b"] and thawed["c"] == tree["c"]


def test_numbers_of_planners_are_traced_and_switches_are_not() -> None:
    frozen = freeze([1, 2.5, True, "x"], "settings", is_number)
    assert frozen.leaves == [1, 2.5]


def test_an_unhashable_part_is_named() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="model: every leaf that is not an array must be hashable"):
        freeze({"x": Odd()}, "model")


def test_types_with_equal_fields_never_share_a_program() -> None:
    """JAX 0.10 compares the structures of these two noises equal; a plan mixed them up once."""
    correlated, colored = freeze(AR1(rho=0.5), "a", is_number), freeze(Colored(exponent=0.5), "b")
    assert correlated.static != colored.static

    def plan(noise: grasp_jax.White | AR1 | Colored) -> np.ndarray:
        planner = grasp_jax.MPPI(num_samples=8, iterations=2, noise=noise)
        args = (jnp.zeros(2), jnp.ones(2), jnp.zeros((6, 2)), jax.random.key(0))
        return np.asarray(grasp_jax.plan(lambda s, a: s + a, *args, planner=planner).actions)

    first = plan(AR1(rho=0.5))
    second = plan(Colored(exponent=0.5))
    jax.clear_caches()
    np.testing.assert_array_equal(second, plan(Colored(exponent=0.5)))
    assert np.any(first != second)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mode:
    mode: object

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + action if repr(self.mode) in ("True", "0.0") else state - action


@pytest.mark.parametrize("pair", [(1, True), (-0.0, 0.0)], ids=str)
def test_equal_numbers_of_different_kinds_never_share_a_program(pair: tuple[Any, Any]) -> None:
    def moved(mode: object) -> float:
        arguments = (jnp.zeros(1), jnp.ones(1), jnp.zeros((2, 1)), jax.random.key(0))
        planner = grasp_jax.GD(learning_rate=0.1, iterations=2)
        return float(grasp_jax.plan(Mode(mode), *arguments, planner=planner).actions[0, 0])

    assert moved(pair[0]) < 0 < moved(pair[1])
