"""Scenes of sprites: a frame as a still background and a few objects, each at a pose.

An object is a shape of isotropic Gaussian blobs with one colour. Blobs are separable, so that a
frame of `S x S` pixels costs two thin matrix products per object, and smooth, so that poses can be
found by descent. Nothing here knows an environment: shapes, colours and background are learned
from frames alone (`experiments.pixels.discover`).

A latent is the poses of all objects, in the frame's coordinates, `x` to the right and `y` down,
each in [-1, 1]: `[x, y]` of an object that only moves, `[x, y, r cos, r sin]` of one that also
turns, where `r` is the root mean square radius of its shape. So the squared distance of two latents
is the mean squared displacement of the objects' points, summed over objects.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is known of an object before a frame is seen.

    Attributes:
        blobs: how many Gaussians its shape may use.
        extent: largest distance of a blob from the object's centre, in frame coordinates.
        turns: whether it has an angle.
        coasts: whether it keeps its velocity while nothing acts on it.
        octaves: of waves in which a place is read, where edges are sharp: its own, where scenery
            stops it, or the driven object's in its frame, if it turns and is pushed.
    """

    blobs: int
    extent: float
    turns: bool
    coasts: bool = False
    octaves: int = 0


class Sprite(eqx.Module):
    """An object's appearance.

    Attributes:
        centres: [n, 2] blob centres before the limit of `extent`, in the object's frame.
        log_widths: [n] logarithms of the blobs' standard deviations.
        log_weights: [n] logarithms of their heights.
        colour: [3] RGB in [0, 1].
        gain: [] sharpness of the outline.
        kind: what was known of it.
    """

    centres: Array
    log_widths: Array
    log_weights: Array
    colour: Array
    gain: Array
    kind: Kind = eqx.field(static=True)

    @staticmethod
    def random(key: Array, kind: Kind) -> "Sprite":
        """A cloud of blobs without a colour."""
        return Sprite(
            centres=0.4 * kind.extent * jax.random.normal(key, (kind.blobs, 2)),
            log_widths=jnp.full(kind.blobs, jnp.log(0.15 * kind.extent)),
            log_weights=jnp.zeros(kind.blobs),
            colour=jnp.zeros(3),
            gain=jnp.asarray(4.0),
            kind=kind,
        )

    def shape(self) -> tuple[Array, Array]:
        """Blob centres [n, 2] about their mean, in the object's frame, and their shares [n]."""
        centres = self.kind.extent * jnp.tanh(self.centres / self.kind.extent)
        shares = jax.nn.softmax(self.log_weights + 2 * self.log_widths)
        return centres - shares @ centres, shares

    def radius(self) -> Array:
        """Root mean square radius []."""
        centres, shares = self.shape()
        return jnp.sqrt(shares @ jnp.sum(centres**2, axis=-1))

    def coverage(self, grid: Array, position: Array, direction: Array) -> Array:
        """How much of each pixel the object covers.

        Args:
            grid: [S] pixel centres of a row (and of a column).
            position: [2].
            direction: [2] unit vector (cos, sin); not read if the object does not turn.

        Returns:
            [S, S], rows are `y`.
        """
        centres = self.shape()[0]
        if self.kind.turns:
            centres = rotate(direction, centres)
        centres = position + centres
        sharpness = 0.5 * jnp.exp(-2 * self.log_widths)[:, None]
        columns = jnp.exp(-sharpness * (grid - centres[:, :1]) ** 2)
        rows = jnp.exp(-sharpness * (grid - centres[:, 1:]) ** 2)
        density = (jnp.exp(self.log_weights)[:, None] * rows).T @ columns
        empty = jax.nn.sigmoid(-0.5 * self.gain)
        return jax.nn.sigmoid(self.gain * (density - 0.5)) - empty


class Scene(eqx.Module):
    """A background and sprites, drawn in their order; actions drive the last one.

    Attributes:
        background: [S, S, 3] RGB in [0, 1].
        sprites: the objects.
    """

    background: Array
    sprites: tuple[Sprite, ...]

    @property
    def size(self) -> int:
        """`S`."""
        return self.background.shape[0]

    @property
    def latent_size(self) -> int:
        """`L`."""
        return sum(4 if s.kind.turns else 2 for s in self.sprites)

    def split(self, latent: Array) -> list[tuple[Array, Array]]:
        """Position [2] and unit direction [2] of each object, from a latent [L]."""
        found, first = [], 0
        for sprite in self.sprites:
            position = latent[first : first + 2]
            direction = jnp.array([1.0, 0.0], latent.dtype)
            if sprite.kind.turns:
                direction = unit(latent[first + 2 : first + 4])
            found.append((position, direction))
            first += 4 if sprite.kind.turns else 2
        return found

    def join(self, poses: list[tuple[Array, Array]]) -> Array:
        """The latent [L] of positions [2] and unit directions [2]."""
        parts = []
        for sprite, (position, direction) in zip(self.sprites, poses, strict=True):
            parts += [position, sprite.radius() * direction] if sprite.kind.turns else [position]
        return jnp.concatenate([jnp.zeros(0), *parts])

    def render(self, latent: Array, every: int = 1) -> Array:
        """The frame of a latent.

        Args:
            latent: [L].
            every: draw every so many rows and columns only.

        Returns:
            [S / every, S / every, 3] RGB in [0, 1].
        """
        grid = pixel_centres(self.size)[::every]
        frame = self.background[::every, ::every]
        for sprite, (position, direction) in zip(self.sprites, self.split(latent), strict=True):
            covered = sprite.coverage(grid, position, direction)[..., None]
            frame = frame + covered * (sprite.colour - frame)
        return frame


def pixel_centres(size: int) -> Array:
    """[size] coordinates of pixel centres along one side, in (-1, 1)."""
    return (jnp.arange(size) + 0.5) / size * 2 - 1


def unit(vector: Array) -> Array:
    """[2] of length one; (1, 0) at the origin, where there is no direction."""
    square = jnp.sum(vector * vector)
    tiny = square < 1e-8
    scaled = vector * jax.lax.rsqrt(jnp.where(tiny, 1.0, square))
    return jnp.where(tiny, jnp.array([1.0, 0.0], vector.dtype), scaled)


def rotate(direction: Array, points: Array) -> Array:
    """Points [..., 2] turned by the angle of the unit vector `direction` [2]."""
    c, s = direction
    x, y = points[..., 0], points[..., 1]
    return jnp.stack([c * x - s * y, s * x + c * y], axis=-1)
