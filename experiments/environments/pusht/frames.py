"""Push-T as 64 x 64 frames, drawn in JAX: gym-pusht's picture without its painted goal.

The environment paints every frame with the same light green tee at its own goal; here the goal
comes with the planning problem, so it is left out. gym-pusht draws 512 x 512 pixels; a pixel of
a frame is the mean of 8 x 8 of them. Instead, coverage is computed from signed distances, inside
`jit`, so that frames need not be stored: states are enough. A test holds them against gym-pusht's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from experiments.environments.pusht.block import BAR, STEM
from experiments.environments.pusht.simulator import (
    AGENT_POSITION,
    AGENT_RADIUS,
    ARENA_SIZE,
    BLOCK_ANGLE,
    BLOCK_POSITION,
)

SIZE = 64
_PIXEL = ARENA_SIZE / SIZE
# pymunk's picture: shapes filled 1.2 times as light as their colour, with an outline of it.
_AGENT = ((65.0, 105.0, 225.0), (78.0, 126.0, 255.0))
_BLOCK = ((119.0, 136.0, 153.0), (142.8, 163.2, 183.6))
_WALL = (211.0, 211.0, 211.0)
_RING = 4.0  # px, the agent's outline, inside its radius
_LINE = 2.0  # px, half the width of the block's outline
_WALL_SHARE = 5 / 8  # of a pixel on the border; the walls are 5 px wide


def _coverage(distance: Array) -> Array:
    """Share of a pixel inside a shape, from the signed distance (px) of the pixel's centre."""
    return jnp.clip(0.5 - distance / _PIXEL, 0.0, 1.0)[..., None]


def _paint(picture: Array, coverage: Array, colour: tuple[float, ...]) -> Array:
    return picture + coverage * (jnp.asarray(colour) - picture)


def _box(points: Array, box: tuple[float, ...]) -> Array:
    """Signed distance of points `[..., 2]` to a box (x range, y range): `[...]`."""
    low, high = jnp.array([box[0], box[2]]), jnp.array([box[1], box[3]])
    outside = jnp.abs(points - (low + high) / 2) - (high - low) / 2
    beyond = jnp.linalg.norm(jnp.maximum(outside, 1e-6), axis=-1)
    return beyond + jnp.minimum(jnp.max(outside, axis=-1), 0.0)


def draw(state: Array) -> Array:
    """One frame.

    Args:
        state: [STATE_SIZE].

    Returns:
        [64, 64, 3] float32, RGB in [0, 255].
    """
    centres = (jnp.arange(SIZE) + 0.5) * _PIXEL - 0.5
    grid = jnp.stack(jnp.meshgrid(centres, centres, indexing="xy"), axis=-1)
    picture = jnp.full((SIZE, SIZE, 3), 255.0)
    border = jnp.any((grid < _PIXEL) | (grid > ARENA_SIZE - _PIXEL), axis=-1, keepdims=True)
    picture = _paint(picture, _WALL_SHARE * border, _WALL)

    cosine, sine = jnp.cos(state[BLOCK_ANGLE]), jnp.sin(state[BLOCK_ANGLE])
    offset = grid - state[BLOCK_POSITION]
    x = cosine * offset[..., 0] + sine * offset[..., 1]
    y = cosine * offset[..., 1] - sine * offset[..., 0]
    local = jnp.stack([x, y], axis=-1)
    for box in (BAR, STEM):
        distance = _box(local, box)
        picture = _paint(picture, _coverage(distance - _LINE), _BLOCK[0])
        picture = _paint(picture, _coverage(distance + _LINE), _BLOCK[1])
    distance = jnp.linalg.norm(grid - state[AGENT_POSITION], axis=-1) - AGENT_RADIUS
    picture = _paint(picture, _coverage(distance), _AGENT[0])
    return _paint(picture, _coverage(distance + _RING), _AGENT[1])


@jax.jit
def _render(states: Array) -> Array:
    return jnp.round(jax.lax.map(draw, states, batch_size=64)).astype(jnp.uint8)


def render(states: ArrayLike) -> NDArray[np.uint8]:
    """Frames of states.

    Args:
        states: [..., STATE_SIZE].

    Returns:
        [..., 64, 64, 3] uint8, RGB.
    """
    states = np.asarray(states, np.float32)
    flat = states.reshape(-1, states.shape[-1])
    return np.asarray(_render(jnp.asarray(flat))).reshape(*states.shape[:-1], SIZE, SIZE, 3)
