"""Pytrees that may hold anything, as arguments of `jit`.

A model, an objective and a planner are pytrees that hold arrays beside functions, strings and
switches. `Frozen` lets such a pytree enter `jit`: its arrays become arguments of the program (new
weights never retrace), the rest, its `Structure`, becomes a part of the program's name. Plain
functions in it are held weakly, so that a program can go with them.
"""

import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import jax
from jax.tree_util import Partial

from grasp_jax._tree import PyTree, is_array, node_types


class Weak:
    """A plain function, held weakly; equal to the one other `Weak` of the same function."""

    __slots__ = ("__weakref__", "code", "name", "reference")

    def __init__(self, function: Any) -> None:
        self.reference = weakref.ref(function)
        self.name = getattr(function, "__qualname__", repr(function))
        self.code = getattr(function, "__code__", None)

    def __call__(self) -> Any:
        function = self.reference()
        if function is None:
            raise ReferenceError(
                f"the function {self.name} of this problem is gone. Keep a reference to it for as "
                "long as a search with it goes on."
            )
        return function


_WEAK: weakref.WeakKeyDictionary[Any, Weak] = weakref.WeakKeyDictionary()


def _weak(function: Any) -> Weak:
    found = _WEAK.get(function)
    return _WEAK.setdefault(function, Weak(function)) if found is None else found


class _Traced:
    """Marks the place of a traced leaf; one instance, compared by identity."""


_TRACED = _Traced()


@jax.tree_util.register_pytree_node_class
class _Call:
    """A `jax.tree_util.Partial` whose function is a leaf instead of a part of the structure."""

    def __init__(self, function: Any, arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def tree_flatten(self) -> tuple[tuple[Any, Any], None]:
        """The function and the arguments, `(args, keywords)`."""
        return (self.function, self.arguments), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> "_Call":
        """The inverse."""
        del aux
        return cls(*children)


def _open(tree: PyTree) -> PyTree:
    """`tree` with a `_Call` for every `Partial`."""

    def one(x: Any) -> Any:
        return _Call(x.func, _open((x.args, x.keywords))) if isinstance(x, Partial) else x

    return jax.tree.map(one, tree, is_leaf=lambda x: isinstance(x, Partial))


def _close(tree: PyTree) -> PyTree:
    """The inverse of `_open`."""

    def one(x: Any) -> Any:
        if not isinstance(x, _Call):
            return x
        arguments, keywords = _close(x.arguments)
        return Partial(x.function, *arguments, **keywords)

    return jax.tree.map(one, tree, is_leaf=lambda x: isinstance(x, _Call))


class Structure:
    """What is left of a pytree without its traced leaves; hashable, functions held weakly."""

    __slots__ = ("_hash", "name", "rest", "treedef")

    def __init__(self, treedef: Any, rest: tuple[Any, ...]) -> None:
        self.treedef = treedef
        plain = (types.FunctionType, jax.stages.Wrapped)
        self.rest = tuple(_weak(r) if isinstance(r, plain) else r for r in rest)
        # JAX 0.10 calls the structures of two registered dataclasses equal when their fields match
        # in number and static values, whatever their types: without the types one could run the
        # other's program. Likewise 1 equals 1.0 and True, and 0.0 equals -0.0.
        kinds = tuple((type(r).__qualname__, isinstance(r, float) and repr(r)) for r in rest)
        self.name = (treedef, self.rest, kinds, node_types(treedef))
        self._hash = hash(self.name)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.name == other.name

    @property
    def functions(self) -> list[Weak]:
        """The plain functions in it."""
        return [r for r in self.rest if isinstance(r, Weak)]

    def join(self, leaves: Any) -> PyTree:
        """The pytree again, with these traced leaves."""
        traced = iter(leaves)
        rest = [
            next(traced) if r is _TRACED else r() if isinstance(r, Weak) else r for r in self.rest
        ]
        return _close(jax.tree.unflatten(self.treedef, rest))


@jax.tree_util.register_pytree_node_class
class Frozen:
    """A pytree that may hold anything, as one whose leaves are its traced leaves alone.

    Attributes:
      value: The pytree.
      traced: Which of its leaves are traced.
    """

    __slots__ = ("_empty", "traced", "value")

    def __init__(self, value: PyTree, traced: Callable[[Any], bool] = is_array) -> None:
        self.value, self.traced, self._empty = value, traced, None

    @property
    def is_empty(self) -> bool:
        """Whether its leaves are no arrays at the moment: axes, shapes, or shardings, say."""
        return self._empty is not None

    def tree_flatten(self) -> tuple[list[Any], Hashable]:
        """The traced leaves, and the `Structure` beside the rule that chose them."""
        if self._empty is not None:
            return self._empty
        leaves, treedef = jax.tree.flatten(_open(self.value))
        flags = [self.traced(leaf) for leaf in leaves]
        rest = tuple(
            _TRACED if traced else leaf for leaf, traced in zip(leaves, flags, strict=True)
        )
        found = [leaf for leaf, traced in zip(leaves, flags, strict=True) if traced]
        return found, (Structure(treedef, rest), self.traced)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> "Frozen":
        """The inverse; without a value where the leaves are no arrays."""
        children, (structure, traced) = list(children), aux
        if all(map(traced, children)):
            return cls(structure.join(children), traced)
        found = cls(None, traced)
        found._empty = children, aux
        return found


def frozen(x: Any, traced: Callable[[Any], bool] = is_array) -> Frozen:
    """A `Frozen` of a pytree; of a field that `thawed` left as it was, that."""
    return x if isinstance(x, Frozen) else Frozen(x, traced)


def thawed(x: Any) -> Any:
    """What a `Frozen` holds; anything else as it is (a prefix of a pytree, say)."""
    return x.value if isinstance(x, Frozen) and not x.is_empty else x


def require_hashable(tree: PyTree, name: str, traced: Callable[[Any], bool] = is_array) -> None:
    """Raises TypeError where a leaf of `tree` is neither traced nor hashable.

    Args:
      tree: Any pytree, for example a model; a bare function is a pytree with one leaf.
      name: What the caller calls it.
      traced: Which leaves become arguments of the compiled program.
    """
    try:
        Frozen(tree, traced).tree_flatten()
    except TypeError as error:
        raise TypeError(
            f"{name}: every leaf that is not an array must be hashable to be part of a compiled "
            f"program, got {type(tree).__name__} with an unhashable part ({error}). Store arrays "
            "as JAX or NumPy arrays, and settings as numbers, strings or tuples."
        ) from error


def functions_in(treedef: Any) -> list[Weak]:
    """The plain functions in the structures of a flattened call."""
    data = treedef.node_data()
    found: list[Weak] = []
    if data and isinstance(data[1], tuple) and data[1] and isinstance(data[1][0], Structure):
        found = data[1][0].functions
    return found + [weak for child in treedef.children() for weak in functions_in(child)]
