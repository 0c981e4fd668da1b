"""One planning step as several model steps: repeated or stacked actions.

Both wrap a model `F(state, action)` of one environment step; windows (a context) are not wrapped:
a model that reads frames should be trained at the rate at which it is planned with.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import prepared
from grasp_jax._tree import PyTree, Record
from grasp_jax.prepared import PreparedModel
from grasp_jax.world_models._windows import is_window, row_marker

Model = Callable[[PyTree, jax.Array], PyTree]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class ActionRepeat(Record, PreparedModel):
    """`F` applied `repeat` times with the same action `[A]`; for models without a context.

    Attributes:
      model: Any callable pytree `F(state, action) -> next_state`.
      repeat: Model steps per planning step; static.

    >>> import jax.numpy as jnp
    >>> ActionRepeat(lambda s, a: s + a, 3)(jnp.zeros(1), jnp.ones(1))
    Array([3.], dtype=float32)
    """

    model: Model
    repeat: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        _check_count(self.repeat, "ActionRepeat.repeat")

    @property
    def training_action_std(self) -> Any:
        """The model's."""
        return prepared.training_action_std(self.model)

    @property
    def environment_actions_per_step(self) -> int:
        """The model's."""
        return prepared.environment_actions_per_step(self.model)

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What the model reads of actions `[n, A]`."""
        return prepared.prepare(self.model, actions), row_marker(actions)

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: Any = None
    ) -> PyTree:
        """The state `repeat` model steps later.

        Raises:
          ValueError: It is called on a window.
        """
        action, marker = prepared_actions
        _refuse_window(marker, "ActionRepeat")
        state, _ = jax.lax.scan(
            lambda s, _: (_like(prepared.step(self.model, s, action), s), None),
            states,
            None,
            length=self.repeat,
        )
        return state


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StackedActions(Record, PreparedModel):
    """`F` applied once per action of a stack; for models without a context.

    Attributes:
      model: Any callable pytree `F(state, action) -> next_state`, actions `[A]`.
      action_block: Environment actions per planning action (the frame skip), so that planning
        actions are `[action_block · A]`, the first action first; static.

    >>> import jax.numpy as jnp
    >>> StackedActions(lambda s, a: 2 * s + a, 3)(jnp.zeros(1), jnp.array([1.0, 10.0, 100.0]))
    Array([124.], dtype=float32)
    """

    model: Model
    action_block: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        _check_count(self.action_block, "StackedActions.action_block")

    @property
    def environment_actions_per_step(self) -> int:
        """`action_block` times the model's."""
        return self.action_block * prepared.environment_actions_per_step(self.model)

    @property
    def training_action_std(self) -> Any:
        """The model's, for each action of the stack."""
        std = prepared.training_action_std(self.model)
        return std if std is None or np.ndim(std) == 0 else jnp.tile(std, self.action_block)

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What the model reads of actions `[n, action_block · A]`: leaves `[n, action_block, ...]`.

        Raises:
          ValueError: `action_block` does not divide the action size.
        """
        size = actions.shape[-1]
        if size % self.action_block:
            raise ValueError(
                f"StackedActions: an action of size {size} cannot hold {self.action_block} stacked "
                "actions; its size must be a multiple of action_block."
            )
        single = actions.reshape(-1, size // self.action_block)
        rows = jax.tree.map(
            lambda x: x.reshape(-1, self.action_block, *x.shape[1:]),
            prepared.prepare(self.model, single),
        )
        return rows, row_marker(actions)

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: Any = None
    ) -> PyTree:
        """The state `action_block` model steps later.

        Raises:
          ValueError: It is called on a window.
        """
        actions, marker = prepared_actions
        _refuse_window(marker, "StackedActions")
        state, _ = jax.lax.scan(
            lambda s, a: (_like(prepared.step(self.model, s, a), s), None), states, actions
        )
        return state


def _like(new: PyTree, old: PyTree) -> PyTree:
    """`new` in the dtypes of `old`, as a loop needs; the model's constants may have widened it."""
    return jax.tree.map(lambda x, y: x if x.dtype == y.dtype else x.astype(y.dtype), new, old)


def _refuse_window(marker: jax.Array, name: str) -> None:
    if is_window(marker):
        raise ValueError(
            f"{name} moves one state by one action, but is called on a window of actions. Plan "
            "without context=, or write the window into the model."
        )


def _check_count(count: int, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"{name} must be a positive int, got {count!r:.40}.")
