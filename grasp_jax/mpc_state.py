"""What a controller remembers between two control steps, and how a step changes it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree
from grasp_jax.problem import Context


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MPCState:
    """What a controller remembers between two control steps.

    Attributes:
      actions: `[T, A]`, the present plan; row 0 is the next action.
      context: The frames and actions before now, or None.
      step: `[]` int32, control steps so far.
      key: One random key.
      cost: `[]`, the predicted cost of the present plan when it was made; 0 before the first.
      status: `[]` int32, the `grasp_jax.Status` of the present plan.
      num_planned: `[]` int32, rows of `actions` that a plan made; the rest are zeros.
    """

    actions: jax.Array
    context: Context | None
    step: jax.Array | None
    key: jax.Array
    cost: jax.Array
    status: jax.Array
    num_planned: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MPCInfo:
    """What one control step says beside the action.

    Attributes:
      planned: `[]` bool, whether this step made a plan, or followed the last one.
      cost: `[]`, the predicted cost of the plan that is followed, as it was when the plan was made;
        where that plan failed (see `status`) the last finite one.
      status: `[]` int32, that plan's `grasp_jax.Status`.
    """

    planned: jax.Array
    cost: jax.Array
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

    def append(past: jax.Array, new: Any) -> jax.Array:
        return (
            jnp.concatenate([past[1:], jnp.asarray(new, past.dtype)[None]]) if len(past) else past
        )

    present = None if context.present is None else append(context.present, True)
    states = jax.tree.map(append, context.states, state)
    return Context(states, append(context.actions, action), present)


def follow(memory: MPCState, state: PyTree) -> tuple[jax.Array, MPCState]:
    """The action of one episode's present plan, and the memory after it but for its counter.

    Args:
      memory: With the plan.
      state: What was observed, leaves `[...]`; goes into the context.
    """
    actions, context = memory.actions, memory.context
    if context is not None:
        context = push(context, state, actions[0])
    left = jnp.maximum(memory.num_planned - 1, 0)
    following = dataclasses.replace(
        memory, actions=shift(actions), context=context, num_planned=left
    )
    return actions[0], following
