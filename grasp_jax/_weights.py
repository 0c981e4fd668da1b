"""Finds a model's weights where JAX would not see them, so that none are compiled in unnoticed."""

import functools
import types
from typing import Any

import jax
from jax.tree_util import Partial

from grasp_jax._tree import is_array, is_number


def with_visible_weights(dynamics: Any) -> Any:
    """The same dynamics as a pytree whose leaves hold its weights.

    A bound method of a module, and a `functools.partial`, are no pytrees: their weights would be
    compiled in, and a change in place would go unnoticed.

    Raises:
      TypeError: Weights sit where no pytree shows them.
    """
    if isinstance(dynamics, functools.partial) and not isinstance(dynamics, Partial):
        function, arguments = dynamics.func, dynamics.args
        if isinstance(function, types.MethodType) and _holds_arrays(function.__self__):
            function, arguments = function.__func__, (function.__self__, *arguments)
        return with_visible_weights(Partial(function, *arguments, **dynamics.keywords))
    if isinstance(dynamics, types.MethodType) and _holds_arrays(dynamics.__self__):
        return with_visible_weights(Partial(dynamics.__func__, dynamics.__self__))
    for leaf in jax.tree.leaves(dynamics):
        if not is_number(leaf) and (name := _hidden_array(leaf)) is not None:
            raise TypeError(
                f"dynamics: {type(leaf).__name__}.{name} is an array inside an object that is no "
                "pytree: it would be compiled in, and changes would go unnoticed. Pass "
                "jax.tree_util.Partial(function, weights), or register the class with "
                "jax.tree_util.register_dataclass (Equinox and nnx modules are registered)."
            )
    return dynamics


def _holds_arrays(owner: Any) -> bool:
    """Whether the owner of a method has arrays, as leaves or as attributes."""
    leaves = jax.tree.leaves(owner)
    return any(is_array(x) or _hidden_array(x) is not None for x in leaves)


def _hidden_array(leaf: Any) -> str | None:
    """The first attribute of a leaf, if any, that is an array."""
    if isinstance(leaf, (types.FunctionType, types.MethodType, type)):
        return None
    attributes = getattr(leaf, "__dict__", {})
    return next((name for name, value in attributes.items() if is_array(value)), None)
