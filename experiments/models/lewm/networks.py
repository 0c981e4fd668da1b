"""The networks of a small LeWM: matrix products only, fast on CPU in both directions.

An encoder of patches merged twice, a residual predictor steered by the action block (AdaLN-zero),
and what only looks or helps: a decoder and a perceptron.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

PATCHES = (8, 2)  # pixels along a patch, then patches along a group


class Dense(eqx.Module):
    """`x W + b` on the last axis.

    Attributes:
        weight: [in, out].
        bias: [out].
    """

    weight: Array
    bias: Array

    @staticmethod
    def random(key: Array, inputs: int, outputs: int, gain: float = 1.0) -> "Dense":
        """Weights that keep the scale of their inputs, times a gain."""
        weight = gain * jax.random.normal(key, (inputs, outputs)) * inputs**-0.5
        return Dense(weight, jnp.zeros(outputs))

    def __call__(self, x: Array) -> Array:
        """[..., in] to [..., out]."""
        return x @ self.weight + self.bias


class Perceptron(eqx.Module):
    """Layers with GELU between.

    Attributes:
        layers: in order.
    """

    layers: list[Dense]

    @staticmethod
    def random(key: Array, sizes: tuple[int, ...], last_gain: float = 1.0) -> "Perceptron":
        """Widths, input and output included."""
        gains = [1.4] * (len(sizes) - 2) + [last_gain]
        keys = jax.random.split(key, len(gains))
        return Perceptron(
            [
                Dense.random(k, m, n, g)
                for k, m, n, g in zip(keys, sizes[:-1], sizes[1:], gains, strict=True)
            ]
        )

    def __call__(self, x: Array) -> Array:
        """[..., in] to [..., out]."""
        for layer in self.layers[:-1]:
            x = jax.nn.gelu(layer(x))
        return self.layers[-1](x)


def merge(x: Array, side: int) -> Array:
    """Squares of `side` cells made one cell: [..., n, n, c] to [..., n/side, n/side, side² c]."""
    *batch, rows, columns, channels = x.shape
    x = x.reshape(*batch, rows // side, side, columns // side, side, channels)
    return jnp.swapaxes(x, -4, -3).reshape(*batch, rows // side, columns // side, -1)


def split(x: Array, side: int) -> Array:
    """The inverse of `merge`."""
    *batch, rows, columns, channels = x.shape
    x = x.reshape(*batch, rows, columns, side, side, channels // side**2)
    return jnp.swapaxes(x, -4, -3).reshape(*batch, rows * side, columns * side, -1)


class Encoder(eqx.Module):
    """Frames to latents.

    Attributes:
        patch: of a patch's pixels.
        group: of a group of patches.
        head: of all groups.
    """

    patch: Dense
    group: Dense
    head: Perceptron

    @staticmethod
    def random(key: Array, size: int, latent: int, width: int = 256) -> "Encoder":
        """A fresh encoder of frames `size` pixels wide, a multiple of 16."""
        one, two, three = jax.random.split(key, 3)
        groups = (size // (PATCHES[0] * PATCHES[1])) ** 2
        patch, group = max(48, 3 * width // 16), max(96, 3 * width // 8)
        return Encoder(
            Dense.random(one, 3 * PATCHES[0] ** 2, patch, 1.4),
            Dense.random(two, patch * PATCHES[1] ** 2, group, 1.4),
            Perceptron.random(three, (group * groups, width, latent)),
        )

    def __call__(self, frames: Array) -> Array:
        """[..., S, S, 3] uint8 to [..., D], in the precision of the weights."""
        x = (frames.astype(jnp.float32) / 127.5 - 1).astype(self.patch.weight.dtype)
        x = jax.nn.relu(self.patch(merge(x, PATCHES[0])))
        x = jax.nn.relu(self.group(merge(x, PATCHES[1])))
        return self.head(x.reshape(*x.shape[:-3], -1))


class Decoder(eqx.Module):
    """Latents to frames, the encoder in reverse; it never trains the encoder unless asked to.

    Attributes:
        head: to all groups.
        group: to a group's patches.
        patch: to a patch's pixels.
    """

    head: Perceptron
    group: Dense
    patch: Dense

    @staticmethod
    def random(key: Array, size: int, latent: int, width: int = 256) -> "Decoder":
        """A fresh decoder to frames `size` pixels wide, a multiple of 16."""
        one, two, three = jax.random.split(key, 3)
        groups = (size // (PATCHES[0] * PATCHES[1])) ** 2
        group, patch = max(48, 3 * width // 16), max(32, width // 8)
        return Decoder(
            Perceptron.random(one, (latent, width, group * groups), 1.4),
            Dense.random(two, group, patch * PATCHES[1] ** 2, 1.4),
            Dense.random(three, patch, 3 * PATCHES[0] ** 2, 0.1),
        )

    def __call__(self, latents: Array) -> Array:
        """[..., D] to [..., S, S, 3], RGB in [0, 1] or a little outside."""
        x = jax.nn.gelu(self.head(latents))
        cell = self.group.weight.shape[0]
        side = round((x.shape[-1] // cell) ** 0.5)
        x = x.reshape(*x.shape[:-1], side, side, cell)
        x = jax.nn.gelu(split(self.group(x), PATCHES[1]))
        return 0.5 + split(self.patch(x), PATCHES[0])


def normalise(x: Array) -> Array:
    """Layer normalization over the last axis, without scale and shift; inside in float32."""
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    return (centred * scale).astype(x.dtype)


class Block(eqx.Module):
    """A residual block that an action steers: scale, shift and gate of what it adds.

    Attributes:
        steer: of the embedded actions; zero at first, so that a fresh block changes nothing.
        body: what it adds.
    """

    steer: Dense
    body: Perceptron

    @staticmethod
    def random(key: Array, width: int, action_width: int) -> "Block":
        """A fresh block."""
        steer = Dense.random(key, action_width, 3 * width, 0.0)
        body = Perceptron.random(jax.random.fold_in(key, 1), (width, 2 * width, width))
        return Block(steer, body)

    def __call__(self, x: Array, actions: Array) -> Array:
        """[..., W] to [..., W], under embedded actions [..., E]."""
        shift, scale, gate = jnp.split(self.steer(actions), 3, axis=-1)
        return x + gate * self.body(normalise(x) * (1 + scale) + shift)


class Predictor(eqx.Module):
    """The next latent; as in LeWM, it leaves through a normalization and a projection.

    Attributes:
        enter: of a window of latents.
        actions: of the window's actions.
        blocks: in order.
        leave: to the next latent, or to the change.
        skip: whether the present latent is added to what leaves, so that the state Jacobian is the
            identity and something small.
    """

    enter: Dense
    actions: Perceptron
    blocks: list[Block]
    leave: Dense
    skip: bool = eqx.field(static=True)

    @staticmethod
    def random(
        key: Array,
        latent: int,
        action: int,
        history: int,
        width: int = 128,
        depth: int = 3,
        skip: bool = False,
    ) -> "Predictor":
        """A fresh predictor."""
        one, two, three, *keys = jax.random.split(key, 3 + depth)
        embedded = 64
        return Predictor(
            Dense.random(one, history * latent, width),
            Perceptron.random(two, (history * action, 2 * embedded, embedded)),
            [Block.random(k, width, embedded) for k in keys],
            Dense.random(three, width, latent, 0.25 if skip else 1.0),
            skip,
        )

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [..., D], from windows [..., h, D] and [..., h, A]."""
        x = self.enter(states.reshape(*states.shape[:-2], -1))
        steer = jax.nn.silu(self.actions(actions.reshape(*actions.shape[:-2], -1)))
        for block in self.blocks:
            x = block(x, steer)
        found = self.leave(normalise(x))
        return states[..., -1, :] + found if self.skip else found
