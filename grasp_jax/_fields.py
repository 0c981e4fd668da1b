"""What settings of planners, noises and paths may be; the rule stands beside its field.

    learning_rate: Scalar | Schedule = number(0.1, low=0, schedule=True)
    iterations: int = count(500)
    noise: Noise = process(White())

Numbers are traced: `check_values` reads those that are known when a record is made. Counts,
switches and factories are structure. `check_fields` reads shapes, once per compiled program.
"""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import _tree
from grasp_jax._tree import PyTree, is_number

Schedule = Callable[[jax.Array], Any]
Scalar = jax.Array | float
Scale = Scalar | PyTree
"""A number, or a pytree of numbers like the state."""
TINY = float(np.finfo(np.float32).tiny)
"""The least number above 0 that divides safely."""


@dataclasses.dataclass(frozen=True)
class Number:
    """The rule of a traced number in `[low, high)`.

    Attributes:
      low: Least value.
      high: First value that is too large.
      like: `"actions"` where an array that broadcasts to `[T, A]` will do, `"state"` where a
        pytree of numbers like the state will do, `"leaves"` where arrays that broadcast to the
        leaves of the state will do too, None for one number.
      schedule: Whether a function of the iteration that returns such a number will do.
      optional: Whether None will do.
    """

    low: float = -np.inf
    high: float = np.inf
    like: str | None = None
    schedule: bool = False
    optional: bool = False

    @property
    def range(self) -> str:
        """Which numbers will do, in words."""
        lower = "above 0" if self.low == TINY else f"at least {self.low}"
        return f"{lower} and {'finite' if self.high == np.inf else f'below {self.high}'}"


@dataclasses.dataclass(frozen=True)
class Count:
    """The rule of a static integer of at least `least`; `optional` where None will do."""

    least: int = 1
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Process:
    """The rule of a noise, called as `noise(key, like)` with `like` as the actions or the state."""

    like: str = "actions"


@dataclasses.dataclass(frozen=True)
class Factory:
    """The rule of an optimizer's factory, called with a rate, for values as `like`."""

    like: str = "actions"


def number(
    default: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    like: str | None = None,
    schedule: bool = False,
    optional: bool = False,
) -> Any:
    """A field that is a traced number, see `Number`; None as the default says None will do."""
    rule = Number(low, high, like, schedule, optional or default is None)
    return dataclasses.field(default=default, metadata={"rule": rule})


def count(default: int | None, *, least: int = 1) -> Any:
    """A field that is a static integer, see `Count`; None as the default says None will do."""
    rule = Count(least, optional=default is None)
    return dataclasses.field(default=default, metadata={"static": True, "rule": rule})


def process(default: Any, *, like: str = "actions") -> Any:
    """A field that is a noise, see `Process`."""
    return dataclasses.field(default=default, metadata={"rule": Process(like)})


def factory(default: Any, *, like: str = "actions") -> Any:
    """A field that is a static factory of optimizers, see `Factory`."""
    return dataclasses.field(default=default, metadata={"static": True, "rule": Factory(like)})


def static(default: Any) -> Any:
    """A field that is part of the compiled program: a switch."""
    return dataclasses.field(default=default, metadata={"static": True})


def value_at(number: Scalar | Schedule, iteration: jax.Array | int) -> jax.Array | float:
    """A number, or a schedule's value at this iteration (`[]` int32, counted from 0)."""
    return number(jnp.asarray(iteration, jnp.int32)) if callable(number) else number


def require(condition: bool, message: str) -> None:
    """Raises ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def as_count(value: Any, name: str, least: int = 1) -> int:
    """`value`, called `name` by the user, as an int; any integer type will do.

    Raises:
      TypeError: It is no integer (or a bool, or traced).
      ValueError: It is below `least`.
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        found = operator.index(value)
    except (TypeError, jax.errors.ConcretizationTypeError):
        raise TypeError(
            f"{name} must be an int (it shapes the compiled program), got "
            f"{type(value).__name__}: {value!r:.60}."
        ) from None
    require(found >= least, f"{name} must be at least {least}, got {found}.")
    return found


def check_values(record: Any) -> None:
    """Raises for settings that are wrong whatever the problem; counts become Python ints.

    For `__post_init__`. Inside a program a number is a tracer, and passes.
    """
    for field in dataclasses.fields(record):
        rule, value = field.metadata.get("rule"), getattr(record, field.name)
        name = f"{type(record).__name__}.{field.name}"
        if isinstance(rule, Count) and not (rule.optional and value is None):
            object.__setattr__(record, field.name, as_count(value, name, rule.least))
        if isinstance(rule, Number):
            check_range(value, rule, name)


def check_range(value: Any, rule: Number, name: str) -> None:
    numbers = [] if callable(value) else jax.tree.leaves(value)
    known = [np.asarray(x) for x in numbers if is_number(x) and not isinstance(x, jax.Array)]
    if not all(np.all((x >= rule.low) & (x < rule.high)) for x in known):
        raise ValueError(f"{name} must be {rule.range}, got {value!r:.60}.")


def all_in_range(record: Any) -> jax.Array:
    """`[]` bool: whether all numbers of a record, and of the records in it, are in their ranges.

    For numbers that are traced or on a device, which no check at the door can read. Schedules are
    not called.
    """
    found = [jnp.asarray(True)]
    for field in dataclasses.fields(record):
        rule, value = field.metadata.get("rule"), getattr(record, field.name)
        parts = value if isinstance(value, tuple) else (value,)
        found += [all_in_range(part) for part in parts if isinstance(part, _tree.Record)]
        if isinstance(rule, Number) and not callable(value):
            numbers = [jnp.asarray(x) for x in jax.tree.leaves(value)]
            found += [jnp.all((x >= rule.low) & (x < rule.high)) for x in numbers]
    return jnp.all(jnp.stack(found))


def check_fields(record: Any, actions: Any, states: PyTree, name: str | None = None) -> None:
    """Raises TypeError or ValueError for settings that do not fit a problem.

    Args:
      record: A planner, whose fields carry rules.
      actions: `[T, A]`, shape and dtype.
      states: Leaves `[T, ...]`, shapes and dtypes.
      name: What the user calls the record; its type by default.
    """
    name = type(record).__name__ if name is None else name
    likes: dict[str | None, PyTree] = {"actions": actions, "state": states}
    likes["both"] = (states, actions)
    for field in dataclasses.fields(record):
        rule, value = field.metadata.get("rule"), getattr(record, field.name)
        full = f"{name}.{field.name}"
        if isinstance(rule, Number):
            state = states if rule.like in ("state", "leaves") else None
            shape = actions.shape if rule.like == "actions" else ()
            check_number(value, full, rule, shape, state)
        elif isinstance(rule, Process):
            check_noise(value, likes[rule.like], full)
        elif isinstance(rule, Factory):
            _check_optimizer(value, likes[rule.like], full)


def check_callable(value: Any, name: str, expected: str, a_class_will_do: bool = False) -> None:
    """Raises TypeError unless `value` can be called; `expected` says what it should be."""
    if not callable(value):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}: {value!r:.60}.")
    if isinstance(value, type) and not a_class_will_do:
        raise TypeError(
            f"{name} must be {expected}, got the class {value.__name__} itself: "
            f"call it, {value.__name__}(...)."
        )


def check_number(
    value: Any, name: str, rule: Number, shape: tuple[int, ...] = (), state: PyTree = None
) -> None:
    """Raises unless a value is a number that broadcasts to `shape`, or like `state`."""
    held = value
    expected = "a number" if not shape else f"a number or an array that broadcasts to {list(shape)}"
    expected += " or a schedule of the iteration" if rule.schedule else ""
    leaves = rule.like == "leaves"
    if state is not None:
        what = "of numbers, or of arrays that broadcast to its leaves," if leaves else "of numbers"
        expected += f" or a pytree {what} like the state"
        each = str(jax.tree.map(lambda _: "number", state)).replace("'", "")
        expected += f" ({each:.80})" if not leaves and each != "number" else ""
    expected += " or None" if rule.optional else ""
    if value is None and rule.optional:
        return
    if rule.schedule and callable(value):
        try:
            value = jax.eval_shape(value, jax.ShapeDtypeStruct((), jnp.int32))
        except Exception as error:
            raise TypeError(
                f"{name} must be {expected}, got {held!r:.60}, which fails when it is called with "
                f"the iteration, an int32[]: {type(error).__name__}: {error!s:.200}."
            ) from error
    if _numbers_like(value, state, arrays=leaves):
        return
    if not _is_number(value):
        got = _tree.describe(held) if isinstance(held, (dict, list, tuple)) else repr(held)
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}: {got:.80}.")
    found = tuple(getattr(value, "shape", ()))
    require(
        _fits(found, shape),
        f"{name} must be {expected}, got an array of shape {list(found)}.",
    )


def _numbers_like(value: Any, tree: PyTree, arrays: bool) -> bool:
    """Whether `value` holds a number `[]` for every leaf of `tree`; no for a leaf alone.

    With `arrays` also what broadcasts to a leaf `[T, ...]` without making it larger.
    """
    structure = jax.tree.structure(tree)
    alone = jax.tree_util.treedef_is_leaf(structure) and not arrays
    if alone or jax.tree.structure(value) != structure:
        return False
    pairs = zip(jax.tree.leaves(value), jax.tree.leaves(tree), strict=True)
    return all(
        _is_number(x) and (jnp.shape(x) == () or (arrays and _fits(jnp.shape(x), leaf.shape)))
        for x, leaf in pairs
    )


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array of one shape broadcasts to another."""
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    """Whether it is a number, or what a schedule said that it returns."""
    return is_number(value) or isinstance(value, jax.ShapeDtypeStruct)


def _check_optimizer(value: Any, like: PyTree, name: str) -> None:
    """Raises unless `value` is a factory of optimizers for arrays as `like`."""
    expected = "a factory called with the rate, such as optax.adam itself"
    check_callable(value, name, expected, a_class_will_do=True)

    def update(values: PyTree) -> PyTree:
        optimizer = value(0.1)
        return optimizer.update(values, optimizer.init(values), values)[0]

    _check_like(update, (like,), like, name, expected)


def check_noise(value: Any, like: PyTree, name: str) -> None:
    """Raises unless `value` is a noise that fits arrays as those of `like`."""
    expected = "callable as noise(key, like), such as grasp_jax.White()"
    hint = f"{expected} (for no noise set its standard deviation to 0)"
    check_callable(value, name, hint)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for leaf in jax.tree.leaves(like):
        _check_like(value, (key, leaf), leaf, name, expected)


def _check_like(
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
