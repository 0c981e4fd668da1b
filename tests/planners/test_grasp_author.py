"""The author's algorithm (his `michael-psenka/le-wm-grasp`) restated in NumPy, by hand.

Two deviations of ours are restated too: sums instead of the author's means, which Adam cancels up
to its epsilon, and a sync that hands on the best of its plans instead of its last.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, GRASP
from tests import matrix

T, D, A = 6, 3, 2
RANDOM = np.random.default_rng(0)
W, B = RANDOM.normal(size=(D, D)) / 2, RANDOM.normal(size=(D, A))
START, GOAL = RANDOM.normal(size=D), RANDOM.normal(size=D)
GUESS = RANDOM.normal(size=(T, A)) / 3


def dynamics(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + jnp.tanh(W @ state + B @ action)


class Adam:
    """Kingma & Ba 2015, with its published defaults."""

    def __init__(self, rate: float) -> None:
        self.rate, self.mean, self.square, self.count = rate, 0.0, 0.0, 0

    def move(self, values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.count)
        square = self.square / (1 - 0.999**self.count)
        return values - self.rate * mean / (np.sqrt(square) + 1e-8)


def lifted(states: np.ndarray, actions: np.ndarray, goal_weight: float):
    """Gradients of the lifted objective for `s_1..s_{T-1}` and actions, one step after another."""
    trajectory = np.concatenate([START[None], states, GOAL[None]])
    state_gradient, action_gradient = np.zeros_like(states), np.zeros_like(actions)
    for t in range(T):
        inner = np.tanh(W @ trajectory[t] + B @ actions[t])
        residual = trajectory[t] + inner - trajectory[t + 1]
        miss = trajectory[t] + inner - GOAL
        if t + 1 < T:
            state_gradient[t] = -2 * residual
        action_gradient[t] = B.T @ ((1 - inner**2) * 2 * (residual + goal_weight * miss))
    return state_gradient, action_gradient


def shoot(actions: np.ndarray) -> tuple[float, np.ndarray]:
    """Cost of the serial rollout and its action gradient, backpropagated by hand."""
    states, inners = [START], []
    for action in actions:
        inners.append(np.tanh(W @ states[-1] + B @ action))
        states.append(states[-1] + inners[-1])
    slope, gradient = 2 * (states[-1] - GOAL), np.zeros_like(actions)
    for t in reversed(range(T)):
        through = (1 - inners[t] ** 2) * slope
        gradient[t] = B.T @ through
        slope = slope + W.T @ through
    return float(np.sum((states[-1] - GOAL) ** 2)), gradient


def author(iterations: int, sync_every: int, sync_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Virtual states and actions after the author's loop without noise."""
    states = np.stack([START + t / T * (GOAL - START) for t in range(1, T)])
    actions, state_adam, action_adam = GUESS, Adam(0.1), Adam(0.005)
    for iteration in range(iterations):
        state_gradient, action_gradient = lifted(states, actions, 1.0)
        states = state_adam.move(states, state_gradient)
        actions = action_adam.move(actions, action_gradient)
        if (iteration + 1) % sync_every == 0:
            sync = Adam(0.05)
            visited = [actions]
            for _ in range(sync_steps):
                visited.append(sync.move(visited[-1], shoot(visited[-1])[1]))
            # The author keeps the last.
            actions = min(visited, key=lambda a: shoot(a)[0])
            state_adam, action_adam = Adam(0.1), Adam(0.005)
    return states, actions


def ours(iterations: int, sync_every: int, sync_steps: int) -> tuple[Any, Any]:
    """Our plan, and the planner's own last state."""
    planner = GRASP(
        iterations=iterations,
        state_std=None,
        sync_every=sync_every,
        sync=GD(learning_rate=0.05, iterations=sync_steps),
    )
    arguments = (jnp.asarray(x) for x in (START, GOAL, GUESS))
    plan, search = matrix.searched(planner, grasp_jax.make_problem(dynamics, *arguments))
    return plan, search.inner


def test_the_defaults_are_the_authors_numbers() -> None:
    preset = GRASP()
    assert (preset.iterations, preset.sync_every) == (750, 50)
    assert (preset.state_rate, preset.action_rate, preset.state_std) == (0.1, 0.005, 0.005)
    assert isinstance(preset.sync, GD)
    assert (preset.sync.iterations, preset.sync.learning_rate) == (10, 0.05)


@pytest.mark.parametrize(
    ("iterations", "sync_every", "sync_steps"),
    [(1, 1, 0), (1, 1, 1), (7, 7, 10), (9, 3, 4)],
    ids=["one lifted iteration", "one sync step", "a period", "three periods"],
)
def test_the_authors_loop(iterations: int, sync_every: int, sync_steps: int) -> None:
    states, actions = author(iterations, sync_every, sync_steps)
    with jax.enable_x64():
        plan, found = ours(iterations, sync_every, sync_steps)
    np.testing.assert_allclose(found.states[:-1], states, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.actions, actions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(plan.cost, shoot(np.asarray(plan.actions))[0], rtol=1e-9)
