"""Segments: multiple shooting, `w` steps rolled out side by side from every `w`-th virtual state.

Virtual states s_1..s_{T-1} cut the plan into K = ceil(T / w) segments. Segment k starts at
s̄_{kw} = stop_gradient(s_{kw}) and follows the model: x_{t+1} = F(x_t, a_t). It should end where the
next one starts, and the last one at the goal:

    L(s, a) = Σ_k ||x_{kw} - s_{kw}||²  +  d(x_T, g)  +  γ Σ_t d(x_t, g)  +  c(a)  +  Σ_t r(x_t)

w = 1 is the paper's lifted objective (arXiv 2602.00475), w = T the serial one. An iteration is 2w
model calls deep and 2T wide. Between, an error made in a segment is put right in the same segment,
where the lifted objective would leave it to every later step; and nothing is as deep as T. Bock and
Plitt 1984 is multiple shooting; here its Newton steps are Adam's, and constraints a penalty.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Schedule, count, factory, number, require, static, value_at
from grasp_jax._tree import PyTree, add
from grasp_jax.init_states import InitStates, StraightLine, with_end
from grasp_jax.planner import StepContext, StepInfo, is_stuck
from grasp_jax.planners.base import LiftedPlanner, Optimizer, optimizer_at
from grasp_jax.problem import Problem


class SegmentGradient(NamedTuple):
    """The objective and its gradient at one point.

    Attributes:
      loss: `[]`, `L`.
      dynamics_residual: `[]`, `Σ_k ||x_{kw} - s_{kw}||²`, the goal's term among them.
      rollouts: Leaves `[T, ...]`, `x_1..x_T`.
      states: Leaves `[T, ...]`, `∂L/∂s_1..s_T`; zero but at the joints.
      actions: `[T, A]`, `∂L/∂a_t`.
      finite: `[]` bool; broken entries of the gradients are zero, so that they move nothing.
      control_finite: `[]` bool, whether the control cost had finite slopes.
    """

    loss: jax.Array
    dynamics_residual: jax.Array
    rollouts: PyTree
    states: PyTree
    actions: jax.Array
    finite: jax.Array
    control_finite: jax.Array


def roll_out_segments(
    problem: Problem, states: PyTree, actions: jax.Array, segment_length: int
) -> PyTree:
    """`x_1..x_T`, leaves `[T, ...]`: every segment from its own virtual state, side by side.

    Args:
      problem: One goal. From its horizon on, states stand still. With a context a segment's first
        windows read the virtual states before it.
      states: Virtual states `s_1..s_T`, leaves `[T, ...]`; the last row is not read.
      actions: `[T, A]`.
      segment_length: `w`.
    """
    horizon, width = problem.max_horizon, segment_length
    count = -(-horizon // width)
    before = _tree.prepend(problem.state, _tree.take(states, slice(None, -1)))
    if problem.context is not None:
        before = _tree.concatenate(problem.context.states, before)
    firsts = jnp.arange(count)[:, None] * width + jnp.arange(problem.window)
    # The last segment may be shorter: its surplus steps repeat the last action and stand still.
    steps = jnp.minimum(jnp.arange(count * width), horizon - 1).reshape(count, width)
    moves = jnp.arange(count * width).reshape(count, width) < problem.horizon

    def step(window: PyTree, inputs: tuple[PyTree, jax.Array]) -> tuple[PyTree, PyTree]:
        action, moves = inputs
        present = _tree.take(window, -1)
        following = problem.step(present if problem.context is None else window, action)
        following = _tree.where(moves, following, present)
        return jax.tree.map(lambda w, x: jnp.concatenate([w[1:], x[None]]), window, following), (
            following
        )

    inputs = (_tree.take(problem.windows(actions), steps), moves)
    rows = jax.vmap(lambda w, x: jax.lax.scan(step, w, x)[1])(_tree.take(before, firsts), inputs)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:horizon], rows)


def segment_gradient(
    problem: Problem,
    states: PyTree,
    actions: jax.Array,
    segment_length: int,
    goal_weight: jax.Array | float = 0.0,
    stop_state_gradient: bool = True,
) -> SegmentGradient:
    """`L`, `∂L/∂s` and `∂L/∂a` from one forward and one backward pass of the `K` segments.

    Args:
      problem: One goal. Where its horizon is below `T`, the sums end there.
      states: Virtual states `s_1..s_T`, leaves `[T, ...]`; the last row is not read.
      actions: `[T, A]`.
      segment_length: `w`.
      goal_weight: `γ >= 0`, `[]`.
      stop_state_gradient: False lets gradients through to the state a segment starts from.
    """
    after = jnp.arange(1, problem.max_horizon + 1)
    joints = (after % segment_length == 0) & (after < problem.horizon)
    last, valid = after == problem.horizon, after <= problem.horizon

    def objective(states: PyTree, actions: jax.Array) -> tuple[jax.Array, tuple]:
        starts = jax.lax.stop_gradient(states) if stop_state_gradient else states
        found = roll_out_segments(problem, starts, actions, segment_length)
        gaps = _tree.where(joints, jax.tree.map(jnp.subtract, found, states), 0.0)
        defect = sum(jax.tree.leaves(jax.tree.map(_sum_of_squares, gaps)))
        distances = jnp.where(valid, jax.vmap(problem.terminal_cost)(found), 0)
        arrival = jnp.sum(jnp.where(last, distances, 0))
        goals = jnp.sum(goal_weight * distances)
        running = problem.running_costs(found, actions)
        return defect + arrival + goals + running, (defect + arrival, found)

    (loss, (residual, found)), (of_states, of_actions) = jax.value_and_grad(
        objective, (0, 1), has_aux=True
    )(states, actions)
    # Past the goal's step a model may have no derivative at the zeros that stand there.
    of_actions = problem.until_end(of_actions)
    control, control_slope, control_finite = problem.control_gradient(actions)
    return SegmentGradient(
        loss=loss + control,
        dynamics_residual=residual,
        rollouts=found,
        states=_tree.finite_or_zero(of_states),
        actions=_tree.finite_or_zero(of_actions) + control_slope,
        finite=_tree.all_finite((loss, of_states, of_actions)),
        control_finite=control_finite,
    )


class SegmentsState(NamedTuple):
    """Virtual states `s_1..s_T` `[T, ...]`, actions `[T, A]`, and the two optimizers' states."""

    states: PyTree
    actions: jax.Array
    state_optimizer: optax.OptState
    action_optimizer: optax.OptState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Segments(LiftedPlanner):
    """Multiple shooting by first-order steps; `Chain` some for rounds of growing segments.

        path = GivenPath(states)                              # from recorded data, say
        Chain(
            Segments(segment_length=1, init_states=path),     # all actions, in parallel
            Segments(segment_length=10, init_states=path),    # what drifts within ten steps
        )

    Attributes:
      segment_length: `w`, in `1..T`; it need not divide `T`.
      iterations: Steps of the optimizers, each `2w` model calls in series.
      state_rate: A number or a schedule of the iteration: how fast the joints move to where the
        segments before them end; 0 leaves them where they start.
      action_rate: Like it, for the actions.
      goal_weight: `γ`, like it; 0 drops the dense goal term.
      init_states: Where the virtual states start.
      optimizer: Factory for both optimizers, called with a rate.
      stop_state_gradient: False lets gradients through to the state a segment starts from: joints
        then move to where the segments behind them want to start, if the model can be trusted
        there.
    """

    segment_length: int = count(10)
    iterations: int = count(100)
    state_rate: Scalar | Schedule = number(0.0, low=0, schedule=True)
    action_rate: Scalar | Schedule = number(0.05, low=0, schedule=True)
    goal_weight: Scalar | Schedule = number(0.0, low=0, schedule=True)
    init_states: InitStates = StraightLine()
    optimizer: Optimizer = factory(optax.adam)
    stop_state_gradient: bool = static(True)

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem."""
        super().check(problem)
        require(
            self.segment_length <= problem.max_horizon,
            f"Segments.segment_length is {self.segment_length} but a plan has "
            f"{problem.max_horizon} steps: choose 1 (lifted) to T (serial).",
        )

    def init(self, problem: Problem, key: jax.Array) -> SegmentsState:
        """First virtual states, actions at the starting guess."""
        states, actions = with_end(self.init_states, problem, key), problem.init_actions
        of_states = optimizer_at(self.optimizer, self.state_rate, 0)
        of_actions = optimizer_at(self.optimizer, self.action_rate, 0)
        return SegmentsState(states, actions, of_states.init(states), of_actions.init(actions))

    def step(
        self, problem: Problem, state: SegmentsState, context: StepContext
    ) -> tuple[SegmentsState, StepInfo]:
        """One update of joints and actions; inside a segment the states are its rollout."""
        width, iteration = self.segment_length, context.iteration
        gradient = segment_gradient(
            problem,
            state.states,
            state.actions,
            width,
            value_at(self.goal_weight, iteration),
            self.stop_state_gradient,
        )
        of_states = optimizer_at(self.optimizer, self.state_rate, iteration)
        updates, state_optimizer = of_states.update(
            gradient.states, state.state_optimizer, state.states
        )
        moved = add(state.states, updates)
        inside = jnp.arange(1, problem.max_horizon + 1) % width != 0
        inside = inside & jax.vmap(_tree.all_finite)(gradient.rollouts)
        states = _tree.where(inside, gradient.rollouts, moved)

        of_actions = optimizer_at(self.optimizer, self.action_rate, iteration)
        updates, action_optimizer = of_actions.update(
            gradient.actions, state.action_optimizer, state.actions
        )
        actions = problem.clip(add(state.actions, updates))
        info = StepInfo.of(
            actions,
            jnp.asarray(jnp.inf),  # no rollout was evaluated
            gradient.finite,
            model_evals=problem.max_horizon,
            model_vjps=problem.max_horizon,
            loss=gradient.loss,
            dynamics_residual=gradient.dynamics_residual,
            stuck=is_stuck(gradient.actions),
            control_finite=gradient.control_finite,
        )
        return SegmentsState(states, actions, state_optimizer, action_optimizer), info


def _sum_of_squares(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x.astype(_tree.cost_dtype(x.dtype))))
