"""Small visual latents with random weights, and videos, for the tests of models and study."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.training import Videos

VECTOR = Config(grid=1, channels=6, widths=(8, 8), blocks=(0, 0), width=8, depth=1, action_std=0.2)
TOKENS = dataclasses.replace(VECTOR, grid=8, channels=4, blocks=(1, 1), width=32)


@functools.cache
def model_of(config: Config) -> LatentModel:
    """Random, with steering that is not zero; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(lambda: LatentModel.random(jax.random.key(0), config))
    rng = np.random.default_rng(1)

    def drawn(x: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = x.shape[0] ** -0.5 if len(x.shape) == 2 else 0.05
        return scale * rng.standard_normal(x.shape, np.float32)

    units = np.array([[0.0] * config.measured, [1.0] * config.measured], np.float32)
    model = dataclasses.replace(jax.tree.map(drawn, shapes), units=units)
    return jax.device_put(model)


@functools.cache
def videos() -> Videos:
    """Three short trajectories in which the agent moves by its actions and the block lies still."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.2, 0.2, (3, 70, 2)).astype(np.float32)
    states = np.zeros((3, 71, 10), np.float32)
    states[..., :2] = 256 + 20 * np.pad(np.cumsum(actions, axis=1), ((0, 0), (1, 0), (0, 0)))
    states[..., 4:6] = [150, 350]
    return Videos(jnp.asarray(states), jnp.asarray(actions), jnp.full((64, 64, 3), 1.0))
