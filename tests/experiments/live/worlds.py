"""A small world for these tests: a point that moves where it is told, in a square."""

import jax.numpy as jnp
import numpy as np

from experiments.live.controls import Settings

SETTINGS = Settings("CEM", "none", effort=4, horizon=8, action_std=1.0, follow=2)


def dynamics(state, action):
    return state + 0.1 * jnp.clip(action, -1, 1)


def broken(state, action):
    return state + action * jnp.nan


def draw(state):
    return f'<circle cx="{state[0]:.3f}" cy="{state[1]:.3f}" r="0.05" fill="currentColor"/>'


START = np.array([-0.5, 0.0], np.float32)
GOAL = np.array([0.3, 0.2], np.float32)
OWN = {
    "action_size": 2,
    "goal": GOAL,
    "horizon": 8,
    "settings": SETTINGS,
    "block": False,
}
"""Arguments of `grasp_jax_live` besides dynamics, start and draw."""
