"""GRASP: gradient-based planning with virtual states (Psenka et al. 2026, arXiv 2602.00475).

The paper's algorithm, in the paper's order:

  1. Lift. Virtual states s_1..s_{T-1} become variables beside the actions; s_0 and s_T = g pinned.
  2. Descend the lifted objective, the state input of the model stopped, s̄ = stop_gradient(s):

         L(s, a) = Σ_t ||F(s̄_t, a_t) - s_{t+1}||²  +  γ Σ_t ||F(s̄_t, a_t) - g||²

         s_t ← s_t - η_s ∂L/∂s_t + σ ξ,   ξ ~ N(0, I)        a_t ← a_t - η_a ∂L/∂a_t

  3. Sync. Every K iterations a few steps of a serial planner on ||s_T(a) - g||² pull the plan
     back to a true rollout; the virtual states stay where they are.

The gradient is in `grasp_jax.lifted`: one batched forward and one batched action-VJP of the T
terms. What comes back is the best plan by rollout cost (the driver keeps it).
"""

import dataclasses
from collections.abc import Hashable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree, driver
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
    value_at,
)
from grasp_jax._tree import PyTree
from grasp_jax.lifted import LiftedGradient, lifted_gradient
from grasp_jax.noise import Correlated, Noise, White, add_noise
from grasp_jax.paths import Line, Path, Scale, calls, require_path, states_alike, with_end
from grasp_jax.planners.base import (
    Planner,
    Progress,
    Proposal,
    add,
    check,
    proposal,
    require_planner,
)
from grasp_jax.planners.gradient import GD, Optimizer
from grasp_jax.problem import Problem


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sawtooth:
    """A schedule that falls linearly from `first` to `last` within each period, then starts anew.

    Attributes:
      first: Value at the start of a period.
      last: Value at its last iteration.
      period: Iterations per period; the sync interval, usually.
    """

    first: Scalar
    last: Scalar
    period: Scalar

    def __post_init__(self) -> None:
        require_range(self, "period", 1)

    def __call__(self, iteration: jax.Array) -> jax.Array:
        """The value at `iteration`, `[]`."""
        fraction = jnp.mod(iteration, self.period) / jnp.maximum(self.period - 1, 1)
        return self.first + (self.last - self.first) * fraction


class GRASPState(NamedTuple):
    """Virtual states `s_1..s_T` `[T, ...]`, actions `[T, A]`, and the two optimisers' states."""

    states: PyTree
    actions: jax.Array
    state_optimizer: optax.OptState
    action_optimizer: optax.OptState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GRASP:
    """The planner; every ingredient can be switched off by a field.

    Attributes:
      iterations: Lifted iterations.
      state_rate: `η_s`, a number, a pytree of numbers like the state, one `[]` for every leaf
        (each leaf then has an optimiser of its own), or a schedule of the iteration that returns
        such; 0 freezes the virtual states.
      action_rate: `η_a`, a number or a schedule; 0 leaves the actions to the sync.
      goal_weight: `γ`, a number or a schedule; 0 drops the dense goal term.
      state_noise: `σ`, like `state_rate`; None for none.
      noise: Shape of the state noise over time.
      path: Where the virtual states start.
      optimizer: Factory for both optimisers, called with a rate: `optax.adam`, `optax.sgd`.
      sync: The serial planner of step 3, or None. It starts from the present actions.
      sync_every: `K`.
      sync_from_best: Start each sync from the best plan so far instead of the present actions.
      sync_noise: Standard deviation of noise added to the sync's starting actions, or None.
      sync_noise_shape: Shape of that noise over time.
      restart: After each sync continue from the best plan so far: its actions, and virtual states
        on this path, such as `Rollout(noise=0.2)`. None continues from the synced actions and
        leaves the virtual states where they are, as the author does.
      stop_state_gradient: False lets gradients through the model's state input (ablation).
      time_chunk: Evaluate this many of the `T` terms at a time; None for all at once.
    """

    iterations: int = static(750)
    state_rate: Scale | Schedule = 0.1
    action_rate: Scalar | Schedule = 0.005
    goal_weight: Scalar | Schedule = 1.0
    state_noise: Scale | Schedule | None = 0.005
    noise: Noise = White()
    path: Path = Line()
    optimizer: Optimizer = static(optax.adam)
    sync: Planner | None = GD(learning_rate=0.05, iterations=10)
    sync_every: int = static(50)
    sync_from_best: bool = static(False)
    sync_noise: Scalar | None = None
    sync_noise_shape: Noise = Correlated()
    restart: Path | None = None
    stop_state_gradient: bool = static(True)
    time_chunk: int | None = static(None)

    @staticmethod
    def paper() -> "GRASP":
        """The paper's plain updates: gradient descent on both, noisy line, sync every 100.

        The paper's main text gives neither the rates nor `γ`, `σ`, `J`; these are ours.
        """
        return GRASP(
            state_rate=0.1,
            action_rate=0.01,
            state_noise=0.01,
            path=Line(noise=0.01),
            optimizer=optax.sgd,
            sync=GD(learning_rate=0.01, iterations=10, optimizer=optax.sgd),
            sync_every=100,
        )

    @staticmethod
    def author() -> "GRASP":
        """The author's Adam settings (`michael-psenka/le-wm-grasp`): K = 50, J = 10 at 0.05."""
        return GRASP()

    def __post_init__(self) -> None:
        rates = ("state_rate", "action_rate", "goal_weight", "state_noise", "sync_noise")
        for field in rates:
            require_range(self, field, 0)

    def check(self, problem: Problem) -> None:
        """Raises for counts that cannot work, and for a sync that would never run."""
        require_count(self, "iterations")
        require_count(self, "sync_every")
        if self.time_chunk is not None:
            require_count(self, "time_chunk")
        for field in ("action_rate", "goal_weight"):
            require_number(self, field, schedule=True)
        require_number(self, "state_rate", schedule=True, state=problem.start)
        require_number(self, "state_noise", schedule=True, optional=True, state=problem.start)
        require_number(self, "sync_noise", problem.actions.shape, optional=True)
        require_optimizer(self, problem.actions)
        require_noise(self, states_alike(problem))
        require_path(self, problem)
        if self.restart is not None:
            require_path(self, problem, "restart")
        if self.sync is None:
            idle = [f for f in ("sync_noise", "restart") if getattr(self, f) is not None]
            idle += ["sync_from_best"] * self.sync_from_best
            require(
                not idle,
                f"GRASP.{', '.join(idle)} would do nothing without a sync. Pass a sync, such as "
                "grasp_jax.GD(0.1, 20), or leave it out.",
            )
            return
        require_planner(self.sync, "GRASP.sync")
        require_noise(self, problem.actions, "sync_noise_shape")
        require(
            self.sync_every <= self.iterations,
            f"GRASP.sync_every is {self.sync_every} but GRASP.iterations is {self.iterations}: "
            "the sync would never run. Lower sync_every, or pass sync=None to plan without it.",
        )
        check(self.sync, problem)

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """Those of the path."""
        return calls(self.path, problem), 0

    def init(self, problem: Problem, key: jax.Array) -> GRASPState:
        """Step 1: virtual states on their path, actions at the starting guess."""
        return self._restart(with_end(self.path, problem, key), problem.actions, 0)

    def step(
        self, problem: Problem, state: GRASPState, progress: Progress
    ) -> tuple[GRASPState, Proposal]:
        """Step 2, and every `K` iterations step 3."""
        noise_key, sync_key = jax.random.split(progress.key)
        state, gradient = self._descend(problem, state, noise_key, progress.iteration)
        steps = problem.horizon
        unevaluated = proposal(
            state.actions,
            jnp.asarray(jnp.inf),
            gradient.finite,
            forward=steps,
            backward=steps,
            loss=gradient.loss,
            residual=gradient.residual,
        )
        if self.sync is None:
            return state, unevaluated
        return jax.lax.cond(
            (progress.iteration + 1) % self.sync_every == 0,
            lambda s: self._synchronise(problem, s, sync_key, progress, unevaluated),
            lambda s: (s, unevaluated),
            state,
        )

    def actions(self, problem: Problem, state: GRASPState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions

    def virtual_states(self, problem: Problem, state: GRASPState) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`; rows from `length` on are not a part of the plan."""
        del problem
        return _tree.take(state.states, slice(None, -1))

    def _restart(
        self, states: PyTree, actions: jax.Array, iteration: jax.Array | int
    ) -> GRASPState:
        """Both optimisers start anew; their rates follow the iteration, not the optimisers."""
        of_states, of_actions = self._optimizers(iteration)
        return GRASPState(states, actions, of_states.init(states), of_actions.init(actions))

    def _optimizers(
        self, iteration: jax.Array | int
    ) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Those of the states and of the actions at this iteration."""
        of_actions = self.optimizer(value_at(self.action_rate, iteration))
        rates, structure = jax.tree.flatten(value_at(self.state_rate, iteration))
        if jax.tree_util.treedef_is_leaf(structure):
            return self.optimizer(rates[0]), of_actions
        of_leaves: dict[Hashable, optax.GradientTransformation]
        of_leaves = {i: self.optimizer(rate) for i, rate in enumerate(rates)}
        # A function, because a state that can be called would be taken for one.
        return optax.multi_transform(
            of_leaves, lambda _: structure.unflatten(of_leaves)
        ), of_actions

    def _descend(
        self, problem: Problem, state: GRASPState, key: jax.Array, iteration: jax.Array
    ) -> tuple[GRASPState, LiftedGradient]:
        """Step 2: one update of states and actions."""
        gradient = lifted_gradient(
            problem,
            state.states,
            state.actions,
            value_at(self.goal_weight, iteration),
            self.stop_state_gradient,
            self.time_chunk,
        )
        of_states, of_actions = self._optimizers(iteration)
        updates, state_optimizer = of_states.update(
            gradient.states, state.state_optimizer, state.states
        )
        states = add(state.states, updates)
        if self.state_noise is not None:
            states = add_noise(states, value_at(self.state_noise, iteration), self.noise, key)

        updates, action_optimizer = of_actions.update(
            gradient.actions, state.action_optimizer, state.actions
        )
        actions = problem.clip(add(state.actions, updates))
        return GRASPState(states, actions, state_optimizer, action_optimizer), gradient

    def _synchronise(
        self,
        problem: Problem,
        state: GRASPState,
        key: jax.Array,
        progress: Progress,
        before: Proposal,
    ) -> tuple[GRASPState, Proposal]:
        """Step 3: the serial planner moves the actions; the virtual states stay."""
        assert self.sync is not None
        noise_key, search_key, restart_key = jax.random.split(key, 3)
        actions = progress.best_actions if self.sync_from_best else state.actions
        actions = add_noise(actions, self.sync_noise, self.sync_noise_shape, noise_key)
        search, forward, backward = driver.run(
            problem.starting_from(actions), self.sync, search_key
        )
        found = proposal(
            search.best_actions,
            search.best_cost,
            before.finite & search.finite,
            forward=before.forward + forward,
            backward=before.backward + backward,
            loss=before.loss,
            residual=before.residual,
        )
        if self.restart is None:
            return self._restart(state.states, search.best_actions, progress.iteration), found
        better = search.best_cost < progress.best_cost
        actions = jnp.where(better, search.best_actions, progress.best_actions)
        states = with_end(self.restart, problem.starting_from(actions), restart_key)
        found = dataclasses.replace(found, forward=found.forward + calls(self.restart, problem))
        return self._restart(states, actions, progress.iteration), found
