"""One planning step as several model steps: repeated or stacked actions.

Both wrap a model `F(state, action)` of one environment step; windows (a context) are not wrapped:
a model that reads frames should be trained at the rate at which it is planned with.
"""

import dataclasses
from collections.abc import Callable

import jax

from grasp_jax._tree import Frozen, PyTree, freeze

Model = Callable[[PyTree, jax.Array], PyTree]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ActionRepeat:
    """`F` applied `repeat` times with the same action `[A]`; for models without a context.

    Attributes:
      model: Any callable pytree `F(state, action) -> next_state`.
      repeat: Model steps per planning step; static.
    """

    model: Model | Frozen
    repeat: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        _check_count(self.repeat, "ActionRepeat.repeat")

    def __call__(self, state: PyTree, action: jax.Array) -> PyTree:
        """`[A]` action to the state `repeat` model steps later."""
        _refuse_window(action, "ActionRepeat")
        model = freeze(self.model, "ActionRepeat.model")
        state, _ = jax.lax.scan(
            lambda s, _: (model(s, action), None), state, None, length=self.repeat
        )
        return state


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StackedActions:
    """`F` applied once per action of a stack: planning actions are `[count · A]`; no context.

    Attributes:
      model: Any callable pytree `F(state, action) -> next_state`.
      count: Environment actions per planning action (the frame skip); static.
    """

    model: Model | Frozen
    count: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        _check_count(self.count, "StackedActions.count")

    def __call__(self, state: PyTree, action: jax.Array) -> PyTree:
        """`[count · A]` stacked actions, first action first, to the state `count` steps later.

        Raises:
          ValueError: `count` does not divide the action size; the model is called on windows.
        """
        _refuse_window(action, "StackedActions")
        if action.shape[-1] % self.count:
            raise ValueError(
                f"StackedActions: an action of size {action.shape[-1]} cannot hold "
                f"{self.count} stacked actions; its size must be a multiple of count."
            )
        model = freeze(self.model, "StackedActions.model")
        actions = action.reshape(self.count, -1)
        state, _ = jax.lax.scan(lambda s, a: (model(s, a), None), state, actions)
        return state


def _refuse_window(action: jax.Array, name: str) -> None:
    if action.ndim > 1:
        raise ValueError(
            f"{name} moves one state by one action [A], but is called on a window of actions "
            f"{list(action.shape)}. Plan without context=, or write the window into the model."
        )


def _check_count(count: int, name: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{name} must be a positive int, got {count!r:.40}.")
