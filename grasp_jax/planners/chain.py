"""Planners in turn, each from the best plan so far."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import Scalar, number, require, static
from grasp_jax._tree import PyTree, cost_dtype
from grasp_jax.planner import Planner, StepContext, StepInfo, require_planner
from grasp_jax.problem import Problem
from grasp_jax.rollout import rollout_cost


class Guess(NamedTuple):
    """For a fallback: the starting guess `[T, A]`, its cost `[]`, whether that is solved `[]`."""

    actions: jax.Array
    cost: jax.Array
    solved: jax.Array


class ChainState(NamedTuple):
    """`turn` `[]` int32, whose turn it is; every planner's own state; the guess for a fallback."""

    turn: jax.Array
    planners: tuple[Any, ...]
    guess: Guess | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Chain(Planner):
    """Runs planners one after the other, each from the best plan so far.

    At every turn the present actions of the planner before are rolled out: they may be better than
    what it evaluated.

    `Chain(MultiStart(GRASP(), num_starts=8), GD())` explores, then polishes.

    Attributes:
      planners: One or more; each runs for its own number of iterations.
      fallbacks: Which of them, counted from 0, are for what the ones before did not solve: such a
        one starts from the starting guess anew, and only where the best cost so far is above
        `good_enough` times the guess's; its turn passes without work where it is not needed (beside
        other goals of a batch without gain in time).
      good_enough: `[]`, a share of the guess's cost, traced.
    """

    planners: tuple[Planner, ...]
    fallbacks: tuple[int, ...] = static(())
    good_enough: Scalar = number(1e-3, low=0)

    def __init__(
        self,
        *args: Planner,
        planners: tuple[Planner, ...] = (),
        fallbacks: tuple[int, ...] = (),
        good_enough: Scalar = 1e-3,
    ):
        require(
            not (args and planners), "Chain: pass planners one by one or as planners=, not both."
        )
        object.__setattr__(self, "planners", tuple(args) or tuple(planners))
        object.__setattr__(self, "fallbacks", fallbacks)
        object.__setattr__(self, "good_enough", good_enough)
        self.__post_init__()

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum over the planners."""
        return sum(p.iterations for p in self.planners)

    def check(self, problem: Problem) -> None:
        """Raises for an empty chain, or a fallback that is none; asks every planner too."""
        super().check(problem)
        require(len(self.planners) >= 1, "Chain needs at least one planner, got none.")
        allowed = range(1, len(self.planners))
        require(
            isinstance(self.fallbacks, tuple) and all(i in allowed for i in self.fallbacks),
            f"Chain.fallbacks must be a tuple of places in 1..{len(self.planners) - 1}, counted "
            f"from 0 among {len(self.planners)} planners, got {self.fallbacks!r:.60}.",
        )
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
        guess = problem.max_horizon * bool(self.fallbacks)
        return guess + sum(first for first, _ in calls), calls[-1][1]

    def init(self, problem: Problem, key: jax.Array) -> ChainState:
        """Every planner's first state; all but the first start anew when their turn comes."""
        own = tuple(p.init(problem, jax.random.fold_in(key, i)) for i, p in self._numbered())
        guess = None
        if self.fallbacks:
            cost = rollout_cost(problem, problem.init_actions)
            cost = cost.astype(cost_dtype(problem.init_actions.dtype))
            guess = Guess(problem.init_actions, cost, jnp.asarray(False))
        return ChainState(jnp.zeros((), jnp.int32), own, guess)

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
            own, guess = state.planners[index], state.guess
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
                if index in self.fallbacks and guess is not None:
                    solved = local.best_cost <= self.good_enough * guess.cost
                    guess = guess._replace(solved=jnp.where(begins, solved, guess.solved))
                    own, found = jax.lax.cond(
                        guess.solved,
                        lambda: (own, _nothing(local)),
                        lambda: self._go_on(problem, index, own, local, guess.actions),
                    )
                else:
                    own, found = self._go_on(problem, index, own, local, local.best_actions)
                found = _better(found, left, cost, spent, fits)
            planners = (*state.planners[:index], own, *state.planners[index + 1 :])
            return ChainState(turn, planners, guess), found

        return step

    def _go_on(
        self, problem: Problem, index: int, own: Any, local: StepContext, start: jax.Array
    ) -> tuple[Any, StepInfo]:
        """A step of a planner, which begins at `start` `[T, A]`."""
        planner = self.planners[index]
        own = jax.lax.cond(
            local.iteration == 0,
            lambda: planner.init(problem.starting_from(start), jax.random.fold_in(local.key, 1)),
            lambda: own,
        )
        return planner.step(problem, own, local)

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


def _nothing(context: StepContext) -> StepInfo:
    """The step of a planner that is not needed."""
    best = context.best_actions
    return StepInfo.of(best, jnp.asarray(jnp.inf), jnp.asarray(True), 0.0, stuck=True)


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
