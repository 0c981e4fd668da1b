"""Tasks of getting somewhere: puck, unicycle, quadrotor, arm, pushing, maze."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.classics.task import Task, chord, last, wrapped
from experiments.environments.ball import Ball

State = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Puck:
    """State: position `[2]` in pixels of a 512-pixel picture, velocity `[2]` in pixels per step."""

    slip: float = 0.8

    def __call__(self, state: State, action: jax.Array) -> State:
        """One step; an action `[2]` is a push in pixels per step."""
        velocity = self.slip * state["velocity"] + action
        return {"position": state["position"] + velocity, "velocity": velocity}


def puck(push: float = 6.0, slip: float = 0.8) -> Task:
    """Stop on a pixel."""

    def sample(key: jax.Array) -> tuple[State, State]:
        places = jax.random.uniform(key, (2, 2), minval=0.0, maxval=512.0)
        still = jnp.zeros(2)
        return (
            {"position": places[0], "velocity": still},
            {"position": places[1], "velocity": still},
        )

    def success(states: State, goal: State) -> jax.Array:
        gaps = jax.tree.map(lambda s, g: jnp.max(jnp.abs(s - g)), last(states), goal)
        return (gaps["position"] < 5) & (gaps["velocity"] < 5)

    return Task(
        "puck", Puck(slip), sample, success, (-push,) * 2, (push,) * 2, 40, "px, px/step; px/step²"
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unicycle:
    """State `[3]`: position in m, heading in rad. Action `[2]`: speed, turning rate; 0.1 s."""

    dt: float = 0.1

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """One step with the heading at its middle."""
        heading = state[2] + self.dt / 2 * action[1]
        direction = jnp.stack([jnp.cos(heading), jnp.sin(heading)])
        place = state[:2] + self.dt * action[0] * direction
        return jnp.concatenate([place, state[2:] + self.dt * action[1]])


def unicycle(speed: float = 1.0, turning: float = 1.5) -> Task:
    """Park in a pose behind a round obstacle; goal: the pose and the obstacle's place."""
    radius = 0.5

    def sample(key: jax.Array) -> tuple[jax.Array, State]:
        place, heading, beside = jax.random.split(key, 3)
        direction = jax.random.uniform(place, (), maxval=2 * jnp.pi)
        along = jnp.stack([jnp.cos(direction), jnp.sin(direction)])
        across = jnp.stack([-along[1], along[0]])
        offset = 0.2 * jax.random.normal(beside, ())
        headings = jax.random.uniform(heading, (2,), minval=-1.0, maxval=1.0) + direction
        start = jnp.concatenate([-1.25 * along, headings[:1]])
        pose = jnp.concatenate([1.25 * along, headings[1:]])
        return start, {"pose": pose, "obstacle": offset * across}

    def distance(state: jax.Array, goal: State) -> jax.Array:
        place = jnp.sum(jnp.square(state[:2] - goal["pose"][:2]))
        return place + chord(state[2], goal["pose"][2])

    def inside(state: jax.Array, goal: State, reach: float) -> jax.Array:
        gap = state[..., :2] - goal["obstacle"]
        return jnp.maximum(reach**2 - jnp.sum(jnp.square(gap), -1), 0)

    def success(states: jax.Array, goal: State) -> jax.Array:
        end = last(states)
        near = jnp.max(jnp.abs(end[:2] - goal["pose"][:2])) < 0.1
        turned = wrapped(end[2] - goal["pose"][2]) < 0.2
        return near & turned & jnp.all(inside(states, goal, radius) == 0)

    objective = grasp_jax.Objective(
        distance, running_cost=lambda s, g: 10 * inside(s, g, radius + 0.1)
    )
    high = (speed, turning)
    low = (-speed, -turning)
    return Task(
        "unicycle", Unicycle(), sample, success, low, high, 50, "m, rad; m/s, rad/s", objective
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quadrotor:
    """In a vertical plane: place (m) and tilt (rad), their speeds, `[3]` each; 0.05 s.

    An action `[2]` is the thrust of the left and of the right rotor in N.
    """

    mass: float = 1.0
    arm: float = 0.25
    inertia: float = 0.03

    def __call__(self, state: State, action: jax.Array) -> State:
        """Semi-implicit Euler."""
        tilt, lift = state["pose"][2], action[0] + action[1]
        push = lift / self.mass * jnp.stack([-jnp.sin(tilt), jnp.cos(tilt)])
        turn = self.arm * (action[1] - action[0]) / self.inertia
        gain = jnp.stack([push[0], push[1] - 9.81, turn])
        speed = state["speed"] + 0.05 * gain
        return {"pose": state["pose"] + 0.05 * speed, "speed": speed}


def quadrotor(mass: float = 1.0, thrust: float = 10.0) -> Task:
    """Fly to a place and hover there, upright."""

    def sample(key: jax.Array) -> tuple[State, State]:
        start, end = jax.random.split(key)
        still = jnp.zeros(3)
        places = jax.random.uniform(end, (2,), minval=-2.0, maxval=2.0)
        tilt = 0.2 * jax.random.normal(start, (1,))
        at_rest = {"pose": jnp.concatenate([jnp.zeros(2), tilt]), "speed": still}
        return at_rest, {"pose": jnp.concatenate([places, jnp.zeros(1)]), "speed": still}

    def success(states: State, goal: State) -> jax.Array:
        gaps = jax.tree.map(lambda s, g: jnp.max(jnp.abs(s - g)), last(states), goal)
        return (gaps["pose"] < 0.15) & (gaps["speed"] < 0.4)

    return Task(
        "quadrotor",
        Quadrotor(mass),
        sample,
        success,
        (0.0, 0.0),
        (thrust, thrust),
        50,
        "m, rad, m/s, rad/s; N",
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Arm:
    """Six joints; state `[6]` angles in rad, an action `[6]` turns them by so many rad."""

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """One step."""
        return state + action


def arm(turn: float = 0.05, link: float = 0.2) -> Task:
    """Bring the tip of a chain of six links of 0.2 m to a place; the goal `[2]` is in m."""

    def tip(state: jax.Array) -> jax.Array:
        angles = jnp.cumsum(state)
        return link * jnp.stack([jnp.sum(jnp.cos(angles)), jnp.sum(jnp.sin(angles))])

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, move = jax.random.split(key)
        angles = 0.5 * jax.random.normal(start, (6,))
        reach = 0.9 * 40 * turn
        moved = angles + jax.random.uniform(move, (6,), minval=-reach, maxval=reach)
        return angles, tip(moved)

    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(tip(state) - goal))

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.linalg.norm(tip(last(states)) - goal) < 0.02

    objective = grasp_jax.Objective(distance)
    low, high = (-turn,) * 6, (turn,) * 6
    return Task(
        "arm", Arm(), sample, success, low, high, 40, "rad; rad/step; the goal in m", objective
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pushing:
    """A round finger and a disc on a table; state: their places `[2]` each, in m.

    An action `[2]` moves the finger by so many m; a disc that it would overlap gives way along the
    line of centres, without friction between them. Without contact no gradient reaches the disc.
    """

    reach: float = 0.15

    def __call__(self, state: State, action: jax.Array) -> State:
        """One step."""
        finger = state["finger"] + action
        gap = state["disc"] - finger
        distance = jnp.sqrt(jnp.dot(gap, gap) + 1e-8)
        overlap = jnp.maximum(self.reach - distance, 0)
        return {"finger": finger, "disc": state["disc"] + overlap * gap / distance}


def pushing(step: float = 0.08, reach: float = 0.15) -> Task:
    """Push the disc to a place; the goal `[2]` is the disc's."""

    def sample(key: jax.Array) -> tuple[State, jax.Array]:
        finger, disc, goal = jax.random.split(key, 3)
        place = jax.random.uniform(disc, (2,), minval=-0.3, maxval=0.3)
        angles = jax.random.uniform(finger, (2,), maxval=2 * jnp.pi)
        around = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        length = jax.random.uniform(goal, (), minval=0.4, maxval=1.0)
        start = {"finger": place + 0.4 * around[0], "disc": place}
        return start, place + length * around[1]

    def distance(state: State, goal: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(state["disc"] - goal))

    def success(states: State, goal: jax.Array) -> jax.Array:
        return jnp.linalg.norm(last(states)["disc"] - goal) < 0.05

    objective = grasp_jax.Objective(distance)
    low, high = (-step,) * 2, (step,) * 2
    return Task("pushing", Pushing(reach), sample, success, low, high, 60, "m; m/step", objective)


MAZE = (((-0.33, -1.0), (-0.33, 0.6)), ((0.33, 1.0), (0.33, -0.6)))
"""End points of the maze's two walls, in half widths of its arena."""


def maze(step: float = 1.0) -> Task:
    """Two walls from opposite sides: every way to the goal leads away from it, twice."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, goal = jax.random.uniform(key, (2, 2))
        corner, spread = jnp.array([-0.9, -0.9]), jnp.array([0.4, 0.8])
        return corner + spread * start, -corner - spread * goal

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.linalg.norm(last(states) - goal) < 0.05

    world = Ball(jnp.asarray(np.asarray(MAZE), jnp.float32))
    low, high = (-step,) * 2, (step,) * 2
    return Task("maze", world, sample, success, low, high, 120, "half widths; a twentieth of one")
