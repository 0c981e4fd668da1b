"""Gaussian noise over time, unit variance at every step: white, autoregressive, coloured.

A noise is called as `noise(key, like)` with `like` of shape `[T, ...]` and returns the same shape
and dtype. With JAX's partitionable random bits (its default) a number depends on the key and its
place alone, so that row `t` of white noise depends neither on the horizon nor on sharding.

Models with stacked actions read `k` environment actions at once, `[T, k·A']`; `stacked=k` lets the
correlation run over the `k·T` environment steps.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._settings import Scalar, require_count, require_range, static
from grasp_jax._tree import PyTree

Noise = Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class White:
    """Independent at every step."""

    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` independent standard normal numbers."""
        return jax.random.normal(key, like.shape, like.dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Correlated:
    """First-order autoregressive: `x_t = ρ x_{t-1} + sqrt(1-ρ²) ξ_t`.

    Attributes:
      correlation: `0 <= ρ < 1`, between one (environment) step and the next; traced.
      stacked: Environment actions per model action.
    """

    correlation: Scalar = 0.9
    stacked: int = static(1)

    def __post_init__(self) -> None:
        require_range(self, "correlation", 0, 1)
        require_count(self, "stacked")

    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` correlated standard normal numbers."""
        white = _unstack(White()(key, like), self.stacked)
        steps = jnp.arange(white.shape[0])
        rho = jnp.asarray(self.correlation, like.dtype)
        gap = steps[:, None] - steps[None, :]
        # Row 0 starts in the stationary distribution; later rows add innovations.
        gain = jnp.where(steps == 0, jnp.ones_like(rho), jnp.sqrt(1 - rho**2))
        mix = jnp.where(gap >= 0, rho ** jnp.maximum(gap, 0).astype(like.dtype), 0) * gain
        return _restack(jnp.tensordot(mix, white, axes=1), like)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Colored:
    """Power-law noise, spectrum `1/f^β`, as in iCEM (Pinneri et al. 2020).

    Attributes:
      exponent: `β >= 0`: 0 is white, 1 pink, 2 red; traced.
      stacked: Environment actions per model action.
    """

    exponent: Scalar = 2.0
    stacked: int = static(1)

    def __post_init__(self) -> None:
        require_range(self, "exponent", 0)
        require_count(self, "stacked")

    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` power-law numbers, scaled to unit variance on average over time.

        Computed by a matrix of `(k·T)²` numbers, as `Correlated` is.
        """
        white = _unstack(White()(key, like), self.stacked)
        steps = white.shape[0]
        frequency = np.arange(steps // 2 + 1)
        exponent = jnp.asarray(self.exponent, jnp.float32)
        scale = jnp.maximum(frequency / steps, 1 / steps) ** (-exponent / 2)
        # How often each frequency of the half spectrum occurs in the full one.
        count = np.where((frequency == 0) | (2 * frequency == steps), 1.0, 2.0)
        scale = scale / jnp.sqrt(jnp.sum(count * scale**2) / steps)
        # A filter is a product with a circulant matrix; XLA's FFT on CPU fails on a sharded batch.
        waves = np.cos(2 * np.pi * np.outer(np.arange(steps), frequency) / steps)
        kernel = (waves.astype(np.float32) * count.astype(np.float32)) @ scale / steps
        lags = (np.arange(steps)[:, None] - np.arange(steps)) % steps
        colored = jnp.tensordot(kernel[lags], white.astype(jnp.float32), axes=1)
        return _restack(colored.astype(like.dtype), like)


def add_noise(values: PyTree, size: Scalar | PyTree, noise: Noise, key: jax.Array) -> PyTree:
    """`values + size · noise`, leaf by leaf in their dtypes; `values` alone where size is None.

    Args:
      values: Leaves `[T, ...]`.
      size: Standard deviation: `[]`, an array that broadcasts to every leaf, or a pytree of such
        for each leaf.
      noise: Its shape over time.
      key: One random key; every leaf gets its own.
    """
    if size is None:
        return values
    draws, sizes = noise_like(noise, key, values), scale_like(size, values)
    return jax.tree.map(lambda x, s, z: x + s * z, values, sizes, draws)


def scale_like(scale: Scalar | PyTree, tree: PyTree) -> PyTree:
    """`scale`, one for all leaves or a pytree, as arrays with the structure of `tree`."""
    if jax.tree.structure(scale) != jax.tree.structure(tree):
        scale = jax.tree.map(lambda _: scale, tree)
    return jax.tree.map(lambda s, x: jnp.asarray(s, x.dtype), scale, tree)


def noise_like(noise: Noise, key: jax.Array, tree: PyTree) -> PyTree:
    """`noise` for every leaf `[T, ...]` of a pytree, with a key of its own for each leaf."""
    leaves, treedef = jax.tree.flatten(tree)
    keys = [jax.random.fold_in(key, i) for i in range(len(leaves))]
    return treedef.unflatten([noise(k, x) for k, x in zip(keys, leaves, strict=True)])


def _unstack(noise: jax.Array, stacked: int) -> jax.Array:
    """`[T, k·A']` to `[k·T, A']`."""
    if stacked == 1:
        return noise
    if noise.ndim != 2 or noise.shape[1] % stacked:
        raise ValueError(
            f"noise: stacked={stacked} must divide the action size, got actions {noise.shape}."
        )
    return noise.reshape(noise.shape[0] * stacked, noise.shape[1] // stacked)


def _restack(noise: jax.Array, like: jax.Array) -> jax.Array:
    return noise.reshape(like.shape)
