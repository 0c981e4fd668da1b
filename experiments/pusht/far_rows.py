"""The rows of Push-T's far goals: where subgoals come from, and who plans towards them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from experiments.planning.planners import alter
from experiments.pusht.planners import short_searches
from grasp_jax import GivenPath, Planner
from grasp_jax.proposals import PathTree, ProposedPath, Proposer, straight_line

FLAT_AHEAD, AHEAD = 16, 5
"""Model steps of a plan, straight for the goal and for a subgoal."""
REPLAN_EVERY, MIN_HORIZON = 2, 2
POLISH = 2
"""Model steps that a flat plan which did not arrive gets to end its work; then it is made anew."""
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
    """Name in tables to row; every planner has a quarter of its budget in the open-loop tables."""
    short = short_searches()
    grasp, icem = short["GRASP-x1/4"], short["iCEM-x1/4"]
    return {
        "GRASP": Row(None, grasp, FLAT_AHEAD),
        "iCEM": Row(None, icem, FLAT_AHEAD),
        "GRASP-segments": Row("segments", grasp, num_states=AHEAD + 2),
        "GRASP-graph": Row("graph", grasp),
        "iCEM-graph": Row("graph", icem, lifts=False),
        "GRASP-truth": Row("truth", grasp, num_states=TRUTH_STATES),
        "iCEM-truth": Row("truth", icem, num_states=TRUTH_STATES, lifts=False),
    }


def steps_left(step: int, recorded: int) -> int:
    """How far a flat plan looks ahead: it is to arrive when it said, and not always `T` from now.

    Args:
      step: Model steps so far.
      recorded: Model steps that the recording took.
    """
    whole = min(FLAT_AHEAD, recorded)
    return max(whole - step % (whole + POLISH), MIN_HORIZON)


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
