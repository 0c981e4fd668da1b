"""The planning state of Push-T: units, goal distance, success and stacked actions.

Planning state [8], in units of 100 px: agent x, y; block x, y (body position, as in the success
rule); 0.6 * cos(angle), 0.6 * sin(angle), so that a radian costs as much as 60 px; agent velocity
in 1000 px/s, so that it is about the distance the agent still coasts.

The functions accept NumPy and JAX arrays and return the same kind.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

STATE_SIZE = 8
FRAMESKIP = 5
ACTION_SIZE = 2 * FRAMESKIP
GOAL_SIZE = 6  # the planning state's leading entries that a goal constrains
PIXELS = 100.0  # px per planning unit
ANGLE_RADIUS = 0.6  # planning units per radian
VELOCITY_SCALE = 1000.0  # px/s per planning unit
ACTION_STD = 0.2  # environment action per model action
SUCCESS_DISTANCE = 20.0  # px, norm over agent xy and block xy together
SUCCESS_ANGLE = np.pi / 9  # rad


def encode(sim_state: Any) -> Any:
    """Simulator states [..., 10] (px, px/s, rad) -> planning states [..., 8]; numpy or jax."""
    xp = np if isinstance(sim_state, np.ndarray) else jnp
    angle = sim_state[..., 6:7]
    return xp.concatenate(
        [
            sim_state[..., 0:2] / PIXELS,
            sim_state[..., 4:6] / PIXELS,
            ANGLE_RADIUS * xp.cos(angle),
            ANGLE_RADIUS * xp.sin(angle),
            sim_state[..., 2:4] / VELOCITY_SCALE,
        ],
        axis=-1,
    )


def decode(state: Any) -> dict[str, Any]:
    """Planning states [..., 8] -> agent, block [..., 2] px, velocity [..., 2] px/s, angle [...]."""
    xp = np if isinstance(state, np.ndarray) else jnp
    return {
        "agent": state[..., 0:2] * PIXELS,
        "block": state[..., 2:4] * PIXELS,
        "angle": xp.arctan2(state[..., 5], state[..., 4]),
        "velocity": state[..., 6:8] * VELOCITY_SCALE,
    }


def goal_distance(state: Any, goal: Any) -> Any:
    """Sum of squares over agent, block and angle entries; [8], [8] -> []; velocity is free."""
    return ((state[..., :GOAL_SIZE] - goal[..., :GOAL_SIZE]) ** 2).sum(axis=-1)


def errors(state: Any, goal: Any) -> tuple[Any, Any]:
    """(position error px over agent and block, |wrapped angle error| rad) of planning states."""
    xp = np if isinstance(state, np.ndarray) else jnp
    position = PIXELS * xp.sqrt(xp.sum((state[..., :4] - goal[..., :4]) ** 2, axis=-1))
    c = state[..., 4] * goal[..., 4] + state[..., 5] * goal[..., 5]
    s = state[..., 5] * goal[..., 4] - state[..., 4] * goal[..., 5]
    return position, xp.abs(xp.arctan2(s, c))


def predicted_success(state: Any, goal: Any) -> Any:
    """Push-T's success rule on planning states [..., 8] -> bool [...]."""
    position, angle = errors(state, goal)
    return (position < SUCCESS_DISTANCE) & (angle < SUCCESS_ANGLE)


def split_actions(actions: Any) -> Any:
    """Model actions [..., T, 10] -> environment actions [..., 5T, 2]."""
    return ACTION_STD * actions.reshape(*actions.shape[:-2], -1, 2)


def stack_actions(actions: Any) -> Any:
    """Environment actions [..., 5T, 2] -> model actions [..., T, 10]."""
    return (actions / ACTION_STD).reshape(*actions.shape[:-2], -1, ACTION_SIZE)
