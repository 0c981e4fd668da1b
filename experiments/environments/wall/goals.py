"""Wall: random steps for training, and evaluation goals behind the door."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.environments.goals import PAST, Goals, cut
from experiments.environments.random_steps import STREAMS, TRAINING_STREAM, correlated_actions
from experiments.environments.wall import simulator as wall

_CLEARANCE = 3.4  # px between a drawn place and every wall: twice the dot's standard deviation
_ROOMS = (
    (wall.LOW + _CLEARANCE, wall.WALL_LEFT - _CLEARANCE),
    (wall.WALL_RIGHT + _CLEARANCE, wall.HIGH - _CLEARANCE),
)
_VISITS, _PLACES = 6, 3  # rooms that a walk visits, and places it goes to in each
_WALK_STEPS = 300
_ARRIVED = 1.5  # px
_CENTRE = (wall.DOOR_TOP + wall.DOOR_BOTTOM) / 2


def sample_positions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Uniform places in both rooms and the passage: `[count, 2]`."""
    places = rng.uniform(wall.LOW, wall.HIGH, (8 * count, 2))
    passage = (places[:, 1] > wall.DOOR_TOP) & (places[:, 1] < wall.DOOR_BOTTOM)
    return places[(wall.room(places) >= 0) | passage][:count]


def sample_trajectories(
    count: int, steps: int, seed: int, shard: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random steps from random places: states `[count, steps + 1, 2]`, actions `[count, steps, 2]`.

    Both are float32.
    """
    rng = np.random.default_rng((seed, TRAINING_STREAM, shard))
    actions = correlated_actions(rng, count, steps)
    return wall.execute(sample_positions(rng, count), actions).astype(np.float32), actions


class _Walks(NamedTuple):
    """Random numbers of walks: waypoints [n, W, 2], speeds [n], noise [n, steps, 2], pick [n]."""

    waypoints: NDArray[np.float64]
    speed: NDArray[np.float64]
    noise: NDArray[np.float32]
    pick: NDArray[np.float64]


def _draw_walk(rng: np.random.Generator) -> _Walks:
    """One walk: some places in a room, through the door, as many in the other, and so on."""
    side = int(rng.integers(2))
    points = []
    for _ in range(_VISITS):
        low, high = _ROOMS[side]
        ys = rng.uniform(wall.LOW + _CLEARANCE, wall.HIGH - _CLEARANCE, _PLACES)
        points += [(rng.uniform(low, high), y) for y in ys]
        gate = _CENTRE + rng.uniform(-1.5, 1.5)
        ends = [(wall.WALL_LEFT - 1.5, gate), (wall.WALL_RIGHT + 1.5, gate)]
        points += ends if side == 0 else ends[::-1]
        side = 1 - side
    speed = rng.uniform(0.6, 1.0)
    noise = correlated_actions(rng, 1, _WALK_STEPS, scale=0.15)[0]
    return _Walks(np.array(points), np.array(speed), noise, np.array(rng.uniform()))


def _walk(walks: _Walks) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Walks from waypoint to waypoint: states [n, steps + 1, 2] and actions [n, steps, 2]."""
    count, legs = walks.waypoints.shape[:2]
    rows, leg = np.arange(count), np.ones(count, int)
    states, actions = [walks.waypoints[:, 0]], []
    for index in range(_WALK_STEPS):
        delta = walks.waypoints[rows, leg] - states[-1]
        distance = np.linalg.norm(delta, axis=1)
        length = np.minimum(walks.speed, distance / wall.STEP_SIZE)
        wish = delta * (length / np.maximum(distance, 1e-9))[:, None] + walks.noise[:, index]
        actions.append(np.clip(wish, -1, 1).astype(np.float32))
        states.append(wall.step(states[-1], actions[-1]))
        arrived = np.linalg.norm(walks.waypoints[rows, leg] - states[-1], axis=1) < _ARRIVED
        leg = np.minimum(leg + arrived, legs - 1)
    return np.stack(states, axis=1), np.stack(actions, axis=1)


def sample_goals(
    count: int, horizon: int, seed: int = 0, split: Literal["tune", "report"] = "report"
) -> Goals:
    """Segments of walks that begin in one room and end in the other.

    Goal i depends on (seed, split, horizon, i) only, so fewer goals are a prefix of more.

    Args:
        count: number of goals.
        horizon: environment steps from start to goal.
        seed: seed of the benchmark.
        split: settings are chosen on "tune" and figures come from "report".
    """
    if horizon < 5:
        raise ValueError(f"horizon is {horizon}: no walk of fewer than 5 steps changes rooms")
    streams = [np.random.default_rng((seed, STREAMS[split], horizon, i)) for i in range(count)]
    found: list[Goals | None] = [None] * count
    while missing := [i for i in range(count) if found[i] is None]:
        for i, goal in zip(missing, _cross([streams[i] for i in missing], horizon), strict=True):
            found[i] = goal
    return Goals(*(np.stack(field) for field in zip(*filter(None, found), strict=True)))


def _cross(streams: list[np.random.Generator], horizon: int) -> list[Goals | None]:
    """One walk from each stream, and a random part of it that changes rooms, where there is one."""
    walks = _Walks(*(np.stack(f) for f in zip(*map(_draw_walk, streams), strict=True)))
    states, actions = _walk(walks)
    rooms = wall.room(states)
    first, last = rooms[:, PAST : _WALK_STEPS + 1 - horizon], rooms[:, PAST + horizon :]
    crosses = (first >= 0) & (last >= 0) & (first != last)
    times = [np.flatnonzero(row) for row in crosses]
    begin = [
        t[int(pick * len(t))] + PAST if len(t) else PAST
        for t, pick in zip(times, walks.pick, strict=True)
    ]
    goals = cut(states, actions, np.array(begin), horizon)
    return [
        Goals(*(field[i] for field in goals)) if len(times[i]) else None
        for i in range(len(streams))
    ]
