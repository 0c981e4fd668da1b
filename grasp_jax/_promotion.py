"""JAX's usual promotion inside, whatever the caller has set for their own code."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def usual_promotion(function: Callable[P, R]) -> Callable[P, R]:
    """`function` under JAX's default ranks and dtypes.

    With `jax_numpy_rank_promotion="raise"` or `jax_numpy_dtype_promotion="strict"` neither our
    broadcasting nor optax's optimisers would trace. The caller's model and objective are traced
    inside, and so without the promotions' errors too.
    """

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return inside
