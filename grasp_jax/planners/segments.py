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

import jax
import jax.numpy as jnp
import optax

from grasp_jax import _tree
from grasp_jax._fields import Scalar, Schedule, count, factory, number, require, static, value_at
from grasp_jax._tree import PyTree
from grasp_jax.init_states import InitStates, StraightLine, with_end
from grasp_jax.lifted import LiftedGradient
from grasp_jax.planner import StepContext, StepInfo
from grasp_jax.planners.base import (
    LiftedPlanner,
    LiftedState,
    Optimizer,
    descend,
    lifted_info,
    optimizer_at,
)
from grasp_jax.problem import Problem


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
) -> tuple[LiftedGradient, PyTree]:
    """`L`, `∂L/∂s` and `∂L/∂a` from one forward and one backward pass of the `K` segments.

    Args:
      problem: One goal. Where its horizon is below `T`, the sums end there.
      states: Virtual states `s_1..s_T`, leaves `[T, ...]`; the last row is not read.
      actions: `[T, A]`.
      segment_length: `w`.
      goal_weight: `γ >= 0`, `[]`.
      stop_state_gradient: False lets gradients through to the state a segment starts from.

    Returns:
      The gradient, zero at states inside a segment, its residual `Σ_k ||x_{kw} - s_{kw}||²` with
      the goal's term among them; and the segments' states `x_1..x_T`, leaves `[T, ...]`.
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
    gradient = LiftedGradient(
        loss=loss + control,
        dynamics_residual=residual,
        states=_tree.finite_or_zero(of_states),
        actions=_tree.finite_or_zero(of_actions) + control_slope,
        finite=_tree.all_finite((loss, of_states, of_actions)),
        control_finite=control_finite,
    )
    return gradient, found


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

    def init(self, problem: Problem, key: jax.Array) -> LiftedState:
        """First virtual states, actions at the starting guess."""
        states, actions = with_end(self.init_states, problem, key), problem.init_actions
        of_states, of_actions = self._optimizers(0)
        return LiftedState(states, actions, of_states.init(states), of_actions.init(actions))

    def step(
        self, problem: Problem, state: LiftedState, context: StepContext
    ) -> tuple[LiftedState, StepInfo]:
        """One update of joints and actions; inside a segment the states are its rollout."""
        states, actions, of_states, of_actions = state
        gradient, rollouts = segment_gradient(
            problem,
            states,
            actions,
            self.segment_length,
            value_at(self.goal_weight, context.iteration),
            self.stop_state_gradient,
        )
        state_optimizer, action_optimizer = self._optimizers(context.iteration)
        moved, of_states = descend(state_optimizer, gradient.states, of_states, states)
        inside = jnp.arange(1, problem.max_horizon + 1) % self.segment_length != 0
        inside = inside & jax.vmap(_tree.all_finite)(rollouts)
        states = _tree.where(inside, rollouts, moved)

        actions, of_actions = descend(action_optimizer, gradient.actions, of_actions, actions)
        actions = problem.clip(actions)
        info = lifted_info(problem, actions, gradient)
        return LiftedState(states, actions, of_states, of_actions), info

    def _optimizers(
        self, iteration: jax.Array | int
    ) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Those of the states and of the actions."""
        rates = (self.state_rate, self.action_rate)
        of_states, of_actions = (optimizer_at(self.optimizer, rate, iteration) for rate in rates)
        return of_states, of_actions


def _sum_of_squares(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x.astype(_tree.cost_dtype(x.dtype))))
