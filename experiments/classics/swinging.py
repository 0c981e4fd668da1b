"""Tasks that must gather energy first: pendulum, cart-pole, acrobot, mountain car.

Masses in kg, lengths in m, times in s, angles in rad; an angle of 0 hangs down.
"""

import dataclasses

import jax
import jax.numpy as jnp

import grasp_jax
from experiments.classics.task import Task, chord, last, wrapped

GRAVITY = 9.81
_DT = 0.05


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pendulum:
    """State `[2]`: angle, angular speed. Action `[1]`: torque in N m."""

    mass: float = 1.0
    length: float = 1.0
    friction: float = 0.05

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """Semi-implicit Euler over 0.05 s."""
        angle, speed = state
        inertia = self.mass * self.length**2
        torque = action[0] - self.friction * speed
        speed = speed + _DT * (torque / inertia - GRAVITY / self.length * jnp.sin(angle))
        return jnp.stack([angle + _DT * speed, speed])


def pendulum(mass: float = 1.0, torque: float = 4.0) -> Task:
    """Swing up from rest with less than half of the torque that holds the pendulum level."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 0.3 * jax.random.normal(key, (2,)), jnp.array([jnp.pi, 0.0])

    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        return chord(state[0], goal[0]) + 0.1 * jnp.square(state[1] - goal[1])

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        angle, speed = jnp.abs(last(states) - goal)
        return (wrapped(angle) < 0.2) & (speed < 0.5)

    return Task(
        "pendulum",
        Pendulum(mass),
        sample,
        success,
        (-torque,),
        (torque,),
        80,
        "rad, rad/s; torque in N m",
        grasp_jax.Objective(distance),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CartPole:
    """State `[4]`: cart position, pole angle, and their speeds. Action `[1]`: force in N."""

    cart: float = 1.0
    pole: float = 0.1
    length: float = 0.5

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """Semi-implicit Euler over 0.05 s; the pole is a point mass on a rod."""
        place, speeds = state[:2], state[2:]
        sine, cosine = jnp.sin(place[1]), jnp.cos(place[1])
        swing = self.pole * sine * (self.length * speeds[1] ** 2 + GRAVITY * cosine)
        push = (action[0] + swing) / (self.cart + self.pole * sine**2)
        turn = -(push * cosine + GRAVITY * sine) / self.length
        speeds = speeds + _DT * jnp.stack([push, turn])
        return jnp.concatenate([place + _DT * speeds, speeds])


def cart_pole(mass: float = 0.1, force: float = 15.0) -> Task:
    """Swing the pole up and stop the cart at the origin."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        spread = jnp.array([0.5, 0.2, 0.1, 0.1])
        return spread * jax.random.normal(key, (4,)), jnp.array([0.0, jnp.pi, 0.0, 0.0])

    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        place, speeds = jnp.square(state[0] - goal[0]), jnp.square(state[2:] - goal[2:])
        return place + chord(state[1], goal[1]) + 0.1 * jnp.sum(speeds)

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        place, angle, speed, turning = jnp.abs(last(states) - goal)
        return (place < 0.3) & (wrapped(angle) < 0.2) & (speed < 0.5) & (turning < 0.7)

    return Task(
        "cart_pole",
        CartPole(pole=mass),
        sample,
        success,
        (-force,),
        (force,),
        60,
        "m, rad, m/s, rad/s; force in N",
        grasp_jax.Objective(distance),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Acrobot:
    """Two rods of 1 m, driven at the elbow. State `[4]`: two angles, two speeds; torque in N m."""

    mass: float = 1.0

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """Semi-implicit Euler over 0.05 s; centres of mass half-way, inertias of slim rods."""
        first, second, w1, w2 = state
        mass, inertia = self.mass, self.mass / 12
        cosine, sine = jnp.cos(second), jnp.sin(second)
        d22 = mass / 4 + inertia
        d12 = d22 + mass / 2 * cosine
        d11 = mass / 4 + mass * (1.25 + cosine) + 2 * inertia
        drag2 = mass / 2 * GRAVITY * jnp.sin(first + second)
        drag1 = 1.5 * mass * GRAVITY * jnp.sin(first) + drag2
        force1 = mass / 2 * sine * (w2**2 + 2 * w1 * w2) - drag1 - 0.05 * w1
        force2 = action[0] - mass / 2 * sine * w1**2 - drag2 - 0.05 * w2
        determinant = d11 * d22 - d12**2
        w1 = w1 + _DT * (d22 * force1 - d12 * force2) / determinant
        w2 = w2 + _DT * (d11 * force2 - d12 * force1) / determinant
        return jnp.stack([first + _DT * w1, second + _DT * w2, w1, w2])


def tip_height(state: jax.Array) -> jax.Array:
    """Height of the acrobot's tip over its shoulder, `[]` in m, within [-2, 2]."""
    return -jnp.cos(state[0]) - jnp.cos(state[0] + state[1])


def acrobot(mass: float = 1.0, torque: float = 5.0) -> Task:
    """Swing the tip up to a height above the shoulder; the goal `[]` is that height."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, height = jax.random.split(key)
        spread = jnp.array([0.1, 0.1, 0.1, 0.1])
        goal = jax.random.uniform(height, (), minval=1.0, maxval=1.8)
        return spread * jax.random.normal(start, (4,)), goal

    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.square(tip_height(state) - goal)

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.abs(tip_height(last(states)) - goal) < 0.1

    return Task(
        "acrobot",
        Acrobot(mass),
        sample,
        success,
        (-torque,),
        (torque,),
        80,
        "rad, rad/s; torque in N m; the goal is a height in m",
        grasp_jax.Objective(distance),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MountainCar:
    """State `[2]`: position, speed per step. Action `[1]`: throttle. Constants of the classic."""

    power: float = 0.0015

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """One step; the left end of the valley stops the car."""
        place, speed = state
        speed = speed + self.power * action[0] - 0.0025 * jnp.cos(3 * place)
        speed = jnp.clip(speed, -0.07, 0.07)
        moved = place + speed
        stopped = moved < -1.2
        return jnp.stack([jnp.where(stopped, -1.2, moved), jnp.where(stopped, 0.0, speed)])


def mountain_car(power: float = 0.0015, throttle: float = 1.0) -> Task:
    """Reach the top of a hill that is too steep to climb from rest; the goal `[]` is a place."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        place = jax.random.uniform(key, (), minval=-0.6, maxval=-0.4)
        return jnp.stack([place, jnp.zeros(())]), jnp.array(0.5)

    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.square(state[0] - goal)

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.abs(last(states)[0] - goal) < 0.05

    return Task(
        "mountain_car",
        MountainCar(power),
        sample,
        success,
        (-throttle,),
        (throttle,),
        120,
        "position and speed per step of the classic; throttle",
        grasp_jax.Objective(distance),
    )
