"""The tasks of `experiments.classics`: finite, not solved by doing nothing, and solvable."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from experiments.classics.abstract import Linear
from experiments.classics.runner import achieved
from experiments.classics.swinging import Acrobot, CartPole, Pendulum
from experiments.classics.task import Task, last, rollout
from experiments.classics.tasks import all_tasks, names
from grasp_jax import GD, ICEM, LatCo, MultiStart, Scaled

every_task = pytest.mark.parametrize("name", list(all_tasks()))


@functools.partial(jax.jit, static_argnums=0)
def _wander(task: Any, states: Any, goals: Any, actions: jax.Array) -> Any:
    def one(state: Any, goal: Any) -> Any:
        trajectory = rollout(task.dynamics, state, actions)
        return trajectory, task.success(trajectory, goal)

    return jax.vmap(one)(states, goals)


class _ByName:
    """A task that `jit` can hash."""

    def __init__(self, name: str) -> None:
        self.__dict__.update(vars(all_tasks()[name]))


@every_task
def test_finite_and_not_solved_by_accident(name: str) -> None:
    task = all_tasks()[name]
    low, high = task.bounds
    states, goals = task.sample_batch(4, seed=1)
    draws = jax.random.uniform(jax.random.key(0), task.init_actions.shape)
    by_name = _ByName(name)
    for actions in (jnp.clip(task.init_actions, low, high), low + draws * (high - low)):
        trajectory, solved = _wander(by_name, states, goals, actions)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(trajectory))
        assert not np.any(solved)


def test_goals_do_not_depend_on_their_number() -> None:
    task = all_tasks()["unicycle"]
    few, many = task.sample_batch(2, seed=5), task.sample_batch(3, seed=5)
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(a, b[:2])


def test_held_out_tasks_are_not_those_of_the_table() -> None:
    assert len(names()) == len(names(held_out=True)) == 15
    for name in names():
        mine, other = all_tasks()[name], all_tasks()[f"{name}_2"]
        same = mine.low == other.low and mine.high == other.high
        leaves = zip(jax.tree.leaves(mine.dynamics), jax.tree.leaves(other.dynamics), strict=True)
        assert not (same and all(np.array_equal(a, b) for a, b in leaves))


def _energy_drift(world: Any, energy: Any, state: jax.Array, size: int) -> float:
    states = rollout(world, state, jnp.zeros((40, size)))
    energies = jax.vmap(energy)(states)
    return float(jnp.max(jnp.abs(energies - energies[0])) / jnp.max(jnp.abs(energies)))


def test_a_free_pendulum_keeps_its_energy() -> None:
    drift = _energy_drift(
        Pendulum(friction=0.0),
        lambda s: s[1] ** 2 / 2 - 9.81 * jnp.cos(s[0]),
        jnp.array([1.0, 0.0]),
        1,
    )
    assert drift < 0.15


def test_a_free_cart_and_pole_keep_their_energy() -> None:
    world = CartPole()

    def energy(state: jax.Array) -> jax.Array:
        _, angle, speed, turning = state
        along = speed + world.length * turning * jnp.cos(angle)
        up = world.length * turning * jnp.sin(angle)
        kinetic = world.cart * speed**2 / 2 + world.pole * (along**2 + up**2) / 2
        return kinetic - world.pole * 9.81 * world.length * jnp.cos(angle) + 2.0

    assert _energy_drift(world, energy, jnp.array([0.0, 1.0, 0.0, 0.0]), 1) < 0.1


def test_a_hanging_acrobot_rests() -> None:
    states = rollout(Acrobot(), jnp.zeros(4), jnp.zeros((20, 1)))
    np.testing.assert_allclose(states, 0.0, atol=1e-6)


def test_the_stiff_system_is_stiff() -> None:
    world = all_tasks()["stiff"].dynamics
    assert isinstance(world, Linear)
    # A slow mode that keeps its place, and one that turns by more than a half circle a step.
    eigenvalues = np.linalg.eigvals(np.asarray(world.state, np.float64))
    assert np.sum(np.isclose(eigenvalues, 1.0, atol=0.01)) >= 1
    assert np.max(np.abs(np.imag(eigenvalues))) > 0.5


def _walk(task: Task, state: jax.Array, goal: jax.Array) -> jax.Array:
    """Actions `[T, 2]` past the ends of the maze's two walls."""
    targets = [jnp.array([-0.33, 0.7]), jnp.array([0.33, -0.7]), goal]
    step, place, actions = task.high[0], np.asarray(state), []
    for _ in range(task.horizon):
        if len(targets) > 1 and np.abs(np.asarray(targets[0]) - place).max() < 1e-2:
            targets.pop(0)
        wanted = (np.asarray(targets[0]) - place) / 0.05
        actions.append(step * wanted / max(step, float(np.abs(wanted).max())))
        place = np.asarray(task.dynamics(jnp.asarray(place), jnp.asarray(actions[-1])))
    return jnp.asarray(np.stack(actions), jnp.float32)


def test_the_maze_has_a_way() -> None:
    task = all_tasks()["maze"]
    states, goals = task.sample_batch(2, seed=0)
    for state, goal in zip(states, goals, strict=True):
        assert achieved(task, state, goal, _walk(task, state, goal))["success"]


_DESCENTS = Scaled(MultiStart(GD(iterations=300), num_starts=8, start_std=0.5))
_SOLVERS: dict[str, Any] = {"quadrotor": Scaled(LatCo()), "pushing": ICEM()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in all_tasks() if not n.startswith("maze")])
def test_some_planner_solves_it(name: str) -> None:
    task = all_tasks()[name]
    states, goals = task.sample_batch(4, seed=2)
    plan = grasp_jax.plan_batch(
        task.dynamics,
        states,
        goals,
        task.init_actions,
        jax.random.key(0),
        planner=_SOLVERS.get(name.removesuffix("_2"), _DESCENTS),
        bounds=task.bounds,
        objective=task.objective,
    )
    solved = jax.vmap(task.success)(plan.states, goals)
    assert np.sum(solved) >= 2
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(jax.vmap(last)(plan.states)))
