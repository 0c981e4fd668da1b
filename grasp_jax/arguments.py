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

from grasp_jax._bounds import as_bounds
from grasp_jax._compile import array, on_device, usual_promotion
from grasp_jax._frozen import require_hashable
from grasp_jax._tree import PyTree, describe, is_array, is_number
from grasp_jax._weights import with_visible_weights
from grasp_jax.objectives import Objective, compares_leaves
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
    state, goal, cost = problem.state, problem.goal, problem.objective.terminal_cost
    if not compares_leaves(cost) or jax.tree.structure(state) != jax.tree.structure(goal):
        return
    pairs = list(zip(jax.tree.leaves(state), jax.tree.leaves(goal), strict=True))
    if pairs and all(s.shape == g.shape[1:] and g.ndim == s.ndim + 1 for s, g in pairs):
        goals = pairs[0][1].shape[0]
        raise ValueError(
            f"plan_batch: state {describe(state)} has no axis of goals, goal {describe(goal)} has "
            f"{goals}. To start all of them from one state pass jax.tree.map(lambda x: "
            f"jnp.broadcast_to(x, ({goals}, *x.shape)), state)."
        )


def check_batch(
    batched: dict[str, PyTree], size: int | None = None, caller: str = "plan_batch"
) -> int:
    """How many goals every leaf's leading axis holds; raises ValueError where they differ."""
    for name, tree in batched.items():
        name = name.removeprefix("given_")
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            size = leaf.shape[0] if size is None and leaf.ndim else size
            if leaf.ndim < 1 or leaf.shape[0] != size:
                raise ValueError(
                    f"{caller}: {name}{jax.tree_util.keystr(path)} must have a leading axis of "
                    f"{size or 'B'} goals like the other arguments, got {describe(leaf)}. To share "
                    "one value between all goals, broadcast it with jnp.broadcast_to."
                )
    if not size:
        raise ValueError(f"{caller}: state must hold at least one goal along its leading axis.")
    return size


def rows_of(problem: Problem) -> dict[str, PyTree]:
    """The fields of a batched problem that have one row per goal."""
    return {name: getattr(problem, name) for name in PER_GOAL}
