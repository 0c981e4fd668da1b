"""What a visual latent knows of held-out videos; whether its motion agrees with true actions."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from experiments.environments.goals import Goals
from experiments.environments.pusht.goals import sample_goals
from experiments.environments.pusht.simulator import (
    AGENT_POSITION,
    BLOCK_ANGLE,
    BLOCK_POSITION,
    STATE_SIZE,
    success,
)
from experiments.models.latent.losses import frames_of
from experiments.models.latent.model import LATENT, TEMPORAL, LatentModel
from experiments.models.latent.networks import rollout

Floats = NDArray[np.floating]


def targets_of(states: Floats) -> NDArray[np.float32]:
    """What the probe learns: agent and block position (px), cosine and sine of the angle."""
    angle = states[..., BLOCK_ANGLE, None]
    parts = [states[..., AGENT_POSITION], states[..., BLOCK_POSITION], np.cos(angle), np.sin(angle)]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def states_of(measured: Floats) -> NDArray[np.float64]:
    """States [..., 10], velocities 0, of what a probe measured [..., 6]."""
    found = np.zeros((*measured.shape[:-1], STATE_SIZE))
    found[..., AGENT_POSITION], found[..., BLOCK_POSITION] = measured[..., :2], measured[..., 2:4]
    found[..., BLOCK_ANGLE] = np.arctan2(measured[..., 5], measured[..., 4])
    return found


def errors_of(measured: Floats, states: Floats) -> NDArray[np.float64]:
    """Errors [..., 3] of agent (px), block (px) and angle (degrees)."""
    found = states_of(np.asarray(measured, np.float64))
    turn = found[..., BLOCK_ANGLE] - states[..., BLOCK_ANGLE]
    return np.stack(
        [
            np.linalg.norm((found - states)[..., AGENT_POSITION], axis=-1),
            np.linalg.norm((found - states)[..., BLOCK_POSITION], axis=-1),
            np.degrees(np.abs((turn + np.pi) % (2 * np.pi) - np.pi)),
        ],
        axis=-1,
    )


def quantiles(errors: Floats) -> dict[str, dict[str, float]]:
    """Median and 90th percentile of errors [n, 3]."""
    return {
        name: {
            "median": round(float(np.median(column)), 2),
            "p90": round(float(np.quantile(column, 0.9)), 2),
        }
        for name, column in zip(("agent", "block", "angle"), errors.T, strict=True)
    }


@jax.jit
def encode(model: LatentModel, states: Array) -> Array:
    """Latents [n, D] of the frames of states [n, 10], in float32."""
    return jax.lax.map(lambda s: model.encode(frames_of(s[None]))[0], states, batch_size=128)


def encode_many(model: LatentModel, states: Floats) -> NDArray[np.float32]:
    """The same of states [..., 10]: latents [..., D]."""
    flat = jnp.asarray(states.reshape(-1, states.shape[-1]), jnp.float32)
    return np.asarray(encode(model, flat)).reshape(*states.shape[:-1], -1)


@jax.jit
def imagine(model: LatentModel, window: Array, actions: Array) -> Array:
    """Open-loop latents [n, K, D] from windows [n, h, D] and actions [n, h + K - 1, P]."""
    return rollout(model.predictor, window, actions)


def on_videos(model: LatentModel, states: Floats, actions: Floats) -> dict[str, Any]:
    """Errors on held-out videos [n, T + 1, 10]: at the present frame, and open loop."""
    every, history = model.frameskip, model.history
    seen = states[:, ::every]
    latents = encode_many(model, seen)
    present = errors_of(np.asarray(model.measure(jnp.asarray(latents))), seen)
    taken = model.from_environment(actions)[:, : seen.shape[1] - 1]
    found = imagine(model, jnp.asarray(latents[:, :history]), jnp.asarray(taken))
    after = errors_of(np.asarray(model.measure(found)), seen[:, history:])
    still = errors_of(
        targets_of(np.repeat(seen[:, history - 1 : history], after.shape[1], axis=1)),
        seen[:, history:],
    )
    steps = [k for k in (1, 2, 5, 10, 15, 20) if k <= after.shape[1]]
    return {
        "videos": len(states),
        "present": quantiles(present.reshape(-1, 3)),
        "open_loop": {
            str(k * every): {**quantiles(after[:, k - 1]), "if_still": quantiles(still[:, k - 1])}
            for k in steps
        },
    }


@functools.cache
def _goals(count: int, horizon: int) -> Goals:
    return sample_goals(count, horizon, split="tune")


def measure(model: LatentModel, states: Floats, actions: Floats, goals: int) -> dict[str, Any]:
    """All of it: on held-out videos, and on so many goals of three horizons."""
    found = on_videos(model, states, actions)
    found["goals"] = [on_goals(model, _goals(goals, h), h) for h in (25, 50, 100)]
    return found


def on_goals(model: LatentModel, goals: Goals, horizon: int) -> dict[str, Any]:
    """What the model says of the recorded actions that lead to goals."""
    every, past = model.frameskip, model.history - 1
    before = goals.past_states[:, goals.past_states.shape[1] - every * past :: every]
    shown = np.concatenate([before, goals.start[:, None], goals.goal[:, None]], axis=1)
    latents = encode_many(model, shown)
    began = goals.past_actions[:, goals.past_actions.shape[1] - every * past :]
    taken = model.from_environment(np.concatenate([began, goals.actions], axis=1))
    found = imagine(model, jnp.asarray(latents[:, : past + 1]), jnp.asarray(taken))
    measured = np.asarray(model.measure(found[:, -1]))
    errors = errors_of(measured, goals.goal)
    still = errors_of(targets_of(goals.start), goals.goal)
    agreed = success(states_of(measured), goals.goal)
    rows = []
    for metric in (LATENT,) if model.time is None else (LATENT, TEMPORAL):
        cost = jax.jit(jax.vmap(functools.partial(_cost, model.with_metric(metric))))
        goal = jnp.asarray(latents[:, -1])
        rows.append(
            {
                "metric": metric,
                "start": round(float(np.median(cost(jnp.asarray(latents[:, past]), goal))), 4),
                "true_actions": round(float(np.median(cost(found[:, -1], goal))), 4),
            }
        )
    return {
        "goals": len(errors),
        "horizon": horizon,
        "agrees_with_true_actions": round(float(agreed.mean()), 4),
        "errors": quantiles(errors),
        "if_still": quantiles(still),
        "cost": rows,
    }


def _cost(model: LatentModel, state: Array, goal: Array) -> Array:
    return model.objective.terminal_cost(state, goal)
