"""Scripted Push-T policies, for training data and for evaluation goals.

Points are in pixels of the 512 px arena. Everything random comes from the generator passed in,
so a trajectory is a function of its seed. The policies avoid numpy on single points, which
would cost more than the physics.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from experiments.environments.pusht.block import (
    AGENT_HIGH,
    AGENT_LOW,
    BAR,
    CENTRE_OF_GRAVITY,
    OUTLINE,
    STEM,
    Point,
    block_clearance,
    block_to_world,
)
from experiments.environments.pusht.simulator import ACTION_SCALE, STATE_SIZE, PushTSimulator

Policy = Callable[[NDArray[np.float64]], Point]

# The first word of a random seed after the user's, so that no two uses share a stream.
TRAINING_STREAM, TUNE_STREAM, REPORT_STREAM = 0, 1, 2

# Ranges (px) of the block's centre of gravity, of its corners and of where pushes end.
_CENTRE_LOW, _CENTRE_HIGH = 145.0, 367.0
# No corner can be near a wall while the centre of gravity is inside this range.
_JAM_LOW, _JAM_HIGH = 115.0, 397.0
_NEAR_LOW, _NEAR_HIGH = 25.0, 486.0
_EXIT_LOW, _EXIT_HIGH = 70.0, 442.0


def make_policy(rng: np.random.Generator, steps: int) -> Policy:
    """Draws a policy for one trajectory: 77% directed pushes, 11% random, 12% waypoints.

    Args:
        rng: source of randomness; the policy keeps using it.
        steps: the trajectory's length in environment steps.

    Returns:
        A function from the state [STATE_SIZE] to a relative action inside [-1, 1]^2.
    """
    choice = rng.random()
    if choice < 0.77:
        return _DirectedPush(rng, steps)
    if choice < 0.88:
        return _CorrelatedNoise(rng, steps)
    return _Waypoints(rng, steps)


def run_policy(
    simulator: PushTSimulator, policy: Policy, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Runs a policy from the simulator's current state.

    Args:
        simulator: already reset.
        policy: called once per environment step.
        steps: number of environment steps.

    Returns:
        States [steps + 1, STATE_SIZE] float64 and actions [steps, 2] float32, which are
        exactly the actions executed.
    """
    states = np.empty((steps + 1, STATE_SIZE))
    actions = np.empty((steps, 2), np.float32)
    states[0] = simulator.get_state()
    for index in range(steps):
        actions[index] = policy(states[index])
        states[index + 1] = simulator.step(actions[index])
    return states, actions


def _correlated_noise(
    rng: np.random.Generator, steps: int, scale: float, correlation: float
) -> list[list[float]]:
    """Draws a stationary AR(1) sequence, [steps][2], of the given standard deviation."""
    values = rng.standard_normal((steps, 2)) * scale
    innovation = math.sqrt(1 - correlation**2)
    for index in range(1, steps):
        values[index] = correlation * values[index - 1] + innovation * values[index]
    return values.tolist()


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _bounded(x: float, y: float, ax: float, ay: float) -> Point:
    """Keeps the commanded target inside the arena and the action inside [-1, 1]^2."""
    ax = _clip(ax, (AGENT_LOW - x) / ACTION_SCALE, (AGENT_HIGH - x) / ACTION_SCALE)
    ay = _clip(ay, (AGENT_LOW - y) / ACTION_SCALE, (AGENT_HIGH - y) / ACTION_SCALE)
    return _clip(ax, -1.0, 1.0), _clip(ay, -1.0, 1.0)


def _toward(x: float, y: float, goal: Point, speed: float) -> Point:
    """Action towards a point, at most `speed` long."""
    dx, dy = (goal[0] - x) / ACTION_SCALE, (goal[1] - y) / ACTION_SCALE
    scale = min(1.0, speed / max(math.hypot(dx, dy), 1e-9))
    return dx * scale, dy * scale


def _near_wall(centre: Point) -> bool:
    return any(not _CENTRE_LOW < value < _CENTRE_HIGH for value in centre)


class _CorrelatedNoise:
    """Time-correlated random actions, turned back at the arena's edge."""

    def __init__(self, rng: np.random.Generator, steps: int) -> None:
        scale, correlation = rng.uniform(0.18, 0.3), rng.uniform(0.6, 0.95)
        self._noise = iter(_correlated_noise(rng, steps, scale, correlation))
        self._signs = [1.0, 1.0]

    def __call__(self, state: NDArray[np.float64]) -> Point:
        position, noise = state[:2].tolist(), next(self._noise)
        for axis in range(2):
            inward = 1.0 if position[axis] < 256 else -1.0
            outward = noise[axis] * self._signs[axis] * inward < 0
            if outward and not 45 < position[axis] < 467:
                self._signs[axis] = -self._signs[axis]
        x, y = position
        return _bounded(x, y, noise[0] * self._signs[0], noise[1] * self._signs[1])


class _Waypoints:
    """Drives through random points, most of them near the block."""

    def __init__(self, rng: np.random.Generator, steps: int) -> None:
        self._rng = rng
        self._noise = iter(_correlated_noise(rng, steps, rng.uniform(0.03, 0.12), 0.7))
        self._left = 0
        self._goal: Point = (256.0, 256.0)
        self._speed = 0.2

    def __call__(self, state: NDArray[np.float64]) -> Point:
        x, y = state[:2].tolist()
        if self._left <= 0 or math.hypot(self._goal[0] - x, self._goal[1] - y) < 15:
            self._pick(state[4:7].tolist())
        self._left -= 1
        ax, ay = _toward(x, y, self._goal, self._speed)
        nx, ny = next(self._noise)
        return _bounded(x, y, ax + nx, ay + ny)

    def _pick(self, pose: list[float]) -> None:
        rng = self._rng
        gx, gy = rng.uniform(60, 452, 2).tolist()
        if rng.random() < 0.8:
            cx, cy = block_to_world(pose, CENTRE_OF_GRAVITY)
            dx, dy = rng.normal(0.0, 60.0, 2).tolist()
            gx, gy = _clip(cx + dx, 110.0, 402.0), _clip(cy + dy, 110.0, 402.0)
        self._goal = gx, gy
        self._speed = rng.uniform(0.1, 0.45)
        self._left = int(rng.integers(8, 25))


class _DirectedPush:
    """Repeatedly approaches the block from a chosen side and drives through a point on it."""

    def __init__(self, rng: np.random.Generator, steps: int) -> None:
        self._rng = rng
        self._noise = iter(
            _correlated_noise(rng, steps, rng.uniform(0.03, 0.15), rng.uniform(0.5, 0.9))
        )
        self._left = 0
        self._pushing = False
        self._entry: Point = (0.0, 0.0)
        self._exit: Point = (0.0, 0.0)
        self._speed = self._approach_speed = 0.2
        self._detour = True

    def __call__(self, state: NDArray[np.float64]) -> Point:
        x, y = state[:2].tolist()
        pose = state[4:7].tolist()
        target = self._exit if self._pushing else self._entry
        arrived = math.hypot(target[0] - x, target[1] - y) < 12
        if self._left <= 0 or (self._pushing and (arrived or self._jams(pose))):
            self._pick((x, y), pose)
        elif arrived:
            self._pushing = True
        self._left -= 1
        if self._pushing:
            ax, ay = _toward(x, y, self._exit, self._speed)
        else:
            ax, ay = _toward(x, y, self._waypoint((x, y), pose), self._approach_speed)
        nx, ny = next(self._noise)
        return _bounded(x, y, ax + nx, ay + ny)

    def _jams(self, pose: list[float]) -> bool:
        """Whether the block touches a wall, or nearly, and is being pushed towards it."""
        centre = block_to_world(pose, CENTRE_OF_GRAVITY)
        if all(_JAM_LOW < value < _JAM_HIGH for value in centre):
            return False
        corners = [block_to_world(pose, corner) for corner in OUTLINE]
        for axis in range(2):
            values = [corner[axis] for corner in corners]
            end, middle = self._exit[axis], centre[axis]
            if (min(values) < _NEAR_LOW and end < middle) or (
                max(values) > _NEAR_HIGH and end > middle
            ):
                return True
        return False

    def _waypoint(self, agent: Point, pose: list[float]) -> Point:
        """The entry point, or a point beside the block when the straight way is blocked."""
        if not self._detour:
            return self._entry
        centre = block_to_world(pose, CENTRE_OF_GRAVITY)
        dx, dy = self._entry[0] - agent[0], self._entry[1] - agent[1]
        length = max(math.hypot(dx, dy), 1e-9)
        ux, uy = dx / length, dy / length
        cx, cy = centre[0] - agent[0], centre[1] - agent[1]
        along, across = cx * ux + cy * uy, cx * uy - cy * ux
        if not 0 < along < length or abs(across) > 75:
            return self._entry
        side = 1.0 if across < 0 else -1.0
        return centre[0] + side * 110 * uy, centre[1] - side * 110 * ux

    def _pick(self, agent: Point, pose: list[float]) -> None:
        """Chooses the next push among a few candidates, mostly one that starts nearby."""
        rng = self._rng
        candidates = [self._candidate(pose) for _ in range(int(rng.integers(1, 6)))]
        self._entry, self._exit = min(
            candidates, key=lambda c: math.hypot(c[0][0] - agent[0], c[0][1] - agent[1])
        )
        self._pushing = False
        self._speed = float(rng.uniform(0.08, 0.42))
        self._approach_speed = float(rng.uniform(0.2, 0.45))
        # Going straight moves the block on the way, which near a wall would jam it.
        self._detour = bool(rng.random() < 0.3) or _near_wall(
            block_to_world(pose, CENTRE_OF_GRAVITY)
        )
        self._left = int(rng.integers(12, 40))

    def _candidate(self, pose: list[float]) -> tuple[Point, Point]:
        """Draws a push: where it enters, outside the block, and where it ends."""
        rng = self._rng
        # A margin around the tee, so that some pushes only graze it.
        left, right, low, high = BAR if rng.random() < 0.5 else STEM
        local = rng.uniform(left - 12, right + 12), rng.uniform(low - 12, high + 12)
        point = block_to_world(pose, local)
        centre = block_to_world(pose, CENTRE_OF_GRAVITY)
        angle = self._direction(centre)
        ux, uy = math.cos(angle), math.sin(angle)
        back = rng.uniform(10, 35)
        while block_clearance(pose, (point[0] - back * ux, point[1] - back * uy)) < 20:
            back += 10
        length = rng.uniform(30, 170)
        # Stops before the block is jammed into a wall.
        for position, component in ((centre[0], ux), (centre[1], uy)):
            edge = _CENTRE_HIGH if component > 0 else _CENTRE_LOW
            room = (edge - position) / component if abs(component) > 1e-6 else length
            length = min(length, max(room, 15.0))
        entry = (
            _clip(point[0] - back * ux, AGENT_LOW, AGENT_HIGH),
            _clip(point[1] - back * uy, AGENT_LOW, AGENT_HIGH),
        )
        x, y = point[0] + length * ux, point[1] + length * uy
        return entry, (_clip(x, _EXIT_LOW, _EXIT_HIGH), _clip(y, _EXIT_LOW, _EXIT_HIGH))

    def _direction(self, centre: Point) -> float:
        """Any direction for a block in the middle, one pointing inwards near a wall."""
        rng = self._rng
        if _near_wall(centre) and rng.random() < 0.85:
            inward = math.atan2(256 - centre[1], 256 - centre[0])
            return inward + rng.normal(0.0, 0.6)
        return rng.uniform(-math.pi, math.pi)
