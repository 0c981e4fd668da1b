"""A ball that rolls among walls in the plane: worlds in which the direct way is a dead end.

The state is the ball's position `[2]` (float32) in an arena `[-1, 1]²`; one unit is half the
arena's width. An action `[2]` in [-1, 1] asks for a displacement of `STEP` times itself. Walls
stop the part of a displacement that points at them and leave the part along them, smoothly, so
that the world is its own differentiable world model. No sequence of actions crosses a wall.

Two maps, both crossed within `HORIZON` steps but not greedily:
  `u_trap`: the start lies in a cup, or before its mouth; the goal lies behind its bottom.
  `two_rooms`: start and goal lie in rooms on either side of a wall with a door.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

HORIZON = 60
STEP = 0.05
"""Displacement per step and axis at full action, in arena units."""
WALL_RADIUS = 0.02
SUCCESS_RADIUS = 0.05
"""A plan succeeds if the ball ends this close to its goal: the length of one step."""
CLEARANCE = 0.05
"""Starts and goals keep this distance from the walls' surfaces."""

Box = tuple[float, float, float, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ball:
    """The dynamics `F(position, action)`, a callable pytree.

    Attributes:
      walls: `[W, 2, 2]` float32, end points of the walls; each is a capsule of `WALL_RADIUS`.
    """

    walls: jax.Array

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The next position `[2]` from position `[2]` and action `[2]`."""
        return _next(self.walls, state, action)


def _clearances(walls: jax.Array, state: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Distance `[]` from the surface of each wall and unit normal `[2]`; negative inside."""
    found = []
    for index in range(walls.shape[0]):
        origin, along = walls[index, 0], walls[index, 1] - walls[index, 0]
        share = jnp.clip(jnp.dot(state - origin, along) / jnp.dot(along, along), 0, 1)
        away = state - origin - share * along
        # The constant keeps the derivative finite on a wall's centre line.
        inverse = jax.lax.rsqrt(jnp.dot(away, away) + 1e-12)
        found.append((1 / inverse - WALL_RADIUS, away * inverse))
    return found


# Recomputing a step in the backward pass is cheaper than storing its dozens of intermediates.
@jax.checkpoint
def _next(walls: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
    """Takes from the displacement what each wall, then each side of the arena, holds back.

    Walls and the outside's half-planes are convex, so a ball that stays before the tangent plane
    at the nearest point stays outside. Walls meet at right angles, where what one holds back is
    never a push into the other.
    """
    move = STEP * jnp.clip(action, -1, 1)
    for distance, normal in _clearances(walls, state):
        towards = jnp.maximum(-jnp.dot(normal, move), 0)
        move = move + (towards - _within(towards, distance)) * normal
    forward, back = jnp.maximum(move, 0), jnp.maximum(-move, 0)
    return state + _within(forward, 1 - state) - _within(back, 1 + state)


def _within(amount: jax.Array, room: jax.Array) -> jax.Array:
    """A smooth minimum of an amount >= 0 and the room for it, below both; 0 where there is none."""
    room = jnp.maximum(room, 0)
    fourth = jnp.square(jnp.square(amount)) + jnp.square(jnp.square(room))
    return amount * room * jnp.sqrt(jax.lax.rsqrt(fourth + 1e-16))


@dataclasses.dataclass(frozen=True)
class Map:
    """A layout and where its tasks lie.

    Attributes:
      walls: End points `(x0, y0, x1, y1)` of each wall.
      start: Box `(x_low, y_low, x_high, y_high)` of the starts.
      goal: Box of the goals.
      mirrored: Whether half of the tasks are mirrored, left to right.
    """

    walls: tuple[Box, ...]
    start: Box
    goal: Box
    mirrored: bool = False


MAPS = {
    "u_trap": Map(
        walls=((-0.3, 0.5, 0.3, 0.5), (0.3, 0.5, 0.3, -0.5), (0.3, -0.5, -0.3, -0.5)),
        start=(-0.6, -0.35, 0.2, 0.35),
        goal=(0.45, -0.5, 0.9, 0.5),
    ),
    "two_rooms": Map(
        # The long wall is two pieces, so that one compiled program serves both maps.
        walls=((0.0, -1.0, 0.0, -0.35), (0.0, -0.35, 0.0, 0.3), (0.0, 0.6, 0.0, 1.0)),
        start=(-0.9, -0.9, -0.15, 0.9),
        goal=(0.15, -0.9, 0.9, 0.9),
        mirrored=True,
    ),
}


def dynamics(name: str) -> Ball:
    """The world of map `name` (a key of `MAPS`)."""
    return Ball(jnp.asarray(MAPS[name].walls, jnp.float32).reshape(-1, 2, 2))


def nearest_surface(world: Ball, points: np.ndarray) -> np.ndarray:
    """Distances `[...]` of points `[..., 2]` to the nearest surface; negative inside a wall."""
    return np.asarray(_nearest(world, points.reshape(-1, 2))).reshape(points.shape[:-1])


@jax.jit
def _nearest(world: Ball, points: jax.Array) -> jax.Array:
    return jax.vmap(lambda p: _nearest_to(world.walls, p))(points)


def _nearest_to(walls: jax.Array, point: jax.Array) -> jax.Array:
    distances = jnp.stack([distance for distance, _ in _clearances(walls, point)])
    return jnp.minimum(jnp.min(distances), jnp.min(1 - jnp.abs(point)))


@jax.jit
def _step(world: Ball, state: jax.Array, action: jax.Array) -> jax.Array:
    return world(state, action)


def sample_tasks(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random starts and goals, `[count, 2]` float32 each; the first `n` do not depend on `count`.

    Args:
      name: A key of `MAPS`.
      count: How many.
      seed: Other seeds give other tasks.
    """
    layout, world = MAPS[name], dynamics(name)
    rng = np.random.default_rng([seed, list(MAPS).index(name)])
    tasks: list[np.ndarray] = []
    while len(tasks) < count:
        draws = rng.uniform(size=(256, 2, 2))
        low = np.array([layout.start[:2], layout.goal[:2]])
        high = np.array([layout.start[2:], layout.goal[2:]])
        points = (low + draws * (high - low)).astype(np.float32)
        free = nearest_surface(world, points).min(1) > CLEARANCE
        flip = (rng.uniform(size=256) < 0.5) & layout.mirrored
        points = np.where(flip[:, None, None], points * np.array([-1, 1], np.float32), points)
        tasks.extend(points[free])
    chosen = np.stack(tasks[:count])
    return chosen[:, 0], chosen[:, 1]


def success(final: np.ndarray | jax.Array, goal: np.ndarray | jax.Array) -> np.ndarray:
    """Whether final positions `[..., 2]` lie within `SUCCESS_RADIUS` of goals `[..., 2]`."""
    return np.linalg.norm(np.asarray(final) - np.asarray(goal), axis=-1) <= SUCCESS_RADIUS


def rollout(world: Ball, start: jax.Array, actions: jax.Array) -> jax.Array:
    """Positions `[T+1, 2]` from `start` `[2]` under actions `[T, 2]`."""

    def step(state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        following = world(state, action)
        return following, following

    _, states = jax.lax.scan(step, jnp.asarray(start), actions)
    return jnp.concatenate([jnp.asarray(start)[None], states])


@jax.jit
def rollouts(world: Ball, starts: jax.Array, actions: jax.Array) -> jax.Array:
    """The same side by side: positions `[n, T+1, 2]` from `[n, 2]` under `[n, T, 2]`."""
    return jax.vmap(rollout, (None, 0, 0))(world, starts, actions)


def known_way(name: str, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Actions `[HORIZON, 2]` that follow the quickest way past the ends of the walls.

    A planner that is given the map: the ceiling for planners that only query the world model.
    It searches a visibility graph whose nodes lie around the walls' ends.

    Args:
      name: A key of `MAPS`.
      start: `[2]`.
      goal: `[2]`.
    """
    world = dynamics(name)
    corners = _corners(name)
    nodes = np.concatenate([[start, goal], corners]).astype(np.float32)
    times = _travel_times(world, nodes)
    targets, here = [], 0
    to_goal = _times_to(times, 1)
    while here != 1 and np.isfinite(to_goal[here]):
        here = int(np.argmin(times[here] + to_goal + 1e-6 * np.arange(len(nodes))))
        targets.append(nodes[here])
    position, actions = np.asarray(start, np.float32), []
    for _ in range(HORIZON):
        while len(targets) > 1 and np.abs(targets[0] - position).max() < 1e-3:
            targets.pop(0)
        wanted = (targets[0] if targets else goal) - position
        # One speed for both axes keeps the ball on the checked straight line.
        action = wanted / max(STEP, float(np.abs(wanted).max()))
        actions.append(action.astype(np.float32))
        position = np.asarray(_step(world, position, actions[-1]))
    return np.stack(actions)


def _corners(name: str, offset: float = 0.1) -> np.ndarray:
    """Free points `[n, 2]` diagonally off the walls' ends."""
    ends = np.asarray(MAPS[name].walls).reshape(-1, 2)
    around = offset * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    points = np.unique((ends[:, None] + around).reshape(-1, 2), axis=0)
    return points[np.abs(points).max(1) < 1]


def _travel_times(world: Ball, nodes: np.ndarray) -> np.ndarray:
    """Steps `[n, n]` along straight lines between nodes `[n, 2]`; infinite where a wall is near."""
    shares = np.linspace(0, 1, 65, dtype=np.float32)[:, None]
    lines = nodes[:, None, None] * (1 - shares) + nodes[None, :, None] * shares
    free = nearest_surface(world, lines).min(-1) > 0.6 * CLEARANCE
    steps = np.abs(nodes[:, None] - nodes[None]).max(-1) / STEP
    np.fill_diagonal(free, False)
    return np.where(free, steps, np.inf)


def _times_to(times: np.ndarray, target: int) -> np.ndarray:
    """Least total times `[n]` to node `target`."""
    best = np.where(np.arange(len(times)) == target, 0, np.inf)
    for _ in range(len(times)):
        best = np.minimum(best, (times + best[None]).min(1))
    return best
