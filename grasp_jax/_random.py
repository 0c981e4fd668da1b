"""Threefry as plain arithmetic: the numbers of JAX's own keys, for less to compile.

On a CPU JAX compiles every draw, and every key derived from another, as a loop of its own of about
ten kernels: a third of what a search compiles beside its model. The same twenty rounds written out
are fused into whatever uses them. The generator is Threefry-2x32 with 20 rounds (Salmon et al.,
2011, "Parallel random numbers: as easy as 1, 2, 3"); numbers depend on the key and their place
alone, as with `jax_threefry_partitionable`, JAX's default.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extend

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_WORDS = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}


def _hash(key: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Twenty rounds: a key `[2]` and counters of one shape to two words of that shape."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = high + keys[0], low + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            y = x ^ (y << np.uint32(rotation) | y >> np.uint32(32 - rotation))
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + np.uint32(block + 1)
    return x, y


def _words(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two words for each place of an array."""
    if math.prod(shape) >= 2**32:
        raise NotImplementedError(f"One draw has fewer than 2^32 numbers, got shape {shape}.")
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = np.uint32(math.prod(shape[axis + 1 :]))
        place = place + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return _hash(key, jnp.zeros_like(place), place)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_words(key, shape), axis=-1)


def _fold_in(key: jax.Array, data: jax.Array) -> jax.Array:
    low = jnp.asarray(data).astype(jnp.uint32)
    return jnp.stack(_hash(key, jnp.zeros_like(low), low))


def _bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    high, low = _words(key, shape)
    if bit_width == 64:
        return high.astype(jnp.uint64) << np.uint64(32) | low.astype(jnp.uint64)
    return (high ^ low).astype(_WORDS[bit_width])


THREEFRY = extend.define_prng_impl(
    key_shape=(2,),
    seed=extend.threefry_prng_impl.seed,
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="grasp_jax_threefry",
    tag="gjx",
)
"""For `jax.random.wrap_key_data(words, impl=THREEFRY)`."""
