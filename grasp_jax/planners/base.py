"""What a planner is: a frozen dataclass of settings with three pure methods.

Numbers in a planner are traced (sweep a learning rate with `vmap`, change it without a retrace);
fields marked `static()` are structure. Callables in other fields (schedules, paths, noises) are
pytrees themselves, or plain functions, which become structure.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax._tree import PyTree, cost_dtype, is_number
from grasp_jax.problem import Problem

Schedule = Callable[[jax.Array], jax.Array]
Scalar = jax.Array | float
PlannerState = Any


def static(default: Any) -> Any:
    """A dataclass field that is part of the compiled program: a count, a switch or a factory."""
    return dataclasses.field(default=default, metadata={"static": True})


def value_at(number: Scalar | Schedule, iteration: jax.Array | int) -> jax.Array | float:
    """A number, or a schedule's value at this iteration (`[]` int32, counted from 0)."""
    return number(jnp.asarray(iteration, jnp.int32)) if callable(number) else number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Progress:
    """What the driver tells a planner before each step.

    Attributes:
      key: This iteration's own random key.
      iteration: `[]` int32, counted from 0; not batched under the library's own `vmap`, so that
        a `lax.cond` on it stays a branch.
      best_actions: `[T, A]`, the best evaluated actions so far, inside the bounds.
      best_cost: `[]`, their rollout cost.
    """

    key: jax.Array
    iteration: jax.Array
    best_actions: jax.Array
    best_cost: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Proposal:
    """What a planner found in one step.

    Attributes:
      actions: `[T, A]`, a candidate inside the bounds.
      cost: `[]`, its true rollout cost; `inf` where the step evaluated no rollout.
      loss: `[]`, what the planner itself minimises (the lifted objective, the rollout cost, ...).
      residual: `[]`, `Σ_t ||F_t - s_{t+1}||²` of lifted planners, 0 for the others.
      finite: `[]` bool, whether every number met in this step was finite.
      forward: `[]`, one-step model evaluations spent.
      backward: `[]`, one-step model derivatives (VJPs or JVPs) spent.
    """

    actions: jax.Array
    cost: jax.Array
    loss: jax.Array
    residual: jax.Array
    finite: jax.Array
    forward: jax.Array
    backward: jax.Array


class Planner(Protocol):
    """The protocol; see `grasp_jax.planners.gradient.GD` for the shortest example.

    Optional methods: `check(problem)` raises for settings that cannot work (called while
    tracing), and `virtual_states(problem, state)` returns `s_1..s_{T-1}`, leaves `[T-1, ...]`, of
    a lifted planner. For planners that are parts of others: `evaluates_guess`, whether the first
    iteration evaluates the starting guess (otherwise that is done before), and
    `own_calls(problem)`, the model calls forward of `init` and of `actions`, where they make any.
    """

    @property
    def iterations(self) -> int:
        """How many steps a `plan()` takes."""
        ...

    def init(self, problem: Problem, key: jax.Array) -> PlannerState:
        """The first state; starts from `problem.actions`."""
        ...

    def step(
        self, problem: Problem, state: PlannerState, progress: Progress
    ) -> tuple[PlannerState, Proposal]:
        """One iteration. Never raises; broken numbers are reported through `Proposal.finite`."""
        ...

    def actions(self, problem: Problem, state: PlannerState) -> jax.Array:
        """The present actions `[T, A]`, inside the bounds."""
        ...


def check(planner: Planner, problem: Problem) -> None:
    """Raises for settings of `planner` that cannot work; all are fine where it has no check."""
    method = getattr(planner, "check", None)
    if method is not None:
        method(problem)


def virtual_states(planner: Planner, problem: Problem, state: PlannerState) -> PyTree | None:
    """The planner's virtual states `s_1..s_{T-1}`, or None if it has none."""
    method = getattr(planner, "virtual_states", None)
    return None if method is None else method(problem, state)


def evaluates_guess(planner: Planner) -> bool:
    """Whether the first iteration evaluates the starting guess; no, where it does not say so."""
    return bool(getattr(planner, "evaluates_guess", False))


def own_calls(planner: Planner, problem: Problem) -> tuple[int, int]:
    """Model calls forward of `init` and of `actions`; none where the planner tells of none."""
    method = getattr(planner, "own_calls", None)
    return (0, 0) if method is None else method(problem)


def proposal(
    actions: jax.Array,
    cost: jax.Array,
    finite: jax.Array,
    forward: jax.Array | float,
    backward: jax.Array | float = 0.0,
    loss: jax.Array | None = None,
    residual: jax.Array | None = None,
) -> Proposal:
    """A `Proposal` with every field an array of the same dtype in each branch of a `cond`.

    Costs are float32 at least, also beside half-precision actions.
    """
    dtype = cost_dtype(actions.dtype)
    cost = jnp.asarray(cost, dtype)
    return Proposal(
        actions=actions,
        cost=cost,
        loss=cost if loss is None else jnp.asarray(loss, dtype),
        residual=jnp.zeros((), dtype) if residual is None else jnp.asarray(residual, dtype),
        finite=jnp.asarray(finite, bool),
        forward=jnp.asarray(forward, jnp.float32),
        backward=jnp.asarray(backward, jnp.float32),
    )


def require(condition: bool, message: str) -> None:
    """Raises ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def require_planner(planner: Any, name: str) -> None:
    """Raises TypeError unless `planner`, called `name` by the user, follows the protocol."""
    if isinstance(planner, type):
        owner = "grasp_jax." * planner.__module__.startswith("grasp_jax.")
        raise TypeError(
            f"{name} must be an instance, got the class {planner.__name__}. "
            f"Write {owner}{planner.__name__}()."
        )
    # On the class too: a composition's own `iterations` fails where its parts are no planners.
    missing = [
        m
        for m in ("init", "step", "actions", "iterations")
        if not (hasattr(type(planner), m) or hasattr(planner, m))
    ]
    if missing:
        raise TypeError(
            f"{name} must be a grasp_jax planner such as grasp_jax.GRASP(), got "
            f"{type(planner).__name__} without {', '.join(missing)}."
        )


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
) -> None:
    """Raises unless a field is a number that broadcasts to `shape`.

    Args:
      planner: Whose field it is.
      field: Its name.
      shape: For example `[T, A]`.
      schedule: A function of the iteration that returns such a number will do.
      optional: None will do.
    """
    value = getattr(planner, field)
    name, held = f"{type(planner).__name__}.{field}", value
    expected = "a number" if not shape else f"a number or an array that broadcasts to {list(shape)}"
    expected += " or a schedule of the iteration" if schedule else ""
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
    known = is_number(value) or isinstance(value, jax.ShapeDtypeStruct)
    if not known:
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}: {held!r:.60}.")
    found = tuple(getattr(value, "shape", ()))
    try:
        fits = np.broadcast_shapes(found, shape) == shape
    except ValueError:
        fits = False
    require(fits, f"{name} must be {expected}, got an array of shape {list(found)}.")


def require_range(record: Any, field: str, low: float, high: float = np.inf) -> None:
    """Raises ValueError unless a field lies in `[low, high)`; Python and NumPy numbers only.

    For `__post_init__`: inside a program the field is a tracer, and passes.
    """
    value = getattr(record, field)
    known = is_number(value) and not isinstance(value, jax.Array)
    if known and not np.all((np.asarray(value) >= low) & (np.asarray(value) < high)):
        upper = "" if high == np.inf else f" and below {high}"
        raise ValueError(
            f"{type(record).__name__}.{field} must be at least {low}{upper}, got {value!r:.60}."
        )


def require_optimizer(planner: Any) -> None:
    """Raises TypeError unless the field `optimizer` is a factory."""
    require_callable(
        planner, "optimizer", "a factory called with the rate, such as optax.adam itself"
    )


def require_noise(planner: Any, field: str = "noise") -> None:
    """Raises TypeError unless the field is a noise."""
    require_callable(
        planner,
        field,
        "callable as noise(key, like), such as grasp_jax.White() (for no noise set "
        "its standard deviation to 0)",
    )


def require_count(planner: Any, field: str, minimum: int = 1) -> None:
    """Raises unless the static field `field` is an integer of at least `minimum`."""
    value = getattr(planner, field)
    name = f"{type(planner).__name__}.{field}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} must be a Python int (it shapes the compiled program), got "
            f"{type(value).__name__}: {value!r:.60}."
        )
    require(value >= minimum, f"{name} must be at least {minimum}, got {value}.")


def add(values: PyTree, updates: PyTree) -> PyTree:
    """`values + updates`, leaf by leaf, in the dtype of `values`.

    Updates that are not finite move nothing: in float16 Adam divides a gradient of 0 by 0.
    """

    def one(x: jax.Array, u: jax.Array) -> jax.Array:
        u = u.astype(x.dtype)
        return x + jnp.where(jnp.isfinite(u), u, 0)

    return jax.tree.map(one, values, updates)
