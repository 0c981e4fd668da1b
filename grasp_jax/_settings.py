"""What settings of planners, paths and noises may be, and the errors where they are not.

Numbers are traced; fields marked `static()` are structure.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import _tree
from grasp_jax._tree import PyTree, is_number

Schedule = Callable[[jax.Array], jax.Array]
Scalar = jax.Array | float


def static(default: Any) -> Any:
    """A dataclass field that is part of the compiled program: a count, a switch or a factory."""
    return dataclasses.field(default=default, metadata={"static": True})


def value_at(number: Scalar | Schedule, iteration: jax.Array | int) -> jax.Array | float:
    """A number, or a schedule's value at this iteration (`[]` int32, counted from 0)."""
    return number(jnp.asarray(iteration, jnp.int32)) if callable(number) else number


def require(condition: bool, message: str) -> None:
    """Raises ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def require_callable(planner: Any, field: str, expected: str) -> None:
    """Raises TypeError unless `field` can be called; `expected` says what it should be."""
    value = getattr(planner, field)
    name = f"{type(planner).__name__}.{field}"
    if not callable(value):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}: {value!r:.60}.")
    if isinstance(value, type) and field != "optimizer":
        raise TypeError(
            f"{name} must be {expected}, got the class {value.__name__} itself: "
            f"call it, {value.__name__}(...)."
        )


def require_number(
    planner: Any,
    field: str,
    shape: tuple[int, ...] = (),
    schedule: bool = False,
    optional: bool = False,
    state: PyTree = None,
) -> None:
    """Raises unless a field is a number that broadcasts to `shape`.

    Args:
      planner: Whose field it is.
      field: Its name.
      shape: For example `[T, A]`.
      schedule: A function of the iteration that returns such a number will do.
      optional: None will do.
      state: A pytree of numbers with the structure of this one will do.
    """
    value = getattr(planner, field)
    name, held = f"{type(planner).__name__}.{field}", value
    expected = "a number" if not shape else f"a number or an array that broadcasts to {list(shape)}"
    expected += " or a schedule of the iteration" if schedule else ""
    expected += " or a pytree of numbers like the state" if state is not None else ""
    expected += " or None" if optional else ""
    if value is None and optional:
        return
    if schedule and callable(value):
        try:
            value = jax.eval_shape(value, jax.ShapeDtypeStruct((), jnp.int32))
        except Exception as error:
            raise TypeError(
                f"{name} must be {expected}, got {held!r:.60}, which fails when it is called with "
                f"the iteration, an int32[]: {type(error).__name__}: {error!s:.200}."
            ) from error
    if _numbers_like(value, state):
        return
    if not _is_number(value):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}: {held!r:.60}.")
    found = tuple(getattr(value, "shape", ()))
    try:
        fits = np.broadcast_shapes(found, shape) == shape
    except ValueError:
        fits = False
    require(fits, f"{name} must be {expected}, got an array of shape {list(found)}.")


def _numbers_like(value: Any, tree: PyTree) -> bool:
    """Whether `value` holds one number `[]` for every leaf of `tree`; no for a leaf alone."""
    structure = jax.tree.structure(tree)
    if jax.tree_util.treedef_is_leaf(structure) or jax.tree.structure(value) != structure:
        return False
    return all(_is_number(x) and jnp.shape(x) == () for x in jax.tree.leaves(value))


def _is_number(value: Any) -> bool:
    """Whether it is a number, or what a schedule said that it returns."""
    return is_number(value) or isinstance(value, jax.ShapeDtypeStruct)


def require_range(record: Any, field: str, low: float, high: float = np.inf) -> None:
    """Raises ValueError unless a field lies in `[low, high)`; Python and NumPy numbers only.

    For `__post_init__`: inside a program the field is a tracer, and passes.
    """
    value = getattr(record, field)
    numbers = [] if callable(value) else jax.tree.leaves(value)
    known = [np.asarray(x) for x in numbers if is_number(x) and not isinstance(x, jax.Array)]
    if not all(np.all((x >= low) & (x < high)) for x in known):
        upper = "" if high == np.inf else f" and below {high}"
        raise ValueError(
            f"{type(record).__name__}.{field} must be at least {low}{upper}, got {value!r:.60}."
        )


def require_optimizer(planner: Any, like: PyTree) -> None:
    """Raises unless the field `optimizer` is a factory, for arrays as `like`."""
    expected = "a factory called with the rate, such as optax.adam itself"
    require_callable(planner, "optimizer", expected)
    factory = planner.optimizer

    def update(values: PyTree) -> PyTree:
        optimizer = factory(0.1)
        return optimizer.update(values, optimizer.init(values), values)[0]

    _require_like(update, (like,), like, f"{type(planner).__name__}.optimizer", expected)


def require_noise(planner: Any, like: PyTree, field: str = "noise") -> None:
    """Raises unless the field is a noise that fits arrays as those of `like`."""
    expected = "callable as noise(key, like), such as grasp_jax.White()"
    require_callable(planner, field, f"{expected} (for no noise set its standard deviation to 0)")
    key = jax.eval_shape(lambda: jax.random.key(0))
    name = f"{type(planner).__name__}.{field}"
    for leaf in jax.tree.leaves(like):
        _require_like(getattr(planner, field), (key, leaf), leaf, name, expected)


def _require_like(
    function: Callable[..., Any], arguments: tuple[Any, ...], like: PyTree, name: str, expected: str
) -> None:
    """Raises unless `function(*arguments)` has the structure and shapes of `like`."""
    try:
        found = jax.eval_shape(function, *arguments)
    except Exception as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        first = str(error).partition("\n")[0]
        raise kind(
            f"{name} must be {expected}; it failed on arrays {_tree.describe(like)}: "
            f"{type(error).__name__}: {first:.300}"
        ) from error
    shapes = [
        (jax.tree.structure(x), [jnp.shape(leaf) for leaf in jax.tree.leaves(x)])
        for x in (found, like)
    ]
    if shapes[0] != shapes[1]:
        raise TypeError(
            f"{name} must be {expected}, and return arrays like {_tree.describe(like)}, got "
            f"{_tree.describe(found)}."
        )


def require_count(planner: Any, field: str, minimum: int = 1) -> None:
    """Raises unless the static field `field` is an integer of at least `minimum`."""
    require_int(getattr(planner, field), f"{type(planner).__name__}.{field}", minimum)


def require_int(value: Any, name: str, minimum: int = 1) -> None:
    """Raises unless `value`, called `name` by the user, is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} must be a Python int (it shapes the compiled program), got "
            f"{type(value).__name__}: {value!r:.60}."
        )
    require(value >= minimum, f"{name} must be at least {minimum}, got {value}.")
