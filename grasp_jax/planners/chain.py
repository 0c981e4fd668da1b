"""Planners in turn, each from the best plan so far."""

import dataclasses
import itertools
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
    """For fallbacks, which know nothing of the turns before them.

    Attributes:
      actions, cost: The starting guess `[T, A]`, and its cost `[]`.
      solved: `[]` bool, whether this turn is not needed.
      best_actions, best_cost: The best of the guess and what this turn found.
    """

    actions: jax.Array
    cost: jax.Array
    solved: jax.Array
    best_actions: jax.Array
    best_cost: jax.Array


class Handed(NamedTuple):
    """What a turn leaves to the next: actions `[T, A]`, their cost, calls spent, if finite `[]`."""

    actions: jax.Array
    cost: jax.Array
    spent: jax.Array
    finite: jax.Array


class ChainState(NamedTuple):
    """`turn` `[]` int32, counted from 0; every planner's own state; the guess for a fallback."""

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
      turns: Which planner runs in which turn, counted from 0; each once and in order by default.
        `Chain(a, b, turns=(0, 1, 0))` holds one program of `a`, `Chain(a, b, a)` two.
      fallbacks: Which turns, counted from 0, are for what the ones before did not solve: such a one
        starts from the starting guess anew, and only where the best cost so far is above
        `good_enough` times the guess's, or the guess's is not positive; it passes without work
        where it is not needed (beside other goals of a batch without gain in time).
      good_enough: `[]`, a share of the guess's cost, traced.
    """

    planners: tuple[Planner, ...]
    turns: tuple[int, ...] | None = static(None)
    fallbacks: tuple[int, ...] = static(())
    good_enough: Scalar = number(1e-3, low=0)

    def __init__(
        self,
        *args: Planner,
        planners: tuple[Planner, ...] = (),
        turns: tuple[int, ...] | None = None,
        fallbacks: tuple[int, ...] = (),
        good_enough: Scalar = 1e-3,
    ):
        require(
            not (args and planners), "Chain: pass planners one by one or as planners=, not both."
        )
        object.__setattr__(self, "planners", tuple(args) or tuple(planners))
        object.__setattr__(self, "turns", turns)
        object.__setattr__(self, "fallbacks", fallbacks)
        object.__setattr__(self, "good_enough", good_enough)
        self.__post_init__()

    @property
    def iterations(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The sum over the turns."""
        return sum(p.iterations for p in self._in_turn())

    def check(self, problem: Problem) -> None:
        """Raises for an empty chain, or a fallback that is none; asks every planner too."""
        super().check(problem)
        require(len(self.planners) >= 1, "Chain needs at least one planner, got none.")
        count, turns = len(self.planners), self._order()
        require(
            isinstance(turns, tuple) and set(turns) == set(range(count)),
            f"Chain.turns must be a tuple in which each of 0..{count - 1} comes at least once, for "
            f"{count} planners, got {self.turns!r:.60}.",
        )
        allowed = range(1, len(turns))
        require(
            isinstance(self.fallbacks, tuple) and all(i in allowed for i in self.fallbacks),
            f"Chain.fallbacks must be a tuple of turns in 1..{len(turns) - 1}, counted from 0, got "
            f"{self.fallbacks!r:.60}.",
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
        return self._in_turn()[0].evaluates_guess

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """Every planner's first state is made at the beginning; the last one has the last word."""
        calls = [p.extra_evals(problem) for p in self.planners]
        guess = problem.max_horizon * bool(self.fallbacks)
        return guess + sum(first for first, _ in calls), calls[self._order()[-1]][1]

    def init(self, problem: Problem, key: jax.Array) -> ChainState:
        """Every planner's first state; all but the first start anew when their turn comes."""
        own = tuple(p.init(problem, jax.random.fold_in(key, i)) for i, p in self._numbered())
        guess = None
        if self.fallbacks:
            cost = rollout_cost(problem, problem.init_actions)
            cost = cost.astype(cost_dtype(problem.init_actions.dtype))
            known = problem.init_actions, cost
            guess = Guess(*known, jnp.asarray(False), *known)
        return ChainState(jnp.zeros((), jnp.int32), own, guess)

    def step(
        self, problem: Problem, state: ChainState, context: StepContext
    ) -> tuple[ChainState, StepInfo]:
        """One iteration of the planner whose turn it is; the last goes on past its own count."""
        firsts = self._first_iterations()
        turn = jnp.asarray(sum((context.iteration >= f).astype(jnp.int32) for f in firsts[1:]))
        turn = turn.astype(jnp.int32)
        first = jnp.asarray(firsts, jnp.int32)[turn]
        handed = self._handed_over(problem, state, context, turn, context.iteration == first)
        better = handed.cost < context.best_cost
        local = dataclasses.replace(
            context,
            iteration=context.iteration - first,
            best_actions=jnp.where(better, handed.actions, context.best_actions),
            best_cost=jnp.where(better, handed.cost, context.best_cost),
        )
        branches = [self._branch(problem, i) for i, _ in self._numbered()]
        state, found = jax.lax.switch(self._planner_of(turn), branches, state, local, turn)
        return state._replace(turn=turn), _better(found, handed)

    def actions(self, problem: Problem, state: ChainState) -> jax.Array:
        """The present actions `[T, A]` of the planner whose turn it is."""
        return self._actions(problem, state.planners, state.turn)

    def virtual_states(self, problem: Problem, state: ChainState) -> PyTree | None:
        """Those of the last planner that has any and has had a turn; else of the first with any."""
        found = None
        for turn, index in enumerate(self._order()):
            own = self.planners[index].virtual_states(problem, state.planners[index])
            if own is not None:
                found = own if found is None else _tree.where(state.turn >= turn, own, found)
        return found

    def _numbered(self) -> list[tuple[int, Planner]]:
        return list(enumerate(self.planners))

    def _order(self) -> tuple[int, ...]:
        """The planner of every turn."""
        return tuple(range(len(self.planners))) if self.turns is None else self.turns

    def _in_turn(self) -> list[Planner]:
        return [self.planners[i] for i in self._order()]

    def _planner_of(self, turn: jax.Array) -> jax.Array:
        return jnp.asarray(self._order(), jnp.int32)[turn]

    def _first_iterations(self) -> list[int]:
        """The iteration at which each turn begins."""
        counts = [p.iterations for p in self._in_turn()]
        return [sum(counts[:i]) for i in range(len(counts))]

    def _actions(self, problem: Problem, own: tuple[Any, ...], turn: jax.Array) -> jax.Array:
        branches = [
            lambda own, i=i, p=p: problem.clip(p.actions(problem, own[i]))
            for i, p in self._numbered()
        ]
        return jax.lax.switch(self._planner_of(turn), branches, own)

    def _branch(self, problem: Problem, index: int) -> Any:
        """A step of a planner, whose turn is `turn`."""
        planner = self.planners[index]
        turns = [t for t, i in enumerate(self._order()) if i == index]
        falls_back = [t in self.fallbacks for t in range(len(self._order()))]

        def go_on(own: Any, local: StepContext, start: jax.Array, turn: jax.Array) -> Any:
            if turns != [0]:
                own = jax.lax.cond(
                    (local.iteration == 0) & (turn > 0),
                    lambda: planner.init(
                        problem.starting_from(start), jax.random.fold_in(local.key, 1)
                    ),
                    lambda: own,
                )
            return planner.step(problem, own, local)

        def step(
            state: ChainState, local: StepContext, turn: jax.Array
        ) -> tuple[ChainState, StepInfo]:
            own, guess = state.planners[index], state.guess
            if guess is not None and any(falls_back[t] for t in turns):
                here = jnp.asarray(falls_back)[turn]
                guess = self._begun(guess, local)
                start = jnp.where(here, guess.actions, local.best_actions)
                alone = dataclasses.replace(
                    local,
                    best_actions=jnp.where(here, guess.best_actions, local.best_actions),
                    best_cost=jnp.where(here, guess.best_cost, local.best_cost),
                )
                own, found = jax.lax.cond(
                    here & guess.solved,
                    lambda: (own, _nothing(local)),
                    lambda: go_on(own, alone, start, turn),
                )
                better = found.cost < guess.best_cost
                guess = guess._replace(
                    best_actions=jnp.where(better, found.actions, guess.best_actions),
                    best_cost=jnp.where(better, found.cost, guess.best_cost),
                )
            else:
                own, found = go_on(own, local, local.best_actions, turn)
            planners = (*state.planners[:index], own, *state.planners[index + 1 :])
            return state._replace(planners=planners, guess=guess), found

        return step

    def _begun(self, guess: Guess, local: StepContext) -> Guess:
        """The guess at the first iteration of a turn; as it is at later ones.

        Only of positive costs is a share known to be good: rewards may have any sign.
        """
        begins, cost = local.iteration == 0, jnp.where(jnp.isnan(guess.cost), jnp.inf, guess.cost)
        known = jnp.isfinite(cost) & (cost > 0)
        solved = known & (local.best_cost <= self.good_enough * cost)
        return guess._replace(
            solved=jnp.where(begins, solved, guess.solved),
            best_actions=jnp.where(begins, guess.actions, guess.best_actions),
            best_cost=jnp.where(begins, cost, guess.best_cost),
        )

    def _handed_over(
        self,
        problem: Problem,
        state: ChainState,
        context: StepContext,
        turn: jax.Array,
        begins: jax.Array,
    ) -> Handed:
        """What the turn before `turn` leaves; the best plan so far, at no cost, within a turn."""
        dtype, calls = context.best_cost.dtype, [p.extra_evals(problem) for p in self._in_turn()]
        evals = [problem.max_horizon + last[1] + new[0] for last, new in itertools.pairwise(calls)]

        def roll_out() -> Handed:
            left = self._actions(problem, state.planners, turn - 1)
            cost = rollout_cost(problem, left).astype(dtype)
            fits = jnp.isfinite(cost)
            spent = jnp.asarray(evals, jnp.float32)[turn - 1]
            return Handed(left, jnp.where(fits, cost, jnp.inf), spent, fits)

        def nothing() -> Handed:
            none = jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.float32), jnp.asarray(True)
            return Handed(context.best_actions, *none)

        if not evals:
            return nothing()
        return jax.lax.cond(begins & (turn > 0), roll_out, nothing)


def _nothing(context: StepContext) -> StepInfo:
    """The step of a planner that is not needed."""
    best = context.best_actions
    return StepInfo.of(best, jnp.asarray(jnp.inf), jnp.asarray(True), 0.0, stuck=True)


def _better(found: StepInfo, handed: Handed) -> StepInfo:
    """A proposal, or what was handed over where that costs less."""
    cheaper = ~(found.cost <= handed.cost)
    return dataclasses.replace(
        found,
        actions=jnp.where(cheaper, handed.actions, found.actions),
        cost=jnp.where(cheaper, handed.cost, found.cost),
        finite=found.finite & handed.finite,
        model_evals=found.model_evals + handed.spent,
    )
