"""Gaussian noise over time, unit variance at every step: white, autoregressive, colored.

A noise is called as `noise(key, like)` with `like` of shape `[T, ...]` and returns the same shape
and dtype. With JAX's partitionable random bits (its default) a number depends on the key and its
place alone, so that row `t` of white noise depends neither on the horizon nor on sharding.

Models with stacked actions read `k` environment actions at once, `[T, k·A']`; `action_block=k` lets
the correlation run over the `k·T` environment steps. Without one, noise on actions takes what the
model says, see `grasp_jax.prepared.environment_actions_per_step`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._compile import usual_promotion
from grasp_jax._fields import Scalar, check_values, count, number
from grasp_jax._tree import PyTree, Record

Noise = Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class White(Record):
    """Independent at every step."""

    @usual_promotion
    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` independent standard normal numbers."""
        # Flat: the same numbers, and XLA compiles a loop over two short axes three times as long.
        return jax.random.normal(key, (like.size,), like.dtype).reshape(like.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AR1(Record):
    """First-order autoregressive: `x_t = ρ x_{t-1} + sqrt(1-ρ²) ξ_t`.

    Attributes:
      rho: `0 <= ρ < 1`, the correlation of one (environment) step with the next; traced.
      action_block: Environment actions per model action; None for what the model says, else 1.
    """

    rho: Scalar = number(0.9, low=0, high=1)
    action_block: int | None = count(None)

    def __post_init__(self) -> None:
        """Raises for settings out of range."""
        check_values(self)

    @usual_promotion
    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` correlated standard normal numbers."""
        white = _unstack(White()(key, like), self.action_block)
        steps = jnp.arange(white.shape[0])
        rho = jnp.asarray(self.rho, like.dtype)
        gap = steps[:, None] - steps[None, :]
        # Row 0 starts in the stationary distribution; later rows add innovations.
        gain = jnp.where(steps == 0, jnp.ones_like(rho), jnp.sqrt(1 - rho**2))
        mix = jnp.where(gap >= 0, rho ** jnp.maximum(gap, 0).astype(like.dtype), 0) * gain
        return _restack(jnp.tensordot(mix, white, axes=1), like)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Colored(Record):
    """Power-law noise, spectrum `1/f^β`, as in iCEM (Pinneri et al. 2020).

    Attributes:
      exponent: `β >= 0`: 0 is white, 1 pink, 2 red; traced.
      action_block: Environment actions per model action; None for what the model says, else 1.
      span: `[]` int, how many of the `T` rows the spectrum spans, the others are zero; None for
        all. Planners set it where a problem's horizon is below `T`, see `spanning`.
    """

    exponent: Scalar = number(2.0, low=0)
    action_block: int | None = count(None)
    span: jax.Array | None = None

    def __post_init__(self) -> None:
        """Raises for settings out of range."""
        check_values(self)

    @usual_promotion
    def __call__(self, key: jax.Array, like: jax.Array) -> jax.Array:
        """`[T, ...]` power-law numbers, scaled to unit variance on average over time.

        Computed by a matrix of `(k·T)²` numbers, as `AR1` is.
        """
        white = _unstack(White()(key, like), self.action_block)
        steps = white.shape[0]
        if steps == 0:
            return white.reshape(like.shape)
        exponent = jnp.asarray(self.exponent, jnp.float32)
        if self.span is not None:
            mix = _spanning_mix(steps, self.span * (self.action_block or 1), exponent)
            return _restack((mix @ white.astype(jnp.float32)).astype(like.dtype), like)
        frequency = np.arange(steps // 2 + 1)
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


def _spanning_mix(steps: int, span: jax.Array, exponent: jax.Array) -> jax.Array:
    """`[steps, steps]`, the filter of `Colored` over the first `span` of all steps."""
    rows = jnp.arange(steps)
    frequency = jnp.arange(steps // 2 + 1)
    used = 2 * frequency <= span
    scale = jnp.maximum(frequency / span, 1 / span) ** (-exponent / 2)
    count = jnp.where((frequency == 0) | (2 * frequency == span), 1.0, 2.0) * used
    scale = scale / jnp.sqrt(jnp.sum(count * scale**2) / span)
    # The remainder keeps the phase small enough for float32.
    waves = jnp.cos(2 * jnp.pi * (jnp.outer(rows, frequency) % span) / span)
    kernel = waves @ (count * scale) / span
    inside = (rows[:, None] < span) & (rows < span)
    return jnp.where(inside, kernel[(rows[:, None] - rows) % span], 0)


def spanning(noise: Noise, horizon: jax.Array | None) -> Noise:
    """The same noise for the first `horizon` of `T` rows, as it would be if `T` were that.

    White and autoregressive noise know nothing of later rows.
    """
    if horizon is None or not isinstance(noise, Colored):
        return noise
    return dataclasses.replace(noise, span=jnp.maximum(horizon, 1))


def in_environment_steps(noise: Noise, action_block: int) -> Noise:
    """The same noise over the `action_block` environment steps of every action.

    A noise that has a block of its own, or knows of none, stays as it is.
    """
    if not isinstance(noise, AR1 | Colored) or noise.action_block is not None:
        return noise
    return dataclasses.replace(noise, action_block=action_block)


def split_key(key: jax.Array, count: int) -> list[jax.Array]:
    """The keys of `jax.random.split`, by a kernel that the program has anyway."""
    return [jax.random.fold_in(key, i) for i in range(count)]


def add_noise(values: PyTree, std: Scalar | PyTree, noise: Noise, key: jax.Array) -> PyTree:
    """`values + std · noise`, leaf by leaf in their dtypes; `values` alone where std is None.

    Args:
      values: Leaves `[T, ...]`.
      std: Standard deviation: `[]`, an array that broadcasts to every leaf, or a pytree of such
        for each leaf.
      noise: The process.
      key: One random key; every leaf gets its own.
    """
    if std is None:
        return values
    draws, stds = noise_like(noise, key, values), scale_like(std, values)
    return jax.tree.map(lambda x, s, z: x + s * z, values, stds, draws)


def scale_like(scale: Scalar | PyTree, tree: PyTree) -> PyTree:
    """`scale`, one for all leaves or a pytree, as arrays with the structure of `tree`."""
    if jax.tree.structure(scale) != jax.tree.structure(tree):
        scale = jax.tree.map(lambda _: scale, tree)
    return jax.tree.map(lambda s, x: jnp.asarray(s, x.dtype), scale, tree)


def noise_like(noise: Noise, key: jax.Array, tree: PyTree) -> PyTree:
    """`noise` for every leaf `[T, ...]` of a pytree, leaf `i` with the key `fold_in(key, i)`.

    Leaves of one shape are drawn side by side: a state of sixty leaves compiles as one of few.
    """
    leaves, treedef = jax.tree.flatten(tree)
    alike: dict[tuple[Any, Any], list[int]] = {}
    for i, leaf in enumerate(leaves):
        alike.setdefault((leaf.shape, leaf.dtype), []).append(i)
    drawn = list(leaves)
    for places in alike.values():
        keys = [jax.random.fold_in(key, i) for i in places]
        if len(places) == 1:
            drawn[places[0]] = noise(keys[0], leaves[places[0]])
            continue
        like = leaves[places[0]]
        rows = jax.vmap(lambda k, like=like: noise(k, like))(jnp.stack(keys))
        for place, row in zip(places, rows, strict=True):
            drawn[place] = row
    return treedef.unflatten(drawn)


def _unstack(noise: jax.Array, action_block: int | None) -> jax.Array:
    """`[T, k·A']` to `[k·T, A']`."""
    if action_block is None or action_block == 1:
        return noise
    if noise.ndim != 2 or noise.shape[1] % action_block:
        raise ValueError(
            f"noise: action_block={action_block} must divide the action size, got actions "
            f"{noise.shape}."
        )
    return noise.reshape(noise.shape[0] * action_block, noise.shape[1] // action_block)


def _restack(noise: jax.Array, like: jax.Array) -> jax.Array:
    return noise.reshape(like.shape)
