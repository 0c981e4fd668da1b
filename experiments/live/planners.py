"""The planner that the page's controls ask for, and how its search is begun.

Every number is passed as a traced field and no field is None at one setting and a number at
another, so that only choices compile.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import grasp_jax
from experiments.live.controls import Settings
from experiments.live.world import State, Window, World

_STARTS = 8
_LIFTED = 4
"""Lifted iterations before each sync."""


class Choice(NamedTuple):
    """A planner, and the iterations between two updates of the page."""

    planner: Any
    chunk: int


def choose(settings: Settings, world: World, way: Any = None) -> Choice:
    """The planner that the settings name.

    Args:
      settings: The controls.
      world: Whose shapes and noise it gets.
      way: For GRASP-graph, the recorded way, leaves `[T-1, ...]`, traced.
    """
    match settings.planner:
        case "GRASP":
            return Choice(_grasp(settings, world), 1)
        case "GRASP-author":
            sync = _sync(settings, world)
            return Choice(grasp_jax.GRASP(state_std=settings.state_std, sync=sync), 10)
        case "GRASP-graph":
            return Choice(_along(way, settings), 10)
        case "GD":
            descent = grasp_jax.GD(learning_rate=settings.rate, iterations=100)
            return Choice(_from_several_starts(descent, settings, world), 5)
        case name:
            return Choice(_sampler(name, settings.action_std, world.smooth), 1)


def _sampler(name: str, std: float, noise: Any) -> Any:
    """A planner that samples 100 sequences in an iteration."""
    match name:
        case "CEM":
            return grasp_jax.CEM(num_samples=100, num_elites=10, std=std, noise=noise)
        case "iCEM":
            return grasp_jax.ICEM(num_samples=100, num_elites=10, std=std, noise=noise)
        case "MPPI":
            return grasp_jax.MPPI(num_samples=100, temperature=0.03, std=std, noise=noise)
    raise ValueError(f"there is no planner {name!r}.")


def _along(way: Any, settings: Settings) -> Any:
    """All actions fitted to the way side by side, then gradients of the rollout."""
    fit = grasp_jax.GRASP(
        iterations=40,
        state_rate=0.0,
        action_rate=100.0,
        goal_weight=0.0,
        state_std=None,
        init_states=grasp_jax.GivenPath(way),
        optimizer=optax.sgd,
        sync=None,
    )
    return grasp_jax.Chain(fit, grasp_jax.GD(learning_rate=settings.rate, iterations=40))


def _from_several_starts(planner: Any, settings: Settings, world: World) -> Any:
    return grasp_jax.MultiStart(
        planner, num_starts=_STARTS, start_std=settings.action_std, noise=world.smooth
    )


def _grasp(settings: Settings, world: World) -> Any:
    sync = _sync(settings, world)
    if sync is None:
        alone = grasp_jax.GRASP(
            iterations=100,
            state_rate=0.1,
            action_rate=settings.rate,
            state_std=settings.state_std,
            sync=None,
        )
        return _from_several_starts(alone, settings, world)
    return grasp_jax.restarted_grasp(
        num_starts=_STARTS,
        num_cycles=8,
        num_lifted=_LIFTED,
        state_std=settings.state_std,
        action_std=settings.action_std,
        start_std=settings.action_std,
        sync=sync,
        noise=world.smooth,
    )


def _sync(settings: Settings, world: World) -> Any:
    if settings.sync == "none":
        return None
    if settings.sync == "samples":
        return grasp_jax.ICEM(
            num_samples=48,
            num_elites=6,
            num_kept=3,
            iterations=5,
            std=settings.action_std,
            noise=world.smooth,
        )
    return grasp_jax.GD(learning_rate=settings.rate, iterations=20)


def begin(
    world: World,
    planner: Any,
    window: Window,
    goal: State,
    guess: np.ndarray,
    key: jax.Array,
    steps: int,
) -> grasp_jax.Search:
    """A search from what the simulator shows to the goal.

    Args:
      world: The world.
      planner: Of `choose`.
      window: What the simulator showed.
      goal: The simulator's state to reach.
      guess: `[T, A]`, the starting guess.
      key: One random key.
      steps: Model steps in which to reach the goal, traced.
    """
    problem = grasp_jax.make_problem(
        world.dynamics,
        jax.tree.map(_single, world.encode(window.state)),
        jax.tree.map(_single, world.encode(goal)),
        jnp.asarray(guess, jnp.float32),
        bounds=world.bounds,
        objective=world.objective,
        context=world.context(window),
        horizon=steps,
    )
    return grasp_jax.start(problem, key, planner=planner)


def _single(x: Any) -> jax.Array:
    return jnp.asarray(x, jnp.float32)
