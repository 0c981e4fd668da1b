"""ParallelShooting: gradient descent on the actions whose depth does not grow with the horizon.

A gradient through a rollout of `T` steps waits for `2T` model calls in series. Here the rollout is
cut into `K` segments that run side by side, from virtual states and virtual costates of the
iteration before, which neighbors hand over once per iteration: `2T/K` calls in series, the same
work. `grasp_jax.shooting` has the equations; its fixed point is the gradient of the rollout.

`Segments` cuts the same way, but stops the gradient at every cut and pays for gaps; here costates
cross the cuts, so that the fixed point is the gradient of the whole rollout.

The price is staleness: while the actions move, the first segment hears from the goal `K-1`
iterations late. What keeps it safe:

  1. The first iteration, every `serial_every`-th and the last `serial_iterations` are true rollouts
     with true gradients (`2T` calls in series); they make all carried states and costates exact.
  2. Rates fall with the number of segments, as `K^(-rate_power)`, and along half a cosine to
     `end_rate` of that: what moves less is less stale.
  3. A check: where a true rollout is not better than the best one so far, the sweeps since misled.
     The search goes back to the best actions, forgets its momentum and halves its rate.

With one segment all of this is off: it is `GD` with the same optimizer, number by number. Only true
rollouts are proposed, so that the plan is never worse than its start.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Schedule, count, factory, number, require, static
from grasp_jax._tree import add
from grasp_jax.planner import Planner, StepContext, StepInfo, is_stuck
from grasp_jax.planners.base import Optimizer, make_optimizer
from grasp_jax.planners.gradient import GD, GDState
from grasp_jax.problem import Problem
from grasp_jax.shooting import Correction, Handover, Swept, no_handover, serial, sweep


def adam_of_short_memory(rate: Any) -> optax.GradientTransformation:
    """Adam that averages two gradients instead of ten: an average adds to what is stale already."""
    return optax.adam(rate, b1=0.5)


class ParallelShootingState(NamedTuple):
    """`actions` `[T, A]`, the optimizer's state; with more than one segment what sweeps carry.

    `trust` is what checks have left of the rate, `[]`.
    """

    actions: jax.Array
    optimizer: optax.OptState
    handover: Handover | None = None
    trust: jax.Array | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ParallelShooting(Planner):
    """Gradient descent through the rollout, in segments side by side.

    Attributes:
      learning_rate: A number or an optax schedule: that of `GD`, before it falls as below.
      iterations: Gradient steps; each costs `T` model calls forward and `T` backward.
      num_segments: `K`, at most `T`. Large for accelerators and slow states; on a core it only
        costs. Where `T` is no multiple of `K`, the last segment is padded. A `horizon` below `T`
        leaves them as they are, so that its plan is not that of a shorter `T`.
      correction: What a hand-over takes for a segment's state Jacobian: `IDENTITY` for states that
        stay where they are put, `NONE` otherwise (oscillating systems, latents of low rank).
      serial_every: Every so many iterations a true rollout and a check; None for the ends alone.
      serial_iterations: The last so many iterations are true rollouts.
      rate_power: Rates fall as `K^(-rate_power)`; 0 leaves them. Without a correction rates that do
        not fall end in a cycle: actions, and what they are told `K` iterations late.
      end_rate: Share of the rate that is left at the last iteration; 1 for no decay.
      optimizer: A factory called with the learning rate, such as `optax.sgd`; by default Adam with
        `b1 = 0.5`.
    """

    learning_rate: Scalar | Schedule = number(0.1, low=0, like="actions", schedule=True)
    iterations: int = count(500)
    num_segments: int = count(4)
    correction: Correction = static(Correction.NONE)
    serial_every: int | None = count(None)
    serial_iterations: int = count(10, least=0)
    rate_power: Scalar = number(0.5)
    end_rate: Scalar = number(0.1, low=0)
    optimizer: Optimizer = factory(adam_of_short_memory)

    evaluates_guess = True

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem."""
        super().check(problem)
        steps = problem.max_horizon
        require(
            self.num_segments <= steps,
            f"ParallelShooting.num_segments is {self.num_segments} but a plan has {steps} steps: "
            f"choose 1..{steps}.",
        )
        require(
            isinstance(self.correction, Correction),
            "ParallelShooting.correction must be a grasp_jax.Correction, such as "
            f"Correction.IDENTITY, got {self.correction!r:.60}.",
        )

    def init(self, problem: Problem, key: jax.Array) -> ParallelShootingState:
        """Starts at the starting guess."""
        del key
        actions = problem.clip(problem.init_actions)
        optimizer = make_optimizer(self.optimizer, self.learning_rate).init(actions)
        if self.num_segments == 1:
            return ParallelShootingState(actions, optimizer)
        handover = no_handover(problem, self.num_segments, self.correction)
        return ParallelShootingState(actions, optimizer, handover, jnp.ones((), actions.dtype))

    def step(
        self, problem: Problem, state: ParallelShootingState, context: StepContext
    ) -> tuple[ParallelShootingState, StepInfo]:
        """Evaluates the present actions, truly or by a sweep, then moves them down the slope."""
        if state.handover is None or state.trust is None:
            return self._shoot(problem, state, context)
        true, checked = self._kinds(context.iteration)
        swept = self._evaluate(problem, state.actions, state.handover, true)
        misled = checked & ~(swept.found.cost <= context.best_cost)
        trust = jnp.where(misled, state.trust / 2, state.trust)
        factory = make_optimizer(self.optimizer, self.learning_rate)
        updates, optimizer = factory.update(swept.found.gradient, state.optimizer, state.actions)
        rate = trust * self._share(context.iteration)
        moved = add(state.actions, jax.tree.map(lambda u: u * rate.astype(u.dtype), updates))
        # What left the model's finite range would never come back by itself.
        back = misled | ~jnp.isfinite(swept.found.cost)
        actions = problem.clip(jnp.where(back, context.best_actions, moved))
        optimizer = _tree.where(back, factory.init(actions), optimizer)
        info = StepInfo.of(
            state.actions,
            jnp.where(true, swept.found.cost, jnp.inf),
            swept.found.finite,
            model_evals=problem.max_horizon,
            model_vjps=problem.max_horizon,
            loss=swept.found.cost,
            dynamics_residual=swept.gap,
            stuck=is_stuck(swept.found.gradient),
            control_finite=swept.found.control_finite,
        )
        return ParallelShootingState(actions, optimizer, swept.handover, trust), info

    def actions(self, problem: Problem, state: ParallelShootingState) -> jax.Array:
        """The present actions `[T, A]`."""
        del problem
        return state.actions

    def _kinds(self, iteration: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Whether this iteration makes a true rollout, and whether that checks the sweeps."""
        ends = max(self.iterations - self.serial_iterations, 0)
        due = iteration == ends
        if self.serial_every is not None:
            due = due | (iteration % self.serial_every == 0)
        checked = due & (iteration > 0) & (iteration <= ends)
        return (iteration == 0) | (iteration >= ends) | due, checked

    def _share(self, iteration: jax.Array) -> jax.Array:
        """How much of the rate is left, `[]`."""
        done = jnp.minimum(iteration / self.iterations, 1)
        decay = self.end_rate + (1 - self.end_rate) * (1 + jnp.cos(jnp.pi * done)) / 2
        return decay * self.num_segments ** (-jnp.asarray(self.rate_power))

    def _evaluate(
        self, problem: Problem, actions: jax.Array, handover: Handover, true: jax.Array
    ) -> Swept:
        return jax.lax.cond(
            true,
            lambda: serial(problem, actions, handover),
            lambda: sweep(problem, actions, handover, self.correction),
        )

    def _shoot(
        self, problem: Problem, state: ParallelShootingState, context: StepContext
    ) -> tuple[ParallelShootingState, StepInfo]:
        """One segment: the step of `GD`."""
        descent = GD(
            learning_rate=self.learning_rate, iterations=self.iterations, optimizer=self.optimizer
        )
        after, info = descent.step(problem, GDState(state.actions, state.optimizer), context)
        return ParallelShootingState(after.actions, after.optimizer), info
