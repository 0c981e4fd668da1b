"""Planners made of planners: `MultiStart` (side by side), `Chain` (in turn), `Hops` (in rounds)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree, search
from grasp_jax._fields import Scalar, count, number, process, require
from grasp_jax._tree import PyTree
from grasp_jax.noise import AR1, Noise, add_noise, spanning, split_key
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost
from grasp_jax.search import SearchState


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hops(Planner):
    """Iterated local search: noise on the best plan's actions, then a serial planner, in rounds.

    Known as basin hopping (Wales and Doye 1997). It is restarted GRASP without the lifted phase.

    Attributes:
      planner: Runs whole in every round.
      iterations: Rounds.
      std: Standard deviation of the noise, `[]` or what broadcasts to `[T, A]`; None for none.
      noise: The process of the noise over time.
    """

    planner: Planner
    iterations: int = count(8)
    std: Scalar | None = number(0.3, low=0, like="actions", optional=True)
    noise: Noise = process(AR1())

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; asks the planner too."""
        super().check(problem)
        require_planner(self.planner, "Hops.planner")
        self.planner.check(problem)

    def init(self, problem: Problem, key: jax.Array) -> jax.Array:
        """The starting guess `[T, A]`."""
        del key
        return problem.init_actions

    def step(
        self, problem: Problem, state: jax.Array, context: StepContext
    ) -> tuple[jax.Array, StepInfo]:
        """One round; the state is what the planner found in it."""
        del state
        # Keys are drawn as GRASP's are, so that its sync alone makes the same plans.
        _, sync_key = split_key(context.key, 2)
        noise_key, search_key, _ = split_key(sync_key, 3)
        actions = add_noise(
            context.best_actions, self.std, spanning(self.noise, problem.given_horizon), noise_key
        )
        found, info = search.run_inside_step(
            problem.starting_from(actions), self.planner, search_key
        )
        return found.best_actions, info

    def actions(self, problem: Problem, state: jax.Array) -> jax.Array:
        """The last round's best actions `[T, A]`."""
        del problem
        return state


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
            noise = spanning(self.noise, problem.given_horizon)
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


class ChainState(NamedTuple):
    """`turn` `[]` int32, whose turn it is, and every planner's own state."""

    turn: jax.Array
    planners: tuple[Any, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Chain(Planner):
    """Runs planners one after the other, each from the best plan so far.

    At every turn the present actions of the planner before are rolled out: they may be better than
    what it evaluated.

    `Chain(MultiStart(GRASP(), num_starts=8), GD())` explores, then polishes.

    Attributes:
      planners: One or more; each runs for its own number of iterations.
    """

    planners: tuple[Planner, ...]

    def __init__(self, *args: Planner, planners: tuple[Planner, ...] = ()):
        require(
            not (args and planners), "Chain: pass planners one by one or as planners=, not both."
        )
        object.__setattr__(self, "planners", tuple(args) or tuple(planners))

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum over the planners."""
        return sum(p.iterations for p in self.planners)

    def check(self, problem: Problem) -> None:
        """Raises for an empty chain; asks every planner too."""
        require(len(self.planners) >= 1, "Chain needs at least one planner, got none.")
        for i, planner in self._numbered():
            require_planner(planner, f"Chain.planners[{i}]")
            require(
                planner.iterations >= 1,
                f"Chain.planners[{i}] has 0 iterations, so that its turn never comes. Drop it.",
            )
            planner.check(problem)

    @property
    def evaluates_guess(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the first planner."""
        return self.planners[0].evaluates_guess

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """Every planner's first state is made at the beginning; the last one has the last word."""
        calls = [p.extra_evals(problem) for p in self.planners]
        return sum(first for first, _ in calls), calls[-1][1]

    def init(self, problem: Problem, key: jax.Array) -> ChainState:
        """Every planner's first state; all but the first start anew when their turn comes."""
        own = tuple(p.init(problem, jax.random.fold_in(key, i)) for i, p in self._numbered())
        return ChainState(jnp.zeros((), jnp.int32), own)

    def step(
        self, problem: Problem, state: ChainState, context: StepContext
    ) -> tuple[ChainState, StepInfo]:
        """One iteration of the planner whose turn it is; the last goes on past its own count."""
        first = self._first_iterations()
        turn = sum((context.iteration >= f).astype(jnp.int32) for f in first[1:])
        branches = [self._branch(problem, i) for i, _ in self._numbered()]
        return jax.lax.switch(jnp.asarray(turn, jnp.int32), branches, state, context)

    def actions(self, problem: Problem, state: ChainState) -> jax.Array:
        """The present actions `[T, A]` of the planner whose turn it is."""
        branches = [
            lambda own, i=i, p=p: problem.clip(p.actions(problem, own[i]))
            for i, p in self._numbered()
        ]
        return jax.lax.switch(state.turn, branches, state.planners)

    def virtual_states(self, problem: Problem, state: ChainState) -> PyTree | None:
        """Those of the last planner that has any and has had a turn; else of the first with any."""
        found = None
        for i, planner in self._numbered():
            own = planner.virtual_states(problem, state.planners[i])
            if own is not None:
                found = own if found is None else _tree.where(state.turn >= i, own, found)
        return found

    def _numbered(self) -> list[tuple[int, Planner]]:
        return list(enumerate(self.planners))

    def _first_iterations(self) -> list[int]:
        """The iteration at which each planner's turn begins."""
        return [sum(p.iterations for p in self.planners[:i]) for i in range(len(self.planners))]

    def _branch(self, problem: Problem, index: int) -> Any:
        planner, first = self.planners[index], self._first_iterations()[index]
        turn = jnp.asarray(index, jnp.int32)

        def step(state: ChainState, context: StepContext) -> tuple[ChainState, StepInfo]:
            own = state.planners[index]
            begins = context.iteration == first
            local = dataclasses.replace(context, iteration=context.iteration - first)
            if index == 0:
                own, found = planner.step(problem, own, local)
            else:
                left, cost, spent, fits = self._handed_over(problem, index, state, context, begins)
                better = cost < context.best_cost
                local = dataclasses.replace(
                    local,
                    best_actions=jnp.where(better, left, context.best_actions),
                    best_cost=jnp.where(better, cost, context.best_cost),
                )
                own = jax.lax.cond(
                    begins,
                    lambda: planner.init(
                        problem.starting_from(local.best_actions),
                        jax.random.fold_in(context.key, 1),
                    ),
                    lambda: own,
                )
                own, found = planner.step(problem, own, local)
                found = _better(found, left, cost, spent, fits)
            planners = (*state.planners[:index], own, *state.planners[index + 1 :])
            return ChainState(turn, planners), found

        return step

    def _handed_over(
        self,
        problem: Problem,
        index: int,
        state: ChainState,
        context: StepContext,
        begins: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """What the planner before `index` leaves: actions, cost, model calls, whether finite."""
        dtype, before, own = context.best_cost.dtype, self.planners[index - 1], state.planners
        evals = problem.max_horizon + before.extra_evals(problem)[1]
        evals += self.planners[index].extra_evals(problem)[0]

        def roll_out() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            left = problem.clip(before.actions(problem, own[index - 1]))
            cost = rollout_cost(problem, left).astype(dtype)
            fits = jnp.isfinite(cost)
            return left, jnp.where(fits, cost, jnp.inf), jnp.asarray(evals, jnp.float32), fits

        def nothing() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            none = jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.float32), jnp.asarray(True)
            return context.best_actions, *none

        return jax.lax.cond(begins, roll_out, nothing)


def _better(
    found: StepInfo, actions: jax.Array, cost: jax.Array, spent: jax.Array, finite: jax.Array
) -> StepInfo:
    """A proposal, or other actions where they cost less."""
    cheaper = ~(found.cost <= cost)
    return dataclasses.replace(
        found,
        actions=jnp.where(cheaper, actions, found.actions),
        cost=jnp.where(cheaper, cost, found.cost),
        finite=found.finite & finite,
        model_evals=found.model_evals + spent,
    )
