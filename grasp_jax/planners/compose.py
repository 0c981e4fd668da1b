"""Planners made of planners: `MultiStart` (several at once, the best wins) and `Chain`."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree, driver
from grasp_jax._settings import (
    Scalar,
    require,
    require_count,
    require_noise,
    require_number,
    require_range,
    static,
)
from grasp_jax._tree import PyTree
from grasp_jax.driver import SearchState
from grasp_jax.noise import Correlated, Noise, add_noise
from grasp_jax.planners.base import (
    Planner,
    Progress,
    Proposal,
    check,
    evaluates_guess,
    own_calls,
    require_planner,
    virtual_states,
)
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MultiStart:
    """Runs one planner from several starts side by side; the best plan by rollout cost wins.

    Attributes:
      planner: Any planner. Every start has a key of its own.
      starts: How many.
      start_noise: Standard deviation of `noise` added to the starting guess of every start but
        the first; None for none. Planners that draw no noise themselves, such as `GD`, need it:
        without it all starts find the same plan.
      noise: Shape of the start noise over time.
      exchange_every: Every so many iterations the worse half of the searches goes on from copies
        of the better half, each with a key of its own; for planners that explore by noise of
        their own. None lets every search go its own way.
    """

    planner: Planner
    starts: int = static(8)
    start_noise: Scalar | None = None
    noise: Noise = Correlated()
    exchange_every: int | None = static(None)

    @property
    def iterations(self) -> int:
        """Those of the planner."""
        return self.planner.iterations

    def __post_init__(self) -> None:
        require_range(self, "start_noise", 0)

    def check(self, problem: Problem) -> None:
        """Raises for a count that cannot work; asks the planner too."""
        require_count(self, "starts")
        if self.exchange_every is not None:
            require_count(self, "exchange_every")
        require_noise(self, problem.actions)
        require_number(self, "start_noise", problem.actions.shape, optional=True)
        require_planner(self.planner, "MultiStart.planner")
        every, iterations = self.exchange_every or 1, self.planner.iterations
        require(
            every <= iterations,
            f"MultiStart.exchange_every is {every} but its planner has {iterations} iterations: "
            "the searches would never exchange. Lower it, or pass None.",
        )
        check(self.planner, problem)

    @property
    def evaluates_guess(self) -> bool:
        """No iteration has to: `init` does."""
        return True

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """A rollout of every start, at the beginning and at the end, and what the planner adds."""
        first, last = own_calls(self.planner, problem)
        return self.starts * (problem.horizon + first), self.starts * (problem.horizon + last)

    def init(self, problem: Problem, key: jax.Array) -> SearchState:
        """One search per start, leaves `[starts, ...]`."""

        def one(start: jax.Array) -> SearchState:
            noise_key, search_key = jax.random.split(jax.random.fold_in(key, start))
            noisy = add_noise(problem.actions, self.start_noise, self.noise, noise_key)
            actions = jnp.where(start == 0, problem.actions, noisy)
            return driver.initialise(problem.starting_from(actions), self.planner, search_key)

        return jax.vmap(one)(jnp.arange(self.starts))

    def step(
        self, problem: Problem, state: SearchState, progress: Progress
    ) -> tuple[SearchState, Proposal]:
        """One iteration of every start; proposes the best plan found by any of them."""

        def one(search: SearchState) -> tuple[SearchState, Proposal]:
            return driver.one_step(problem, self.planner, search, progress.iteration)

        state, found = jax.vmap(one)(state)
        best = jnp.argmin(state.best_cost)
        found = dataclasses.replace(
            _tree.take(found, best),
            actions=state.best_actions[best],
            cost=state.best_cost[best],
            finite=jnp.all(state.finite),
            forward=jnp.sum(found.forward),
            backward=jnp.sum(found.backward),
        )
        if self.exchange_every is None:
            return state, found
        due = (progress.iteration + 1) % self.exchange_every == 0
        return jax.lax.cond(due, self._exchange, lambda s: s, state), found

    def actions(self, problem: Problem, state: SearchState) -> jax.Array:
        """The best present actions of any start, `[T, A]`; rolls out those of all."""
        present, best = self._present(problem, state)
        return present[best]

    def virtual_states(self, problem: Problem, state: SearchState) -> PyTree | None:
        """Those that belong to `actions`, if the planner has any."""
        best = _tree.take(state.planner, self._present(problem, state)[1])
        return virtual_states(self.planner, problem, best)

    def _present(self, problem: Problem, state: SearchState) -> tuple[jax.Array, jax.Array]:
        """The starts' present actions `[starts, T, A]`, and which are best.

        A planner that evaluates no rollout, or not its last one, has its best work only there.
        """
        present = problem.clip(jax.vmap(lambda s: self.planner.actions(problem, s))(state.planner))
        costs = jax.vmap(lambda a: rollout_cost(problem, a))(present)
        return present, jnp.argmin(jnp.where(jnp.isfinite(costs), costs, jnp.inf))

    def _exchange(self, state: SearchState) -> SearchState:
        """The worse half of the searches becomes the better half, leaves `[starts, ...]`."""
        order, half = jnp.argsort(state.best_cost), self.starts // 2
        worse, better = order[self.starts - half :], order[:half]
        # Before anything was evaluated all searches are equally good, and different.
        ahead = state.best_cost[better] < state.best_cost[worse]
        parents = jnp.arange(self.starts).at[worse].set(jnp.where(ahead, better, worse))
        return _adopt(state, _tree.take(state, parents))


def _adopt(own: PyTree, other: PyTree) -> PyTree:
    """`other`, but every search in it keeps the key of `own`, so that copies part again.

    It also remembers that a number in `own` was broken.
    """

    def one(mine: Any, theirs: Any) -> Any:
        if not isinstance(mine, SearchState):
            return theirs
        inner = _adopt(mine.planner, theirs.planner)
        finite = mine.finite & theirs.finite
        return dataclasses.replace(theirs, planner=inner, key=mine.key, finite=finite)

    return jax.tree.map(one, own, other, is_leaf=lambda x: isinstance(x, SearchState))


class ChainState(NamedTuple):
    """`turn` `[]` int32, whose turn it is, and every planner's own state."""

    turn: jax.Array
    planners: tuple[Any, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, init=False)
class Chain:
    """Runs planners one after the other, each from the best plan so far.

    At every turn the present actions of the planner before are rolled out: they may be better than
    what it evaluated.

    `Chain(MultiStart(GRASP(...), 8), GD(...))` explores, then polishes.

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
    def iterations(self) -> int:
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
            check(planner, problem)

    @property
    def evaluates_guess(self) -> bool:
        """As the first planner."""
        return evaluates_guess(self.planners[0])

    def own_calls(self, problem: Problem) -> tuple[int, int]:
        """Every planner's first state is made at the beginning; the last one has the last word."""
        calls = [own_calls(p, problem) for p in self.planners]
        return sum(first for first, _ in calls), calls[-1][1]

    def init(self, problem: Problem, key: jax.Array) -> ChainState:
        """Every planner's first state; all but the first start anew when their turn comes."""
        own = tuple(p.init(problem, jax.random.fold_in(key, i)) for i, p in self._numbered())
        return ChainState(jnp.zeros((), jnp.int32), own)

    def step(
        self, problem: Problem, state: ChainState, progress: Progress
    ) -> tuple[ChainState, Proposal]:
        """One iteration of the planner whose turn it is; the last goes on past its own count."""
        first = self._first_iterations()
        turn = sum((progress.iteration >= f).astype(jnp.int32) for f in first[1:])
        branches = [self._branch(problem, i) for i, _ in self._numbered()]
        return jax.lax.switch(jnp.asarray(turn, jnp.int32), branches, state, progress)

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
            own = virtual_states(planner, problem, state.planners[i])
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

        def step(state: ChainState, progress: Progress) -> tuple[ChainState, Proposal]:
            own = state.planners[index]
            begins = progress.iteration == first
            local = dataclasses.replace(progress, iteration=progress.iteration - first)
            if index == 0:
                own, found = planner.step(problem, own, local)
            else:
                left, cost, spent, fits = self._handed_over(problem, index, state, progress, begins)
                better = cost < progress.best_cost
                local = dataclasses.replace(
                    local,
                    best_actions=jnp.where(better, left, progress.best_actions),
                    best_cost=jnp.where(better, cost, progress.best_cost),
                )
                own = jax.lax.cond(
                    begins,
                    lambda: planner.init(
                        problem.starting_from(local.best_actions),
                        jax.random.fold_in(progress.key, 1),
                    ),
                    lambda: own,
                )
                own, found = planner.step(problem, own, local)
                found = _better(found, left, cost, spent, fits)
            planners = (*state.planners[:index], own, *state.planners[index + 1 :])
            return ChainState(turn, planners), found

        return step

    def _handed_over(
        self, problem: Problem, index: int, state: ChainState, progress: Progress, begins: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """What the planner before `index` leaves: actions, cost, model calls, whether finite."""
        dtype, before, own = progress.best_cost.dtype, self.planners[index - 1], state.planners
        calls = problem.horizon + own_calls(before, problem)[1]
        calls += own_calls(self.planners[index], problem)[0]

        def roll_out() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            left = problem.clip(before.actions(problem, own[index - 1]))
            cost = rollout_cost(problem, left).astype(dtype)
            fits = jnp.isfinite(cost)
            return left, jnp.where(fits, cost, jnp.inf), jnp.asarray(calls, jnp.float32), fits

        def nothing() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
            none = jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.float32), jnp.asarray(True)
            return progress.best_actions, *none

        return jax.lax.cond(begins, roll_out, nothing)


def _better(
    found: Proposal, actions: jax.Array, cost: jax.Array, spent: jax.Array, finite: jax.Array
) -> Proposal:
    """A proposal, or other actions where they cost less."""
    cheaper = ~(found.cost <= cost)
    return dataclasses.replace(
        found,
        actions=jnp.where(cheaper, actions, found.actions),
        cost=jnp.where(cheaper, cost, found.cost),
        finite=found.finite & finite,
        forward=found.forward + spent,
    )
