"""The test matrix: every planner, in a size that compiles and runs fast, on one small world.

A new planner is one line in `PLANNERS`; `tests/test_planning.py` runs all of its rules on it.
"""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Correlated,
    LatCo,
    LatCoGN,
    MultiStart,
    Plan,
    Rollout,
    Segments,
    restarted_grasp,
)

HORIZON = 4
ACTION_SIZE = 2
ITERATIONS = 6
BOUNDS = (-0.7, jnp.array([0.7, 0.3]))


def on_the_way(state: Any, goal: Any) -> jax.Array:
    """The matrix cost of passing through a state."""
    return 0.02 * jnp.sum((state["position"] - 0.5 * goal["position"] - 0.2) ** 2)


OBJECTIVE = grasp_jax.Objective(
    action_cost=grasp_jax.QuadraticActionCost(0.01), state_cost=on_the_way
)

_gd = GD(0.1, iterations=2)
_cem = CEM(samples=8, elites=3, iterations=2, std=0.5)
_grasp = GRASP(iterations=ITERATIONS, action_rate=0.05, state_noise=0.05, sync=_gd, sync_every=3)

PLANNERS: dict[str, Any] = {
    "GD": GD(0.1, ITERATIONS),
    "GD sgd": GD(0.1, ITERATIONS, optax.sgd),
    "GD dino_wm": dataclasses.replace(GD.dino_wm(), iterations=ITERATIONS),
    "GD parallel": GD(0.1, ITERATIONS, parallel=True),
    "GRASP": _grasp,
    "GRASP paper": dataclasses.replace(
        GRASP.paper(), iterations=ITERATIONS, sync=GD(0.01, 2, optax.sgd), sync_every=3
    ),
    "GRASP sync=CEM": dataclasses.replace(_grasp, sync=_cem),
    "GRASP sync=None": dataclasses.replace(_grasp, sync=None),
    "GRASP hops": dataclasses.replace(_grasp, sync_from_best=True, sync_noise=0.3),
    "GRASP restart": dataclasses.replace(
        _grasp, restart=Rollout(0.2, Correlated(0.8)), sync_noise=0.1
    ),
    "GRASP restarted": restarted_grasp(3, 2, lifted=3, start_noise=0.3, sync=_gd, exchange=1),
    "CEM": dataclasses.replace(_cem, iterations=ITERATIONS),
    "ICEM": ICEM(samples=8, elites=3, kept=2, iterations=ITERATIONS, std=0.5),
    "MPPI": MPPI(samples=8, iterations=ITERATIONS),
    "LatCo": LatCo(iterations=ITERATIONS, multiplier_every=2, evaluate_every=3),
    "LatCoGN": LatCoGN(iterations=ITERATIONS),
    "Segments": Segments(segment_length=2, iterations=ITERATIONS, state_rate=0.05),
    "MultiStart GRASP": MultiStart(_grasp, starts=3),
    "MultiStart GD": MultiStart(GD(0.1, ITERATIONS), starts=3, start_noise=0.3),
    "Chain": Chain(dataclasses.replace(_grasp, iterations=4), GD(0.1, iterations=2)),
}
NAMES = list(PLANNERS)
LIFTED = [
    n for n in NAMES if n.startswith(("GRASP", "Segments", "LatCo", "MultiStart GRASP", "Chain"))
]
VARIANTS = ["GD sgd", "GRASP paper", "GRASP hops", "MultiStart GD"]
"""Other numbers for programs that are in the table already."""
DETERMINISTIC = ["GD", "GD sgd", "GD parallel", "LatCo", "LatCoGN", "Segments"]

every_planner = pytest.mark.parametrize("name", NAMES)
# For tests that compile a program of their own: variants only with `-m slow`.
every_program = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in VARIANTS else n for n in NAMES]
)

traces: list[int] = []
"""Grows whenever the world is traced."""


def step(weights: jax.Array, state: Any, action: jax.Array) -> Any:
    """A smooth non-linear world whose state has two leaves of different ranks."""
    traces.append(1)
    moved = state["position"] + 0.3 * jnp.tanh(weights @ action)
    moved = moved + 0.1 * jnp.sin(state["memory"]).sum(0)
    return {"position": moved, "memory": 0.9 * state["memory"] + 0.2 * action}


WEIGHTS = jnp.array([[1.0, 0.2], [-0.1, 1.0]])
WORLD = jax.tree_util.Partial(step, WEIGHTS)
START = {"position": jnp.array([0.0, 0.1]), "memory": jnp.full((3, 2), 0.1)}
GOAL = {"position": jnp.array([1.0, -0.5]), "memory": jnp.full((3, 2), 0.3)}
ACTIONS = jnp.linspace(-0.2, 0.2, HORIZON * ACTION_SIZE).reshape(HORIZON, ACTION_SIZE)


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed)


def shifted(tree: Any, amount: float) -> Any:
    return jax.tree.map(lambda x: x + amount, tree)


def stacked(*trees: Any) -> Any:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


GOALS = [GOAL, shifted(GOAL, -0.4), shifted(GOAL, 0.3)]
STARTS = [START, shifted(START, 0.1), shifted(START, -0.2)]
LENGTHS = np.array([4, 2, 3, 4], np.int32)


def solve(planner: Any, **changes: Any) -> Plan:
    """`plan` on the small world; `changes` replace arguments."""
    if isinstance(planner, str):
        planner = PLANNERS[planner]
    arguments = {
        "dynamics": WORLD,
        "state": START,
        "goal": GOAL,
        "actions": ACTIONS,
        "key": key(),
        "bounds": BOUNDS,
        "objective": OBJECTIVE,
    }
    return grasp_jax.plan(**(arguments | changes), planner=planner)


@functools.cache
def solved(name: str) -> Plan:
    """The plan of a planner on the unchanged small world."""
    return solve(name)


def rollout(weights: jax.Array, state: Any, actions: jax.Array) -> Any:
    """The world's states `[T+1, ...]`, by a loop."""
    states = [state]
    for action in actions:
        states.append(step(weights, states[-1], action))
    return stacked(*states)


def cost(states: Any, actions: jax.Array, goal: Any) -> jax.Array:
    """The matrix objective, written out."""
    gaps = [jnp.sum((states[k][-1] - goal[k]) ** 2) for k in ("position", "memory")]
    way = states["position"][1:] - 0.5 * goal["position"] - 0.2
    return gaps[0] + gaps[1] + 0.01 * jnp.sum(actions**2) + 0.02 * jnp.sum(way**2)


def assert_same(a: Any, b: Any) -> None:
    """Bitwise equality of two pytrees, NaN equal to NaN."""
    chex.assert_trees_all_equal(a, b, strict=True)


def assert_close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    """Equality of two pytrees up to rounding."""
    chex.assert_trees_all_close(a, b, rtol=tolerance, atol=tolerance)
