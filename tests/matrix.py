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
    AR1,
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Correction,
    Hops,
    LatCo,
    LatCoGaussNewton,
    MultiStart,
    ParallelShooting,
    Plan,
    Planner,
    Problem,
    Proposed,
    Rollout,
    Scaled,
    SearchState,
    Segments,
    restarted_grasp,
)
from grasp_jax import search as searching
from grasp_jax._compile import Compiled
from grasp_jax._frozen import Frozen
from grasp_jax._tree import is_number

HORIZON = 4
ACTION_SIZE = 2
ITERATIONS = 6
BOUNDS = (-0.7, jnp.array([0.7, 0.3]))


def on_the_way(state: Any, goal: Any) -> jax.Array:
    """The matrix cost of passing through a state."""
    return 0.02 * jnp.sum((state["position"] - 0.5 * goal["position"] - 0.2) ** 2)


OBJECTIVE = grasp_jax.Objective(
    control_cost=grasp_jax.QuadraticControlCost(0.01), running_cost=on_the_way
)


def beside(distance: jax.Array, problem: Problem, key: jax.Array) -> jax.Array:
    """Two proposals, on both sides of the guess."""
    del key
    return problem.init_actions + jnp.array([distance, -distance])[:, None, None]


_gd = GD(learning_rate=0.1, iterations=2)
_cem = CEM(num_samples=8, num_elites=3, iterations=2, std=0.5)
_grasp = GRASP(iterations=ITERATIONS, action_rate=0.05, state_std=0.05, sync=_gd, sync_every=3)

PLANNERS: dict[str, Any] = {
    "GD": GD(learning_rate=0.1, iterations=ITERATIONS),
    "GD sgd": GD(learning_rate=0.1, iterations=ITERATIONS, optimizer=optax.sgd),
    "GD dino_wm": dataclasses.replace(GD.dino_wm(), iterations=ITERATIONS),
    "GD parallel": GD(learning_rate=0.1, iterations=ITERATIONS, parallel_in_time=True),
    "ParallelShooting": ParallelShooting(
        learning_rate=0.1,
        iterations=ITERATIONS,
        num_segments=3,
        correction=Correction.DIAGONAL,
        serial_iterations=2,
    ),
    "GRASP": _grasp,
    "GRASP paper": dataclasses.replace(
        GRASP.paper(),
        iterations=ITERATIONS,
        sync=GD(learning_rate=0.01, iterations=2, optimizer=optax.sgd),
        sync_every=3,
    ),
    "GRASP sync=CEM": dataclasses.replace(_grasp, sync=_cem),
    "GRASP sync=None": dataclasses.replace(_grasp, sync=None),
    "GRASP restart": dataclasses.replace(
        _grasp, restart_states=Rollout(std=0.2, noise=AR1(rho=0.8)), sync_std=0.1
    ),
    "GRASP restarted": restarted_grasp(
        num_starts=3, num_cycles=2, num_lifted=3, start_std=0.3, sync=_gd, resample_every=1
    ),
    "CEM": dataclasses.replace(_cem, iterations=ITERATIONS),
    "ICEM": ICEM(num_samples=8, num_elites=3, num_kept=2, iterations=ITERATIONS, std=0.5),
    "MPPI": MPPI(num_samples=8, iterations=ITERATIONS),
    "LatCo": LatCo(iterations=ITERATIONS, dual_every=2, evaluate_every=3),
    "LatCoGN": LatCoGaussNewton(iterations=ITERATIONS),
    "Segments": Segments(segment_length=2, iterations=ITERATIONS, state_rate=0.05),
    "MultiStart GRASP": MultiStart(_grasp, num_starts=3),
    "MultiStart GD": MultiStart(
        GD(learning_rate=0.1, iterations=ITERATIONS), num_starts=3, start_std=0.3
    ),
    "Hops": Hops(planner=_gd, iterations=ITERATIONS),
    "MultiStart Hops": MultiStart(
        Hops(planner=_gd, iterations=ITERATIONS), num_starts=3, start_std=0.3, resample_every=2
    ),
    "Chain": Chain(dataclasses.replace(_grasp, iterations=4), GD(learning_rate=0.1, iterations=2)),
    "Chain fallback": Chain(
        GD(learning_rate=0.1, iterations=2),
        LatCo(iterations=2, dual_every=2, evaluate_every=2),
        turns=(0, 1, 0),
        fallbacks=(1,),
    ),
    "Proposed": Proposed(
        GD(learning_rate=0.1, iterations=ITERATIONS),
        jax.tree_util.Partial(beside, jnp.array(0.1)),
    ),
    "Scaled LatCo": Scaled(LatCo(iterations=ITERATIONS, dual_every=2, evaluate_every=3)),
}
NAMES = list(PLANNERS)
_WITH_STATES = ("GRASP", "LatCo", "Segments", "MultiStart GRASP", "Chain", "Scaled")
LIFTED = [n for n in NAMES if n.startswith(_WITH_STATES)]
VARIANTS = ["GD sgd", "GD dino_wm", "GRASP paper", "GRASP sync=CEM", "GRASP sync=None"]
VARIANTS += ["MultiStart GD", "MultiStart Hops", "Chain fallback", "Scaled LatCo"]
"""Other numbers for, and parts of, programs that are in the table already."""
KINDS = ["GD", "GD parallel", "GRASP", "GRASP restart", "CEM", "ICEM"]
KINDS += ["LatCo", "LatCoGN", "MultiStart GRASP", "Chain"]
"""One of each kind of step, and of each way to compose them."""
DETERMINISTIC = ["GD", "GD sgd", "GD parallel", "ParallelShooting", "LatCo", "LatCoGN", "Segments"]
DETERMINISTIC += ["Chain fallback", "Proposed"]

every_planner = pytest.mark.parametrize("name", NAMES)


def _others_slow(names: list[str]) -> Any:
    """All planners, but those that are not named only with `-m slow`."""
    rows = [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
    return pytest.mark.parametrize("name", rows)


# For tests that compile a program of their own.
every_program = _others_slow([n for n in NAMES if n not in VARIANTS])
# For tests of a transformation around the planners, or of one part of them.
every_kind = _others_slow(KINDS)
# For tests of what a plan costs: one of each way to take slopes of it, or to do without.
every_slope = _others_slow(["GD", "GD parallel", "GRASP", "CEM", "LatCo", "LatCoGN", "Segments"])

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
HORIZONS = np.array([4, 2, 3, 4], np.int32)


def problem(**changes: Any) -> Problem:
    """The small world; `changes` replace arguments of `make_problem`."""
    arguments: dict[str, Any] = {
        "dynamics": WORLD,
        "state": START,
        "goal": GOAL,
        "init_actions": ACTIONS,
        "bounds": BOUNDS,
        "objective": OBJECTIVE,
    }
    return grasp_jax.make_problem(**(arguments | changes))


def batch(**changes: Any) -> Problem:
    """The small world's three goals at once."""
    rows = {"state": stacked(*STARTS), "goal": stacked(*GOALS), "batched": True}
    return problem(**(rows | changes))


def solve(planner: Any, key: jax.Array | None = None, **changes: Any) -> Plan:
    """The plan of a planner, or of the one of that name, on the small world."""
    planner = PLANNERS[planner] if isinstance(planner, str) else planner
    key = jax.random.key(0) if key is None else key
    return grasp_jax.solve(problem(**changes), key, planner=planner)


@functools.cache
def solved(name: str) -> Plan:
    """The plan of a planner on the unchanged small world."""
    return solve(name)


@Compiled
def _whole(problem: Problem, frozen: Frozen, key: jax.Array) -> tuple[Plan, SearchState]:
    """A plan, and the search that it was read from."""
    planner: Planner = frozen.value
    state = searching.initialize(problem, planner, key)
    state, metrics = searching.advance(problem, planner, state, planner.iterations)
    return searching.finish(problem, planner, state, metrics), state


def searched(
    planner: Planner, problem: Problem, key: jax.Array | None = None
) -> tuple[Plan, SearchState]:
    """A plan, and the search that it was read from, by one program."""
    key = jax.random.key(0) if key is None else key
    return _whole(problem, Frozen(planner, is_number), key)


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
