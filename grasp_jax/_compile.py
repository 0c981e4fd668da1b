"""Compile once, whatever the caller passes; forget a program together with its functions.

A model, an objective and a planner are pytrees that hold arrays beside functions, strings and
switches. `Frozen` lets such a pytree enter `jit`: its arrays become arguments of the program (new
weights never retrace), the rest becomes a part of the program's name. `compiled` keeps one program
per name. It holds plain functions by weak references, so that the programs of a function that is
gone are dropped, as they are for a caller's own `jax.jit(lambda ...)`.
"""

import dataclasses
import functools
import itertools
import types
import warnings
import weakref
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from grasp_jax._tree import PyTree, is_array, node_types

P = ParamSpec("P")
R = TypeVar("R")

PROGRAMS_PER_SOURCE = 32
"""The programs of at most so many functions from one place in the source are kept."""


class _Weak:
    """A plain function, held weakly; equal to the one other `_Weak` of the same function."""

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


_WEAK: weakref.WeakKeyDictionary[Any, _Weak] = weakref.WeakKeyDictionary()


def _weak(function: Any) -> _Weak:
    found = _WEAK.get(function)
    return _WEAK.setdefault(function, _Weak(function)) if found is None else found


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
    def functions(self) -> list[_Weak]:
        """The plain functions in it."""
        return [r for r in self.rest if isinstance(r, _Weak)]

    def join(self, leaves: Any) -> PyTree:
        """The pytree again, with these traced leaves."""
        traced = iter(leaves)
        rest = [
            next(traced) if r is _TRACED else r() if isinstance(r, _Weak) else r for r in self.rest
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


@dataclasses.dataclass
class _Program:
    """A jitted function of leaves, and the number of the call that used it last."""

    run: Any
    used: int


class Compiled:
    """A function of pytrees and of static keywords, compiled once per structure of both.

    The collector, in the midst of any line, and other threads drop programs and add some: the
    dict is only ever read whole or changed by one operation.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.programs: dict[Hashable, _Program] = {}
        self._calls = itertools.count()
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: PyTree, **static: Hashable) -> Any:
        """The function's value; arguments are any pytrees, see `Frozen`."""
        leaves, program = self._find(arguments, static)
        return program(leaves)

    def lower(self, *arguments: PyTree, **static: Hashable) -> jax.stages.Lowered:
        """As `jax.jit(...).lower`; the compiled program is called with a list of leaves."""
        leaves, program = self._find(arguments, static)
        return program.lower(leaves)

    def flatten(self, *arguments: PyTree) -> tuple[list[Any], Any]:
        """What a program is called with, and the structure it is compiled for."""
        leaves, treedef = jax.tree.flatten(arguments)
        return on_device(leaves), treedef

    def _find(self, arguments: Any, static: dict[str, Hashable]) -> tuple[list[Any], Any]:
        leaves, treedef = self.flatten(*arguments)
        name = (treedef, tuple(sorted(static.items())))
        program = self.programs.get(name)
        if program is None:
            program = self._make(name, treedef, static)
        program.used = next(self._calls)
        return leaves, program.run

    def _make(self, name: Hashable, treedef: Any, static: dict[str, Hashable]) -> _Program:
        def run(leaves: list[Any]) -> Any:
            return self.function(*treedef.unflatten(leaves), **static)

        run.__name__ = run.__qualname__ = self.function.__name__
        program = self.programs.setdefault(name, _Program(jax.jit(run), next(self._calls)))
        for weak in _functions(treedef):
            self._limit(weak)
            final = weakref.finalize(weak(), self.programs.pop, name, None)
            final.atexit = False
        return program

    def _limit(self, weak: _Weak) -> None:
        """Drops the programs of one function made at the same place, if there are too many.

        It is the function used longest ago. Programs of one and the same function are never too
        many.
        """
        if weak.code is None:
            return
        made: dict[_Weak, dict[Hashable, int]] = {}
        for name, program in list(self.programs.items()):
            for other in _functions(name[0]):  # pyright: ignore[reportIndexIssue]
                if other.code is weak.code:
                    made.setdefault(other, {})[name] = program.used
        if len(made) <= PROGRAMS_PER_SOURCE:
            return
        for name in min(made.values(), key=lambda names: max(names.values())):
            self.programs.pop(name, None)
        warnings.warn(
            f"grasp_jax: {weak.name} was made anew for more than {PROGRAMS_PER_SOURCE} plans, and "
            "each new function compiles a program of its own; the oldest are dropped. Define the "
            "function once, and pass what changes as jax.tree_util.Partial(function, arrays).",
            stacklevel=2,
        )


def _functions(treedef: Any) -> list[_Weak]:
    """The plain functions in the structures of a flattened call."""
    data = treedef.node_data()
    found: list[_Weak] = []
    if data and isinstance(data[1], tuple) and data[1] and isinstance(data[1][0], Structure):
        found = data[1][0].functions
    return found + [weak for child in treedef.children() for weak in _functions(child)]


def on_device(leaves: list[Any]) -> list[Any]:
    """Leaves as arrays of JAX's own: numbers and NumPy arrays copied, in one explicit transfer.

    JAX reads an aligned NumPy array where it lies, perhaps after its owner has changed it (with
    `device_put(may_alias=False)` too, on CPU); and a number that is passed as it is counts as an
    implicit transfer.
    """
    host = [i for i, x in enumerate(leaves) if not isinstance(x, jax.Array)]
    if not host:
        return leaves
    leaves = list(leaves)
    moved = jax.device_put([_copy(leaves[i]) for i in host])
    for i, x in zip(host, moved, strict=True):
        leaves[i] = x
    return leaves


def _copy(leaf: Any) -> Any:
    """A NumPy array copied; numbers as they are, whose types are weak."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def array(value: Any) -> jax.Array:
    """`value` as an array of JAX's own, without a weak type, in one explicit transfer.

    Raises:
      TypeError, ValueError: It is no array.
    """
    if isinstance(value, jax.Array):
        # Without weak types, so that jnp.full(3, 0.5) and jnp.array([...]) share one program.
        return jnp.asarray(value, value.dtype) if value.weak_type else value
    host = np.asarray(value)
    dtype = jax.dtypes.canonicalize_dtype(host.dtype)
    return jax.device_put(host.astype(dtype))  # copied, see `on_device`


def usual_promotion(function: Callable[P, R]) -> Callable[P, R]:
    """`function` under JAX's default ranks and dtypes, whatever the caller has set.

    With `jax_numpy_rank_promotion="raise"` or `jax_numpy_dtype_promotion="strict"` neither our
    broadcasting nor optax's optimizers would trace. The caller's model and objective are traced
    inside, and so without the promotions' errors too.
    """

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return inside
