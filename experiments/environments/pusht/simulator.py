"""Push-T on gym-pusht: exact state save and restore, relative actions, success rule, frames.

A state is a float64 vector of [STATE_SIZE] entries: agent position (px), agent velocity
(px/s), block position (px), block angle (unwrapped, rad), block velocity (px/s), block angular
velocity (rad/s). An action is relative and lies in [-1, 1]^2: the controller's target is
`clip(agent position + 100 * action, 0, 512)`, fixed at the start of the environment step.
"""

import abc
import functools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pymunk

STATE_SIZE = 10
AGENT_POSITION = slice(0, 2)
AGENT_VELOCITY = slice(2, 4)
BLOCK_POSITION = slice(4, 6)
BLOCK_ANGLE = 6  # then the block's velocity (2) and its angular velocity

ARENA_SIZE = 512.0
ACTION_SCALE = 100.0
AGENT_RADIUS = 15.0
POSITION_TOLERANCE = 20.0
ANGLE_TOLERANCE = math.pi / 9

_GOAL_AGENT_COLOR = (200, 215, 250)


@functools.cache
def gym_pusht_class() -> Any:
    """Returns gym-pusht's environment class, imported without a display or a banner."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from gym_pusht.envs.pusht import PushTEnv

    return PushTEnv


def position_error(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """Distance in the joint space of agent and block positions.

    Args:
        state: [..., STATE_SIZE].
        goal: [..., STATE_SIZE], broadcast against `state`.

    Returns:
        [...] float64, norm of the 4-vector of agent and block position differences, px.
    """
    difference = np.asarray(state, np.float64) - np.asarray(goal, np.float64)
    agent, block = difference[..., AGENT_POSITION], difference[..., BLOCK_POSITION]
    return np.linalg.norm(np.concatenate([agent, block], axis=-1), axis=-1)


def angle_error(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """Absolute block angle difference, wrapped to [0, pi].

    Args:
        state: [..., STATE_SIZE].
        goal: [..., STATE_SIZE], broadcast against `state`.

    Returns:
        [...] float64, rad.
    """
    difference = np.asarray(state, np.float64) - np.asarray(goal, np.float64)
    angle = difference[..., BLOCK_ANGLE]
    return np.abs((angle + np.pi) % (2 * np.pi) - np.pi)


def success(state: ArrayLike, goal: ArrayLike) -> NDArray[np.bool_]:
    """Whether a state counts as having reached the goal.

    Args:
        state: [..., STATE_SIZE].
        goal: [..., STATE_SIZE], broadcast against `state`.

    Returns:
        [...] bool: position error < 20 px and angle error < pi / 9, both strict. A state that
        is not finite fails.
    """
    near = position_error(state, goal) < POSITION_TOLERANCE
    return near & (angle_error(state, goal) < ANGLE_TOLERANCE)


class PushTSimulator(abc.ABC):
    """State handling and execution shared by the gym wrapper and the fast loop."""

    _space: "pymunk.Space"
    _agent: "pymunk.Body"
    _block: "pymunk.Body"

    def reset_to(self, state: ArrayLike) -> NDArray[np.float64]:
        """Restores a state without advancing the physics.

        Args:
            state: [STATE_SIZE].

        Returns:
            The restored state, [STATE_SIZE] float64.
        """
        # A fresh space each time: the solver warm-starts from the contacts of its last step, so
        # a reused space would let the previous trajectory leak into the next.
        self._build()
        values = np.asarray(state, np.float64)
        if values.shape != (STATE_SIZE,):
            raise ValueError(f"state has shape {values.shape}, expected ({STATE_SIZE},)")
        ax, ay, avx, avy, bx, by, angle, bvx, bvy, angular = values.tolist()
        self._agent.position = ax, ay
        self._agent.velocity = avx, avy
        # The body turns about its centre of gravity, which moves its origin, hence angle first.
        self._block.angle = angle
        self._block.position = bx, by
        # The space damps all momentum away, yet the solver's last velocity still moves the block
        # in the next tick, so it belongs to the state.
        self._block.velocity = bvx, bvy
        self._block.angular_velocity = angular
        self._space.reindex_shapes_for_body(self._agent)
        self._space.reindex_shapes_for_body(self._block)
        return self.get_state()

    def get_state(self) -> NDArray[np.float64]:
        """Returns the state, [STATE_SIZE] float64."""
        agent, block = self._agent, self._block
        return np.array(
            (
                *agent.position,
                *agent.velocity,
                *block.position,
                block.angle,
                *block.velocity,
                block.angular_velocity,
            )
        )

    def step(self, action: ArrayLike) -> NDArray[np.float64]:
        """Runs one environment step (0.1 s, ten physics ticks).

        Args:
            action: [2], relative target in units of 100 px.

        Returns:
            The next state, [STATE_SIZE] float64.
        """
        ax, ay = np.asarray(action, np.float64).tolist()
        x, y = self._agent.position
        self._drive(
            min(max(x + ACTION_SCALE * ax, 0.0), ARENA_SIZE),
            min(max(y + ACTION_SCALE * ay, 0.0), ARENA_SIZE),
        )
        return self.get_state()

    def execute(self, state: ArrayLike, actions: ArrayLike) -> NDArray[np.float64]:
        """Restores a state and runs a sequence of actions.

        Args:
            state: [STATE_SIZE].
            actions: [N, 2], relative targets in units of 100 px.

        Returns:
            [N + 1, STATE_SIZE] float64, the restored state first.
        """
        plan = np.asarray(actions, np.float64)
        states = np.empty((len(plan) + 1, STATE_SIZE))
        states[0] = self.reset_to(state)
        for index, action in enumerate(plan):
            states[index + 1] = self.step(action)
        return states

    @abc.abstractmethod
    def _build(self) -> None:
        """Creates a fresh space with the walls, the agent and the block."""

    @abc.abstractmethod
    def _drive(self, x: float, y: float) -> None:
        """Runs one environment step towards the absolute target (px)."""


class PushT(PushTSimulator):
    """gym-pusht's own environment, with restorable states, relative actions and frames."""

    def __init__(self) -> None:
        self._env = gym_pusht_class()()
        self._build()

    def _build(self) -> None:
        # Not gym-pusht's reset: it steps the physics once and cannot restore velocities.
        self._env._setup()
        self._space, self._agent = self._env.space, self._env.agent
        self._block = self._env.block

    def _drive(self, x: float, y: float) -> None:
        self._env.step(np.array((x, y)))

    def render(self, goal: ArrayLike | None = None, size: int = 96) -> NDArray[np.uint8]:
        """Draws the current state.

        Args:
            goal: [STATE_SIZE]; its block pose is drawn in green and its agent as a faint ring.
                By default gym-pusht's own fixed goal pose is drawn.
            size: width and height of the frame, px.

        Returns:
            [size, size, 3] uint8, RGB.
        """
        import pygame
        from gym_pusht.envs.pymunk_override import DrawOptions

        screen = pygame.Surface((int(ARENA_SIZE), int(ARENA_SIZE)))
        screen.fill((255, 255, 255))
        pose = self._env.goal_pose
        if goal is not None:
            target = np.asarray(goal, np.float64)
            pose = np.array([*target[BLOCK_POSITION], target[BLOCK_ANGLE]])
        body = self._env.get_goal_pose_body(pose)
        for shape in self._env._block_shapes:
            corners = [tuple(body.local_to_world(v)) for v in shape.get_vertices()]
            pygame.draw.polygon(screen, pygame.Color("LightGreen"), corners)
        if goal is not None:
            centre = tuple(np.asarray(goal, np.float64)[AGENT_POSITION].tolist())
            pygame.draw.circle(screen, _GOAL_AGENT_COLOR, centre, AGENT_RADIUS, width=5)
        self._space.debug_draw(DrawOptions(screen))
        return self._env._get_img(screen, width=size, height=size)
