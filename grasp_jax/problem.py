"""One planning problem: the model, where it starts, where it should end, and what is allowed."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh

from grasp_jax import _tree
from grasp_jax._tree import Frozen, PyTree, cost_dtype, freeze, is_number
from grasp_jax._weights import with_visible_weights
from grasp_jax.objectives import Objective


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Context:
    """The past that a model with a window of `h` frames reads besides the present one.

    With a context, the dynamics is called as `F(states [h, ...], actions [h, A])`, oldest first;
    the last row is the present state and the action to take in it.

    Attributes:
      states: Leaves `[h-1, ...]`, the frames before now, oldest first.
      actions: `[h-1, A]`, the actions taken in those frames.
      present: `[h-1]` bool, which of those frames are there, for the first moments of an episode;
        None: all. With it the dynamics takes a third argument, `F(states, actions, present [h])`;
        what it says is not there may hold any finite numbers.
    """

    states: PyTree
    actions: jax.Array
    present: jax.Array | None = None

    @staticmethod
    def repeat(state: PyTree, frames: int, action_size: int) -> "Context":
        """A context for an episode's first moment: the present frame repeated, zero actions.

        Args:
          state: The present state, leaves `[...]`.
          frames: `h-1`, how many frames before now the model reads.
          action_size: `A`.
        """
        leaf = jax.tree.leaves(state)[0]
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (frames, *jnp.shape(x))), state)
        return Context(repeated, jnp.zeros((frames, action_size), jnp.result_type(leaf)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Problem:
    """What every planner reads. Built and checked by `make_problem`; written for one goal.

    Attributes:
      dynamics: `F(state, action) -> next_state`, or on windows where there is a context.
      start: `s_0`, leaves `[...]`.
      goal: `g`, whatever the objective's distance compares a state with.
      actions: `[T, A]`, the starting guess.
      low: `[A]`, lower bounds, `-inf` where there is none.
      high: `[A]`, upper bounds, `inf` where there is none.
      objective: The cost of a rollout, frozen: call `cost`, `distance` or `penalty`.
      context: Frames and actions before now, or None.
      length: `[]` int, at which step `1 <= length <= T` the goal is to be reached; None for `T`.
        Rollouts stand still from there on, and later actions are zero (or the nearest bound): an
        action cost that averages over steps, or compares neighbours, counts these zeros too.
      mesh: Devices to split goals, time or samples over, see `grasp_jax.sharding`; or None.
    """

    dynamics: Frozen
    start: PyTree
    goal: PyTree
    actions: jax.Array
    low: jax.Array
    high: jax.Array
    objective: Frozen
    context: Context | None = None
    length: jax.Array | None = None
    mesh: Mesh | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def end(self) -> jax.Array | int:
        """`length`, or `T` where there is none."""
        return self.horizon if self.length is None else self.length

    @property
    def horizon(self) -> int:
        """`T`."""
        return self.actions.shape[0]

    @property
    def window(self) -> int:
        """`h`, how many frames one prediction reads."""
        return 1 if self.context is None else 1 + self.context.actions.shape[0]

    def clip(self, actions: jax.Array) -> jax.Array:
        """`[..., T, A]` actions moved to the nearest ones inside the bounds, none past the end."""
        return jnp.clip(self.until_end(actions), self.low, self.high)

    def until_end(self, actions: jax.Array) -> jax.Array:
        """`[..., T, A]` actions, zero from the goal's step on."""
        if self.length is None:
            return actions
        return jnp.where(jnp.arange(self.horizon)[:, None] < self.length, actions, 0)

    def cost(self, states: PyTree, actions: jax.Array) -> jax.Array:
        """The objective `[]` of a rollout, `s_1..s_T` `[T, ...]`, under actions `[T, A]`."""
        final = self.distance(_tree.take(states, -1))
        return final + self.penalty(actions) + self.state_costs(states)

    def state_costs(self, states: PyTree) -> jax.Array:
        """The costs `[]` of passing through `s_1..s_T` `[T, ...]`, up to the goal's step."""
        return self.sum_until_end(jax.vmap(self.state_cost)(states) if self.pays_along else None)

    @property
    def pays_along(self) -> bool:
        """Whether states before the last one cost something."""
        return self.objective.thaw().state_cost is not None

    def state_cost(self, state: PyTree) -> jax.Array:
        """The cost of passing through one state: `[]`, zero where there is none."""
        cost = self.objective.thaw().state_cost
        return jnp.zeros(()) if cost is None else cost(state, self.goal)

    def sum_until_end(self, costs: jax.Array | None) -> jax.Array:
        """The sum `[]` of costs `[T]` of `s_1..s_T`, up to the goal's step; zero for None."""
        if costs is None:
            return jnp.zeros((), cost_dtype(self.actions.dtype))
        costs = costs.astype(cost_dtype(costs.dtype))
        return jnp.sum(jnp.where(jnp.arange(self.horizon) < self.end, costs, 0))

    def distance(self, state: PyTree) -> jax.Array:
        """`d(state, g)`: `[]`."""
        return self.objective.thaw().distance(state, self.goal)

    def penalty(self, actions: jax.Array) -> jax.Array:
        """The action cost of `[T, A]` actions: `[]`."""
        return self.objective.thaw().penalty(self.until_end(actions))

    def windows(self, actions: jax.Array) -> PyTree:
        """What each of the `T` predictions reads of actions, leaves `[T, ...]` or `[T, h, ...]`.

        A model may offer `prepare_actions([n, A]) -> leaves [n, ...]` and `step_prepared(state,
        prepared)`, with `F(s, a) = step_prepared(s, prepare_actions(a))`. Its action encoder then
        runs once over all steps, instead of inside a rollout or once per window.
        """
        if self.context is None:
            return self._prepare(actions)
        known = self._prepare(jnp.concatenate([self.context.actions, actions]))
        if (present := self.context.present) is not None:
            known = known, jnp.concatenate([present, jnp.ones(self.horizon, bool)])
        times = jnp.arange(self.horizon)[:, None] + jnp.arange(self.window)
        return _tree.take(known, times)

    def _prepare(self, actions: jax.Array) -> PyTree:
        model = self.dynamics.thaw()
        return model.prepare_actions(actions) if prepares(model) else actions

    def step(self, states: PyTree, window: PyTree) -> PyTree:
        """One prediction from a state, or a window of them, and one row of `windows`."""
        model = self.dynamics.thaw()
        present = ()
        if self.context is not None and self.context.present is not None:
            window, *present = window
        return (model.step_prepared if prepares(model) else model)(states, window, *present)

    def split(self, tree: PyTree, axis: str) -> PyTree:
        """`tree` with its leading axis split over the mesh axis of that name, if there is one."""
        return _tree.split(self.mesh, tree, axis)

    def starting_from(self, actions: jax.Array) -> "Problem":
        """The same problem with another starting guess."""
        return dataclasses.replace(self, actions=actions)


def prepares(model: Any) -> bool:
    """Whether a model's class offers both halves of `Problem.windows`; one means something else.

    A subclass that overrides `__call__` alone is called: what it inherits would bypass that.
    """
    order = type(model).__mro__

    def depth(name: str) -> int:
        return next((i for i, cls in enumerate(order) if name in vars(cls)), len(order))

    return max(depth("prepare_actions"), depth("step_prepared")) <= depth("__call__") < len(order)


def make_problem(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    bounds: tuple[Any, Any] | None,
    objective: Objective | None,
    context: Context | None,
    length: Any = None,
    mesh: Mesh | None = None,
) -> Problem:
    """Packs the arguments of `plan`. Values are checked here, shapes by `check_problem`."""
    if not callable(dynamics):
        raise TypeError(
            f"dynamics must be callable as dynamics(state, action) -> next_state, got "
            f"{type(dynamics).__name__}. For Flax linen pass jax.tree_util.Partial(model.apply, "
            "params); for Equinox and nnx pass the module itself."
        )
    if actions is None:
        raise TypeError(
            "actions must be an array [T, A], the starting guess, got None. Start from "
            "jnp.zeros((horizon, action_size))."
        )
    actions = _as_array(actions, "actions")
    if actions.ndim < 2:
        raise ValueError(
            f"actions must have shape [T, A], got {_tree.describe(actions)}. Start from "
            "jnp.zeros((horizon, action_size))."
        )
    low, high = _bounds(bounds, actions)
    if objective is not None and not isinstance(objective, Objective):
        raise TypeError(
            f"objective must be a grasp_jax.Objective, got {type(objective).__name__}. Wrap a "
            "distance as grasp_jax.Objective(distance=my_distance)."
        )
    if context is not None and not isinstance(context, Context):
        raise TypeError(
            f"context must be a grasp_jax.Context(states, actions), got {type(context).__name__}."
        )
    return Problem(
        dynamics=freeze(with_visible_weights(dynamics), "dynamics"),
        start=jax.tree.map(lambda x: _as_array(x, "state"), state),
        goal=jax.tree.map(lambda x: _as_array(x, "goal"), goal),
        actions=actions,
        low=low,
        high=high,
        objective=freeze(
            with_visible_weights(objective or Objective(), "objective"), "objective", is_number
        ),
        context=jax.tree.map(lambda x: _as_array(x, "context"), context),
        length=None if length is None else as_length(length, actions.shape[-2]),
        mesh=mesh,
    )


def as_length(length: Any, horizon: int) -> jax.Array:
    """`[]` or `[B]` int32; raises for other types, and for values outside `1..T`."""
    array = _as_array(length, "length")
    fix = f"It is the step, 1..{horizon}, at which the goal is to be reached."
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"length must be an integer, got {array.dtype}. {fix}")
    # Lengths that several processes hold in parts can be read by none of them.
    if not isinstance(array, Tracer) and array.is_fully_addressable:
        wrong = np.asarray(array)[(np.asarray(array) < 1) | (np.asarray(array) > horizon)]
        if wrong.size:
            raise ValueError(f"length must be in 1..{horizon}, got {int(wrong.flat[0])}. {fix}")
    return array.astype(jnp.int32)


def _as_array(value: Any, name: str) -> jax.Array:
    try:
        array = jnp.asarray(value)
        # Without weak types, so that jnp.full(3, 0.5) and jnp.array([...]) share one program.
        return jnp.asarray(array, array.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be made of arrays, got a leaf of type {type(value).__name__}: "
            f"{value!r:.60}. Convert it with jnp.asarray, or drop it from the pytree."
        ) from error


def _bounds(bounds: tuple[Any, Any] | None, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`(low, high)`, each `[A]` in the dtype of the actions."""
    size = actions.shape[-1:]
    dtype = actions.dtype if jnp.issubdtype(actions.dtype, jnp.floating) else jnp.float32
    if bounds is None:
        return jnp.asarray(np.full(size, -np.inf, dtype)), jnp.asarray(np.full(size, np.inf, dtype))
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise ValueError(
            f"bounds must be a pair (low, high), each a number or an array [A], got {bounds!r:.80}."
        )
    return _bound(bounds[0], "low", size, dtype), _bound(bounds[1], "high", size, dtype)


def _bound(value: Any, which: str, size: tuple[int, ...], dtype: Any) -> jax.Array:
    try:
        array = _inwards(value, which, dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"bounds: {which} must be a number or an array {list(size)}, got "
            f"{type(value).__name__}: {value!r:.60}. Where there is none pass -jnp.inf or jnp.inf."
        ) from error
    if array.shape not in ((), size):
        raise ValueError(
            f"bounds: {which} has shape {list(array.shape)}, expected a number or {list(size)} "
            "(one entry per action dimension, the last axis of actions)."
        )
    wide = jnp.broadcast_to if isinstance(array, jax.Array) else np.broadcast_to
    return jnp.asarray(wide(array, size))


def _inwards(bound: Any, which: str, dtype: Any) -> Any:
    """A bound in the dtype of the actions, rounded to the inner side.

    By NumPy where it can be: every operation of JAX outside a program takes 20 us and more.
    """
    xp = jnp if any(isinstance(x, jax.Array) for x in jax.tree.leaves(bound)) else np
    exact = xp.asarray(bound)
    kind = jax.dtypes.canonicalize_dtype(exact.dtype)
    if jnp.issubdtype(kind, jnp.integer):  # neither wrapped to int32 nor compared in half precision
        kind = np.float64 if xp is np else cost_dtype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        exact = exact.astype(kind)
        found = exact.astype(dtype)
        inside = xp.asarray(jnp.inf if which == "low" else -jnp.inf, dtype)
        exact = exact.astype(jnp.promote_types(kind, dtype))
        outside = found < exact if which == "low" else found > exact
        return xp.where(outside, xp.nextafter(found, inside), found)


def check_bound_values(bounds: tuple[Any, Any] | None) -> None:
    """Raises ValueError where a lower bound exceeds its upper bound (concrete values only).

    Reads what the caller gave, not what was made of it: numbers need no device.
    """
    if bounds is None:
        return
    try:
        low, high = np.broadcast_arrays(*(np.atleast_1d(np.asarray(b)) for b in bounds))
    except jax.errors.TracerArrayConversionError:
        return
    wrong = np.flatnonzero(~(low <= high))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(
            f"bounds: low must not exceed high and neither may be NaN, got low={low[i]}, "
            f"high={high[i]} in action dimension {i}. Pass bounds=(low, high) in that order."
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
