"""A vector's code: a few numbers in which what lies still stands still, and how they move.

LeWM's vector of Push-T spends 95% of its variance on the agent. The block is in directions of a
hundredth of that and less, which a squared error of latents hardly sees: a predictor drifts. Here
the principal axes are scaled to about the same variance, and few numbers are kept of them: those
from which the axes come back, now and after steps of the motion, which is learned along with them.
Of all codes it prefers one of which few numbers change at a time (an L1 norm).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from experiments.models.latent.networks import rollout
from experiments.models.lewm.networks import Dense, Perceptron

WAVES = (2.0, 4.0)  # radians per deviation of a code: edges need them
SOFT = 1e-3  # squared error below which errors count quadratically
NOISE, UNIT = 0.01, 0.01  # on codes in training; weight of a mean of 0 and a variance of 1


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
    # Rounding makes variances of nothing negative.
    scale = np.sqrt(np.maximum(variance + floor, 1e-12))
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

    def on(self, axes: Axes) -> "Code":
        """The same code, of vectors on scaled axes; the inverse of `folded` within those axes."""
        mean, down, up = (jnp.asarray(x) for x in axes[:3])
        first = self.down.layers[0]
        entry = Dense(up @ first.weight, first.bias + mean @ first.weight)
        enter = Perceptron([entry, *self.down.layers[1:]])
        return Code(enter, before(self.up, down, -mean @ down))


def after(layers: Perceptron, mean: Array, down: Array) -> Perceptron:
    """The perceptron of `(x - mean) @ down`, as one of `x`."""
    first = layers.layers[0]
    weight = down @ first.weight
    return Perceptron([Dense(weight, first.bias - mean @ weight), *layers.layers[1:]])


def before(layers: Perceptron, up: Array, mean: Array) -> Perceptron:
    """The perceptron whose output is `found @ up + mean`."""
    last = layers.layers[-1]
    return Perceptron([*layers.layers[:-1], Dense(last.weight @ up, last.bias @ up + mean)])


def folded(code: Code, axes: Axes) -> Code:
    """A code of vectors from one of scaled axes."""
    mean, down, up = (jnp.asarray(x) for x in axes[:3])
    return Code(after(code.down, mean, down), before(code.up, up, mean))


class Gate(eqx.Module):
    """A layer of products: what two linear maps make of the same input, one through a GELU.

    Where the agent is, seen from the block, is a product of positions and a turn.

    Attributes:
        one, other: to the products' factors.
        leave: of the products.
    """

    one: Dense
    other: Dense
    leave: Dense

    @staticmethod
    def random(key: Array, width: int) -> "Gate":
        """Fresh; it adds little."""
        keys = jax.random.split(key, 3)
        gains = (1.0, 1.0, 0.3)
        return Gate(*(Dense.random(k, width, width, g) for k, g in zip(keys, gains, strict=True)))

    def __call__(self, x: Array) -> Array:
        """[..., width] to the same."""
        return self.leave(jax.nn.gelu(self.one(x)) * self.other(x))


class Mover(eqx.Module):
    """The next code from a window of two and its actions: what gates add to the present.

    Attributes:
        enter: of the codes' difference, the present code and its waves, and the actions.
        gates: each beside an identity.
        leave: to the change of the code.
    """

    enter: Dense
    gates: list[Gate]
    leave: Dense

    @staticmethod
    def random(key: Array, code: int, action: int, width: int, depth: int) -> "Mover":
        """Fresh; it changes little."""
        keys = jax.random.split(key, depth + 2)
        return Mover(
            Dense.random(keys[0], 2 * (code + action + len(WAVES) * code), width),
            [Gate.random(k, width) for k in keys[1:-1]],
            Dense.random(keys[-1], width, code, 0.05),
        )

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next code [..., C], from windows [..., 2, C] and [..., 2, A]."""
        past, present = states[..., 0, :], states[..., 1, :]
        taken = actions.reshape(*actions.shape[:-2], -1)
        waves = [f(w * present) for w in WAVES for f in (jnp.sin, jnp.cos)]
        x = self.enter(jnp.concatenate([past - present, present, *waves, taken], axis=-1))
        for gate in self.gates:
            x = x + gate(unit_square(x))
        return present + self.leave(unit_square(x))


class Movers(eqx.Module):
    """The mean of several motions, each trained by itself: what one learned by heart fades.

    Attributes:
        movers: of the same codes.
    """

    movers: list[Mover]

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next code [..., C], from windows [..., 2, C] and [..., 2, A]."""
        return jnp.mean(jnp.stack([mover(states, actions) for mover in self.movers]), axis=0)


def unit_square(x: Array) -> Array:
    """Divided by the root of its mean square along the last axis; a layer norm also centers."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def code_loss(
    code: Code, mover: Mover, vectors: Array, actions: Array, key: Array, still: float
) -> tuple[Array, Array]:
    """How badly vectors come back from their codes, now and after steps of the motion.

    Args:
        code: of scaled axes.
        mover: of codes.
        vectors: [B, K + 2, n], on scaled axes, a model step apart; `K` may be 0.
        actions: [B, K + 1, A], planning actions between them.
        key: of the noise on codes.
        still: weight of the mean absolute change of a code, in units of its deviation.

    Returns:
        The loss [], and what is reported [3]: the mean squared errors of the vectors seen and of
        the last one, and the mean change.
    """
    found = code.down(vectors[:, :2])
    mean, std = jnp.mean(found, axis=(0, 1)), jnp.std(found, axis=(0, 1)) + 1e-3
    change = jnp.mean(jnp.sqrt(((found[:, 1] - found[:, 0]) / std) ** 2 + 1e-4))
    codes = found + NOISE * jax.random.normal(key, found.shape)
    if vectors.shape[1] > 2:
        codes = jnp.concatenate([codes, rollout(mover, codes, actions)], axis=1)
    errors = jnp.mean((code.up(codes) - vectors) ** 2, axis=-1)
    unit = jnp.mean((std - 1) ** 2 + mean**2)
    total = jnp.mean(jnp.sqrt(errors + SOFT)) + still * change + UNIT * unit
    return total, jnp.stack([jnp.mean(errors[:, :2]), jnp.mean(errors[:, -1]), change])


def motion_loss(
    mover: Mover, up: Perceptron, seen: Array, later: Array, actions: Array, key: Array
) -> tuple[Array, Array]:
    """How far a motion's open loop is from true vectors; the code stays.

    Args:
        mover: of codes.
        up: codes to vectors on scaled axes.
        seen: codes [B, 2, C].
        later: vectors [B, K, n] after them.
        actions: [B, K + 1, A], from the first code on.
        key: of the noise on codes.

    Returns:
        The loss [], and what is reported [2]: the mean squared errors of the first and the last
        vector.
    """
    codes = seen + NOISE * jax.random.normal(key, seen.shape)
    errors = jnp.mean((up(rollout(mover, codes, actions)) - later) ** 2, axis=-1)
    return jnp.mean(jnp.sqrt(errors + SOFT)), jnp.stack(
        [jnp.mean(errors[:, 0]), jnp.mean(errors[:, -1])]
    )
