"""Bounds on the actions: read, checked, rounded inwards."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._compile import array
from grasp_jax._tree import cost_dtype


def as_bounds(bounds: tuple[Any, Any] | None, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`(low, high)`, each `[A]` in the dtype of the actions, rounded inwards.

    Raises:
      TypeError, ValueError: They are no pair of numbers or `[A]`, or no action lies between them.
    """
    size = actions.shape[-1:]
    dtype = actions.dtype if jnp.issubdtype(actions.dtype, jnp.floating) else jnp.float32
    if bounds is None:
        none = np.full(size, -np.inf, dtype), np.full(size, np.inf, dtype)
        return array(none[0]), array(none[1])
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise ValueError(
            f"bounds must be a pair (low, high), each a number or an array [A], got {bounds!r:.80}."
        )
    _refuse_pairs(bounds, size)
    low = _bound(bounds[0], "low", size, dtype)
    high = _bound(bounds[1], "high", size, dtype)
    _check_bound_values(bounds)
    return low, high


def _refuse_pairs(bounds: Any, size: tuple[int, ...]) -> None:
    """Raises ValueError for two lists that may as well be a (low, high) pair per dimension."""
    if size != (2,) or not all(isinstance(b, (list, tuple)) and len(b) == 2 for b in bounds):
        return
    if all(isinstance(x, (int, float)) for b in bounds for x in b):
        (a, b), (c, d) = bounds
        if a < b and c < d and a <= c and b <= d:
            raise ValueError(
                f"bounds: {bounds!r:.80} may mean (low, high) of two action dimensions each, or "
                f"one pair per dimension. Pass (jnp.array([{a}, {b}]), jnp.array([{c}, {d}])) if "
                f"these are low and high, (jnp.array([{a}, {c}]), jnp.array([{b}, {d}])) if not."
            )


def _bound(value: Any, which: str, size: tuple[int, ...], dtype: Any) -> jax.Array:
    try:
        bound = _inwards(value, which, dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"bounds: {which} must be a number or an array {list(size)}, got "
            f"{type(value).__name__}: {value!r:.60}. Where there is none pass -jnp.inf or jnp.inf."
        ) from error
    if bound.shape not in ((), size):
        raise ValueError(
            f"bounds: {which} has shape {list(bound.shape)}, expected a number or {list(size)} "
            "(one entry per action dimension, the last axis of actions)."
        )
    wide = jnp.broadcast_to if isinstance(bound, jax.Array) else np.broadcast_to
    return array(wide(bound, size))


def _inwards(bound: Any, which: str, dtype: Any) -> Any:
    """A bound in the dtype of the actions, rounded to the inner side.

    By NumPy where it can be: every operation of JAX outside a program takes 20 us and more. NumPy's
    own float64 is kept, so that a float64 limit of +-0.1 becomes the float32 just inside it.
    """
    xp = jnp if any(isinstance(x, jax.Array) for x in jax.tree.leaves(bound)) else np
    exact = xp.asarray(bound)
    if exact.dtype.kind in "OSUMmc":
        raise TypeError(f"{exact.dtype} is no number")
    kind = exact.dtype if xp is np else jax.dtypes.canonicalize_dtype(exact.dtype)
    if jnp.issubdtype(kind, jnp.integer):  # neither wrapped to int32 nor compared in half precision
        kind = np.float64 if xp is np else cost_dtype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        exact = exact.astype(kind)
        found = exact.astype(dtype)
        # Not infinity, which jax_debug_infs would take for a fault.
        most = jnp.finfo(dtype).max
        inside = xp.asarray(most if which == "low" else -most, dtype)
        exact = exact.astype(jnp.promote_types(kind, dtype) if xp is jnp else np.float64)
        wide = found.astype(exact.dtype)
        outside = wide < exact if which == "low" else wide > exact
        return xp.where(outside, xp.nextafter(found, inside), found)


def _check_bound_values(bounds: tuple[Any, Any]) -> None:
    """Raises ValueError where a lower bound exceeds its upper bound (concrete values only).

    Reads what the caller gave, not what was made of it: numbers need no device.
    """
    try:
        given = [jax.device_get(b) if isinstance(b, jax.Array) else b for b in bounds]
        low, high = np.broadcast_arrays(*(np.atleast_1d(np.asarray(b)) for b in given))
    except jax.errors.TracerArrayConversionError:
        return
    wrong = np.flatnonzero(~(low <= high))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"bounds: low must not exceed high and neither may be NaN, got low={low[i]}, "
            f"high={high[i]} in action dimension {i}. Pass bounds=(low, high) in that order, each "
            "a number or [A], not a pair per dimension."
        )
    if np.any(np.isposinf(low) | np.isneginf(high)):
        raise ValueError(
            f"bounds: no action lies between low={low} and high={high}. Where there is no bound "
            "pass low=-jnp.inf or high=jnp.inf."
        )
    if np.all(low == high):
        raise ValueError(
            f"bounds: low equals high in every action dimension ({low}), so that no action can "
            "move. Pass bounds=(low, high), each a number or [A], not a pair per dimension."
        )
