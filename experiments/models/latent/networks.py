"""The networks of a visual latent: convolutions around one vector or a grid of tokens.

A latent is `grid * grid` tokens of `channels` numbers: one token is LeWM's vector, 8 x 8 tokens are
patches as in DINO-WM, but learned here. Nothing in it knows of objects.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from experiments.models.lewm.networks import Dense, Perceptron, merge, normalise, split

PATCH = 4  # pixels along a patch
CELLS = 8  # cells along the coarse side of a 64-pixel frame: (4 * 2) pixels each
VECTOR_CELL = 16  # numbers of a cell on its way to or from a single vector


class Convolution(eqx.Module):
    """A 3 x 3 convolution that keeps the size of its maps.

    Attributes:
        weight: [3, 3, in, out].
        bias: [out].
    """

    weight: Array
    bias: Array

    @staticmethod
    def random(key: Array, inputs: int, outputs: int, gain: float = 1.0) -> "Convolution":
        """Weights that keep the scale of their inputs, times a gain."""
        weight = gain * jax.random.normal(key, (3, 3, inputs, outputs)) * (9 * inputs) ** -0.5
        return Convolution(weight, jnp.zeros(outputs))

    def __call__(self, x: Array) -> Array:
        """[n, rows, columns, in] to [n, rows, columns, out]."""
        layout = ("NHWC", "HWIO", "NHWC")
        found = jax.lax.conv_general_dilated(
            x, self.weight, (1, 1), "SAME", dimension_numbers=layout
        )
        return found + self.bias


class Residual(eqx.Module):
    """Two convolutions beside an identity.

    Attributes:
        first: of the normalised maps.
        second: of what the first found; small at first.
    """

    first: Convolution
    second: Convolution

    @staticmethod
    def random(key: Array, width: int) -> "Residual":
        """A fresh block."""
        one, two = jax.random.split(key)
        return Residual(
            Convolution.random(one, width, width, 1.4), Convolution.random(two, width, width, 0.3)
        )

    def __call__(self, x: Array) -> Array:
        """[n, rows, columns, width] to the same."""
        return x + self.second(jax.nn.gelu(self.first(normalise(x))))


class Encoder(eqx.Module):
    """Frames to latents.

    Attributes:
        patch: of a patch's pixels.
        fine: on 16 x 16 maps; none in models that must train without an accelerator.
        group: of 2 x 2 patches.
        coarse: on 8 x 8 maps.
        cell: to the numbers of a cell.
        head: of all cells, to a vector; None for a grid of tokens.
    """

    patch: Dense
    fine: list[Residual]
    group: Dense
    coarse: list[Residual]
    cell: Dense
    head: Perceptron | None

    @staticmethod
    def random(
        key: Array, grid: int, channels: int, widths: tuple[int, int], blocks: tuple[int, int]
    ) -> "Encoder":
        """A fresh encoder; widths and numbers of blocks are those of fine and of coarse maps."""
        keys, more = jax.random.split(key, 4), jax.random.split(jax.random.fold_in(key, 1), 16)
        fine, coarse = widths
        head = None
        if grid == 1:
            head = Perceptron.random(keys[0], (CELLS**2 * VECTOR_CELL, 384, channels))
        return Encoder(
            Dense.random(keys[1], 3 * PATCH**2, fine, 1.4),
            [Residual.random(k, fine) for k in more[:8][: blocks[0]]],
            Dense.random(keys[2], 4 * fine, coarse, 1.4),
            [Residual.random(k, coarse) for k in more[8:][: blocks[1]]],
            Dense.random(keys[3], coarse, VECTOR_CELL if grid == 1 else channels),
            head,
        )

    def __call__(self, frames: Array) -> Array:
        """[n, 64, 64, 3] uint8 to [n, D], in the precision of the weights.

        Tokens of a grid have a mean square of 1.
        """
        x = (frames.astype(jnp.float32) / 127.5 - 1).astype(self.patch.weight.dtype)
        x = jax.nn.gelu(self.patch(merge(x, PATCH)))
        for block in self.fine:
            x = block(x)
        x = jax.nn.gelu(self.group(merge(x, 2)))
        for block in self.coarse:
            x = block(x)
        x = self.cell(normalise(x))
        if self.head is None:
            return normalise(x).reshape(len(x), -1)
        return self.head(x.reshape(len(x), -1))


class Decoder(eqx.Module):
    """Latents to frames, the encoder in reverse.

    Attributes:
        head: from a vector to all cells; None for a grid of tokens.
        cell: from the numbers of a cell.
        coarse: on 8 x 8 maps.
        group: to 2 x 2 patches.
        fine: on 16 x 16 maps.
        patch: to a patch's pixels.
    """

    head: Perceptron | None
    cell: Dense
    coarse: list[Residual]
    group: Dense
    fine: list[Residual]
    patch: Dense

    @staticmethod
    def random(
        key: Array, grid: int, channels: int, widths: tuple[int, int], blocks: tuple[int, int]
    ) -> "Decoder":
        """A fresh decoder; widths and numbers of blocks are those of fine and of coarse maps."""
        keys, more = jax.random.split(key, 4), jax.random.split(jax.random.fold_in(key, 1), 16)
        fine, coarse = widths
        head = None
        if grid == 1:
            head = Perceptron.random(keys[0], (channels, 384, CELLS**2 * VECTOR_CELL), 1.4)
        return Decoder(
            head,
            Dense.random(keys[1], VECTOR_CELL if grid == 1 else channels, coarse, 1.4),
            [Residual.random(k, coarse) for k in more[8:][: blocks[1]]],
            Dense.random(keys[2], coarse, 4 * fine, 1.4),
            [Residual.random(k, fine) for k in more[:8][: blocks[0]]],
            Dense.random(keys[3], fine, 3 * PATCH**2, 0.1),
        )

    def __call__(self, latents: Array) -> Array:
        """[n, D] to [n, 64, 64, 3], RGB in [0, 1] or a little outside."""
        x = latents if self.head is None else self.head(latents)
        x = jax.nn.gelu(self.cell(x.reshape(len(x), CELLS, CELLS, -1)))
        for block in self.coarse:
            x = block(x)
        x = jax.nn.gelu(split(self.group(x), 2))
        for block in self.fine:
            x = block(x)
        return 0.5 + split(self.patch(normalise(x)), PATCH)


class Attention(eqx.Module):
    """Self-attention over tokens.

    Attributes:
        mix: to queries, keys and values.
        leave: of what the heads found.
        heads: how many.
    """

    mix: Dense
    leave: Dense
    heads: int = eqx.field(static=True)

    @staticmethod
    def random(key: Array, width: int) -> "Attention":
        """Fresh, with heads of 32 numbers."""
        one, two = jax.random.split(key)
        return Attention(
            Dense.random(one, width, 3 * width), Dense.random(two, width, width), width // 32
        )

    def __call__(self, x: Array) -> Array:
        """[..., n, width] to the same."""
        parts = self.mix(x).reshape(*x.shape[:-1], 3, self.heads, -1)
        q, k, v = parts[..., 0, :, :], parts[..., 1, :, :], parts[..., 2, :, :]
        scores = jnp.einsum("...ihd,...jhd->...hij", q, k) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(scores.astype(jnp.float32), axis=-1).astype(x.dtype)
        found = jnp.einsum("...hij,...jhd->...ihd", weights, v)
        return self.leave(found.reshape(x.shape))


class Block(eqx.Module):
    """Attention over tokens, if there are several, and a perceptron; an action steers both.

    Attributes:
        steer: of the embedded actions to shifts, scales and gates; zero at first.
        attention: None for a single token.
        body: of each token.
    """

    steer: Dense
    attention: Attention | None
    body: Perceptron

    @staticmethod
    def random(key: Array, width: int, action_width: int, alone: bool) -> "Block":
        """A fresh block, which changes nothing; `alone` for a single token."""
        one, two, three = jax.random.split(key, 3)
        parts = 3 if alone else 6
        return Block(
            Dense.random(one, action_width, parts * width, 0.0),
            None if alone else Attention.random(two, width),
            Perceptron.random(three, (width, (2 if alone else 4) * width, width)),
        )

    def __call__(self, x: Array, actions: Array) -> Array:
        """[..., n, width] to the same, under embedded actions [..., 1, E]."""
        steer = jnp.split(self.steer(actions), 3 if self.attention is None else 6, axis=-1)
        if self.attention is not None:
            shift, scale, gate = steer[3:]
            x = x + gate * self.attention(normalise(x) * (1 + scale) + shift)
        shift, scale, gate = steer[:3]
        return x + gate * self.body(normalise(x) * (1 + scale) + shift)


class Predictor(eqx.Module):
    """The next latent from a window: what it adds to the present one.

    On a grid it works on 2 x 2 tokens at a time: a quarter of the tokens, each four times as wide.

    Attributes:
        enter: of a window's token.
        place: [n, width], added to each token.
        actions: of the window's actions.
        blocks: in order.
        leave: to the change of a token.
        grid: tokens along a side.
    """

    enter: Dense
    place: Array
    actions: Perceptron
    blocks: list[Block]
    leave: Dense
    grid: int = eqx.field(static=True)

    @staticmethod
    def random(
        key: Array, grid: int, channels: int, action: int, history: int, width: int, depth: int
    ) -> "Predictor":
        """A fresh predictor."""
        one, two, three, four, *keys = jax.random.split(key, 4 + depth)
        side = max(1, grid // 2)
        cell, embedded = channels * (grid // side) ** 2, 64
        return Predictor(
            Dense.random(one, history * cell, width),
            0.1 * jax.random.normal(four, (side**2, width)),
            Perceptron.random(two, (history * action, 2 * embedded, embedded)),
            [Block.random(k, width, embedded, grid == 1) for k in keys],
            Dense.random(three, width, cell, 0.25),
            grid,
        )

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [..., D], from windows [..., h, D] and [..., h, A]."""
        *batch, history, size = states.shape
        side = max(1, self.grid // 2)
        tokens = states.reshape(*batch, history, self.grid, self.grid, -1)
        cells = merge(tokens, self.grid // side).reshape(*batch, history, side**2, -1)
        x = jnp.swapaxes(cells, -3, -2).reshape(*batch, side**2, -1)
        x = self.enter(x) + self.place
        steer = jax.nn.silu(self.actions(actions.reshape(*batch, 1, -1)))
        for block in self.blocks:
            x = block(x, steer)
        change = self.leave(normalise(x)).reshape(*batch, side, side, -1)
        found = tokens[..., -1, :, :, :] + split(change, self.grid // side)
        if self.grid > 1:
            found = normalise(found)
        return found.reshape(*batch, size)


def rollout(predictor: Callable[[Array, Array], Array], window: Array, actions: Array) -> Array:
    """Open-loop latents [n, K, D].

    Args:
        predictor: one step.
        window: [n, h, D], the present latent last.
        actions: [n, h + K - 1, P], from the window's first frame on.
    """
    history = window.shape[1]
    steps = actions.shape[1] - history + 1
    taken = jnp.stack([actions[:, k : k + history] for k in range(steps)])

    def step(window: Array, taken: Array) -> tuple[Array, Array]:
        found = predictor(window, taken)
        return jnp.concatenate([window[:, 1:], found[:, None]], axis=1), found

    return jnp.moveaxis(jax.lax.scan(step, window, taken)[1], 0, 1)
