"""`Proposed`: any planner, started from the best of some actions that somebody else has in mind.

They come from a policy, an inverse model or recorded data. All are rolled out once; where one costs
less than the starting guess it takes the guess's place: samplers draw around it and keep it among
their samples, gradients start from it, and so does the path of `Rollout` (which `restarted_grasp`
has). Where none does, the plan is that of the planner alone, bit for bit.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import require
from grasp_jax._tree import PyTree, describe, is_array
from grasp_jax.noise import split_key
from grasp_jax.planner import Planner, PlannerState, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost

Proposals = jax.Array | Callable[[Problem, jax.Array], jax.Array]


class ProposedState(NamedTuple):
    """`actions` `[T, A]` that the planner started from, their cost `[]`, the planner's state."""

    actions: jax.Array
    cost: jax.Array
    inner: PlannerState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Proposed(Planner):
    """Starts a planner from the cheapest of some proposals and the starting guess.

    Attributes:
      planner: Any planner.
      proposals: `[n, T, A]`, for all goals the same, or a pure function `(problem, key) ->
        [n, T, A]` of one goal, such as `grasp_jax.proposals.FromPolicy`. What lies outside the
        bounds is clipped; a proposal whose rollout is not finite is never taken.
    """

    planner: Planner
    proposals: Proposals

    evaluates_guess = True  # not by an iteration, but `init` does

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the planner."""
        return self.planner.iterations

    def check(self, problem: Problem) -> None:
        """Raises for proposals of another shape; asks the planner too."""
        super().check(problem)
        require_planner(self.planner, "Proposed.planner")
        expected = f"[n, {problem.init_actions.shape[0]}, {problem.init_actions.shape[1]}]"
        expected = f"Proposed.proposals must be actions [n, T, A] = {expected}"
        if not (callable(self.proposals) or is_array(self.proposals)):
            raise TypeError(
                f"{expected}, or a function of (problem, key) that returns such, got "
                f"{type(self.proposals).__name__}: {self.proposals!r:.60}."
            )
        try:
            found = jax.eval_shape(self._all, problem, jax.eval_shape(lambda: jax.random.key(0)))
        except Exception as error:
            raise ValueError(
                f"Proposed.proposals failed; it is called as proposals(problem, key): "
                f"{type(error).__name__}: {error!s:.300}"
            ) from error
        shape = getattr(found, "shape", ())
        fits = len(shape) == 3 and shape[0] > 0 and shape[1:] == problem.init_actions.shape
        require(fits, f"{expected}, got {describe(found)}.{_hint(shape, problem)}")
        self.planner.check(problem)

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """A rollout of the guess and of every proposal, and what the planner adds."""
        first, last = self.planner.extra_evals(problem)
        shapes = jax.eval_shape(self._all, problem, jax.eval_shape(lambda: jax.random.key(0)))
        return first + (1 + shapes.shape[0]) * problem.max_horizon, last

    def init(self, problem: Problem, key: jax.Array) -> ProposedState:
        """Rolls out the guess and all proposals, starts from the cheapest."""
        # The planner gets the key as it is: without a good proposal it does what it does alone.
        proposals = self._all(problem, split_key(jax.random.fold_in(key, 1), 2)[0])
        guess, dtype = problem.init_actions, _tree.cost_dtype(problem.init_actions.dtype)
        candidates = problem.clip(proposals.astype(guess.dtype))
        costs = jax.vmap(lambda a: rollout_cost(problem, a))(candidates).astype(dtype)
        costs = jnp.where(jnp.isfinite(costs), costs, jnp.inf)
        own = rollout_cost(problem, guess).astype(dtype)
        own = jnp.where(jnp.isfinite(own), own, jnp.inf)
        best = jnp.argmin(costs)
        better = costs[best] < own
        actions = jnp.where(better, candidates[best], guess)
        inner = self.planner.init(problem.starting_from(actions), key)
        return ProposedState(actions, jnp.where(better, costs[best], own), inner)

    def step(
        self, problem: Problem, state: ProposedState, context: StepContext
    ) -> tuple[ProposedState, StepInfo]:
        """One iteration of the planner, which knows what its start costs."""
        better = state.cost < context.best_cost
        local = dataclasses.replace(
            context,
            best_actions=jnp.where(better, state.actions, context.best_actions),
            best_cost=jnp.where(better, state.cost, context.best_cost),
        )
        started = problem.starting_from(state.actions)
        inner, found = self.planner.step(started, state.inner, local)
        kept = better & ~(found.cost <= state.cost)
        found = dataclasses.replace(
            found,
            actions=jnp.where(kept, state.actions, found.actions),
            cost=jnp.where(kept, state.cost, found.cost),
        )
        return ProposedState(state.actions, state.cost, inner), found

    def actions(self, problem: Problem, state: ProposedState) -> jax.Array:
        """The planner's present actions `[T, A]`."""
        return self.planner.actions(problem.starting_from(state.actions), state.inner)

    def virtual_states(self, problem: Problem, state: ProposedState) -> PyTree | None:
        """The planner's."""
        return self.planner.virtual_states(problem.starting_from(state.actions), state.inner)

    def present(self, problem: Problem, state: ProposedState) -> tuple[jax.Array, PyTree | None]:
        """Both."""
        return self.planner.present(problem.starting_from(state.actions), state.inner)

    def _all(self, problem: Problem, key: jax.Array) -> Any:
        if callable(self.proposals):
            return self.proposals(problem, key)
        given = jnp.asarray(self.proposals)
        missing = problem.max_horizon - given.shape[1] if given.ndim == 3 else 0
        if problem.mesh is None or missing <= 0:
            return given
        # A mesh pads T; what lies past the goal's step is not read.
        return jnp.pad(given, ((0, 0), (0, missing), (0, 0)))


def _hint(shape: tuple[int, ...], problem: Problem) -> str:
    """What to say of a single sequence."""
    return " One sequence is passed as actions[None]." * (shape == problem.init_actions.shape)
