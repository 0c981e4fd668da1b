"""Where the virtual states start: pure functions `init_states(problem, key) -> s_1..s_{T-1}`.

Each is a frozen dataclass whose numbers are traced; leaves come back as `[T-1, ...]`. Where
the goal does not look like a state (a distance on something else), they end where they start.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import (
    Scale,
    check_callable,
    check_fields,
    check_values,
    count,
    number,
    process,
    require,
)
from grasp_jax._tree import PyTree, Record
from grasp_jax.noise import Noise, White, add_noise, noise_like, scale_like, spanning
from grasp_jax.planner import states_alike
from grasp_jax.problem import Problem
from grasp_jax.rollout import trajectory

InitStates = Callable[[Problem, jax.Array], PyTree]


class _Checked(Record):
    """Settings with rules beside their fields."""

    def __post_init__(self) -> None:
        """Raises for settings out of range."""
        check_values(self)

    def check(self, problem: Problem, name: str) -> None:
        """Raises for settings that do not fit the problem; `name` is what the user calls this."""
        check_fields(self, problem.init_actions, states_alike(problem), name)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StraightLine(_Checked):
    """The straight line from `s_0` to `g`, plus a little white noise (the paper's start).

    Attributes:
      std: Standard deviation of the noise: a number, or a pytree like the state (numbers or
        arrays that broadcast to its leaves), or None for none.
    """

    std: Scale | None = number(None, low=0, like="leaves")

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        return add_noise(_line(problem), self.std, White(), key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BrownianBridge(_Checked):
    """The straight line plus a random walk tied to both ends.

    Attributes:
      std: Standard deviation at the middle of the path: a number, or a pytree like the state
        (numbers or arrays that broadcast to its leaves).
    """

    std: Scale = number(0.5, low=0, like="leaves")

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        line = _line(problem)
        steps = jax.tree.map(
            lambda x: jnp.zeros((problem.max_horizon, *x.shape[1:]), x.dtype), line
        )

        def bridge(x: jax.Array, step: jax.Array, scale: jax.Array) -> jax.Array:
            walk = jnp.cumsum(step, axis=0) * (2 / jnp.sqrt(problem.horizon)).astype(x.dtype)
            tied = walk[:-1] - _fractions(problem, x) * walk[problem.horizon - 1]
            return x + scale * jnp.where(_fractions(problem, x) < 1, tied, 0)

        walks = noise_like(White(), key, steps)
        return jax.tree.map(bridge, line, walks, scale_like(self.std, line))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ViaPoints(_Checked):
    """Straight pieces through random via-points around the line: paths that go around things.

    Attributes:
      num_points: How many via-points.
      std: Standard deviation of a via-point around its place on the line: a number, or a
        pytree like the state (numbers or arrays that broadcast to its leaves).
    """

    num_points: int = count(3, least=0)
    std: Scale = number(0.5, low=0, like="leaves")

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        line = _line(problem)
        knots = jnp.linspace(0, 1, self.num_points + 2)
        times = jnp.arange(1, problem.max_horizon) / problem.horizon

        def piecewise(x: jax.Array, offsets: jax.Array, scale: jax.Array) -> jax.Array:
            pinned = jnp.zeros((1, *x.shape[1:]), x.dtype)
            offsets = jnp.concatenate([pinned, scale * offsets, pinned])
            columns = offsets.reshape(self.num_points + 2, -1)
            interpolate = jax.vmap(lambda c: jnp.interp(times, knots, c), 1, 1)
            return x + interpolate(columns).reshape(x.shape).astype(x.dtype)

        shapes = jax.tree.map(lambda x: jnp.zeros((self.num_points, *x.shape[1:]), x.dtype), line)
        offsets = noise_like(White(), key, shapes)
        return jax.tree.map(piecewise, line, offsets, scale_like(self.std, line))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rollout(_Checked):
    """The model's own rollout of the starting actions: the natural warm start.

    Noise moves the virtual states off the rollout, and the actions follow them. Without it their
    gradients are rounding errors, which Adam would turn into steps of its full rate.

    Attributes:
      std: Standard deviation of the noise: a number, or a pytree like the state (numbers or
        arrays that broadcast to its leaves), or None for none.
      noise: The process that it is drawn from.
    """

    std: Scale | None = number(None, low=0, like="leaves")
    noise: Noise = process(White(), like="state")

    def check(self, problem: Problem, name: str) -> None:
        """Raises for settings that do not fit the problem."""
        try:
            super().check(problem, name)
        except (TypeError, ValueError) as error:
            error.add_note("In grasp_jax.restarted_grasp this is `state_std`.")
            raise

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        rollout = _tree.take(trajectory(problem, problem.init_actions), slice(1, -1))
        steps = None if problem.given_horizon is None else problem.given_horizon - 1
        return add_noise(rollout, self.std, spanning(self.noise, steps), key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GivenPath(_Checked):
    """Virtual states that the caller has: a way through recorded states, a recorded segment, ...

    With `GRASP(state_rate=0.0, state_std=None, goal_weight=0.0, sync=None)` they stay where they
    are, and all actions are fitted to them side by side. In `plan_batch` all goals share them; for
    a path per goal `vmap` a function that calls `plan` with `GRASP(init_states=GivenPath(path))`.

    Attributes:
      states: `s_1..s_{T-1}`, leaves `[T-1, ...]` like the state, traced. Where a number is not
        finite the straight line takes its place.
    """

    states: PyTree

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        del key
        missing = problem.max_horizon - 1 - jax.tree.leaves(self.states)[0].shape[0]
        if problem.mesh is None or missing <= 0:
            return self.states
        # A mesh pads T; what lies past the goal's step is not read.
        return jax.tree.map(
            lambda x: jnp.concatenate([x, jnp.broadcast_to(x[-1:], (missing, *x.shape[1:]))]),
            self.states,
        )


def evals(init_states: InitStates, problem: Problem) -> int:
    """Model evaluations that virtual states cost: `T` for a rollout."""
    return problem.max_horizon if isinstance(init_states, Rollout) else 0


def check_init_states(init_states: Any, problem: Problem, name: str) -> None:
    """Raises unless `init_states` returns `s_1..s_{T-1}`, leaves `[T-1, ...]`."""
    expected = "callable as init_states(problem, key), such as grasp_jax.StraightLine()"
    check_callable(init_states, name, expected)
    if isinstance(init_states, _Checked):
        init_states.check(problem, name)
    like = states_alike(problem, problem.max_horizon - 1)
    try:
        call: Any = init_states
        found = jax.eval_shape(call, problem, jax.eval_shape(lambda: jax.random.key(0)))
    except Exception as error:
        raise ValueError(
            f"{name} failed on a state {_tree.describe(problem.state)}: "
            f"{type(error).__name__}: {error!s:.300}"
        ) from error
    same = jax.tree.structure(found) == jax.tree.structure(like) and all(
        getattr(x, "shape", None) == y.shape
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True)
    )
    require(
        same,
        f"{name} must return the states s_1..s_(T-1), {_tree.describe(like)}, got "
        f"{_tree.describe(found)}.",
    )


def with_end(init_states: InitStates, problem: Problem, key: jax.Array) -> PyTree:
    """Virtual states and their end: `s_1..s_T`, leaves `[T, ...]` in the dtypes of the state.

    Where one is broken it is on the line: virtual states that are not finite would never move.
    """
    end = problem.goal if looks_like_state(problem) else problem.state
    end = jax.tree.map(lambda s, g: g[None].astype(s.dtype), problem.state, end)

    def mended(x: jax.Array, line: jax.Array) -> jax.Array:
        return jnp.where(jnp.isfinite(x), x, line).astype(line.dtype)

    states = jax.tree.map(mended, init_states(problem, key), _line(problem))
    return _tree.concatenate(states, end)


def looks_like_state(problem: Problem) -> bool:
    """Whether the goal has the structure and shapes of a state."""
    start, goal = problem.state, problem.goal
    return jax.tree.structure(start) == jax.tree.structure(goal) and all(
        s.shape == g.shape
        for s, g in zip(jax.tree.leaves(start), jax.tree.leaves(goal), strict=True)
    )


def _fractions(problem: Problem, like: jax.Array) -> jax.Array:
    """`t/T` for `t = 1..T-1`, 1 past the end, shaped `[T-1, 1, ...]` to broadcast over `like`."""
    fractions = jnp.minimum(jnp.arange(1, problem.max_horizon) / problem.horizon, 1).astype(
        like.dtype
    )
    return fractions.reshape((-1,) + (1,) * (like.ndim - 1))


def _line(problem: Problem) -> PyTree:
    """The straight line `s_0 → g` at `t = 1..T-1`, leaves `[T-1, ...]`."""
    end = problem.goal if looks_like_state(problem) else problem.state

    def interpolate(s: jax.Array, g: jax.Array) -> jax.Array:
        return s + _fractions(problem, s[None]) * (g.astype(s.dtype) - s)

    return jax.tree.map(interpolate, problem.state, end)
