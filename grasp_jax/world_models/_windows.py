"""How a wrapper of prepared models tells one step from a window of them."""

import jax
import jax.numpy as jnp


def row_marker(actions: jax.Array) -> jax.Array:
    """`[n]`, carried beside prepared actions: a row of it is `[]`, a window of it `[h]`."""
    return jnp.zeros(len(actions), bool)


def is_window(marker: jax.Array) -> bool:
    """Whether prepared actions with this marker are those of a window."""
    return marker.ndim == 1
