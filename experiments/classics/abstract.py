"""Tasks without a picture: latents of random networks, a stiff system, a chaotic one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from experiments.classics.task import Task, last, rollout, runge_kutta
from grasp_jax import AR1

_HIDDEN = 32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RandomNetwork:
    """`s' = s + (W tanh(V s + B a) - s) / 10`, a smooth random recurrent network.

    Attributes:
      out: `W` `[D, H]`.
      inner: `V` `[H, D]`.
      drive: `B` `[H, A]`.
    """

    out: jax.Array
    inner: jax.Array
    drive: jax.Array

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The next latent `[D]`."""
        hidden = jnp.tanh(self.inner @ state + self.drive @ action)
        return state + 0.1 * (self.out @ hidden - state)


def latent(size: int = 64, seed: int = 0, unit: float = 1.0) -> Task:
    """Reach a latent that other actions have reached; `A` is the root of the size."""
    # The largest costs the most: half the steps.
    num_actions, horizon = round(size**0.5), 50 if size < 256 else 25
    rng = np.random.default_rng([seed, size])

    def matrix(rows: int, columns: int, gain: float) -> jax.Array:
        return jnp.asarray(gain * rng.standard_normal((rows, columns)) / columns**0.5, jnp.float32)

    inner, drive = matrix(_HIDDEN, size, 1.5), matrix(_HIDDEN, num_actions, 1.5 / unit)
    world = RandomNetwork(matrix(size, _HIDDEN, 1.5), inner, drive)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, noise = jax.random.split(key)
        state = jax.random.normal(start, (size,))
        draws = AR1(rho=0.9)(noise, jnp.zeros((horizon, num_actions)))
        states = rollout(world, state, jnp.clip(0.7 * draws, -1, 1) * unit)
        return state, last(states)

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        gap, way = jnp.linalg.norm(last(states) - goal), jnp.linalg.norm(states[0] - goal)
        return gap < 0.1 * way

    low, high = (-unit,) * num_actions, (unit,) * num_actions
    return Task(f"latent_{size}", world, sample, success, low, high, horizon, "none; none")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Linear:
    """`s' = A s + B a`.

    Attributes:
      state: `A` `[D, D]`.
      action: `B` `[D, A]`.
    """

    state: jax.Array
    action: jax.Array

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The next state `[D]`."""
        return self.state @ state + self.action @ action


def stiff(stiffness: float = 2000.0, force: float = 2.0) -> Task:
    """Two masses on a stiff spring (150 rad/s), the first one driven; 0.05 s, integrated exactly.

    State `[4]`: displacements in m, speeds in m/s. Stop at a place, without ringing.
    """
    masses, damping = (1.0, 0.1), 0.5
    slopes = np.zeros((5, 5))
    slopes[0, 2] = slopes[1, 3] = 1
    for row, sign in ((0, 1.0), (1, -1.0)):
        slopes[2 + row, :4] = sign * np.array([-stiffness, stiffness, -damping, damping])
        slopes[2 + row] /= masses[row]
    slopes[2, 4] = 1 / masses[0]
    exact = scipy.linalg.expm(0.05 * slopes)
    world = Linear(jnp.asarray(exact[:4, :4], jnp.float32), jnp.asarray(exact[:4, 4:], jnp.float32))

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, goal = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        still = jnp.zeros(2)
        return (
            jnp.concatenate([jnp.full((2,), start), still]),
            jnp.concatenate([jnp.full((2,), goal), still]),
        )

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        gap = jnp.abs(last(states) - goal)
        return (jnp.max(gap[:2]) < 0.03) & (jnp.max(gap[2:]) < 0.1)

    return Task("stiff", world, sample, success, (-force,), (force,), 60, "m, m/s; N")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lorenz:
    """Lorenz's equations, a control on the second; state `[3]`, action `[1]`, 0.02 time units."""

    rayleigh: float = 28.0

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """One Runge-Kutta step."""

        def slope(s: jax.Array) -> jax.Array:
            x, y, z = s
            second = x * (self.rayleigh - z) - y + action[0]
            return jnp.stack([10 * (y - x), second, x * y - 8 / 3 * z])

        return runge_kutta(slope, state, 0.02)


def lorenz(control: float = 20.0, rayleigh: float = 28.0) -> Task:
    """Come to rest in the middle of one of the two wings, from anywhere on the attractor."""
    world = Lorenz(rayleigh)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, side = jax.random.split(key)
        settled = last(rollout(world, jax.random.normal(start, (3,)) * 5 + 10, jnp.zeros((500, 1))))
        radius = jnp.sqrt(8 / 3 * (rayleigh - 1))
        across = jnp.where(jax.random.bernoulli(side), radius, -radius)
        return settled, jnp.stack([across, across, jnp.asarray(rayleigh - 1)])

    def success(states: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(last(states) - goal)) < 1.0

    return Task("lorenz", world, sample, success, (-control,), (control,), 150, "none; none")
