"""SIGReg: a penalty that is small where latents look like draws from a standard normal.

A distribution is a standard normal if all its one-dimensional projections are. Each random
projection x is compared with the standard normal by the Epps-Pulley statistic, the weighted squared
distance of characteristic functions,

    n ∫ |φ_n(t) - exp(-t²/2)|² w(t) dt,   φ_n(t) = mean(exp(i t x)),   w(t) = exp(-t²/2),

over |t| <= 3 by the trapezoid rule on 17 knots of [0, 3]: real characteristic functions are even
and |·|² of others is too. It is bounded, smooth in the samples, and cheap: sines and cosines.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

LIMIT = 3.0
KNOTS = 17


def knots() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Knots [K] on [0, LIMIT], and their weights [K] in an integral over [-LIMIT, LIMIT]."""
    t = np.linspace(0, LIMIT, KNOTS)
    trapezoid = np.full(KNOTS, t[1])
    trapezoid[[0, -1]] /= 2
    return t.astype(np.float32), (2 * trapezoid * np.exp(-(t**2) / 2)).astype(np.float32)


def epps_pulley(samples: Array) -> Array:
    """The statistic [...] of samples [n, ...] against a standard normal.

    Of standard normal samples its expectation is `Σ w (1 - exp(-t²))`, whatever n.
    """
    t, weights = knots()
    target = np.exp(-(t**2) / 2)
    angles = samples[..., None] * t
    real = jnp.mean(jnp.cos(angles), axis=0) - target
    imaginary = jnp.mean(jnp.sin(angles), axis=0)
    return len(samples) * (real**2 + imaginary**2) @ weights


def sigreg(latents: Array, key: Array, projections: int = 256) -> Array:
    """The mean statistic [] of random projections of n latents [n, ..., D].

    Along a window of frames [n, F, D] every moment is compared by itself, as in LeWM.
    """
    directions = jax.random.normal(key, (latents.shape[-1], projections))
    directions = directions / jnp.linalg.norm(directions, axis=0)
    return jnp.mean(epps_pulley(latents @ directions))
