"""What several planners share: optimizers, and the virtual states of lifted planners."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Scale, Schedule, value_at
from grasp_jax._tree import PyTree
from grasp_jax.init_states import InitStates, check_init_states, evals
from grasp_jax.planner import Planner
from grasp_jax.problem import Problem

Optimizer = Callable[..., optax.GradientTransformation]


class LiftedPlanner(Planner):
    """A planner whose state has `states` `s_1..s_T` `[T, ...]` and `actions` `[T, A]`.

    Attributes:
      init_states: Where the virtual states start.
    """

    init_states: InitStates

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem."""
        super().check(problem)
        check_init_states(self.init_states, problem, f"{type(self).__name__}.init_states")

    def actions(self, problem: Problem, state: Any) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions

    def virtual_states(self, problem: Problem, state: Any) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`; rows from `horizon` on are no part of the plan."""
        del problem
        return _tree.take(state.states, slice(None, -1))

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """Those of the first virtual states."""
        return evals(self.init_states, problem), 0


def optimizer_at(
    factory: Optimizer, rate: Scalar | Schedule, iteration: jax.Array | int
) -> optax.GradientTransformation:
    """The optimizer at this iteration; its state does not depend on the rate."""
    return factory(value_at(rate, iteration))


def optimizer_of_leaves(
    factory: Optimizer, rate: Scale | Schedule, iteration: jax.Array | int
) -> optax.GradientTransformation:
    """The same for a rate that may be a pytree like the values: one optimizer for every leaf."""
    rates, structure = jax.tree.flatten(value_at(rate, iteration))
    if jax.tree_util.treedef_is_leaf(structure):
        return factory(rates[0])
    of_leaves: dict[Hashable, optax.GradientTransformation]
    of_leaves = {i: factory(rate) for i, rate in enumerate(rates)}
    # A function, because a state that can be called would be taken for one.
    return optax.multi_transform(of_leaves, lambda _: structure.unflatten(of_leaves))
