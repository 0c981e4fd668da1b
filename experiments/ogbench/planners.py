"""Every row of the point-maze tables, with what was tried for it.

A row is a source of paths and a planner. Where a planner has no virtual states it sees the same
path as a time-indexed reference in its cost (open loop), or as the same subgoals (closed loop).
Candidates were scored on episodes that the tables do not use: `experiments.ogbench --tune`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Chain, Colored, GivenPath, Planner, Segments

STEPS = 200
"""Model steps of an open-loop plan: a whole episode."""
PACE = 0.7
"""Share of the recorded speed at which paths are followed."""
AHEAD = 10
"""Model steps of a closed-loop plan."""

FromPath = Callable[[Any], Planner]
"""Virtual states `[T-1, ...]` to the planner that starts from them."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
      name: As in the tables.
      path: `graph`, `oracle` or `line`: where the path comes from; None for none.
      lifted: Makes a planner of the path's states; None where `shooting` plans.
      shooting: A planner that sees the path only in its cost.
    """

    name: str
    path: str | None
    lifted: FromPath | None = None
    shooting: Planner | None = None

    def planner(self, states: Any) -> Planner:
        """The planner for a path's states `[T-1, ...]`."""
        if self.lifted is not None:
            return self.lifted(states)
        assert self.shooting is not None
        return self.shooting


def lifted(iterations: int = 30, rate: float = 0.4) -> FromPath:
    """All actions side by side, virtual states fixed on the path, plain gradient descent.

    Without walls the model is linear with a unit gain: at 0.5 a step would solve it.
    """

    def make(states: jax.Array) -> GRASP:
        return GRASP(
            iterations=iterations,
            state_rate=0.0,
            action_rate=rate,
            goal_weight=0.0,
            state_std=None,
            init_states=GivenPath(states),
            optimizer=optax.sgd,
            sync=None,
        )

    return make


def rounds(width: int, iterations: int = 30, rate: float = 0.02) -> FromPath:
    """The lifted fit, then segments of `width` steps from the same states."""

    def make(states: jax.Array) -> Chain:
        segments = Segments(
            segment_length=width,
            iterations=iterations,
            action_rate=rate,
            init_states=GivenPath(states),
        )
        return Chain(lifted()(states), segments)

    return make


def candidates() -> dict[str, list[Any]]:
    """Shooting planners that were tried, by name."""
    size: dict[str, Any] = {"num_samples": 300, "iterations": 30}
    smooth, smoother = Colored(exponent=2.0), Colored(exponent=3.0)
    kinds = [(0.2, smooth), (0.5, smooth), (0.2, smoother), (0.5, smoother)]
    return {
        "GD": [GD(learning_rate=rate, iterations=300) for rate in (0.003, 0.01, 0.03, 0.1)],
        "CEM": [CEM(num_elites=30, std=0.2, **size), CEM(num_elites=30, std=0.5, **size)]
        + [CEM(num_elites=30, std=std, noise=smoother, **size) for std in (0.2, 0.5)],
        "iCEM": [ICEM(num_elites=30, std=std, noise=noise, **size) for std, noise in kinds],
        "MPPI": [
            MPPI(std=std, temperature=temperature, noise=smoother, **size)
            for std in (0.1, 0.3)
            for temperature in (0.1, 0.01)
        ],
    }


CHOSEN = {"GD": 0, "CEM": 2, "iCEM": 0, "MPPI": 2}
"""Open loop: none solved a tuning episode of giant-stitch; these ended nearest to their goals."""


def shooting(mode: str) -> dict[str, Planner]:
    """Name to the chosen planner, open or closed loop."""
    if mode == "open":
        return {name: tried[CHOSEN[name]] for name, tried in candidates().items()}
    return {
        "GD": GD(learning_rate=0.1, iterations=30),
        "CEM": CEM(num_samples=64, num_elites=8, iterations=5, std=0.5),
        "iCEM": ICEM(num_samples=64, num_elites=8, num_kept=3, iterations=5, std=0.5),
        "MPPI": MPPI(num_samples=64, iterations=5, std=0.3),
    }


def rows(mode: str) -> dict[str, Row]:
    """The table of a mode, `open` or `closed`."""
    ours = [
        Row("GRASP-graph", "graph", lifted()),
        Row("GRASP-oracle", "oracle", lifted()),
        Row("GRASP-line", "line", lifted()),
    ]
    if mode == "open":
        ours.append(Row("GRASP-graph-segments", "graph", rounds(10)))
    same = [Row(f"{name}-graph", "graph", shooting=p) for name, p in shooting(mode).items()]
    flat = [Row(name, None, shooting=p) for name, p in shooting(mode).items()]
    return {row.name: row for row in (*ours, *same, *flat)}
