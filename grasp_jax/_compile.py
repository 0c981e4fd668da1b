"""Compile once, whatever the caller passes; forget a program together with its functions.

`Compiled` keeps one program per structure of its arguments, see `grasp_jax._frozen`. The programs
of a function that is gone are dropped, as they are for a caller's own `jax.jit(lambda ...)`.
"""

import dataclasses
import functools
import itertools
import warnings
import weakref
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._frozen import Weak, functions_in
from grasp_jax._tree import PyTree

P = ParamSpec("P")
R = TypeVar("R")

PROGRAMS_PER_SOURCE = 32
"""The programs of at most so many functions from one place in the source are kept."""


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
        for weak in functions_in(treedef):
            self._limit(weak)
            final = weakref.finalize(weak(), self.programs.pop, name, None)
            final.atexit = False
        return program

    def _limit(self, weak: Weak) -> None:
        """Drops the programs of one function made at the same place, if there are too many.

        It is the function used longest ago. Programs of one and the same function are never too
        many.
        """
        if weak.code is None:
            return
        made: dict[Weak, dict[Hashable, int]] = {}
        for name, program in list(self.programs.items()):
            for other in functions_in(name[0]):  # pyright: ignore[reportIndexIssue]
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
