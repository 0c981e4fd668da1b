"""Turns states and plans into what the page draws: fragments of SVG, points of lines, numbers."""

from typing import Any

import jax
import numpy as np

import grasp_jax
from experiments.live.world import State, World, all_finite

_MOST_GHOSTS = 10
_TRAIL = 400


def drawn(world: World, state: State) -> str:
    """A state as SVG; nothing where its numbers are broken."""
    return world.draw(state) if all_finite(state) else ""


def goal_parts(world: World, goal: State) -> dict[str, Any]:
    """The goal and where it is held."""
    return {
        "goal": drawn(world, goal),
        "handles": [handle._asdict() for handle in world.handles(goal)],
    }


def trail(world: World, passed: list[State]) -> list[list[float]]:
    """The way so far."""
    return _points(world, passed[-_TRAIL:])


def plan_parts(world: World, plan: grasp_jax.Plan, steps: int) -> dict[str, Any]:
    """The virtual states `s_1..s_(n-1)` and the rollout `s_0..s_n` of a plan of `steps` steps."""
    rollout = _states(world, plan.states, steps + 1)
    virtual = []
    if plan.virtual_states is not None and steps > 1:
        virtual = _states(world, plan.virtual_states, steps - 1)
    return {
        "virtual": [drawn(world, s) for s in _spread(virtual)],
        "virtualLine": _points(world, [*rollout[:1], *virtual]),
        "rollout": [drawn(world, s) for s in _spread(rollout[1:])],
        "rolloutLine": _points(world, rollout),
    }


def way(world: World, states: Any) -> list[list[float]]:
    """A recorded way, leaves `[n, ...]`."""
    count = len(jax.tree.leaves(states)[0])
    return _points(world, _states(world, states, count))


def no_plan() -> dict[str, Any]:
    """Takes a plan off the page."""
    return {"virtual": [], "virtualLine": [], "rollout": [], "rolloutLine": [], "aim": ""}


def _states(world: World, states: Any, count: int) -> list[State]:
    """The first states of a trajectory, leaves `[n, ...]`, one by one."""
    seen = jax.tree.map(
        np.asarray, world.decode(jax.tree.map(lambda x: np.asarray(x)[:count], states))
    )
    return [jax.tree.map(lambda x, i=i: x[i], seen) for i in range(count)]


def _spread(states: list[State]) -> list[State]:
    """Some of them, the last among them."""
    if len(states) <= _MOST_GHOSTS:
        return states
    chosen = np.linspace(0, len(states) - 1, _MOST_GHOSTS).round().astype(int)
    return [states[i] for i in chosen]


def _points(world: World, states: list[State]) -> list[list[float]]:
    points = [world.point(s) for s in states if all_finite(s)]
    return [[round(float(x), 4), round(float(y), 4)] for x, y in points]
