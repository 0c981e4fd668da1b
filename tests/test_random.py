"""Keys of a search: plain arithmetic, and JAX's own numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grasp_jax._random import THREEFRY

KEY = jax.random.key(7)
OURS = jax.random.wrap_key_data(jax.random.key_data(KEY), impl=THREEFRY)


def words(key: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(key))


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_bits_are_those_of_jax(shape: tuple[int, ...], dtype: Any) -> None:
    expected = jax.random.bits(KEY, shape, dtype)
    np.testing.assert_array_equal(jax.random.bits(OURS, shape, dtype), expected)


def test_derived_keys_are_those_of_jax() -> None:
    for count in (5, (2, 3)):
        expected = words(jax.random.split(KEY, count))
        np.testing.assert_array_equal(words(jax.random.split(OURS, count)), expected)
    for number in (0, 9, 2**32 - 1):
        expected = words(jax.random.fold_in(KEY, number))
        np.testing.assert_array_equal(words(jax.random.fold_in(OURS, number)), expected)


def test_so_are_draws_under_vmap() -> None:
    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, 1), (3,))

    keys, ours = jax.random.split(KEY, 4), jax.random.split(OURS, 4)
    np.testing.assert_array_equal(jax.vmap(draw)(ours), jax.vmap(draw)(keys))


def test_numbers_of_64_bits_are_those_of_jax() -> None:
    with jax.enable_x64(True):
        expected = jax.random.bits(KEY, (3,), "uint64")
        np.testing.assert_array_equal(jax.random.bits(OURS, (3,), "uint64"), expected)


def test_a_draw_is_compiled_without_a_loop() -> None:
    """What makes it cheap to compile: JAX's own is a loop of rounds on a CPU."""

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (120,))

    def loops(key: jax.Array) -> int:
        return jax.jit(draw).lower(key).compile().as_text().count(" while(")

    assert loops(OURS) == 0
    assert jnp.array_equal(draw(OURS), draw(KEY))
