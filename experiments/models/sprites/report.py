"""What a trained visual model is worth: a linear probe, and open-loop errors in simulator units."""

import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.models.sources import Source
from experiments.models.sprites.model import VisualModel
from experiments.models.sprites.training import Data, rollout

STEPS = (5, 10, 20, 25, 40, 60, 80)


def fit_probe(latents: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """[M, L + 1], least squares from latents [n, L] to measured [n, M]."""
    inputs = np.concatenate([latents, np.ones((len(latents), 1))], axis=1).astype(np.float64)
    return np.linalg.lstsq(inputs, measured, rcond=None)[0].T


def open_loop(
    model: VisualModel, data: Data, measured: np.ndarray, steps: tuple[int, ...] = STEPS
) -> dict[str, dict[str, list[float]]]:
    """Median and 90th percentile of the error of each measured number, by environment steps.

    Args:
        model: with its probe.
        data: held-out trajectories.
        measured: [n, T + 1, M] of them.
        steps: at which to look.
    """
    every = model.frameskip
    most = (np.asarray(data.actions).shape[1] // every - 1) * every
    steps = tuple(s for s in steps if s <= most)

    def one(latents: jax.Array, actions: jax.Array) -> jax.Array:
        first = jnp.stack([latents[0], latents[every]])
        taken = actions[: every + steps[-1]]
        return model.measure(rollout(model.scene, model.dynamics, first, taken, every))

    found = jax.jit(jax.vmap(one))(jnp.asarray(data.latents), jnp.asarray(data.actions))
    errors = np.abs(np.asarray(found) - measured[:, every + 1 : every + 1 + steps[-1]])
    return {
        str(s): {
            "median": np.round(np.median(errors[:, s - 1], axis=0), 4).tolist(),
            "p90": np.round(np.quantile(errors[:, s - 1], 0.9, axis=0), 4).tolist(),
        }
        for s in steps
    }


def write_report(
    model: VisualModel,
    source: Source,
    data: Data,
    states: np.ndarray,
    held_out: int,
    command: str,
    output: pathlib.Path,
    curve: pathlib.Path,
) -> VisualModel:
    """Fits the probe on training frames, measures on held-out ones, writes `<output>.json`.

    Returns:
        The model with its probe.
    """
    measured = source.measured(states)
    train = slice(None, -held_out), slice(None, None, 7)
    latents = np.asarray(data.latents)
    probe = fit_probe(
        latents[train].reshape(-1, latents.shape[-1]),
        measured[train].reshape(-1, measured.shape[-1]),
    )
    model = eqx.tree_at(lambda m: m.probe, model, jnp.asarray(probe, jnp.float32))
    seen = np.asarray(model.measure(jnp.asarray(latents[-held_out:])))
    errors = np.abs(seen - measured[-held_out:]).reshape(-1, measured.shape[-1])
    tail = Data(latents[-held_out:], np.asarray(data.actions)[-held_out:])
    losses = [json.loads(line) for line in curve.read_text().splitlines()]
    report = {
        "command": command,
        "data": f"{len(states) - held_out} trajectories for training, {held_out} held out",
        "device": jax.devices()[0].device_kind,
        "training_seconds": losses[-1]["seconds"],
        "probe": {
            "median": np.round(np.median(errors, axis=0), 4).tolist(),
            "p99": np.round(np.quantile(errors, 0.99, axis=0), 4).tolist(),
        },
        "open_loop": open_loop(model, tail, measured[-held_out:]),
        "loss": [[row["update"], row["steps"], round(row["loss"], 6)] for row in losses[::10]],
    }
    output.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "loss"}, indent=1))
    return model
