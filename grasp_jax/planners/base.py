"""What a planner is: a frozen dataclass of settings with three pure methods.

Numbers in a planner are traced (sweep a learning rate with `vmap`, change it without a retrace);
fields marked `static()` are structure. Callables in other fields (schedules, paths, noises) are
pytrees themselves, or plain functions, which become structure.
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree, cost_dtype
from grasp_jax.problem import Problem

PlannerState = Any


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
    """The protocol; the README's `RandomSearch` is a short example.

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


def add(values: PyTree, updates: PyTree) -> PyTree:
    """`values + updates`, leaf by leaf, in the dtype of `values`.

    Updates that are not finite move nothing: in float16 Adam divides a gradient of 0 by 0.
    """

    def one(x: jax.Array, u: jax.Array) -> jax.Array:
        u = u.astype(x.dtype)
        return x + jnp.where(jnp.isfinite(u), u, 0)

    return jax.tree.map(one, values, updates)
