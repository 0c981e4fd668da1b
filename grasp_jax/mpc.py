"""Receding horizon: plan, act, observe, shift the plan, plan again from there.

    controller = MPC(dynamics, GRASP(...), replan_every=5)
    state = controller.init(jnp.zeros((T, A)), key)
    while True:
        action, state, cost = controller.step(state, observation, goal)
        observation = world(action)

`step` is pure, so that an episode in a JAX world is one `lax.scan`. Outside `jit` it plans by one
compiled program; `jax.jit(controller.step)` saves the dispatch of the rest, and takes the model's
weights as they are then. To `vmap` over episodes leave `MPCState.taken` unbatched
(`in_axes=(MPCState(0, 0, None, 0, 0), 0, 0)`, the same in `out_axes`): then steps that only follow
their plans plan nothing.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from grasp_jax._promotion import usual_promotion
from grasp_jax._settings import require, static
from grasp_jax._tree import PyTree, cost_dtype
from grasp_jax.checks import check_key
from grasp_jax.driver import Plan, Status
from grasp_jax.objectives import Objective
from grasp_jax.planners.base import Planner
from grasp_jax.planners.grasp import GRASP
from grasp_jax.planning import plan
from grasp_jax.problem import Context


class MPCState(NamedTuple):
    """What a controller remembers between two control steps.

    Attributes:
      actions: `[T, A]`, the present plan; row 0 is the next action.
      context: The frames and actions before now, or None.
      taken: `[]` int32, control steps so far.
      key: One random key.
      status: `[]` int32, the `grasp_jax.Status` of the present plan.
    """

    actions: jax.Array
    context: Context | None
    taken: jax.Array
    key: jax.Array
    status: jax.Array


def shift(actions: jax.Array, steps: int | jax.Array = 1) -> jax.Array:
    """`[T, A]` actions without the first `steps`, zeros at the end: the usual warm start."""
    kept = jnp.arange(actions.shape[0]) < actions.shape[0] - steps
    return jnp.where(kept[:, None], jnp.roll(actions, -steps, axis=0), 0)


def push(context: Context, state: PyTree, action: jax.Array) -> Context:
    """The context one step later: its oldest frame dropped, `state` and `action` appended.

    Args:
      context: Leaves `[h-1, ...]`.
      state: The real frame that was observed, leaves `[...]`.
      action: `[A]`, the action taken in it.
    """

    def append(past: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.concatenate([past[1:], new[None].astype(past.dtype)]) if len(past) else past

    states = jax.tree.map(append, context.states, state)
    present = context.present
    if present is not None:
        present = append(present, jnp.asarray(True))
    return Context(states, append(context.actions, action), present)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MPC:
    """A controller that plans anew every few steps.

    Attributes:
      dynamics: See `grasp_jax.plan`.
      planner: How to search, each time; few iterations are enough after a warm start.
      replan_every: Control steps from plan to plan; between them the plan is followed blindly.
      shrink: Reach the goal `T` steps after the first plan, so that later plans are shorter (they
        share its program), and never shorter than `shortest` and `replan_every`; False keeps the
        horizon at `T`.
      shortest: Fewest steps a shrinking plan looks ahead.
      bounds: `(low, high)` of actions, see `grasp_jax.plan`.
      objective: See `grasp_jax.plan`.
    """

    dynamics: Any
    planner: Planner = GRASP()
    replan_every: int = static(1)
    shrink: bool = static(False)
    shortest: int = static(1)
    bounds: tuple[Any, Any] | None = None
    objective: Objective = Objective()

    def init(self, actions: jax.Array, key: jax.Array, context: Context | None = None) -> MPCState:
        """Before the first control step.

        Args:
          actions: `[T, A]`, the first starting guess; fixes the horizon.
          key: One random key; every plan draws its own from it.
          context: For models that read a window, see `grasp_jax.Context.repeat`.

        Raises:
          ValueError: `actions` is not `[T, A]`; `replan_every` or `shortest` do not fit `T`.
          TypeError, ValueError: `key` is not one random key.
        """
        actions = jnp.asarray(actions)
        check_key(key)
        require(
            actions.ndim == 2,
            f"MPC.init: actions must have shape [T, A], got {list(actions.shape)}.",
        )
        horizon = actions.shape[0]
        for name in ("replan_every", "shortest"):
            value = getattr(self, name)
            require(
                isinstance(value, int) and 1 <= value <= horizon,
                f"MPC.{name} is {value}, but a plan has {horizon} steps: choose 1..{horizon}.",
            )
        zero = jnp.zeros((), jnp.int32)
        return MPCState(actions, context, zero, key, zero)

    @usual_promotion
    def step(
        self, state: MPCState, observation: PyTree, goal: PyTree
    ) -> tuple[jax.Array, MPCState, jax.Array]:
        """One control step.

        Args:
          state: The controller's memory.
          observation: The present state of the world, as the model reads it.
          goal: See `grasp_jax.plan`; it may move.

        Returns:
          The action to take now `[A]`, the memory for the next step, and the predicted cost of
          the plan if this step made one, `nan` if it followed the last one (or if its plan failed:
          see the memory's status).
        """
        dtype = cost_dtype(state.actions.dtype)

        def replan(state: MPCState) -> tuple[jax.Array, jax.Array, jax.Array]:
            found = self.plan(state, observation, goal)
            cost = jnp.where(found.status == Status.FAILED, jnp.nan, found.cost)
            return found.actions, cost.astype(dtype), found.status

        def follow(state: MPCState) -> tuple[jax.Array, jax.Array, jax.Array]:
            return state.actions, jnp.full((), jnp.nan, dtype), state.status

        due = state.taken % self.replan_every == 0
        if isinstance(due, Tracer):
            actions, cost, status = jax.lax.cond(due, replan, follow, state)
        else:
            # A `cond` would be compiled anew at every call.
            actions, cost, status = (replan if due else follow)(state)
        context = state.context
        if context is not None:
            context = push(context, observation, actions[0])
        memory = MPCState(shift(actions), context, state.taken + 1, state.key, status)
        return actions[0], memory, cost

    def plan(self, state: MPCState, observation: PyTree, goal: PyTree) -> Plan:
        """The plan a control step would make now, whole."""
        horizon = state.actions.shape[0]
        # A plan is followed for `replan_every` steps, and behind its length there are zeros.
        shortest = max(self.shortest, self.replan_every)
        left = jnp.clip(horizon - state.taken, shortest, horizon)
        return plan(
            self.dynamics,
            observation,
            goal,
            state.actions,
            jax.random.fold_in(state.key, state.taken),
            planner=self.planner,
            bounds=self.bounds,
            objective=self.objective,
            context=state.context,
            length=left if self.shrink else None,
        )
