"""One planner from several starts, side by side."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree, search
from grasp_jax._fields import Scalar, count, number, process, require
from grasp_jax._tree import PyTree
from grasp_jax.noise import AR1, Noise, add_noise, split_key
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost
from grasp_jax.search import SearchState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MultiStart(Planner):
    """Runs one planner from several starts side by side; the best plan by rollout cost wins.

    Attributes:
      planner: Any planner. Every start has a key of its own.
      num_starts: How many.
      start_std: Standard deviation of `noise` added to the starting guess of every start but
        the first; None for none. Planners that draw no noise themselves, such as `GD`, need it:
        without it all starts find the same plan.
      noise: The process of the start noise over time.
      resample_every: Every so many iterations the worse half of the searches goes on from copies
        of the better half, each with a key of its own (truncation selection); for planners that
        explore by noise of their own. None lets every search go its own way.
    """

    planner: Planner
    _: dataclasses.KW_ONLY
    num_starts: int = count(8)
    start_std: Scalar | None = number(None, low=0, like="actions")
    noise: Noise = process(AR1())
    resample_every: int | None = count(None)

    evaluates_guess = True  # not by an iteration, but `init` does

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the planner."""
        return self.planner.iterations

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; asks the planner too."""
        super().check(problem)
        require_planner(self.planner, "MultiStart.planner")
        every, iterations = self.resample_every or 1, self.planner.iterations
        require(
            every <= iterations,
            f"MultiStart.resample_every is {every} but its planner has {iterations} iterations: "
            "the searches would never be resampled. Lower it, or pass None.",
        )
        self.planner.check(problem)

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """A rollout of every start, at the beginning and at the end, and what the planner adds."""
        first, last = self.planner.extra_evals(problem)
        steps = problem.max_horizon
        return self.num_starts * (steps + first), self.num_starts * (steps + last)

    def init(self, problem: Problem, key: jax.Array) -> SearchState:
        """One search per start, leaves `[starts, ...]`."""

        def one(start: jax.Array) -> SearchState:
            noise_key, search_key = split_key(jax.random.fold_in(key, start), 2)
            noise = problem.action_noise(self.noise)
            noisy = add_noise(problem.init_actions, self.start_std, noise, noise_key)
            actions = jnp.where(start == 0, problem.init_actions, noisy)
            return search.initialize(problem.starting_from(actions), self.planner, search_key)

        return jax.vmap(one)(jnp.arange(self.num_starts))

    def step(
        self, problem: Problem, state: SearchState, context: StepContext
    ) -> tuple[SearchState, StepInfo]:
        """One iteration of every start; proposes the best plan found by any of them."""

        def one(mine: SearchState) -> tuple[SearchState, StepInfo]:
            return search.one_step(problem, self.planner, mine, context.iteration)

        state, found = jax.vmap(one)(state)
        best = jnp.argmin(state.best_cost)
        found = dataclasses.replace(
            _tree.take(found, best),
            actions=state.best_actions[best],
            cost=state.best_cost[best],
            finite=jnp.all(state.finite),
            model_evals=jnp.sum(found.model_evals),
            model_vjps=jnp.sum(found.model_vjps),
            stuck=jnp.all(found.stuck),
            control_finite=jnp.all(state.control_finite),
        )
        if self.resample_every is None:
            return state, found
        due = (context.iteration + 1) % self.resample_every == 0
        return jax.lax.cond(due, self._resample, lambda s: s, state), found

    def actions(self, problem: Problem, state: SearchState) -> jax.Array:
        """The best present actions of any start, `[T, A]`; rolls out those of all."""
        return self.present(problem, state)[0]

    def present(self, problem: Problem, state: SearchState) -> tuple[jax.Array, PyTree | None]:
        """The best present actions of any start, and the virtual states that belong to them.

        A planner that evaluates no rollout, or not its last one, has its best work only there.
        """
        present = problem.clip(jax.vmap(lambda s: self.planner.actions(problem, s))(state.inner))
        costs = jax.vmap(lambda a: rollout_cost(problem, a))(present)
        best = jnp.argmin(jnp.where(jnp.isfinite(costs), costs, jnp.inf))
        inner = _tree.take(state.inner, best)
        return present[best], self.planner.virtual_states(problem, inner)

    def virtual_states(self, problem: Problem, state: SearchState) -> PyTree | None:
        """Those that belong to `actions`, if the planner has any."""
        return self.present(problem, state)[1]

    def _resample(self, state: SearchState) -> SearchState:
        """The worse half of the searches becomes the better half, leaves `[starts, ...]`."""
        order, half = jnp.argsort(state.best_cost), self.num_starts // 2
        worse, better = order[self.num_starts - half :], order[:half]
        # Before anything was evaluated all searches are equally good, and different.
        ahead = state.best_cost[better] < state.best_cost[worse]
        parents = jnp.arange(self.num_starts).at[worse].set(jnp.where(ahead, better, worse))
        return _adopt(state, _tree.take(state, parents))


def _adopt(own: PyTree, other: PyTree) -> PyTree:
    """`other`, but every search in it keeps the key of `own`, so that copies part again.

    It also remembers that a number in `own` was broken.
    """

    def one(mine: Any, theirs: Any) -> Any:
        if not isinstance(mine, SearchState):
            return theirs
        inner = _adopt(mine.inner, theirs.inner)
        finite = mine.finite & theirs.finite
        return dataclasses.replace(theirs, inner=inner, key=mine.key, finite=finite)

    return jax.tree.map(one, own, other, is_leaf=lambda x: isinstance(x, SearchState))
