"""GD: gradient descent on the actions through the serial rollout (the shooting method).

    min_a  d(s_T(a), g) + c(a) + Σ_t r(s_t),   s_{t+1} = F(s_t, a_t)

Any optax optimizer that reads gradients alone (not those that search along a line). DINO-WM's
planner (Zhou et al. 2024) is SGD with rate 1 and a little action noise; an honest gradient baseline
is Adam with a tuned rate.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Schedule, count, factory, number, process, require, static
from grasp_jax._tree import PyTree, add
from grasp_jax.newton import check_forward_mode, parallel_gradient
from grasp_jax.noise import Noise, White, add_noise
from grasp_jax.planner import Planner, StepContext, StepInfo, is_stuck
from grasp_jax.planners.base import Optimizer, make_optimizer
from grasp_jax.problem import Problem
from grasp_jax.rollout import CostGradient, rollout_gradient, trajectory


class GDState(NamedTuple):
    """`actions` `[T, A]`, the optimizer's state, where `parallel_in_time` the last rollout."""

    actions: jax.Array
    optimizer: optax.OptState
    states: PyTree = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GD(Planner):
    """Gradient descent through the rollout.

    Attributes:
      learning_rate: A number or an optax schedule.
      iterations: Gradient steps; each costs `T` model calls forward and `T` backward, in series
        unless `parallel_in_time`.
      optimizer: A factory called with the learning rate, such as `optax.adam` or `optax.sgd`.
      action_std: Standard deviation of white noise added to the actions after every step, or
        None for none.
      start_std: Standard deviation of `noise` added to the starting guess, or None for none.
      noise: The process of the start noise over time.
      remat: Bound memory: a gradient keeps the `T` states alone and evaluates the model a
        second time, instead of keeping what the model computed in all `T` steps.
      parallel_in_time: Evaluate the rollout and its gradient by Newton sweeps over all `T` steps
        side by side (`grasp_jax.newton`), the same numbers up to rounding. For small states and
        long horizons on an accelerator. Not for models with a context, nor with a
        `jax.custom_vjp` (it takes JVPs), nor for states below float32; and `plan` then has no
        gradient itself.
    """

    learning_rate: Scalar | Schedule = number(0.1, low=0, like="actions", schedule=True)
    iterations: int = count(500, least=0)
    optimizer: Optimizer = factory(optax.adam)
    action_std: Scalar | None = number(None, low=0, like="actions")
    start_std: Scalar | None = number(None, low=0, like="actions")
    noise: Noise = process(White())
    remat: bool = static(False)
    parallel_in_time: bool = static(False)

    @staticmethod
    def dino_wm() -> "GD":
        """DINO-WM's settings: SGD with rate 1, 1000 steps, noise, a random start."""
        return GD(
            learning_rate=1.0, iterations=1000, optimizer=optax.sgd, action_std=0.003, start_std=1.0
        )

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem."""
        super().check(problem)
        if self.parallel_in_time:
            self._check_parallel(problem)

    def _check_parallel(self, problem: Problem) -> None:
        """Raises for what a rollout parallel in time cannot do."""
        require(
            problem.context is None,
            "GD.parallel_in_time is for models of one frame, got a context. Leave it out.",
        )
        narrow = [x.dtype for x in jax.tree.leaves(problem.state) if jnp.finfo(x.dtype).bits < 32]
        require(
            not narrow,
            f"GD.parallel_in_time needs states of float32 at least, got "
            f"{', '.join(map(str, narrow))}. Keep the states in float32 "
            "(grasp_jax.world_models.mixed_precision keeps the model narrow), or leave it out.",
        )
        require(
            not self.remat,
            "GD.remat bounds the memory of a serial rollout, which GD.parallel_in_time does not "
            "make. Leave one of them out.",
        )
        check_forward_mode(problem, "GD.parallel_in_time")

    @property
    def evaluates_guess(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Not where noise moves it first."""
        return self.start_std is None

    def init(self, problem: Problem, key: jax.Array) -> GDState:
        """Starts at the (noisy) starting guess."""
        noise = problem.action_noise(self.noise)
        start = add_noise(problem.init_actions, self.start_std, noise, key)
        actions = problem.clip(start)
        states = None
        if self.parallel_in_time:
            states = _tree.take(trajectory(problem, actions), slice(1, None))
        return GDState(
            actions, make_optimizer(self.optimizer, self.learning_rate).init(actions), states
        )

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """The rollout that the first one parallel in time starts from."""
        return self.parallel_in_time * problem.max_horizon, 0

    def step(
        self, problem: Problem, state: GDState, context: StepContext
    ) -> tuple[GDState, StepInfo]:
        """Evaluates the present actions, then moves them down the gradient of their cost."""
        found, states, evals, vjps = self._evaluate(problem, state)
        updates, optimizer = make_optimizer(self.optimizer, self.learning_rate).update(
            found.gradient, state.optimizer, state.actions
        )
        moved = add(state.actions, updates)
        moved = add_noise(moved, self.action_std, White(), context.key)
        # A step that left the model's finite range would never come back by itself.
        actions = jnp.where(jnp.isfinite(found.cost), moved, context.best_actions)
        info = StepInfo.of(
            state.actions,
            found.cost,
            found.finite,
            model_evals=evals,
            model_vjps=vjps,
            stuck=is_stuck(found.gradient),
            control_finite=found.control_finite,
        )
        return GDState(problem.clip(actions), optimizer, states), info

    def _evaluate(
        self, problem: Problem, state: GDState
    ) -> tuple[CostGradient, PyTree, jax.Array | int, jax.Array | int]:
        """Cost and gradient, states to start the next Newton sweeps from, model calls spent."""
        if not self.parallel_in_time:
            found = rollout_gradient(problem, state.actions, self.remat)
            return found, None, problem.max_horizon, problem.max_horizon
        newton = parallel_gradient(problem, state.actions, state.states)
        sound = _tree.all_finite(newton.states)
        states = _tree.where(sound, newton.states, state.states)
        return newton.found, states, newton.model_evals, newton.model_vjps

    def actions(self, problem: Problem, state: GDState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions
