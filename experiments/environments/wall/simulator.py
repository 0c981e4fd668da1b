"""Wall: a dot in a square of two rooms joined by a door; exact rules, goals apart, frames.

A position is `[2]`, x to the right and y down, in the units of a 65 x 65 picture (px): the centre
of pixel `i` lies at `i`. An action lies in [-1, 1]^2 and asks for the step `2 * action`. What is
drawn black is solid and the dot is a point. **A step whose straight path would enter something
solid ends where the path first touches it**, whatever of the step is left; it does not slide along
the wall. A dot that touches a wall leaves it, or moves along it, freely.

Everything works on batches. NumPy and JAX arrays give the same; the simulator runs in float64.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

WORLD_SIZE = 65
STEP_SIZE = 2.0  # px per unit of action
LOW, HIGH = 4.5, 59.5  # inner faces of the outer walls, px
WALL_LEFT, WALL_RIGHT = 28.5, 35.5  # faces of the wall between the rooms, px
DOOR_TOP, DOOR_BOTTOM = 25.5, 34.5  # ends of the door's opening, px
TOLERANCE = 4.5  # px
STATE_SIZE = 2
ACTION_SIZE = 2

_DOT_STD = 1.7  # px
_BORDER = 1.0  # thickness of the outer walls in the picture, px
# Solid rectangles between the rooms: (x from, x to, y from, y to).
_BOXES = np.array(
    [
        [WALL_LEFT, WALL_RIGHT, -np.inf, DOOR_TOP],
        [WALL_LEFT, WALL_RIGHT, DOOR_BOTTOM, np.inf],
    ]
)


def position_error(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """Distance of positions `[..., 2]` and `[..., 2]`: `[...]` px."""
    return np.linalg.norm(np.asarray(state, np.float64) - np.asarray(goal, np.float64), axis=-1)


def success(state: ArrayLike, goal: ArrayLike) -> NDArray[np.bool_]:
    """Whether positions `[..., 2]` are less than 4.5 px from goals `[..., 2]`: `[...]` bool."""
    return position_error(state, goal) < TOLERANCE


def room(state: ArrayLike) -> NDArray[np.int64]:
    """Where positions `[..., 2]` are: 0 left, 1 right, -1 in the door's passage. `[...]`."""
    x = np.asarray(state)[..., 0]
    return np.where(x <= WALL_LEFT, 0, np.where(x >= WALL_RIGHT, 1, -1))


def _first_touch(start: NDArray[np.float64], move: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Where paths `start + t * move`, `t` in [0, 1], first enter something solid.

    Args:
        start: [n, 2], outside of everything solid or on its faces.
        move: [n, 2].

    Returns:
        `t` [n], 1 where nothing is met; the axis [n] of the face that is met; its place [n], NaN
        where none is met.
    """
    rows = np.arange(len(start))
    still = move == 0
    safe = np.where(still, 1.0, move)
    # Outer walls: the time at which each coordinate reaches the face it moves towards.
    face = np.where(move > 0, HIGH, LOW)
    reach = np.where(still, np.inf, (face - start) / safe)
    axis = np.argmin(reach, axis=1)
    time, place = reach[rows, axis], face[rows, axis]
    for box in _BOXES:
        low, high = box[0::2], box[1::2]
        first, last = (low - start) / safe, (high - start) / safe
        inside = (start > low) & (start < high)
        entry = np.where(still, np.where(inside, -np.inf, np.inf), np.minimum(first, last))
        leave = np.where(still, np.inf, np.maximum(first, last))
        enter_axis = np.argmax(entry, axis=1)
        enter = entry[rows, enter_axis]
        hit = (enter < leave.min(axis=1)) & (enter >= 0) & (enter < time)
        time = np.where(hit, enter, time)
        axis = np.where(hit, enter_axis, axis)
        place = np.where(hit, np.where(move > 0, low, high)[rows, enter_axis], place)
    return np.minimum(time, 1.0), axis, np.where(time < 1.0, place, np.nan)


def step(state: ArrayLike, action: ArrayLike) -> NDArray[np.float64]:
    """One environment step.

    Args:
        state: [..., 2], px, in free space.
        action: [..., 2], clipped to [-1, 1].

    Returns:
        [..., 2], the next position.
    """
    before = np.asarray(state, np.float64)
    start = before.reshape(-1, 2)
    actions = np.broadcast_to(np.asarray(action, np.float64), before.shape).reshape(-1, 2)
    move = STEP_SIZE * np.clip(actions, -1, 1)
    time, axis, place = _first_touch(start, move)
    end = start + time[:, None] * move
    # Exactly on the face that stopped it, or rounding would leave the dot inside and stuck.
    touched = np.flatnonzero(~np.isnan(place))
    end[touched, axis[touched]] = place[touched]
    return end.reshape(before.shape)


def execute(state: ArrayLike, actions: ArrayLike) -> NDArray[np.float64]:
    """Runs action sequences.

    Args:
        state: [..., 2].
        actions: [..., N, 2].

    Returns:
        [..., N + 1, 2] float64, `state` first.
    """
    plan = np.asarray(actions, np.float64)
    states = np.empty((*plan.shape[:-2], plan.shape[-2] + 1, STATE_SIZE))
    states[..., 0, :] = state
    for index in range(plan.shape[-2]):
        states[..., index + 1, :] = step(states[..., index, :], plan[..., index, :])
    return states


def _coverage(size: int, low: float, high: float) -> NDArray[np.float64]:
    """How much of each of `size` pixels along an axis lies in [low, high]: `[size]` in [0, 1]."""
    edges = -0.5 + np.arange(size + 1) * WORLD_SIZE / size
    overlap = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    return np.clip(overlap * size / WORLD_SIZE, 0, 1)


def background(size: int = 64) -> NDArray[np.float64]:
    """The share of each pixel that is wall: `[size, size]` (row is y) in [0, 1]."""
    # The outer walls are lines across the whole picture.
    lines = _coverage(size, LOW - _BORDER, HIGH + _BORDER) - _coverage(size, LOW, HIGH)
    solid = 1 - (1 - lines[None, :]) * (1 - lines[:, None])
    closed = 1 - _coverage(size, DOOR_TOP, DOOR_BOTTOM)
    between = _coverage(size, WALL_LEFT, WALL_RIGHT)
    return np.maximum(solid, closed[:, None] * between[None, :])


def render(state: Any, size: int = 64) -> Any:
    """Draws positions: black walls on white, a soft red dot.

    Args:
        state: [..., 2], a NumPy or JAX array.
        size: Width and height of a frame.

    Returns:
        [..., size, size, 3] uint8, of the same kind.
    """
    xp = np if isinstance(state, np.ndarray) else jnp
    centres = (-0.5 + (np.arange(size) + 0.5) * WORLD_SIZE / size).astype(np.float32)
    state = state.astype(np.float32)
    profile = xp.exp(-((centres - state[..., None]) ** 2) / (2 * _DOT_STD**2))  # [..., 2, size]
    dot = profile[..., 1, :, None] * profile[..., 0, None, :]
    free = (1 - background(size)).astype(np.float32)
    red = xp.broadcast_to(255 * free, dot.shape)
    rest = 255 * free * (1 - dot)
    return (xp.stack([red, rest, rest], axis=-1) + 0.5).astype(np.uint8)
