"""A vector's code: a few numbers in which what lies still stands still, and how they move.

LeWM's vector of Push-T spends 95% of its variance on the agent. The block is in directions of a
hundredth of that and less, which a squared error of latents hardly sees: a predictor drifts. Here
the principal axes are scaled to about the same variance, and an autoencoder keeps as few numbers of
them as are needed. Of all codes it prefers one of which few numbers change at a time (an L1 norm).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from experiments.models.lewm.networks import Dense, Perceptron

WAVES = (2.0, 4.0)  # radians per deviation of a code: edges need them


class Axes(NamedTuple):
    """Principal axes of latents, each divided by the root of its variance plus a floor.

    Attributes:
        mean: [D].
        down: [D, n], from centered latents.
        up: [n, D], back.
        variance: [n].
    """

    mean: NDArray[np.float32]
    down: NDArray[np.float32]
    up: NDArray[np.float32]
    variance: NDArray[np.float32]


def axes_of(latents: NDArray[np.floating], count: int, floor: float) -> Axes:
    """The first axes of latents [n, D].

    Args:
        latents: rows.
        count: how many axes.
        floor: variance below which an axis matters less.
    """
    mean = latents.mean(0)
    values, vectors = np.linalg.eigh(np.cov((latents - mean).T))
    variance, found = values[::-1][:count], vectors[:, ::-1][:, :count]
    scale = np.sqrt(variance + floor)
    parts = (mean, found / scale, (found * scale).T, variance)
    return Axes(*(x.astype(np.float32) for x in parts))


class Code(eqx.Module):
    """An autoencoder of vectors.

    Attributes:
        down: [..., D] to [..., C].
        up: back.
    """

    down: Perceptron
    up: Perceptron

    @staticmethod
    def random(key: Array, vector: int, code: int, width: int) -> "Code":
        """Fresh."""
        one, two = jax.random.split(key)
        return Code(
            Perceptron.random(one, (vector, width, width, code)),
            Perceptron.random(two, (code, width, width, vector)),
        )


def after(layers: Perceptron, mean: Array, down: Array) -> Perceptron:
    """The perceptron of `(x - mean) @ down`, as one of `x`."""
    first = layers.layers[0]
    weight = down @ first.weight
    return Perceptron([Dense(weight, first.bias - mean @ weight), *layers.layers[1:]])


def before(layers: Perceptron, up: Array, mean: Array) -> Perceptron:
    """The perceptron whose output is `found @ up + mean`."""
    last = layers.layers[-1]
    return Perceptron([*layers.layers[:-1], Dense(last.weight @ up, last.bias @ up + mean)])


def folded(code: Code, axes: Axes, codes: Array) -> Code:
    """A code of vectors, with a mean of 0 and a variance of 1, from one of scaled axes.

    Args:
        code: of scaled axes.
        axes: those.
        codes: [n, C], its codes of many frames.
    """
    mean, std = jnp.mean(codes, axis=0), jnp.std(codes, axis=0)
    mu, down, up = (jnp.asarray(x) for x in axes[:3])
    return Code(
        before(after(code.down, mu, down), jnp.diag(1 / std), -mean / std),
        after(before(code.up, up, mu), -mean / std, jnp.diag(std)),
    )


class Mover(eqx.Module):
    """The next code from a window of two and its actions: what a perceptron adds to the present.

    Attributes:
        body: of the codes' difference, the present code and its waves, and the actions.
    """

    body: Perceptron

    @staticmethod
    def random(key: Array, code: int, action: int, width: int, depth: int) -> "Mover":
        """Fresh; it changes little."""
        sizes = (2 * (code + action + len(WAVES) * code), *[width] * depth, code)
        return Mover(Perceptron.random(key, sizes, 0.05))

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next code [..., C], from windows [..., 2, C] and [..., 2, A]."""
        past, present = states[..., 0, :], states[..., 1, :]
        taken = actions.reshape(*actions.shape[:-2], -1)
        waves = [f(w * present) for w in WAVES for f in (jnp.sin, jnp.cos)]
        seen = jnp.concatenate([past - present, present, *waves, taken], axis=-1)
        return present + self.body(seen)


def code_loss(code: Code, pairs: Array, key: Array, still: float) -> tuple[Array, Array]:
    """How badly pairs of vectors are kept, and how much of their codes changes.

    Args:
        code: of scaled axes.
        pairs: [B, 2, n], frames one model step apart.
        key: of the noise on codes.
        still: weight of the mean absolute change of a code, in units of its deviation.

    Returns:
        The loss [], and mean squared error and mean change [2].
    """
    found = code.down(pairs)
    mean, std = jnp.mean(found, axis=(0, 1)), jnp.std(found, axis=(0, 1)) + 1e-3
    change = jnp.mean(jnp.sqrt(((found[:, 1] - found[:, 0]) / std) ** 2 + 1e-4))
    drawn = code.up(found + 0.01 * jax.random.normal(key, found.shape))
    errors = jnp.mean((drawn - pairs) ** 2, axis=-1)
    unit = jnp.mean((std - 1) ** 2 + mean**2)
    total = jnp.mean(jnp.sqrt(errors + 1e-4)) + still * change + 0.01 * unit
    return total, jnp.stack([jnp.mean(errors), change])


def motion_errors(predictor: Mover, codes: Array, actions: Array) -> Array:
    """Open-loop mean squared errors [B, K] over segments [B, K + 2, C] and [B, K + 1, A]."""

    def step(window: Array, taken: Array) -> tuple[Array, Array]:
        found = predictor(window, taken)
        return jnp.stack([window[:, 1], found], axis=1), found

    steps = codes.shape[1] - 2
    taken = jnp.stack([actions[:, k : k + 2] for k in range(steps)])
    found = jnp.moveaxis(jax.lax.scan(step, codes[:, :2], taken)[1], 0, 1)
    return jnp.mean((found - codes[:, 2:]) ** 2, axis=-1)
