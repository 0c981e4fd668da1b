"""The planner that the page's controls ask for, and how its search is begun.

Every number is passed as a traced field and no field is None at one setting and a number at
another, so that only choices compile.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


def choose(settings: Settings, world: World) -> Choice:
    """The planner that the settings name."""
    noise, smooth = settings.action_noise, world.smooth
    match settings.planner:
        case "GRASP":
            return Choice(_grasp(settings, world), 1)
        case "GRASP-author":
            author = grasp_jax.GRASP.author()
            sync = _sync(settings, world)
            changed = dataclasses.replace(author, state_noise=settings.state_noise, sync=sync)
            return Choice(changed, 10)
        case "GD":
            descent = grasp_jax.GD(learning_rate=settings.rate, iterations=100)
            return Choice(grasp_jax.MultiStart(descent, _STARTS, noise, smooth), 5)
        case "CEM":
            return Choice(grasp_jax.CEM(samples=100, elites=10, std=noise, noise=smooth), 1)
        case "iCEM":
            return Choice(grasp_jax.ICEM(samples=100, elites=10, std=noise, noise=smooth), 1)
        case "MPPI":
            return Choice(grasp_jax.MPPI(100, std=noise, temperature=0.03, noise=smooth), 1)
    raise ValueError(f"there is no planner {settings.planner!r}.")


def _grasp(settings: Settings, world: World) -> Any:
    sync = _sync(settings, world)
    if sync is None:
        alone = grasp_jax.GRASP(
            iterations=100,
            state_rate=0.1,
            action_rate=settings.rate,
            state_noise=settings.state_noise,
            sync=None,
        )
        return grasp_jax.MultiStart(alone, _STARTS, settings.action_noise, world.smooth)
    return grasp_jax.restarted_grasp(
        starts=_STARTS,
        cycles=8,
        lifted=_LIFTED,
        state_noise=settings.state_noise,
        action_noise=settings.action_noise,
        start_noise=settings.action_noise,
        sync=sync,
        noise=world.smooth,
    )


def _sync(settings: Settings, world: World) -> Any:
    if settings.sync == "none":
        return None
    if settings.sync == "samples":
        std = settings.action_noise
        return grasp_jax.ICEM(48, 6, 3, iterations=5, std=std, noise=world.smooth)
    return grasp_jax.GD(learning_rate=settings.rate, iterations=20)


def begin(
    world: World,
    settings: Settings,
    window: Window,
    goal: State,
    guess: np.ndarray,
    key: jax.Array,
    steps: int,
) -> grasp_jax.Search:
    """A search from what the simulator shows to the goal.

    Args:
      world: The world.
      settings: Which planner.
      window: What the simulator showed.
      goal: The simulator's state to reach.
      guess: `[T, A]`, the starting guess.
      key: One random key.
      steps: Model steps in which to reach the goal, traced.
    """
    return grasp_jax.start(
        world.dynamics,
        jax.tree.map(_single, world.encode(window.state)),
        jax.tree.map(_single, world.encode(goal)),
        actions=jnp.asarray(guess, jnp.float32),
        key=key,
        planner=choose(settings, world).planner,
        bounds=world.bounds,
        objective=world.objective,
        context=world.context(window),
        length=steps,
    )


def _single(x: Any) -> jax.Array:
    return jnp.asarray(x, jnp.float32)
