"""Finds a model's weights where JAX would not see them, so that none are compiled in unnoticed.

What no look at an object can show stays as in JAX itself: an array in a function's closure or in a
module's globals is compiled in when the function is first planned with, and a later change of it
goes unnoticed.
"""

import collections
import functools
import types
from collections.abc import Iterator
from typing import Any

import jax
from jax.tree_util import Partial

from grasp_jax._tree import PyTree, is_array, is_number

_FOLDED = (functools.partial, types.MethodType)
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_DEPTH = 8


def with_visible_weights(tree: PyTree, name: str = "dynamics") -> PyTree:
    """The same model, or objective, as a pytree whose leaves hold its weights.

    A bound method of a module, and a `functools.partial`, are no pytrees, alone or inside a
    wrapper: their weights would be compiled in, and a change in place would go unnoticed.

    Args:
      tree: What is called inside the compiled program.
      name: Of the argument, for messages.

    Raises:
      TypeError: Weights sit where no pytree shows them: in an attribute, a slot, a container or an
        object inside such an object, or on its class.
    """
    tree = _unfolded(tree)
    for leaf in jax.tree.leaves(tree):
        hidden = None if is_number(leaf) else _hidden_array(leaf)
        if hidden is not None:
            raise TypeError(
                f"{name}: {type(leaf).__name__}.{hidden} is an array, or holds one, inside an "
                "object that is no pytree: it would be compiled in, and changes would go "
                f"unnoticed. {_advice(leaf)}"
            )
    return tree


def _advice(leaf: Any) -> str:
    if isinstance(leaf, jax.stages.Wrapped):
        return (
            "A module inside jax.jit hides its weights: pass the module itself, grasp_jax.plan "
            "compiles it."
        )
    return (
        "Pass jax.tree_util.Partial(function, weights), or register the class with "
        "jax.tree_util.register_dataclass (Equinox and nnx modules are registered)."
    )


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
    """Where an array is hidden inside a leaf that is no pytree, such as `train.w`; or None."""
    if isinstance(leaf, jax.stages.Wrapped):
        inner = getattr(leaf, "__wrapped__", None)
        if isinstance(inner, types.FunctionType) or inner is None:
            return None
        held = any(is_array(x) for x in jax.tree.leaves(inner)) or _hidden_array(inner)
        return "__wrapped__" if held else None
    if isinstance(leaf, (*_FUNCTIONS, type)):
        return None
    return _search(leaf, set(), _DEPTH)


def _search(owner: Any, seen: set[int], depth: int) -> str | None:
    """Depth first, every object once."""
    if depth == 0 or id(owner) in seen:
        return None
    seen.add(id(owner))
    for name, value in _parts(owner):
        if isinstance(value, (*_PLAIN, *_FUNCTIONS)):
            continue
        if any(map(is_array, jax.tree.leaves(value))):
            return name
        for leaf in jax.tree.leaves(value):
            if isinstance(leaf, (*_PLAIN, *_FUNCTIONS)):
                continue
            found = _search(leaf, seen, depth - 1)
            if found is not None:
                return f"{name}.{found}"
    return None


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds: attributes, slots, members of containers, arrays on its class."""
    if isinstance(owner, (set, frozenset, collections.deque)):
        yield from (("<member>", x) for x in owner)
    if isinstance(getattr(owner, "__dict__", None), dict):
        yield from list(vars(owner).items())
    for cls in type(owner).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(owner, name):
                yield name, getattr(owner, name)
        if cls.__module__ != "builtins":
            yield from ((n, v) for n, v in list(vars(cls).items()) if not n.startswith("__"))
