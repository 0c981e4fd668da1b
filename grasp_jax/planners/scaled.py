"""`Scaled`: any planner in units of the problem's own, whatever the caller's units are.

    u_t = a_t / A      z_t = s_t / S      F'(z, u) = F(S z, A u) / S      d'(z, g) = d(S z, g) / C

`A` is half the range of an action, or one deviation of the actions that a learned model was
trained on, `S` one number for each leaf of the state, `C` one number. The planner inside sees the
problem in `u` and `z`, so that its rates and deviations are multiples of `A` and `S`; what it finds
is handed back in the caller's units.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import _tree
from grasp_jax._fields import TINY, Scalar, Scale, number, require
from grasp_jax._tree import PyTree, cost_dtype, describe
from grasp_jax.init_states import looks_like_state
from grasp_jax.noise import AR1, scale_like
from grasp_jax.planner import Planner, PlannerState, StepContext, StepInfo, require_planner
from grasp_jax.planners.base import LiftedPlanner
from grasp_jax.planners.search_units import Scales, natural, search_units
from grasp_jax.prepared import training_action_std
from grasp_jax.problem import Problem
from grasp_jax.rollout import trajectory

NUM_PROBES = 8
"""Rollouts from which the scale of the states is read."""

_ROOM = 64
"""By so much a number in search units may grow before its dtype overflows, at least."""


class ScaledState(NamedTuple):
    """The scales, and the state of the planner inside, in their units."""

    scales: Scales
    inner: PlannerState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Scaled(Planner):
    """Runs a planner in search units: change the caller's units, and the plan is the same plan.

    Rates, deviations and paths of `planner` are then multiples of the scales, and its `loss` and
    `dynamics_residual` in the metrics are in search units. With all scales 1 it is `planner`, up
    to rounding.

    Attributes:
      planner: Any planner. A path or a planner of the caller's own sees search units too.
      action_scale: What an action counts in: a number or `[A]`, above 0. None for half the range of
        each action, and 1 where a bound is missing; where the dynamics has an attribute
        `training_action_std`, a number or `[A]`, for that, if it is less.
      state_scale: What a virtual state counts in: a number, or a pytree of numbers like the state,
        above 0. None reads it from the problem, where `planner` is a lifted one (the others do not
        depend on it): for each leaf the root mean square of its way from `s_0` in eight rollouts
        of random actions, all of them times one number, how far the goal is in that measure (at
        most 1). Costs are then divided by their value at `s_0` per number of the state. With a
        scale of the caller's they are taken as they are.
    """

    planner: Planner
    _: dataclasses.KW_ONLY
    action_scale: Scalar | None = number(None, low=TINY, like="actions")
    state_scale: Scale | None = number(None, low=TINY, like="state", optional=True)

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the planner."""
        return self.planner.iterations

    @property
    def evaluates_guess(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the planner does."""
        return self.planner.evaluates_guess

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; asks the planner too."""
        super().check(problem)
        require_planner(self.planner, "Scaled.planner")
        require(
            self.action_scale is None or jnp.ndim(self.action_scale) < 2,
            "Scaled.action_scale must be a number or one for each of the "
            f"{problem.low.shape[0]} numbers of an action, got {describe(self.action_scale)}.",
        )
        if self.action_scale is None:
            _check_training_std(problem)
        for inner in _all_parts(self.planner):
            self._check_nested(inner)
        self.planner.check(problem)

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """Those of the planner, and of the probes."""
        first, last = self.planner.extra_evals(problem)
        return first + self._probes * NUM_PROBES * problem.max_horizon, last

    def init(self, problem: Problem, key: jax.Array) -> ScaledState:
        """Reads the scales off the problem; the planner's first state."""
        action = jnp.asarray(self._action_scale(problem), problem.init_actions.dtype)
        action = jnp.broadcast_to(action, problem.low.shape)
        state, cost = self.state_scale, jnp.ones((), cost_dtype(action.dtype))
        if self._probes:
            # The planner gets the key as it is: with scales of 1 it does what it does alone.
            state = _state_scale(problem, action, jax.random.fold_in(key, NUM_PROBES))
            cost = _cost_scale(problem).astype(cost.dtype)
        scales = Scales(action, scale_like(1.0 if state is None else state, problem.state), cost)
        return ScaledState(scales, self.planner.init(search_units(problem, scales), key))

    def step(
        self, problem: Problem, state: ScaledState, context: StepContext
    ) -> tuple[ScaledState, StepInfo]:
        """One iteration of the planner."""
        scales = state.scales
        local = dataclasses.replace(
            context,
            best_actions=context.best_actions / scales.action,
            best_cost=context.best_cost / scales.cost,
        )
        inner, found = self.planner.step(search_units(problem, scales), state.inner, local)
        actions = problem.clip(found.actions * scales.action)
        found = dataclasses.replace(found, actions=actions, cost=found.cost * scales.cost)
        return ScaledState(scales, inner), found

    def actions(self, problem: Problem, state: ScaledState) -> jax.Array:
        """The planner's present actions `[T, A]`, in the caller's units."""
        found = self.planner.actions(search_units(problem, state.scales), state.inner)
        return problem.clip(found * state.scales.action)

    def virtual_states(self, problem: Problem, state: ScaledState) -> PyTree | None:
        """The planner's, in the caller's units."""
        scaled = search_units(problem, state.scales)
        return natural(self.planner.virtual_states(scaled, state.inner), state.scales)

    def present(self, problem: Problem, state: ScaledState) -> tuple[jax.Array, PyTree | None]:
        """Both."""
        scaled = search_units(problem, state.scales)
        actions, states = self.planner.present(scaled, state.inner)
        return problem.clip(actions * state.scales.action), natural(states, state.scales)

    def _check_nested(self, inner: Planner) -> None:
        """Raises ValueError for a planner inside that is `Scaled` too, with scales of the caller's.

        Its scales would count in those of this one: neither is what it says.
        """
        if isinstance(inner, Scaled):
            both = {"action_scale": (self.action_scale, inner.action_scale)}
            both["state_scale"] = (self.state_scale, inner.state_scale)
            for name, scales in both.items():
                require(
                    all(scale is None for scale in scales),
                    f"Scaled.{name} must be given once: the planner inside is Scaled as well, and "
                    f"the scales of both would be multiplied. Set {name} of the one inside, and "
                    "leave out the Scaled around it.",
                )

    @property
    def _probes(self) -> bool:
        """Whether the scale of the states is wanted, and not given."""
        return self.state_scale is None and is_lifted(self.planner)

    def _action_scale(self, problem: Problem) -> Any:
        if self.action_scale is not None:
            return self.action_scale
        half = (problem.high - problem.low) / 2
        bounded = jnp.isfinite(half) & (half > 0)
        std = training_action_std(problem.dynamics)
        if std is None:
            return jnp.where(bounded, half, 1)
        std = jnp.broadcast_to(jnp.asarray(std, half.dtype), half.shape)
        # Far beyond its data a learned model says nothing; a traced unit that is none is left out.
        std = jnp.where(jnp.isfinite(std) & (std > 0), std, jnp.where(bounded, half, 1))
        return jnp.where(bounded, jnp.minimum(half, std), std)


def _check_training_std(problem: Problem) -> None:
    """Raises ValueError where the model names a unit of actions that cannot be one."""
    std = training_action_std(problem.dynamics)
    if std is None:
        return
    fits = np.shape(std) in ((), problem.low.shape)
    if not isinstance(std, jax.Array):  # on the host; others are read inside the program
        numbers = np.asarray(std)
        fits &= numbers.dtype.kind in "iuf" and bool(np.all(np.isfinite(numbers) & (numbers > 0)))
    require(
        fits,
        "dynamics.training_action_std must be a positive number, or one for each of the "
        f"{problem.low.shape[0]} numbers of an action, got {std!r:.60}. It is the deviation of the "
        "actions that the model was trained on; leave it out where that is unknown.",
    )


def is_lifted(planner: Planner) -> bool:
    """Whether a planner, or one that it is made of, has virtual states."""
    return any(
        isinstance(part, LiftedPlanner)
        or (not _inside(part) and type(part).virtual_states is not Planner.virtual_states)
        for part in _all_parts(planner)
    )


def _inside(planner: Planner) -> list[Planner]:
    """The planners that a planner is made of."""
    values = [getattr(planner, f.name) for f in dataclasses.fields(planner)]  # pyright: ignore
    parts = [p for v in values for p in (v if isinstance(v, tuple) else (v,))]
    return [p for p in parts if isinstance(p, Planner)]


def _all_parts(planner: Planner) -> Iterator[Planner]:
    """A planner, and all planners inside it at any depth."""
    yield planner
    for part in _inside(planner):
        yield from _all_parts(part)


def _state_scale(problem: Problem, action_scale: jax.Array, key: jax.Array) -> PyTree:
    """One number `[]` for each leaf of the state, see `Scaled.state_scale`."""
    bounded = jnp.isfinite(problem.low) & jnp.isfinite(problem.high)
    middle = jnp.where(bounded, (problem.low + problem.high) / 2, problem.init_actions)
    noise = problem.action_noise(AR1(rho=0.9))

    def probe(index: jax.Array) -> PyTree:
        draws = noise(jax.random.fold_in(key, index), problem.init_actions)
        states = trajectory(problem, problem.clip(middle + action_scale / 2 * draws))
        ways = jax.tree.map(lambda x: x - x[:1], states)
        if problem.given_horizon is None:
            return jax.tree.map(_mean_square, ways)
        # Behind its horizon a rollout stands still: those rows are padding, and do not count.
        steps = jnp.arange(problem.max_horizon + 1)
        ways = _tree.where(steps <= problem.horizon, ways, 0.0)
        padding = (problem.max_horizon + 1) / (problem.horizon + 1)
        return jax.tree.map(lambda x: padding * _mean_square(x), ways)

    spread = jax.tree.map(jnp.mean, jax.vmap(probe)(jnp.arange(NUM_PROBES)))
    if not looks_like_state(problem):
        return jax.tree.map(lambda s, x: _sound(jnp.sqrt(s), x), spread, problem.state)
    way = jax.tree.map(lambda s, g: _mean_square(g - s), problem.state, problem.goal)
    shares = jax.tree.map(lambda w, s: jnp.where(s > 0, w / jnp.where(s > 0, s, 1), 0), way, spread)
    share = jnp.mean(jnp.stack(jax.tree.leaves(shares)))
    share = jnp.where((share > 0) & (share < 1), share, 1)

    def one(spread: jax.Array, way: jax.Array, like: jax.Array) -> jax.Array:
        return _sound(jnp.sqrt(jnp.where(spread > 0, share * spread, way)), like)

    return jax.tree.map(one, spread, way, problem.state)


def _mean_square(x: jax.Array) -> jax.Array:
    """Mean of squares `[]`, float32 at least; numbers that are not finite count as 0."""
    x = jnp.where(jnp.isfinite(x), x, 0).astype(cost_dtype(x.dtype))
    return jnp.mean(jnp.square(x)) if x.size else jnp.zeros((), x.dtype)


def _sound(scale: jax.Array, like: jax.Array) -> jax.Array:
    """A scale `[]` in the dtype of a leaf; 1 where it is none there.

    Never so small that the leaf itself is near infinity in it: 400 over 0.005 is, in float16.
    """
    size = jnp.max(jnp.where(jnp.isfinite(like), jnp.abs(like), 0), initial=0).astype(scale.dtype)
    least = size * (_ROOM / float(jnp.finfo(like.dtype).max))
    scale = jnp.where(scale > 0, jnp.maximum(scale, least), scale)
    scale = scale.astype(like.dtype)
    return jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)


def _cost_scale(problem: Problem) -> jax.Array:
    """`|d(s_0, g)|` per number of the state, `[]`; 1 where that is none."""
    numbers = sum(x.size for x in jax.tree.leaves(problem.state))
    scale = jnp.abs(problem.terminal_cost(problem.state)) / numbers
    return jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)
