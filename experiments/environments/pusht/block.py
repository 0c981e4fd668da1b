"""Geometry of Push-T's block and walls, in pixels and radians, and start states that fit."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.environments.pusht.simulator import (
    AGENT_RADIUS,
    BLOCK_ANGLE,
    BLOCK_POSITION,
    STATE_SIZE,
)

Point = tuple[float, float]

# Inner faces of the walls (drawn at 5 and 506 with radius 2).
WALL_LOW, WALL_HIGH = 7.0, 504.0
# Where scripted agents start and aim.
AGENT_LOW, AGENT_HIGH = 22.0, 490.0
# The tee's two rectangles in the block's frame: x range, y range.
BAR = (-60.0, 60.0, 0.0, 30.0)
STEM = (-15.0, 15.0, 30.0, 120.0)
OUTLINE = ((-60.0, 0.0), (60.0, 0.0), (60.0, 30.0), (-60.0, 30.0), (-15.0, 120.0), (15.0, 120.0))
CENTRE_OF_GRAVITY = (0.0, 45.0)

_CORNERS = np.array(OUTLINE)


def block_to_world(pose: Sequence[float], point: Point) -> Point:
    """Maps a point of the block's frame to the arena, for a pose (x, y, angle)."""
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    x, y = point
    return pose[0] + cosine * x - sine * y, pose[1] + sine * x + cosine * y


def block_corners(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """The outer corners of the tee.

    Args:
        states: [..., STATE_SIZE].

    Returns:
        [..., 6, 2] float64, px.
    """
    angle = np.asarray(states[..., BLOCK_ANGLE], np.float64)[..., None]
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = _CORNERS[:, 0], _CORNERS[:, 1]
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
    return turned + np.asarray(states[..., None, BLOCK_POSITION], np.float64)


def block_clearance(pose: Sequence[float], point: Point) -> float:
    """Distance (px) from a point to the block of the given pose (x, y, angle); 0 inside."""
    cosine, sine = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = point[0] - pose[0], point[1] - pose[1]
    x, y = cosine * dx + sine * dy, cosine * dy - sine * dx
    return min(
        math.hypot(max(left - x, x - right, 0.0), max(low - y, y - high, 0.0))
        for left, right, low, high in (BAR, STEM)
    )


def sample_start(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws a start state at rest, the block clear of walls and agent.

    Args:
        rng: source of randomness.

    Returns:
        [STATE_SIZE] float64: block x, y in [100, 400], any angle, agent anywhere in the arena.
    """
    state = np.zeros(STATE_SIZE)
    while True:
        state[BLOCK_POSITION] = rng.uniform(100, 400, 2)
        state[BLOCK_ANGLE] = rng.uniform(-np.pi, np.pi)
        corners = block_corners(state)
        if corners.min() > WALL_LOW + 1 and corners.max() < WALL_HIGH - 1:
            break
    pose = state[4:7].tolist()
    while True:
        x, y = rng.uniform(AGENT_LOW, AGENT_HIGH, 2).tolist()
        if block_clearance(pose, (x, y)) > AGENT_RADIUS + 2:
            state[:2] = x, y
            return state
