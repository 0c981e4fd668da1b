"""Where the virtual states start: pure functions `path(problem, key) -> s_1..s_{T-1}`.

Each path is a frozen dataclass whose numbers are traced; leaves come back as `[T-1, ...]`. Where
the goal does not look like a state (a distance on something else), paths end where they start.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._settings import Scalar, require, require_callable, require_count, static
from grasp_jax._tree import PyTree
from grasp_jax.noise import Noise, White, add_noise, noise_like, scale_like
from grasp_jax.problem import Problem
from grasp_jax.rollout import trajectory

Path = Callable[[Problem, jax.Array], PyTree]
Scale = Scalar | PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Line:
    """The straight line from `s_0` to `g`, plus a little white noise (the paper's start).

    Attributes:
      noise: Standard deviation of the noise, `[]` or a pytree like the state, or None for none.
    """

    noise: Scale | None = None

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        return add_noise(_line(problem), self.noise, White(), key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BrownianBridge:
    """The straight line plus a random walk tied to both ends.

    Attributes:
      scale: Standard deviation at the middle of the path: a number, or a pytree like the state
        (numbers or arrays that broadcast to its leaves).
    """

    scale: Scale = 0.5

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        line = _line(problem)
        steps = jax.tree.map(lambda x: jnp.zeros((problem.horizon, *x.shape[1:]), x.dtype), line)

        def bridge(x: jax.Array, step: jax.Array, scale: jax.Array) -> jax.Array:
            walk = jnp.cumsum(step, axis=0) * (2 / jnp.sqrt(problem.end)).astype(x.dtype)
            tied = walk[:-1] - _fractions(problem, x) * walk[problem.end - 1]
            return x + scale * jnp.where(_fractions(problem, x) < 1, tied, 0)

        walks = noise_like(White(), key, steps)
        return jax.tree.map(bridge, line, walks, scale_like(self.scale, line))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ViaPoints:
    """Straight pieces through random via-points around the line: paths that go around things.

    Attributes:
      count: How many via-points.
      scale: Standard deviation of a via-point around its place on the line: a number, or a
        pytree like the state.
    """

    count: int = static(3)
    scale: Scale = 0.5

    def __post_init__(self) -> None:
        require_count(self, "count", 0)

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        line = _line(problem)
        knots = jnp.linspace(0, 1, self.count + 2)
        times = jnp.arange(1, problem.horizon) / problem.end

        def piecewise(x: jax.Array, offsets: jax.Array, scale: jax.Array) -> jax.Array:
            pinned = jnp.zeros((1, *x.shape[1:]), x.dtype)
            offsets = jnp.concatenate([pinned, scale * offsets, pinned])
            columns = offsets.reshape(self.count + 2, -1)
            interpolate = jax.vmap(lambda c: jnp.interp(times, knots, c), 1, 1)
            return x + interpolate(columns).reshape(x.shape).astype(x.dtype)

        shapes = jax.tree.map(lambda x: jnp.zeros((self.count, *x.shape[1:]), x.dtype), line)
        offsets = noise_like(White(), key, shapes)
        return jax.tree.map(piecewise, line, offsets, scale_like(self.scale, line))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rollout:
    """The model's own rollout of the starting actions: the natural warm start.

    Noise moves the virtual states off the rollout, and the actions follow them. Without it their
    gradients are rounding errors, which Adam would turn into steps of its full rate.

    Attributes:
      noise: Standard deviation of the noise, `[]` or a pytree like the state, or None for none.
      shape: Shape of the noise over time.
    """

    noise: Scale | None = None
    shape: Noise = White()

    def calls(self, problem: Problem) -> int:
        """Model calls forward: `T`."""
        return problem.horizon

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        rollout = _tree.take(trajectory(problem, problem.actions), slice(1, -1))
        return add_noise(rollout, self.noise, self.shape, key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GivenPath:
    """Virtual states that the caller has: a way through recorded states, a recorded segment, ...

    With `GRASP(state_rate=0.0, state_noise=None, goal_weight=0.0, sync=None)` they stay where they
    are, and all actions are fitted to them side by side. In `plan_batch` all goals share them; for
    a path per goal `vmap` a function that calls `plan` with `GRASP(path=GivenPath(states))`.

    Attributes:
      states: `s_1..s_{T-1}`, leaves `[T-1, ...]` like the state, traced. Where a number is not
        finite the straight line takes its place.
    """

    states: PyTree

    def __call__(self, problem: Problem, key: jax.Array) -> PyTree:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`."""
        del key
        missing = problem.horizon - 1 - jax.tree.leaves(self.states)[0].shape[0]
        if problem.mesh is None or missing <= 0:
            return self.states
        # A mesh pads T; what lies past the goal's step is not read.
        return jax.tree.map(
            lambda x: jnp.concatenate([x, jnp.broadcast_to(x[-1:], (missing, *x.shape[1:]))]),
            self.states,
        )


def calls(path: Path, problem: Problem) -> int:
    """Model calls that a path makes; a caller's own path may tell by a method `calls(problem)`."""
    method = getattr(path, "calls", None)
    return 0 if method is None else method(problem)


def require_path(planner: Any, problem: Problem, field: str = "path") -> None:
    """Raises unless a field is a path that returns `s_1..s_{T-1}`, leaves `[T-1, ...]`."""
    require_callable(planner, field, "callable as path(problem, key), such as grasp_jax.Line()")
    name, path = f"{type(planner).__name__}.{field}", getattr(planner, field)
    expected = states_alike(problem, problem.horizon - 1)
    try:
        found = jax.eval_shape(path, problem, jax.eval_shape(lambda: jax.random.key(0)))
    except Exception as error:
        raise ValueError(
            f"{name} failed on a state {_tree.describe(problem.start)}: "
            f"{type(error).__name__}: {error!s:.300}"
        ) from error
    same = jax.tree.structure(found) == jax.tree.structure(expected) and all(
        getattr(x, "shape", None) == y.shape
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    )
    require(
        same,
        f"{name} must return the states s_1..s_(T-1), {_tree.describe(expected)}, got "
        f"{_tree.describe(found)}.",
    )


def states_alike(problem: Problem, rows: int | None = None) -> PyTree:
    """Shapes and dtypes of `rows` states of the trajectory, `T` by default."""
    rows = problem.horizon if rows is None else rows
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape), x.dtype), problem.start)


def with_end(path: Path, problem: Problem, key: jax.Array) -> PyTree:
    """A path and its end: `s_1..s_T`, leaves `[T, ...]` in the dtypes of the state.

    Where a path is broken it is the line: virtual states that are not finite would never move.
    """
    end = problem.goal if looks_like_state(problem) else problem.start
    end = jax.tree.map(lambda s, g: g[None].astype(s.dtype), problem.start, end)

    def mended(x: jax.Array, line: jax.Array) -> jax.Array:
        return jnp.where(jnp.isfinite(x), x, line).astype(line.dtype)

    states = jax.tree.map(mended, path(problem, key), _line(problem))
    return _tree.concatenate(states, end)


def looks_like_state(problem: Problem) -> bool:
    """Whether the goal has the structure and shapes of a state."""
    start, goal = problem.start, problem.goal
    return jax.tree.structure(start) == jax.tree.structure(goal) and all(
        s.shape == g.shape
        for s, g in zip(jax.tree.leaves(start), jax.tree.leaves(goal), strict=True)
    )


def _fractions(problem: Problem, like: jax.Array) -> jax.Array:
    """`t/T` for `t = 1..T-1`, 1 past the end, shaped `[T-1, 1, ...]` to broadcast over `like`."""
    fractions = jnp.minimum(jnp.arange(1, problem.horizon) / problem.end, 1).astype(like.dtype)
    return fractions.reshape((-1,) + (1,) * (like.ndim - 1))


def _line(problem: Problem) -> PyTree:
    """The straight line `s_0 → g` at `t = 1..T-1`, leaves `[T-1, ...]`."""
    end = problem.goal if looks_like_state(problem) else problem.start

    def interpolate(s: jax.Array, g: jax.Array) -> jax.Array:
        return s + _fractions(problem, s[None]) * (g.astype(s.dtype) - s)

    return jax.tree.map(interpolate, problem.start, end)
