"""GRASP: gradient-based planning with virtual states (Psenka et al. 2026, arXiv 2602.00475).

The paper's algorithm, in the paper's order:

  1. Lift. Virtual states s_1..s_{T-1} become variables beside the actions; s_0 and s_T = g pinned.
  2. Descend the lifted objective, the state input of the model stopped, s̄ = stop_gradient(s):

         L(s, a) = Σ_t ||F(s̄_t, a_t) - s_{t+1}||²  +  γ Σ_t ||F(s̄_t, a_t) - g||²

         s_t ← s_t - η_s ∂L/∂s_t + σ ξ,   ξ ~ N(0, I)        a_t ← a_t - η_a ∂L/∂a_t

  3. Sync. Every K iterations a few steps of a serial planner on ||s_T(a) - g||² pull the plan
     back to a true rollout; the virtual states stay where they are.

The gradient is in `grasp_jax.lifted`: one batched forward and one batched action-VJP of the T
terms. What comes back is the best plan by rollout cost (the search keeps it).
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from grasp_jax import search
from grasp_jax._fields import (
    Scalar,
    Scale,
    Schedule,
    count,
    factory,
    number,
    process,
    require,
    static,
    value_at,
)
from grasp_jax._tree import PyTree
from grasp_jax.init_states import InitStates, StraightLine, check_init_states, evals, with_end
from grasp_jax.lifted import LiftedGradient, lifted_gradient
from grasp_jax.noise import AR1, Noise, White, add_noise, spanning, split_key
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.planners import base
from grasp_jax.planners.base import LiftedPlanner, LiftedState, Optimizer
from grasp_jax.planners.gradient import GD
from grasp_jax.problem import Problem


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GRASP(LiftedPlanner):
    """The planner, by default with the author's settings; every ingredient is a field.

    Attributes:
      iterations: Lifted iterations.
      state_rate: `η_s`, a number, a pytree of numbers like the state, one `[]` for every leaf
        (each leaf then has an optimizer of its own), or a schedule of the iteration that returns
        such; 0 freezes the virtual states.
      action_rate: `η_a`, a number or a schedule; 0 leaves the actions to the sync.
      goal_weight: `γ`, a number or a schedule; 0 drops the dense goal term.
      state_std: `σ`, like `state_rate`; None for none.
      noise: The process of the state noise over time.
      init_states: Where the virtual states start.
      optimizer: Factory for both optimizers, called with a rate: `optax.adam`, `optax.sgd`.
      sync: The serial planner of step 3, or None. It starts from the present actions.
      sync_every: `K`.
      sync_std: Standard deviation of noise added to the sync's starting actions, or None (ours).
      sync_noise: The process of that noise over time.
      restart_states: After each sync continue from the best plan so far: its actions, and virtual
        states from here, such as `Rollout(std=0.2)` (ours). None continues from the synced actions
        and leaves the virtual states where they are, as the author does.
      stop_state_gradient: False lets gradients through the model's state input (ablation).
      time_batch_size: Evaluate this many of the `T` terms at a time; None for all at once.
    """

    iterations: int = count(750)
    state_rate: Scale | Schedule = number(0.1, low=0, like="state", schedule=True)
    action_rate: Scalar | Schedule = number(0.005, low=0, schedule=True)
    goal_weight: Scalar | Schedule = number(1.0, low=0, schedule=True)
    state_std: Scale | Schedule | None = number(
        0.005, low=0, like="state", schedule=True, optional=True
    )
    noise: Noise = process(White(), like="state")
    init_states: InitStates = StraightLine()
    optimizer: Optimizer = factory(optax.adam)
    sync: Planner | None = GD(learning_rate=0.05, iterations=10)
    sync_every: int = count(50)
    sync_std: Scalar | None = number(None, low=0, like="actions")
    sync_noise: Noise = process(AR1())
    restart_states: InitStates | None = None
    stop_state_gradient: bool = static(True)
    time_batch_size: int | None = count(None)

    @staticmethod
    def paper() -> "GRASP":
        """The paper's plain updates: gradient descent on both, noisy line, sync every 100.

        The paper's main text gives neither the rates nor `γ`, `σ`, `J`; these are ours.
        """
        return GRASP(
            state_rate=0.1,
            action_rate=0.01,
            state_std=0.01,
            init_states=StraightLine(std=0.01),
            optimizer=optax.sgd,
            sync=GD(learning_rate=0.01, iterations=10, optimizer=optax.sgd),
            sync_every=100,
        )

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem, and for a sync that would never run."""
        super().check(problem)
        if self.restart_states is not None:
            check_init_states(self.restart_states, problem, "GRASP.restart_states")
        if self.sync is None:
            idle = [f for f in ("sync_std", "restart_states") if getattr(self, f) is not None]
            require(
                not idle,
                f"GRASP.{', '.join(idle)} would do nothing without a sync. Pass a sync, such as "
                "grasp_jax.GD(learning_rate=0.1, iterations=20), or leave it out.",
            )
            return
        require_planner(self.sync, "GRASP.sync")
        require(
            self.sync_every <= self.iterations,
            f"GRASP.sync_every is {self.sync_every} but GRASP.iterations is {self.iterations}: "
            "the sync would never run. Lower sync_every, or pass sync=None to plan without it.",
        )
        self.sync.check(problem)

    def init(self, problem: Problem, key: jax.Array) -> LiftedState:
        """Step 1: first virtual states, actions at the starting guess."""
        return self._restart(with_end(self.init_states, problem, key), problem.init_actions, 0)

    def step(
        self, problem: Problem, state: LiftedState, context: StepContext
    ) -> tuple[LiftedState, StepInfo]:
        """Step 2, and every `K` iterations step 3."""
        noise_key, sync_key = split_key(context.key, 2)
        state, gradient = self._descend(problem, state, noise_key, context.iteration)
        lifted = base.lifted_info(problem, state.actions, gradient)
        if self.sync is None:
            return state, lifted
        return jax.lax.cond(
            (context.iteration + 1) % self.sync_every == 0,
            lambda s: self._synchronize(problem, s, sync_key, context, lifted),
            lambda s: (s, lifted),
            state,
        )

    def _restart(
        self, states: PyTree, actions: jax.Array, iteration: jax.Array | int
    ) -> LiftedState:
        """Both optimizers start anew; their rates follow the iteration, not the optimizers."""
        of_states = base.optimizer_at(self.optimizer, self.state_rate, iteration)
        of_actions = base.optimizer_at(self.optimizer, self.action_rate, iteration)
        return LiftedState(states, actions, of_states.init(states), of_actions.init(actions))

    def _descend(
        self, problem: Problem, state: LiftedState, key: jax.Array, iteration: jax.Array
    ) -> tuple[LiftedState, LiftedGradient]:
        """Step 2: one update of states and actions."""
        states, actions, of_states, of_actions = state
        weight, stop = value_at(self.goal_weight, iteration), self.stop_state_gradient
        found = lifted_gradient(problem, states, actions, weight, stop, self.time_batch_size)

        optimizer = base.optimizer_at(self.optimizer, self.state_rate, iteration)  # η_s
        states, of_states = base.descend(optimizer, found.states, of_states, states)
        if self.state_std is not None:  # σ ξ
            noise = spanning(self.noise, problem.given_horizon)
            states = add_noise(states, value_at(self.state_std, iteration), noise, key)

        optimizer = base.optimizer_at(self.optimizer, self.action_rate, iteration)  # η_a
        actions, of_actions = base.descend(optimizer, found.actions, of_actions, actions)
        return LiftedState(states, problem.clip(actions), of_states, of_actions), found

    def _synchronize(
        self,
        problem: Problem,
        state: LiftedState,
        key: jax.Array,
        context: StepContext,
        lifted: StepInfo,
    ) -> tuple[LiftedState, StepInfo]:
        """Step 3: the serial planner moves the actions; the virtual states stay, or restart."""
        assert self.sync is not None
        noise_key, search_key, restart_key = split_key(key, 3)
        noise = problem.action_noise(self.sync_noise)
        actions = add_noise(state.actions, self.sync_std, noise, noise_key)
        found, info = search.run_inside_step(
            problem.starting_from(actions), self.sync, search_key, lifted
        )
        if self.restart_states is None:
            return self._restart(state.states, found.best_actions, context.iteration), info
        better = found.best_cost < context.best_cost
        actions = jnp.where(better, found.best_actions, context.best_actions)
        states = with_end(self.restart_states, problem.starting_from(actions), restart_key)
        spent = info.model_evals + evals(self.restart_states, problem)
        info = dataclasses.replace(info, model_evals=spent)
        return self._restart(states, actions, context.iteration), info
