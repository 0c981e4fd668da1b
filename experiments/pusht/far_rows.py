"""The rows of Push-T's far goals: where subgoals come from, and who plans towards them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from experiments.planning.planners import alter, grasp
from experiments.pusht.planners import of_pixels, short_searches
from grasp_jax import Chain, GivenPath, Planner
from grasp_jax.proposals import PathTree, ProposedPath, Proposer, straight_line

FLAT_AHEAD, AHEAD = 16, 5
"""Model steps of a plan, straight for the goal and for a subgoal."""
BUDGET = 2
"""Steps to act, in multiples of the recorded ones."""
REPLAN_EVERY, MIN_HORIZON = 2, 2
POLISH = 2
"""Model steps that a flat plan which did not arrive gets to end its work; then it is made anew."""
GOOD_ENOUGH, ARRIVES = 5e-4, 2e-3
"""Cost of a flat plan that ends its search, and the highest of one that reaches the goal."""
INSIDE = 0.8
"""An episode ends where the frame shows the goal within this share of the tolerances."""
LEAVE_DISTANCE = 0.2
"""Latent distance from the path; 0.1 is about 26 of 512 px."""
SEGMENT, NEIGHBORS = 10, 8
"""Model steps of a retrieved piece, at most, and how many pieces that begin near are compared."""
GRAPH_STATES, TRUTH_STATES = 16, 96
"""States that a path is proposed for."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
      path: `segments`, `graph` or `truth`: where the path comes from; None for none.
      search: The planner; where it lifts and there is a path, virtual states start on the path.
      ahead: Model steps of a plan.
      num_states: Of a proposed path.
      lifts: Whether the planner has virtual states to start on the path.
      target_cost: A plan of this cost is good enough, and ends its search.
    """

    path: str | None
    search: Any
    ahead: int = AHEAD
    num_states: int = GRAPH_STATES
    lifts: bool = True
    target_cost: float | None = None

    def planner(self, states: Any) -> Planner:
        """The planner for a path's states `[T-1, L]`."""
        if not self.lifts:
            return self.search
        return alter(self.search, init_states=GivenPath(states))


def rows() -> dict[str, Row]:
    """Name in tables to row.

    Flat planners have half of GRASP's budget in the open-loop tables and all of iCEM's, and stop
    where their plan is good enough; those along paths a quarter of either.
    """
    short = short_searches()
    quarter, few = short["GRASP-x1/4"], short["iCEM-x1/4"]
    search = grasp(noise=0.08, starts=8, cycles=4, exchange=1)
    sampler = of_pixels()["iCEM"]
    both = Chain(search, sampler, fallbacks=(1,))
    return {
        "GRASP-iCEM": Row(None, both, FLAT_AHEAD, target_cost=GOOD_ENOUGH),
        "GRASP": Row(None, search, FLAT_AHEAD, target_cost=GOOD_ENOUGH),
        "iCEM": Row(None, sampler, FLAT_AHEAD, target_cost=GOOD_ENOUGH),
        "GRASP-segments": Row("segments", quarter, num_states=AHEAD + 2),
        "GRASP-graph": Row("graph", quarter),
        "iCEM-graph": Row("graph", few, lifts=False),
        "GRASP-truth": Row("truth", quarter, num_states=TRUTH_STATES),
        "iCEM-truth": Row("truth", few, num_states=TRUTH_STATES, lifts=False),
    }


def arrival(step: int, due: int | None, cost: float, recorded: int) -> int:
    """When a flat plan is to arrive: when it first said, and not always `T` from now.

    Later only where the last plan does not arrive, or its time is over.

    Args:
      step: Model steps so far.
      due: The model step that the last plan was to arrive at; None before the first.
      cost: Of the last plan, by the model.
      recorded: Model steps that the recording took.

    Returns:
      A model step.
    """
    if due is None:
        return min(FLAT_AHEAD, recorded)
    missed = step % REPLAN_EVERY == 0 and cost > ARRIVES
    if not missed and step < due + POLISH:
        return due
    return step + min(FLAT_AHEAD, BUDGET * recorded - step)


def proposer(path: PathTree | jax.Array | None) -> Proposer:
    """A tree as it is, states `[P, L]` as a path that is known, nothing as the straight line."""
    if path is None:
        return straight_line
    return path if isinstance(path, PathTree) else _listed(path)


def _listed(path: jax.Array) -> Proposer:
    """The rest of a path `[P, L]` from its row next to the state; it arrives at its last row."""

    def rest(state: Any, goal: Any, *, num_states: int) -> ProposedPath:
        first = jnp.argmin(jnp.sum((path - state) ** 2, axis=-1))
        rows = jnp.minimum(first + jnp.arange(num_states), len(path) - 1)
        arrives = jnp.argmax(jnp.all(path == path[-1], axis=-1))
        steps = jnp.maximum(arrives - first, 0) + 1.0
        return ProposedPath(path[rows], steps, jnp.asarray(True))

    return rest
