"""A rollout in `K` segments side by side: its cost's gradient at a depth of `2T/K` model steps.

Segment `k` of `L = T/K` steps starts from a carried virtual state `x_k` (`x_0 = s_0`) and ends in
`e_k`. Its end carries a virtual costate `λ_k`, which stands for `∂J/∂s` there. A sweep evaluates
all segments at once, forward and backward, with `J_k` the segment's state Jacobian and `r_k` the
running costs inside it; `λ` of the last segment is the true slope of the terminal cost at its end:

    e_k = segment_k(x_k, a)
    g_k = (∂e_k/∂a)ᵀ λ_k + ∂r_k/∂a      (the slope of the segment's actions)
    μ_k = J_kᵀ λ_k + ∂r_k/∂x_k          (the costate, pulled back to the segment's start)

Then neighbors hand over once, for the next sweep:

    x_{k+1} ← e_k,   λ_{k-1} ← μ_k

**Fixed point.** At fixed actions `x_1 = e_0` is exact after one sweep, because `x_0` is; so `x_k`
is exact after `k`. From then on `λ` of the last segment is exact, hence `λ_{K-2}` one sweep later,
and so on backwards: after `2(K-1)` sweeps states and costates are those of the rollout and its
adjoint, and `g` of the next sweep is the gradient of the rollout's cost, up to rounding. While the
actions move, what is handed over is up to `K-1` sweeps old. `K = 1` is shooting; `K = T` has the
lifted form, all terms side by side, but with costates instead of a state penalty.

**Correction.** One Newton step on all hand-overs at once would need `J_k`: the change
`δ_{k+1} = x'_{k+1} - x_{k+1}` obeys `δ_{k+1} = (e_k - x_{k+1}) + J_k δ_k`. `Correction.IDENTITY`
puts `J_k = 1` (slow states: a state stays where it is put), `Correction.DIAGONAL` a diagonal matrix
fitted to how the last sweeps pulled costates back, `μ_k ≈ D_k λ_k`: both are prefix sums of depth
`log K` without model calls. They change the way, not the fixed point, where all gaps are zero.
"""

import dataclasses
import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.problem import Problem
from grasp_jax.rollout import CostGradient, join_gradient, stepper

_MEMORY = 0.8  # of a fitted diagonal, per sweep
_PRIOR = 0.1  # its pull towards 1, beside a mean entry: small costates say little about their slope


class Correction(enum.Enum):
    """What a hand-over takes for a segment's state Jacobian."""

    NONE = "none"
    IDENTITY = "identity"
    DIAGONAL = "diagonal"


class Handover(NamedTuple):
    """What is carried from sweep to sweep; leaves `[K, ...]` like the state, or a window of it.

    Attributes:
      starts: Virtual states `x_0..x_{K-1}`.
      costates: `λ_0..λ_{K-1}`; from the segment of the goal's step on they are not read.
      products: Fit of the diagonal: running means of `μ_k λ_k`; None where none is fitted.
      squares: The same of `λ_k²`.
    """

    starts: PyTree
    costates: PyTree
    products: PyTree | None
    squares: PyTree | None


class Swept(NamedTuple):
    """What one evaluation found.

    Attributes:
      found: The cost of the rollout and its gradient: of the true rollout, or of the segments.
      handover: What the next sweep starts from.
      gap: `[]`, `Σ_k ||e_k - x_{k+1}||²`; zero for a true rollout.
    """

    found: CostGradient
    handover: Handover
    gap: jax.Array


def no_handover(problem: Problem, num_segments: int, correction: Correction) -> Handover:
    """Zeros in the shapes of `Handover`."""
    padded, actions = _padded(problem, problem.init_actions, num_segments)
    _, carry, _ = stepper(padded, actions)
    zeros = jax.tree.map(lambda x: jnp.zeros((num_segments, *x.shape), x.dtype), carry)
    fit = zeros if correction is Correction.DIAGONAL else None
    return Handover(zeros, zeros, fit, fit)


def sweep(
    problem: Problem, actions: jax.Array, handover: Handover, correction: Correction
) -> Swept:
    """One sweep: all segments side by side, one pass forward and one backward.

    Args:
      problem: One goal. Where it has a horizon below `T`, the cost is that of its own last segment.
      actions: `[T, A]`.
      handover: From the evaluation before.
      correction: See the module.
    """
    num_segments = jax.tree.leaves(handover.starts)[0].shape[0]
    padded, rows = _padded(problem, actions, num_segments)
    starts = _pinned(handover.starts, stepper(padded, rows)[1])

    def side_by_side(starts: PyTree, rows: jax.Array) -> tuple[PyTree, jax.Array]:
        segment, inputs = _segment(padded, rows, num_segments)
        return jax.vmap(segment)(starts, inputs)

    (ends, running), pull_back = jax.vjp(side_by_side, starts, rows)
    last = _last(padded, num_segments)
    terminal, slope = jax.value_and_grad(lambda end: _terminal(problem, end))(
        _tree.take(ends, last)
    )
    index = jnp.arange(num_segments)
    costates = jax.tree.map(
        lambda x, s: jnp.where(_per_segment(index == last, x), s, x), handover.costates, slope
    )
    costates = _tree.where(index <= last, costates, 0.0)
    pulled, gradient = pull_back((costates, jnp.ones_like(running)))
    gradient = problem.until_end(gradient[: problem.max_horizon])
    # Where a segment breaks, the last one does not know it yet.
    terminal = jnp.where(_tree.all_finite(ends), terminal, jnp.inf)
    found = join_gradient(problem, actions, terminal, jnp.sum(running), gradient)

    handover = _fitted(handover, costates, pulled, correction)
    following, gap = _hand_over(
        handover._replace(starts=starts), ends, costates, pulled, last, correction
    )
    # What is broken is not handed on: the next sweep would break too.
    sound = _tree.all_finite(following)
    return Swept(found, _tree.where(sound, following, handover), gap.astype(found.cost.dtype))


def serial(problem: Problem, actions: jax.Array, handover: Handover) -> Swept:
    """The true rollout and its gradient, one segment after the other: exact states and costates.

    Args:
      problem: One goal.
      actions: `[T, A]`.
      handover: From the evaluation before; only their fit is read.
    """
    num_segments = jax.tree.leaves(handover.starts)[0].shape[0]
    padded, rows = _padded(problem, actions, num_segments)

    def of_states(rows: jax.Array, nothing: PyTree) -> tuple[jax.Array, Any]:
        _, carry, _ = stepper(padded, rows)
        segment, inputs = _segment(padded, rows, num_segments)

        def to_next(carry: PyTree, one: tuple[PyTree, Any]) -> tuple[PyTree, Any]:
            start = jax.tree.map(jnp.add, carry, one[0])
            end, running = segment(start, one[1])
            return end, (start, running)

        end, (starts, running) = jax.lax.scan(to_next, carry, (nothing, inputs))
        terminal, running = _terminal(problem, end), jnp.sum(running)
        return terminal + running, (terminal, running, starts)

    nothing = jax.tree.map(jnp.zeros_like, handover.starts)
    (_, (terminal, running, starts)), (gradient, pulled) = jax.value_and_grad(
        of_states, (0, 1), has_aux=True
    )(rows, nothing)
    gradient = problem.until_end(gradient[: problem.max_horizon])
    found = join_gradient(problem, actions, terminal, running, gradient)
    # The slope at the start of a segment is the costate at the end of the one before.
    costates = jax.tree.map(lambda x: jnp.roll(x, -1, 0), pulled)
    exact = handover._replace(starts=starts, costates=costates)
    sound = _tree.all_finite((starts, costates))
    return Swept(found, _tree.where(sound, exact, handover), jnp.zeros_like(found.cost))


def _hand_over(
    handover: Handover,
    ends: PyTree,
    costates: PyTree,
    pulled: PyTree,
    last: jax.Array | int,
    correction: Correction,
) -> tuple[Handover, jax.Array]:
    """The next starts and costates, and the squared gaps `[]` between ends and starts."""
    num_segments = jax.tree.leaves(ends)[0].shape[0]
    index = jnp.arange(num_segments)
    slopes = _diagonal(handover, correction)

    def forward(start: jax.Array, end: jax.Array, slope: Any) -> tuple[jax.Array, jax.Array]:
        gaps = jnp.where(_per_segment(index > 0, end), jnp.roll(end, 1, 0) - start, 0)
        if slope is None:
            return start + gaps, gaps
        # Segment k-1 turns the change of its start into a change of x_k, and x_0 never changes.
        return start + _recurrence(jnp.roll(slope, 1, 0).at[0].set(0), gaps), gaps

    def backward(costate: jax.Array, pulled: jax.Array, slope: Any) -> jax.Array:
        known = _per_segment(index < last, costate)
        gaps = jnp.where(known, jnp.roll(pulled, -1, 0) - costate, 0)
        if slope is None:
            return costate + gaps
        # The last costate is the slope of the cost, and exact.
        slope = jnp.where(known, jnp.roll(slope, -1, 0), 0)
        return costate + _recurrence(slope, gaps, reverse=True)

    none = jax.tree.map(lambda _: None, ends) if slopes is None else slopes
    leaves, treedef = jax.tree.flatten(handover.starts)
    per_leaf = [treedef.flatten_up_to(t) for t in (ends, costates, pulled, none)]
    moved = [forward(x, e, d) for x, e, d in zip(leaves, per_leaf[0], per_leaf[3], strict=True)]
    adjoint = [backward(c, p, d) for c, p, d in zip(*per_leaf[1:], strict=True)]
    gap = sum(jnp.sum(jnp.square(g.astype(_tree.cost_dtype(g.dtype)))) for _, g in moved)
    following = handover._replace(
        starts=treedef.unflatten([x for x, _ in moved]), costates=treedef.unflatten(adjoint)
    )
    return following, jnp.asarray(gap)


def _fitted(
    handover: Handover, costates: PyTree, pulled: PyTree, correction: Correction
) -> Handover:
    """With what this sweep says about the diagonal of the segments' Jacobians."""
    if correction is not Correction.DIAGONAL:
        return handover

    def mean(old: jax.Array, new: jax.Array) -> jax.Array:
        return _MEMORY * old + (1 - _MEMORY) * new

    products = jax.tree.map(lambda c, p: c * p, costates, pulled)
    squares = jax.tree.map(jnp.square, costates)
    return handover._replace(
        products=jax.tree.map(mean, handover.products, products),
        squares=jax.tree.map(mean, handover.squares, squares),
    )


def _diagonal(handover: Handover, correction: Correction) -> PyTree | None:
    """Leaves `[K, ...]` in `[-1, 1]`, so that a prefix sum cannot grow; None for no correction."""
    if correction is Correction.NONE:
        return None
    if correction is Correction.IDENTITY:
        return jax.tree.map(jnp.ones_like, handover.starts)

    def fitted(products: jax.Array, squares: jax.Array) -> jax.Array:
        axes = tuple(range(1, squares.ndim))
        prior = _PRIOR * jnp.mean(squares, axes, keepdims=True)
        known = squares + prior
        # No division by zero in the branch that is not taken: its derivative would be NaN.
        divisor = jnp.where(known > 0, known, 1)
        return jnp.where(known > 0, jnp.clip((products + prior) / divisor, -1, 1), 1)

    return jax.tree.map(fitted, handover.products, handover.squares)


def _recurrence(slopes: jax.Array, offsets: jax.Array, reverse: bool = False) -> jax.Array:
    """`y_k = slopes_k y_{k-1} + offsets_k` from zero, entry by entry, or backwards: `[K, ...]`."""

    def compose(one: tuple[Any, Any], two: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
        return two[0] * one[0], two[0] * one[1] + two[1]

    return jax.lax.associative_scan(compose, (slopes, offsets), reverse=reverse)[1]


def _segment(problem: Problem, rows: jax.Array, num_segments: int) -> tuple[Any, PyTree]:
    """`segment(start, inputs) -> (end, running costs [])`, and inputs with leaves `[K, L, ...]`."""
    step, _, inputs = stepper(problem, rows)
    valid = jnp.arange(problem.max_horizon) < problem.horizon
    inputs = jax.tree.map(
        lambda x: x.reshape(num_segments, -1, *x.shape[1:]), (inputs, valid, rows, problem.steps)
    )

    def to_next(carry: PyTree, one: tuple[PyTree, ...]) -> tuple[PyTree, jax.Array]:
        inputs, valid, action, number = one
        carry, state = step(carry, inputs)
        return carry, jnp.where(valid, problem.running_cost(state, action, number), 0)

    def segment(start: PyTree, inputs: PyTree) -> tuple[PyTree, jax.Array]:
        end, running = jax.lax.scan(to_next, start, inputs)
        return end, jnp.sum(running.astype(_tree.cost_dtype(running.dtype)))

    return segment, inputs


def _padded(problem: Problem, actions: jax.Array, num_segments: int) -> tuple[Problem, jax.Array]:
    """The problem and its actions with as many steps as `K` equal segments have."""
    steps = problem.max_horizon
    missing = -steps % num_segments
    if not missing:
        return problem, actions
    rows = jnp.pad(actions, ((0, missing), (0, 0)))
    horizon = jnp.asarray(problem.horizon, jnp.int32)
    return dataclasses.replace(problem, init_actions=rows, given_horizon=horizon), rows


def _last(problem: Problem, num_segments: int) -> jax.Array | int:
    """The segment in which the goal's step lies; from there on the state stands still."""
    return (problem.horizon - 1) // (problem.max_horizon // num_segments)


def _terminal(problem: Problem, carry: PyTree) -> jax.Array:
    final = carry if problem.context is None else _tree.take(carry, -1)
    return problem.terminal_cost(final)


def _pinned(starts: PyTree, first: PyTree) -> PyTree:
    return jax.tree.map(lambda x, s: x.at[0].set(s), starts, first)


def _per_segment(flags: jax.Array, like: jax.Array) -> jax.Array:
    """`[K]` flags that broadcast over `[K, ...]`."""
    return flags.reshape((-1,) + (1,) * (like.ndim - 1))
