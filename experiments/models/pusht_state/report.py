"""Open-loop errors, speed and training curves of the Push-T state model."""

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.models.pusht_state import model as psm

HORIZONS = (20, 40, 60, 80)  # environment steps
BATCHES = (1, 64, 4096)
ROLLOUT = 12  # model steps


@jax.jit
def open_loop(model: psm.PushTStateModel, states: Array, actions: Array) -> Array:
    """Final planning states [n, 8] after model actions [n, T, 10] from planning states [n, 8]."""

    def one(state: Array, actions: Array) -> Array:
        return jax.lax.scan(lambda s, a: (model(s, a), None), state, actions)[0]

    return jax.vmap(one)(states, actions)


def open_loop_report(
    model: psm.PushTStateModel,
    states: np.ndarray | Array,
    actions: np.ndarray | Array,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Errors against recorded trajectories, per horizon.

    Args:
        model: the model.
        states: [n, T + 1, 10] simulator states.
        actions: [n, T, 2] environment actions.
        seed: seed of the segments' starts, one per trajectory and horizon.

    Returns:
        Per horizon in environment steps: 4-vector (agent, block) error in px and angle error in
        degrees, median and 90th percentile, and the share of true actions that the model agrees
        succeed.
    """
    rng, rows = np.random.default_rng(seed), np.arange(len(states))
    report = {}
    for horizon in HORIZONS:
        start = rng.integers(0, actions.shape[1] - horizon + 1, len(states))
        times = start[:, None] + np.arange(horizon)
        stacked = psm.stack_actions(np.asarray(actions)[rows[:, None], times])
        truth = psm.encode(np.asarray(states)[rows, start + horizon])
        first = psm.encode(np.asarray(states)[rows, start])
        final = np.asarray(open_loop(model, jnp.asarray(first), jnp.asarray(stacked)))
        position, angle = psm.errors(final, truth)
        degrees = np.degrees(angle)
        report[str(horizon)] = {
            "px_median": float(np.median(position)),
            "px_p90": float(np.quantile(position, 0.9)),
            "degrees_median": float(np.median(degrees)),
            "degrees_p90": float(np.quantile(degrees, 0.9)),
            "agreement": float(np.mean(psm.predicted_success(final, truth))),
        }
    return report


def _seconds(call: Callable[[], Any], budget: float) -> float:
    jax.block_until_ready(call())
    times, end = [], time.perf_counter() + budget
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def speed_report(model: psm.PushTStateModel, budget: float = 1.0) -> dict[str, dict[str, float]]:
    """Microseconds per model step of one trajectory, per batch size.

    `forward` is one model step; `value_and_grad` is the goal distance after ROLLOUT steps and its
    gradient in the actions, divided by ROLLOUT.
    """

    def cost(actions: Array, model: psm.PushTStateModel, state: Array) -> Array:
        final = jax.lax.scan(lambda s, a: (model(s, a), None), state, actions)[0]
        return psm.goal_distance(final, jnp.zeros_like(final))

    forward = jax.jit(jax.vmap(lambda m, s, a: m(s, a), (None, 0, 0)))
    gradient = jax.jit(jax.vmap(jax.value_and_grad(cost), (0, None, 0)))
    report = {}
    for batch in BATCHES:
        rng = np.random.default_rng(0)
        actions = jnp.asarray(rng.normal(size=(batch, ROLLOUT, psm.ACTION_SIZE)), jnp.float32)
        states = np.zeros((batch, 10), np.float32)
        states[:, [0, 1, 4, 5]] = rng.uniform(150, 350, (batch, 4))
        states[:, 6] = rng.uniform(-np.pi, np.pi, batch)
        x = jnp.asarray(psm.encode(states))
        per_step = _seconds(lambda: forward(model, x, actions[:, 0]), budget)  # noqa: B023
        per_rollout = _seconds(lambda: gradient(actions, model, x), budget)  # noqa: B023
        report[str(batch)] = {
            "forward": round(1e6 * per_step / batch, 3),
            "value_and_grad": round(1e6 * per_rollout / batch / ROLLOUT, 3),
        }
    return report


def plot_curves(log: pathlib.Path, picture: pathlib.Path) -> None:
    """Draws the training loss and the held-out open-loop error of a run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for steps in sorted({row["steps"] for row in rows}):
        part = [row for row in rows if row["steps"] == steps]
        x = [row["update"] for row in part]
        axes[0].plot(x, [row["loss"] for row in part], label=f"{steps}-step rollouts")
        axes[1].plot(x, [row["held_out_px"] for row in part])
    axes[0].set(yscale="log", ylabel="training loss (px)")
    axes[0].legend()
    axes[1].set(yscale="log", xlabel="update", ylabel="held-out median after 60 steps (px)")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
