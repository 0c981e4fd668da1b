"""A distance in time on frozen latents: small, trained in a minute or two of a core."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.lewm_small.networks import Perceptron
from experiments.models.latent.losses import time_loss

_LONGEST = 10  # model steps between a frame and its later frame, at most
_MOMENTS = 8  # of each trajectory in a batch: others of the same one must be told apart


@functools.partial(jax.jit, static_argnames=("optimizer", "batch"))
def _update(
    head: Perceptron, moments: Any, latents: Array, key: Array, optimizer: Any, batch: int
) -> tuple[Perceptron, Any, Array]:
    one, two, three = jax.random.split(key, 3)
    row = jnp.repeat(jax.random.randint(one, (batch // _MOMENTS,), 0, len(latents)), _MOMENTS)
    first = jax.random.randint(two, (batch,), 0, latents.shape[1] - _LONGEST)
    later = first + jax.random.randint(three, (batch,), 1, _LONGEST + 1)
    loss = functools.partial(time_loss, one=latents[row, first], two=latents[row, later])
    (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(head)
    change, moments = optimizer.update(gradient, moments, head)
    return optax.apply_updates(head, change), moments, value


def fit(
    latents: NDArray[np.float32], updates: int = 1500, batch: int = 256, seed: int = 0
) -> tuple[Perceptron, list[float]]:
    """A head [..., D] to [..., 32] whose squared distance tells frames close in time from others.

    Args:
        latents: [n, F, D], of trajectories, a model step apart.
        updates: of Adam.
        batch: pairs in an update.
        seed: of weights and batches.

    Returns:
        The head, and the loss, averaged over each tenth of the updates.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, updates))
    head = Perceptron.random(jax.random.key(seed), (latents.shape[-1], 256, 32))
    moments, held, losses = optimizer.init(head), jnp.asarray(latents), []
    for i in tqdm(range(updates), desc="distance in time"):
        key = jax.random.fold_in(jax.random.key(seed + 1), i)
        head, moments, value = _update(head, moments, held, key, optimizer, batch)
        losses.append(float(value))
    parts = np.array_split(np.asarray(losses), 10)
    return head, [round(float(part.mean()), 3) for part in parts]
