"""What a caller may pass: every value parsed or refused, at every call.

Every wrong call is told which argument, what was got, what was expected, and the fix. Shapes and
dtypes are read later and once per program, by `grasp_jax.checks`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh

from grasp_jax._compile import array, on_device, require_hashable, usual_promotion
from grasp_jax._tree import PyTree, cost_dtype, describe, is_array, is_number
from grasp_jax._weights import with_visible_weights
from grasp_jax.objectives import Objective, mean_squared_distance, squared_distance
from grasp_jax.problem import PER_GOAL, Context, Problem

AXES = ("goals", "time", "samples")


@usual_promotion
def make_problem(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    init_actions: Any,
    *,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    horizon: Any = None,
    mesh: Mesh | None = None,
    batched: bool = False,
) -> Problem:
    """A planning problem, for everything that takes one apart: `start`, `compile_plan`, `MPC`.

    Args:
      dynamics: See `plan`, as all arguments that are not named here.
      state: `s_0`; leaves `[B, ...]` where `batched`.
      goal: `g`; leaves `[B, ...]` where `batched`.
      init_actions: `[T, A]`; `[B, T, A]` where `batched`, or `[T, A]` for all goals.
      bounds: Shared by all goals.
      objective: Shared by all goals.
      context: Leaves `[h-1, ...]`; `[B, h-1, ...]` where `batched`.
      horizon: `[]`; `[B]` or `[]` where `batched`.
      mesh: See `plan`.
      batched: Whether this is one problem for each of `B` goals.

    Raises:
      TypeError, ValueError: An argument cannot work; the message says which and what to do. What
        needs the model's shapes to be known is raised by what takes the problem.

    >>> import grasp_jax, jax.numpy as jnp
    >>> problem = grasp_jax.make_problem(
    ...     lambda s, a: s + a, jnp.zeros(2), jnp.ones(2), jnp.zeros((5, 2)), bounds=(-1, 1)
    ... )
    >>> problem.max_horizon, problem.low.tolist()
    (5, [-1.0, -1.0])
    """
    if not callable(dynamics):
        exported = "For an exported model pass exported.call. " * hasattr(dynamics, "call")
        raise TypeError(
            f"dynamics must be callable as dynamics(state, action) -> next_state, got "
            f"{type(dynamics).__name__}. {exported}For Flax linen pass "
            "jax.tree_util.Partial(model.apply, params); for Equinox and nnx pass the module "
            "itself."
        )
    actions = _init_actions(init_actions)
    if objective is not None and not isinstance(objective, Objective):
        raise TypeError(
            f"objective must be a grasp_jax.Objective, got {type(objective).__name__}. Wrap a "
            "distance as grasp_jax.Objective(terminal_cost=my_distance)."
        )
    if context is not None and not isinstance(context, Context):
        raise TypeError(
            f"context must be a grasp_jax.Context(states, actions), got {type(context).__name__}."
        )
    if mesh is not None:
        _check_mesh(mesh, batched)
    dynamics = _own_arrays(with_visible_weights(dynamics, "dynamics"))
    require_hashable(dynamics, "dynamics")
    cost: Objective = _own_arrays(with_visible_weights(objective or Objective(), "objective"))
    require_hashable(cost, "objective", is_number)
    low, high = as_bounds(bounds, actions)
    problem = Problem(
        dynamics=dynamics,
        state=as_arrays(state, "state"),
        goal=as_arrays(goal, "goal"),
        init_actions=actions,
        low=low,
        high=high,
        objective=cost,
        context=None if context is None else as_arrays(context, "context"),
        given_horizon=None if horizon is None else as_horizon(horizon, actions.shape[-2]),
        mesh=mesh,
        batched=batched,
    )
    return _broadcast_shared(problem) if batched else problem


def replace_arrays(problem: Problem, **changes: Any) -> Problem:
    """`problem` with other values of some of `dynamics` and its fields of arrays.

    Raises:
      TypeError, ValueError: As `make_problem`.
    """
    found: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "dynamics":
            value = _own_arrays(with_visible_weights(value, "dynamics"))
            require_hashable(value, "dynamics")
            found[name] = value
        elif name == "horizon":
            found["given_horizon"] = as_horizon(value, problem.max_horizon)
        else:
            found[name] = as_arrays(value, name)
    return dataclasses.replace(problem, **found)


def check_key(key: Any, batched: bool = False) -> jax.Array:
    """`key`; raises unless it is one JAX random key, or with `batched` a vector of keys."""
    fix = "Pass jax.random.key(0); to plan for many goals, plan_batch splits one key itself."
    if not isinstance(key, jax.Array):
        raise TypeError(
            f"key must be a JAX random key, got {type(key).__name__}: {key!r:.40}. {fix}"
        )
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not (typed or (key.dtype == jnp.uint32 and key.ndim >= 1)):
        raise TypeError(f"key must be a JAX random key, got an array {describe(key)}. {fix}")
    try:
        keys = key if typed else jax.random.wrap_key_data(key)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"key must be a JAX random key, got an array {describe(key)} whose last axis is not "
            f"that of raw key data. {fix}"
        ) from error
    if keys.ndim > int(batched):
        raise ValueError(f"key must be a single key, got keys of shape {list(keys.shape)}. {fix}")
    return key


def as_arrays(tree: PyTree, name: str) -> PyTree:
    """`tree` with arrays of JAX's own for leaves; raises TypeError for leaves that are none."""

    def one(path: Any, value: Any) -> jax.Array:
        try:
            return array(value)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} must be made of arrays, got a leaf of type "
                f"{type(value).__name__}: {value!r:.60}. Convert it with jnp.asarray, or drop it "
                "from the pytree."
            ) from error

    return jax.tree_util.tree_map_with_path(one, tree)


def as_number(value: Any, name: str, meaning: str) -> jax.Array:
    """`value` as a floating array `[]`; raises for anything else, and for NaN."""
    found = None
    if is_number(value):
        found = array(value)
    if found is None or found.ndim or found.dtype == jnp.bool_:
        shown = describe(found) if found is not None else f"{type(value).__name__}: {value!r:.60}"
        raise TypeError(f"{name} must be one number, {meaning}, got {shown}.")
    if not isinstance(found, Tracer) and bool(jnp.isnan(found)):
        raise ValueError(f"{name} must be a number, {meaning}, got nan. Pass None for none.")
    return found.astype(jnp.promote_types(found.dtype, jnp.float32))


def _own_arrays(tree: PyTree) -> PyTree:
    """A model with its NumPy arrays copied, which their owner may write to later."""
    leaves, treedef = jax.tree.flatten(tree)
    host = [i for i, x in enumerate(leaves) if is_array(x) and not isinstance(x, jax.Array)]
    if not host:
        return tree
    for i, x in zip(host, on_device([leaves[i] for i in host]), strict=True):
        leaves[i] = x
    return treedef.unflatten(leaves)


def _init_actions(value: Any) -> jax.Array:
    if value is None:
        raise TypeError(
            "init_actions must be an array [T, A], the starting guess, got None. Start from "
            "jnp.zeros((horizon, action_size))."
        )
    fix = "Start from jnp.zeros((horizon, action_size))."
    actions = as_array(value, "init_actions", fix)
    if actions.ndim < 2:
        raise ValueError(f"init_actions must have shape [T, A], got {describe(actions)}. {fix}")
    return actions


def as_array(value: Any, name: str, fix: str = "Convert it with jnp.asarray.") -> jax.Array:
    """One array, also from nested lists of numbers; raises TypeError for what is none."""
    try:
        return array(value if is_array(value) else np.asarray(value))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be made of arrays, got {type(value).__name__}: {value!r:.60}. {fix}"
        ) from error


def as_horizon(horizon: Any, max_horizon: int) -> jax.Array:
    """`[]` or `[B]` int32; raises for other types, and for values outside `1..T`."""
    steps = as_array(horizon, "horizon")
    fix = f"It is the step, 1..{max_horizon}, at which the goal is to be reached."
    if not jnp.issubdtype(steps.dtype, jnp.integer):
        raise TypeError(f"horizon must be an integer, got {steps.dtype}. {fix}")
    # Horizons that several processes hold in parts can be read by none of them.
    if not isinstance(steps, Tracer) and steps.is_fully_addressable:
        known = np.asarray(jax.device_get(steps))
        wrong = known[(known < 1) | (known > max_horizon)]
        if wrong.size:
            raise ValueError(
                f"horizon must be in 1..{max_horizon}, got {int(wrong.flat[0])}. {fix}"
            )
    return steps.astype(jnp.int32)


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
        inside = xp.asarray(jnp.inf if which == "low" else -jnp.inf, dtype)
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


def _check_mesh(mesh: Any, batched: bool) -> None:
    """Raises TypeError or ValueError for a mesh that says nothing to a planner."""
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"mesh must be a jax.sharding.Mesh, got {type(mesh).__name__}. Make one with "
            "grasp_jax.sharding.make_mesh(goals=8)."
        )
    if not set(mesh.axis_names) & set(AXES):
        raise ValueError(
            f"mesh must have an axis named 'goals', 'time' or 'samples', got {mesh.axis_names}. "
            "Make one with grasp_jax.sharding.make_mesh(goals=8)."
        )
    explicit = [
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if name in AXES and kind != AxisType.Auto
    ]
    if explicit:
        raise ValueError(
            f"mesh axes {explicit} must be of AxisType.Auto. jax.make_mesh makes explicit ones: "
            "pass axis_types=, or use grasp_jax.sharding.make_mesh."
        )
    if not batched and mesh.shape.get("goals", 1) > 1:
        raise ValueError("mesh has a 'goals' axis, which splits the goals of plan_batch.")


def _broadcast_shared(problem: Problem) -> Problem:
    """One starting guess, and one horizon, for all goals; raises where the goals do not agree."""
    leaves = jax.tree.leaves(problem.state)
    if not leaves:
        raise ValueError("state must hold at least one array, got an empty pytree.")
    _check_states(problem)
    if leaves[0].ndim < 1:
        return problem
    goals, actions, horizon = leaves[0].shape[0], problem.init_actions, problem.given_horizon
    if actions.ndim == 2:
        actions = jnp.broadcast_to(actions, (goals, *actions.shape))
    if horizon is not None and horizon.ndim == 0:
        horizon = jnp.broadcast_to(horizon, (goals,))
    return dataclasses.replace(problem, init_actions=actions, given_horizon=horizon)


def _check_states(problem: Problem) -> None:
    """Raises ValueError where one state is given for many goals, the commonest wrong batch."""
    state, goal = problem.state, problem.goal
    if not compares_leaves(problem) or jax.tree.structure(state) != jax.tree.structure(goal):
        return
    pairs = list(zip(jax.tree.leaves(state), jax.tree.leaves(goal), strict=True))
    if pairs and all(s.shape == g.shape[1:] and g.ndim == s.ndim + 1 for s, g in pairs):
        goals = pairs[0][1].shape[0]
        raise ValueError(
            f"plan_batch: state {describe(state)} has no axis of goals, goal {describe(goal)} has "
            f"{goals}. To start all of them from one state pass jax.tree.map(lambda x: "
            f"jnp.broadcast_to(x, ({goals}, *x.shape)), state)."
        )


def compares_leaves(problem: Problem) -> bool:
    """Whether the terminal cost is one of ours, which want a goal that looks like a state."""
    return problem.objective.terminal_cost in (squared_distance, mean_squared_distance)


def check_batch(batched: dict[str, PyTree], size: int | None = None) -> int:
    """How many goals every leaf's leading axis holds; raises ValueError where they differ."""
    for name, tree in batched.items():
        name = name.removeprefix("given_")
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            size = leaf.shape[0] if size is None and leaf.ndim else size
            if leaf.ndim < 1 or leaf.shape[0] != size:
                raise ValueError(
                    f"plan_batch: {name}{jax.tree_util.keystr(path)} must have a leading axis of "
                    f"{size or 'B'} goals like the other arguments, got {describe(leaf)}. To share "
                    "one value between all goals, broadcast it with jnp.broadcast_to."
                )
    if not size:
        raise ValueError("plan_batch: state must hold at least one goal along its leading axis.")
    return size


def rows_of(problem: Problem) -> dict[str, PyTree]:
    """The fields of a batched problem that have one row per goal."""
    return {name: getattr(problem, name) for name in PER_GOAL}
