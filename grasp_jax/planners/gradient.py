"""GD: gradient descent on the actions through the serial rollout (the shooting method).

    min_a  d(s_T(a), g) + c(a) + Σ_t r(s_t),   s_{t+1} = F(s_t, a_t)

Any optax optimiser that reads gradients alone (not those that search along a line). DINO-WM's
planner (Zhou et al. 2024) is SGD with rate 1 and a little action noise; an honest gradient baseline
is Adam with a tuned rate.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._settings import (
    Scalar,
    Schedule,
    require,
    require_count,
    require_noise,
    require_number,
    require_optimizer,
    require_range,
    static,
)
from grasp_jax._tree import PyTree
from grasp_jax.noise import Noise, White, add_noise
from grasp_jax.parallel import parallel_gradient
from grasp_jax.planners.base import Progress, Proposal, add, proposal
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost, trajectory

Optimizer = Callable[..., optax.GradientTransformation]


class GDState(NamedTuple):
    """`actions` `[T, A]`, the optimiser's state, and where `parallel` the last rollout's states."""

    actions: jax.Array
    optimizer: optax.OptState
    states: PyTree = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GD:
    """Gradient descent through the rollout.

    Attributes:
      learning_rate: A number or an optax schedule.
      iterations: Gradient steps; each costs `T` model calls forward and `T` backward, in series
        unless `parallel`.
      optimizer: A factory called with the learning rate, such as `optax.adam` or `optax.sgd`.
      action_noise: Standard deviation of white noise added to the actions after every step, or
        None for none.
      start_noise: Standard deviation of `noise` added to the starting guess, or None for none.
      noise: Shape of the start noise over time.
      recompute: Bound memory: a gradient keeps the `T` states alone and evaluates the model a
        second time, instead of keeping what the model computed in all `T` steps.
      parallel: Evaluate the rollout and its gradient by Newton sweeps over all `T` steps side by
        side (`grasp_jax.parallel`), the same numbers up to rounding. For small states and long
        horizons on an accelerator. Not for models with a context, nor with a `jax.custom_vjp`
        (it takes JVPs), nor for states below float32; and `plan` then has no gradient itself.
    """

    learning_rate: Scalar | Schedule = 0.1
    iterations: int = static(500)
    optimizer: Optimizer = static(optax.adam)
    action_noise: Scalar | None = None
    start_noise: Scalar | None = None
    noise: Noise = White()
    recompute: bool = static(False)
    parallel: bool = static(False)

    @staticmethod
    def dino_wm() -> "GD":
        """DINO-WM's settings: SGD with rate 1, 1000 steps, noise, a random start."""
        return GD(1.0, 1000, optax.sgd, action_noise=0.003, start_noise=1.0)

    def __post_init__(self) -> None:
        for field in ("learning_rate", "action_noise", "start_noise"):
            require_range(self, field, 0)

    def check(self, problem: Problem) -> None:
        """Raises for fields that cannot work."""
        shape = problem.actions.shape
        require_number(self, "learning_rate", shape, schedule=True)
        require_number(self, "action_noise", shape, optional=True)
        require_number(self, "start_noise", shape, optional=True)
        require_count(self, "iterations", 0)
        require_optimizer(self, problem.actions)
        require_noise(self, problem.actions)
        if self.parallel:
            self._check_parallel(problem)

    def _check_parallel(self, problem: Problem) -> None:
        """Raises for what a parallel rollout cannot do."""
        require(
            problem.context is None,
            "GD.parallel is for models of one frame, got a context. Leave parallel out.",
        )
        narrow = [x.dtype for x in jax.tree.leaves(problem.start) if jnp.finfo(x.dtype).bits < 32]
        require(
            not narrow,
            f"GD.parallel needs states of float32 at least, got {', '.join(map(str, narrow))}. "
            "Keep the states in float32 (grasp_jax.world_models.LowPrecision keeps the model "
            "narrow), or leave parallel out.",
        )
        require(
            not self.recompute,
            "GD.recompute bounds the memory of a serial rollout, which GD.parallel does not make. "
            "Leave one of them out.",
        )

    @property
    def evaluates_guess(self) -> bool:
        """Not where noise moves it first."""
        return self.start_noise is None

    def init(self, problem: Problem, key: jax.Array) -> GDState:
        """Starts at the (noisy) starting guess."""
        start = add_noise(problem.actions, self.start_noise, self.noise, key)
        actions = problem.clip(start)
        states = None
        if self.parallel:
            states = _tree.take(trajectory(problem, actions), slice(1, None))
        return GDState(actions, self.optimizer(self.learning_rate).init(actions), states)

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """The rollout that the first parallel one starts from."""
        return self.parallel * problem.horizon, 0

    def step(
        self, problem: Problem, state: GDState, progress: Progress
    ) -> tuple[GDState, Proposal]:
        """Evaluates the present actions, then moves them down the gradient of their cost."""
        cost, gradient, states, forward, backward = self._evaluate(problem, state)
        # Past the goal's step a model may have no derivative at the zeros that stand there.
        gradient = problem.until_end(gradient)
        finite = jnp.isfinite(cost) & _tree.all_finite(gradient)
        updates, optimizer = self.optimizer(self.learning_rate).update(
            _tree.finite_or_zero(gradient), state.optimizer, state.actions
        )
        moved = add(state.actions, updates)
        moved = add_noise(moved, self.action_noise, White(), progress.key)
        # A step that left the model's finite range would never come back by itself.
        actions = jnp.where(jnp.isfinite(cost), moved, progress.best_actions)
        actions = problem.clip(actions)
        found = proposal(state.actions, cost, finite, forward=forward, backward=backward)
        return GDState(actions, optimizer, states), found

    def _evaluate(
        self, problem: Problem, state: GDState
    ) -> tuple[jax.Array, jax.Array, PyTree, jax.Array | int, jax.Array | int]:
        """Cost, gradient, states to start the next parallel rollout from, model calls spent."""
        if self.parallel:
            found = parallel_gradient(problem, state.actions, state.states)
            sound = _tree.all_finite(found.states)
            states = _tree.where(sound, found.states, state.states)
            return found.cost, found.gradient, states, found.forward, found.backward
        cost, gradient = jax.value_and_grad(lambda a: rollout_cost(problem, a, self.recompute))(
            state.actions
        )
        return cost, gradient, None, problem.horizon, problem.horizon

    def actions(self, problem: Problem, state: GDState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions
