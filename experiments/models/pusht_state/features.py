"""Features of the Push-T state model: the agent's path and the walls, seen from the block.

Lengths are in planning units of 100 px.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

COG = np.array([0.0, 0.45])  # centre of gravity, block frame, planning units
BOXES = (  # (centre, half size) of the bar and the stem, block frame, planning units
    (np.array([0.0, 0.15]), np.array([0.60, 0.15])),
    (np.array([0.0, 0.75]), np.array([0.15, 0.45])),
)
CORNERS = np.array([[-0.6, 0.0], [0.6, 0.0], [0.6, 0.3], [0.15, 1.2], [-0.15, 1.2], [-0.6, 0.3]])
AGENT_RADIUS = 0.15
ARENA = 5.12
WALLS = (0.07, 5.04)  # inner faces
PATH_TIMES = (0.0, 0.3, 0.6, 1.0)  # fractions of an environment step at which features look
CONTACT_WINDOW = 0.10  # distance before contact at which contact features start
GATE_MARGIN = 0.02  # distance before contact at which the block may start to move
CORNER_WINDOW = 0.06  # distance to a wall at which a corner's feature starts
WALL_WINDOW = 0.10  # distance to a wall at which its direction becomes visible
TOUCH_WIDTH = 0.01  # distance over which the wall gate opens
FEATURES = 2 + 2 * (len(PATH_TIMES) - 1) + 2 + 3 * len(BOXES) * len(PATH_TIMES) + 2 + len(CORNERS)


def rotate(c: Array, s: Array, v: Array) -> Array:
    """Rotates v [..., 2] by the angle of cosine c and sine s."""
    return jnp.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], axis=-1)


def _smoothstep(x: Array) -> Array:
    x = jnp.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def unit(c: Array, s: Array) -> tuple[Array, Array]:
    """Cosine and sine of the direction of (c, s), which may lie off the circle."""
    square = c * c + s * s
    # No direction is defined at the origin; angle 0 there keeps the output on the circle.
    tiny = square < 1e-6
    norm = jax.lax.rsqrt(jnp.where(tiny, 1.0, square))
    return jnp.where(tiny, 1.0, c * norm), jnp.where(tiny, 0.0, s * norm)


def agent_path(
    agent: Array, position: Array, velocity: Array, displacement: Array
) -> tuple[Array, Array]:
    """The agent's positions [times, 2] and its final velocity [2] in one environment step."""
    target = jnp.clip(position + displacement, 0.0, ARENA)
    agent = agent.astype(position.dtype)[..., None]  # [times, 2, 2, 1]
    offset = position - target
    path = target + agent[:, 0, 0] * offset + agent[:, 0, 1] * velocity
    return path, agent[-1, 1, 0] * offset + agent[-1, 1, 1] * velocity


def block_features(
    path: Array, velocity: Array, cog: Array, c: Array, s: Array
) -> tuple[Array, Array]:
    """Features [FEATURES] of order one, and a gate [] that is 0 where nothing can touch."""
    local = rotate(c, -s, path - cog)  # [times, 2]
    offsets, depths = [], []
    for centre, half_size in BOXES:
        half = jnp.asarray(half_size, path.dtype)
        d = local - jnp.asarray(centre - COG, path.dtype)
        offset = d - jnp.clip(d, -half, half)  # from the box's closest point
        distance = jnp.sqrt(jnp.sum(offset * offset, axis=-1) + 1e-8)
        depth = AGENT_RADIUS - distance
        window = jax.nn.relu(depth + CONTACT_WINDOW)
        offsets.append((offset * (window / distance)[:, None]).reshape(-1))
        depths.append(depth)
    depth = jnp.stack(depths)
    gate = _smoothstep(jnp.max(depth) / GATE_MARGIN + 1.0)
    wall, touch = _wall_features(cog, c, s)
    features = [
        2.0 * jnp.tanh(local[0]),
        5.0 * jnp.tanh(local[1:] - local[0]).reshape(-1),
        10.0 * jnp.tanh(rotate(c, -s, velocity)),
        10.0 * jnp.concatenate(offsets),
        10.0 * jax.nn.relu(depth + CONTACT_WINDOW).reshape(-1),
        wall,
    ]
    return jnp.concatenate(features).astype(path.dtype), jnp.maximum(gate, touch)


def _wall_features(cog: Array, c: Array, s: Array) -> tuple[Array, Array]:
    """Near walls' inward normal in the block frame [2] and each corner's closeness [6]; a gate.

    In the block frame all four walls look alike, so that the arena's symmetry is built in.
    """
    corners = rotate(c, s, jnp.asarray(CORNERS - COG, cog.dtype)) + cog
    low, high = corners - WALLS[0], WALLS[1] - corners
    nearest_low, nearest_high = jnp.min(low, axis=0), jnp.min(high, axis=0)
    normal = _smoothstep(1.0 - nearest_low / WALL_WINDOW)
    normal = normal - _smoothstep(1.0 - nearest_high / WALL_WINDOW)
    clearance = jnp.min(jnp.minimum(low, high), axis=-1)
    closeness = jnp.clip(1.0 - clearance / CORNER_WINDOW, 0.0, 5.0)
    touch = _smoothstep(0.5 - jnp.min(clearance) / TOUCH_WIDTH)
    return jnp.concatenate([rotate(c, -s, normal), closeness]), touch
