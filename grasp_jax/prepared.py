"""Models whose reading of the actions can be done for all steps at once."""

import abc
from typing import Any

import jax

from grasp_jax._tree import PyTree


class PreparedModel(abc.ABC):
    """A dynamics in two halves: `F(s, a) = step_prepared(s, prepare_actions(a))`.

    A planner calls the halves instead of the model, so that what depends on actions alone, such as
    an action encoder, runs once over all `T` steps instead of inside a rollout.
    """

    @abc.abstractmethod
    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What the model reads of actions `[n, A]`: leaves `[n, ...]`, row by row."""

    @abc.abstractmethod
    def step_prepared(
        self, state: PyTree, prepared: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        """The next state from a state, or a window of them, and its rows of prepared actions."""


def prepare(model: Any, actions: jax.Array) -> PyTree:
    """What a model reads of actions `[n, A]`, leaves `[n, ...]`."""
    return model.prepare_actions(actions) if isinstance(model, PreparedModel) else actions


def step(model: Any, states: PyTree, window: PyTree, present: jax.Array | None = None) -> PyTree:
    """One prediction from a state, or a window of them, and what was prepared of its actions."""
    function = model.step_prepared if isinstance(model, PreparedModel) else model
    return function(states, window) if present is None else function(states, window, present)
