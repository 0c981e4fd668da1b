"""What several planners share: optimizers, and the virtual states of lifted planners."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scale, Schedule, value_at
from grasp_jax._tree import PyTree
from grasp_jax.init_states import InitStates, check_init_states, evals
from grasp_jax.lifted import LiftedGradient
from grasp_jax.planner import Planner, StepInfo, is_stuck
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


def make_optimizer(factory: Optimizer, rate: Any) -> optax.GradientTransformation:
    """What the factory makes; Adam so that a plan has a gradient where a slope is exactly zero.

    The root of Adam's second moment has no slope at zero. 1e-30 under it is far below its `eps`
    outside of it, so that the updates are the same.
    """
    return optax.adam(rate, eps_root=1e-30) if factory is optax.adam else factory(rate)


def optimizer_at(
    factory: Optimizer, rate: Scale | Schedule, iteration: jax.Array | int
) -> optax.GradientTransformation:
    """The optimizer at this iteration; its state does not depend on the rate.

    A rate may be a pytree like the values: then every leaf has an optimizer of its own.
    """
    rates, structure = jax.tree.flatten(value_at(rate, iteration))
    if jax.tree_util.treedef_is_leaf(structure):
        return make_optimizer(factory, rates[0])
    of_leaves: dict[Hashable, optax.GradientTransformation]
    of_leaves = {i: make_optimizer(factory, rate) for i, rate in enumerate(rates)}
    # A function, because a state that can be called would be taken for one.
    return optax.multi_transform(of_leaves, lambda _: structure.unflatten(of_leaves))


def descend(
    optimizer: optax.GradientTransformation, gradient: PyTree, state: Any, values: PyTree
) -> tuple[PyTree, Any]:
    """One update of `values` by an optimizer: the new values, and its new state."""
    updates, state = optimizer.update(gradient, state, values)
    return _tree.add(values, updates), state


class LiftedState(NamedTuple):
    """Virtual states `s_1..s_T` `[T, ...]`, actions `[T, A]`, and the two optimizers' states."""

    states: PyTree
    actions: jax.Array
    state_optimizer: optax.OptState
    action_optimizer: optax.OptState


def lifted_info(problem: Problem, actions: jax.Array, gradient: LiftedGradient) -> StepInfo:
    """What a step says that evaluated the `T` terms and their slopes once, and no rollout."""
    return StepInfo.of(
        actions,
        jnp.asarray(jnp.inf),
        gradient.finite,
        model_evals=problem.max_horizon,
        model_vjps=problem.max_horizon,
        loss=gradient.loss,
        dynamics_residual=gradient.dynamics_residual,
        stuck=is_stuck(gradient.actions),
        control_finite=gradient.control_finite,
    )
