"""What a control task is: a world in its natural units, random starts and goals, a success rule."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import grasp_jax

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Task:
    """One task; every function in it is pure and written for one goal.

    Attributes:
      name: Short name in records and tables.
      dynamics: `(state, action [A]) -> next state`; the world, and the planner's model of it.
      sample: `key -> (state, goal)`, a random start and a goal that can be reached from it.
      success: `(states, goal) -> []` bool; `states` leaves `[T+1, ...]` with the start.
      low: `[A]` lower bounds of an action, in its natural unit.
      high: `[A]` upper bounds.
      horizon: `T`, steps.
      units: What the numbers mean, for people.
      objective: The cost to minimise, or None for the squared distance of `s_T` to the goal.
    """

    name: str
    dynamics: Any
    sample: Callable[[jax.Array], tuple[PyTree, PyTree]]
    success: Callable[[PyTree, PyTree], jax.Array]
    low: tuple[float, ...]
    high: tuple[float, ...]
    horizon: int
    units: str
    objective: grasp_jax.Objective | None = None

    @property
    def bounds(self) -> tuple[jax.Array, jax.Array]:
        """`(low, high)`, `[A]` each."""
        return jnp.asarray(self.low, jnp.float32), jnp.asarray(self.high, jnp.float32)

    @property
    def init_actions(self) -> jax.Array:
        """`[T, A]` zeros: no task gives a hint."""
        return jnp.zeros((self.horizon, len(self.low)))

    def problem(self, state: PyTree, goal: PyTree, batched: bool = False) -> grasp_jax.Problem:
        """The planning problem from a state to a goal; from many to many where `batched`."""
        return grasp_jax.make_problem(
            self.dynamics,
            state,
            goal,
            self.init_actions,
            bounds=self.bounds,
            objective=self.objective,
            batched=batched,
        )

    def renamed(self, name: str) -> "Task":
        """The same task under another name."""
        return dataclasses.replace(self, name=name)

    def sample_batch(self, num_goals: int, seed: int) -> tuple[PyTree, PyTree]:
        """Starts and goals, leaves `[num_goals, ...]`; the first `n` do not depend on the count."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(num_goals))
        return jax.jit(jax.vmap(self.sample))(keys)


def rollout(dynamics: Any, state: PyTree, actions: jax.Array) -> PyTree:
    """States, leaves `[T+1, ...]`, from a state under actions `[T, A]`."""

    def step(state: PyTree, action: jax.Array) -> tuple[PyTree, PyTree]:
        following = dynamics(state, action)
        return following, following

    _, states = jax.lax.scan(step, state, actions)
    return jax.tree.map(lambda s, x: jnp.concatenate([s[None], x]), state, states)


def last(states: PyTree) -> PyTree:
    """The final state of a trajectory."""
    return jax.tree.map(lambda x: x[-1], states)


def chord(angle: jax.Array, target: jax.Array) -> jax.Array:
    """Squared distance of two angles (radians) on the unit circle."""
    return 2 * (1 - jnp.cos(angle - target))


def wrapped(angle: jax.Array) -> jax.Array:
    """The absolute value of an angle (radians), turned into [0, π]."""
    return jnp.abs(jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi)


def runge_kutta(slope: Callable[[jax.Array], jax.Array], state: jax.Array, dt: float) -> jax.Array:
    """One classical fourth-order step of `ds/dt = slope(s)`."""
    k1 = slope(state)
    k2 = slope(state + dt / 2 * k1)
    k3 = slope(state + dt / 2 * k2)
    k4 = slope(state + dt * k3)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
