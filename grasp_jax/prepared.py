"""Models that offer more than a step: an action encoder apart, a rollout in one call, a unit."""

import abc
from typing import Any

import jax

from grasp_jax import _tree
from grasp_jax._tree import PyTree


class PreparedModel(abc.ABC):
    """A dynamics whose action encoder runs once per plan, not inside a rollout or once per window.

    Planners call `prepare_actions` on all actions of a plan side by side, and `step_prepared` in
    place of the model. Derive from it beside any base (`equinox.Module`, `flax.nnx.Module`, a
    registered dataclass), or `PreparedModel.register` a class that has all three methods.

    >>> import dataclasses, jax, jax.numpy as jnp
    >>> @jax.tree_util.register_dataclass
    ... @dataclasses.dataclass(frozen=True)
    ... class Pushed(PreparedModel):
    ...     gain: jax.Array
    ...     def prepare_actions(self, actions):
    ...         return jnp.tanh(actions) * self.gain
    ...     def step_prepared(self, states, prepared, present=None):
    ...         return states + prepared
    >>> Pushed(jnp.array(2.0))(jnp.zeros(1), jnp.zeros(1))
    Array([0.], dtype=float32)
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Planners never call it, so that an override would be bypassed.
        if cls.__call__ is not PreparedModel.__call__:
            raise TypeError(
                f"{cls.__name__} is a PreparedModel and defines __call__, which planners bypass. "
                "Override prepare_actions and step_prepared, or hold the model in a field instead "
                "of deriving from it."
            )

    @abc.abstractmethod
    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """All that the step reads of actions: `[n, A]` to leaves `[n, ...]`."""

    @abc.abstractmethod
    def step_prepared(
        self, states: PyTree, prepared: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        """The next state.

        Args:
          states: One state, or a window of them with leaves `[h, ...]`, oldest first.
          prepared: Rows of `prepare_actions`, one or `h` of them likewise.
          present: `[h]` bool, which frames of the window are there, see `grasp_jax.Context`; the
            last one always is. None: all of them.
        """

    def __call__(
        self, states: PyTree, actions: jax.Array, present: jax.Array | None = None
    ) -> PyTree:
        """The next state, from a state and an action `[A]`, or windows with `[h, A]`."""
        if actions.ndim > 1:
            return step(self, states, self.prepare_actions(actions), present)
        return step(self, states, _tree.take(self.prepare_actions(actions[None]), 0), present)


class RolloutModel(abc.ABC):
    """A dynamics that knows all states of a rollout without one step after the other.

    A linear recurrence by a prefix sum, for example. Where a plan has no context and no `horizon`
    below `T`, planners and their gradients call `rollout` in place of `T` steps; the lifted terms
    and segments call the step. The two must agree: nothing else checks that the plan's cost is the
    model's own. Derive from it, or `RolloutModel.register` a class that has both methods.

    >>> import dataclasses, jax, jax.numpy as jnp
    >>> @jax.tree_util.register_dataclass
    ... @dataclasses.dataclass(frozen=True)
    ... class Pushed(RolloutModel):
    ...     gain: jax.Array
    ...     def __call__(self, state, action):
    ...         return state + self.gain * action
    ...     def rollout(self, state, actions):
    ...         return state + self.gain * jnp.cumsum(actions, axis=0)
    >>> Pushed(jnp.array(2.0)).rollout(jnp.zeros(1), jnp.ones((3, 1))).ravel().tolist()
    [2.0, 4.0, 6.0]
    """

    @abc.abstractmethod
    def __call__(self, state: PyTree, action: jax.Array) -> PyTree:
        """The next state, leaves `[...]`, from a state and an action `[A]`."""

    @abc.abstractmethod
    def rollout(self, state: PyTree, actions: jax.Array) -> PyTree:
        """`s_1..s_T`, leaves `[T, ...]`, from `s_0` and actions `[T, A]`."""


def training_action_std(model: Any) -> Any:
    """The deviation, `[]` or `[A]`, of the actions that a model was trained on; None if unknown.

    A model that knows it says so in an attribute of this name, in the units in which it takes
    actions: 1 where training z-scored them. `Scaled` and `portfolio` then search in that unit.
    """
    return getattr(model, "training_action_std", None)


def environment_actions_per_step(model: Any) -> Any:
    """How many environment actions each action `[A]` of a model stacks; 1 if it does not say.

    A model that stacks them, one after the other, the first first, says so in an attribute of this
    name; `StackedActions` does. `AR1` and `Colored` noise on the actions then runs from one
    environment action to the next.
    """
    found = getattr(model, "environment_actions_per_step", None)
    return 1 if found is None else found


def prepare(model: Any, actions: jax.Array) -> PyTree:
    """What `step` reads of actions `[n, A]`, leaves `[n, ...]`: the actions for a plain model."""
    return model.prepare_actions(actions) if isinstance(model, PreparedModel) else actions


def step(model: Any, states: PyTree, prepared: PyTree, present: jax.Array | None = None) -> PyTree:
    """One prediction of any dynamics; a mask of frames is passed on only where there is one."""
    predict = model.step_prepared if isinstance(model, PreparedModel) else model
    return predict(states, prepared) if present is None else predict(states, prepared, present)
