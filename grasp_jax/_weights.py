"""Finds a model's weights where JAX would not see them, so that none are compiled in unnoticed."""

import functools
import types
from typing import Any

import jax
from jax.tree_util import Partial

from grasp_jax._tree import PyTree, is_array, is_number

_FOLDED = (functools.partial, types.MethodType)


def with_visible_weights(tree: PyTree, name: str = "dynamics") -> PyTree:
    """The same model, or objective, as a pytree whose leaves hold its weights.

    A bound method of a module, and a `functools.partial`, are no pytrees, alone or inside a
    wrapper: their weights would be compiled in, and a change in place would go unnoticed.

    Args:
      tree: What is called inside the compiled program.
      name: Of the argument, for messages.

    Raises:
      TypeError: Weights sit where no pytree shows them.
    """
    tree = _unfolded(tree)
    for leaf in jax.tree.leaves(tree):
        if not is_number(leaf) and (hidden := _hidden_array(leaf)) is not None:
            raise TypeError(
                f"{name}: {type(leaf).__name__}.{hidden} is an array, or holds one, inside an "
                "object that is no pytree: it would be compiled in, and changes would go "
                "unnoticed. Pass jax.tree_util.Partial(function, weights), or register the class "
                "with jax.tree_util.register_dataclass (Equinox and nnx modules are registered)."
            )
    return tree


def _unfolded(tree: PyTree) -> PyTree:
    """The tree with `Partial`s over what its bound methods and `functools.partial`s hold."""
    if not any(isinstance(_bare(x), _FOLDED) for x in jax.tree.leaves(tree)):
        return tree
    return jax.tree.map(_unfolded_leaf, tree)


def _bare(leaf: Any) -> Any:
    """A leaf without `jax.jit` around it, where that hides weights; `jit` is ours to apply."""
    inner = getattr(leaf, "__wrapped__", None) if isinstance(leaf, jax.stages.Wrapped) else None
    return _bare(inner) if isinstance(inner, _FOLDED) else leaf


def _unfolded_leaf(leaf: Any) -> Any:
    leaf = _bare(leaf)
    if isinstance(leaf, functools.partial):
        function, arguments = leaf.func, leaf.args
        if isinstance(function, types.MethodType) and _holds_arrays(function.__self__):
            function, arguments = function.__func__, (function.__self__, *arguments)
        return _unfolded(Partial(function, *arguments, **leaf.keywords))
    if isinstance(leaf, types.MethodType) and _holds_arrays(leaf.__self__):
        return _unfolded(Partial(leaf.__func__, leaf.__self__))
    return leaf


def _holds_arrays(owner: Any) -> bool:
    """Whether the owner of a method has arrays, as leaves or in attributes."""
    leaves = jax.tree.leaves(owner)
    return any(is_array(x) or _hidden_array(x) is not None for x in leaves)


def _hidden_array(leaf: Any) -> str | None:
    """The first attribute of a leaf, if any, that is an array or a container of some."""
    if isinstance(leaf, (types.FunctionType, types.MethodType, type)):
        return None
    attributes = getattr(leaf, "__dict__", {})
    found = (n for n, value in attributes.items() if any(map(is_array, jax.tree.leaves(value))))
    return next(found, None)
