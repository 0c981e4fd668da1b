"""What a trained small LeWM is worth; decoder and probes are fitted here, on frozen latents."""

import dataclasses
import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.models.lewm.frames import StoredFrames
from experiments.models.lewm.model import SmallLeWM
from experiments.models.lewm.training import encode, rollout

_CHUNK = 256
_PROBE_UPDATES = 2000
_BANDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Frames and what the simulator knows of them.

    Attributes:
        frames: [n, S, S, 3] uint8.
        measured: [n, M].
        latents: [n, D].
    """

    frames: NDArray[np.uint8]
    measured: NDArray[np.float64]
    latents: NDArray[np.float32]


def encode_frames(model: SmallLeWM, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Latents [n, D] of frames [n, S, S, 3], in chunks that share a program."""
    parts = []
    for low in range(0, len(frames), _CHUNK):
        part = frames[low : low + _CHUNK]
        padded = np.resize(part, (_CHUNK, *part.shape[1:]))
        parts.append(np.asarray(encode(model, jnp.asarray(padded)))[: len(part)])
    return np.concatenate(parts)


def sample(
    model: SmallLeWM,
    frames: NDArray[np.uint8] | StoredFrames,
    measured: NDArray[Any],
    count: int,
    seed: int,
) -> Sample:
    """Random frames of trajectories [n, T + 1, ...]."""
    index = np.random.default_rng(seed).integers(frames.shape[0] * frames.shape[1], size=count)
    row, column = np.divmod(np.sort(index), frames.shape[1])
    chosen = np.asarray(frames[row, column])
    return Sample(chosen, measured[row, column], encode_frames(model, chosen))


@functools.partial(jax.jit, static_argnames="optimizer")
def _fit_step(head: Any, state: Any, inputs: Array, targets: Array, optimizer: Any) -> Any:
    def loss(head: Any) -> Array:
        return jnp.mean((head(inputs) - targets) ** 2)

    value, gradient = jax.value_and_grad(loss)(head)
    change, state = optimizer.update(gradient, state, head)
    return optax.apply_updates(head, change), state, value


def fit(
    head: Any, inputs: NDArray[Any], targets: NDArray[Any], updates: int, title: str, batch: int
) -> Any:
    """A head [..., D] to targets by Adam on the squared error; uint8 targets are frames."""
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, updates))
    state, rng = optimizer.init(head), np.random.default_rng(0)
    for _ in tqdm(range(updates), desc=title, unit="update"):
        rows = rng.integers(len(inputs), size=batch)
        target = targets[rows]
        target = target / np.float32(255) if target.dtype == np.uint8 else target
        head, state, _ = _fit_step(
            head, state, jnp.asarray(inputs[rows]), jnp.asarray(target, jnp.float32), optimizer
        )
    return head


def with_heads(model: SmallLeWM, train: Sample, updates: int) -> SmallLeWM:
    """The model with a probe, and a decoder of so many updates, fitted to its latents."""
    units = np.stack([train.measured.mean(0), train.measured.std(0)])
    targets = (train.measured - units[0]) / units[1]
    probe = fit(model.probe, train.latents, targets, _PROBE_UPDATES, "probe", 256)
    decoder = fit(model.decoder, train.latents, train.frames, updates, "decoder", 64)
    return eqx.tree_at(
        lambda m: (m.probe, m.decoder, m.units),
        model,
        (probe, decoder, jnp.asarray(units, jnp.float32)),
    )


def quantiles(errors: NDArray[Any]) -> dict[str, list[float]]:
    """Median and 90th percentile of each column."""
    return {
        "median": np.round(np.median(errors, axis=0), 4).tolist(),
        "p90": np.round(np.quantile(errors, 0.9, axis=0), 4).tolist(),
    }


def probe_errors(model: SmallLeWM, train: Sample, test: Sample) -> dict[str, Any]:
    """Errors of a linear probe and of the model's, in simulator units, on held-out frames."""
    inputs, other = (np.c_[s.latents, np.ones(len(s.latents))] for s in (train, test))
    weights = np.linalg.lstsq(inputs, train.measured, rcond=None)[0]
    seen = np.asarray(model.measure(jnp.asarray(test.latents)))
    return {
        "linear": quantiles(np.abs(other @ weights - test.measured)),
        "perceptron": quantiles(np.abs(seen - test.measured)),
    }


def geometry(test: Sample) -> dict[str, Any]:
    """How latents lie: trace and effective rank of their covariance, distances against true ones.

    `distance` holds the mean squared latent distance of pairs of frames by the distance of what is
    measured, in shares of the largest one: a goal cost is a guide as far as this rises.
    """
    z, x = test.latents[:1000], test.measured[:1000]
    spectrum = np.linalg.eigvalsh(np.cov(test.latents.T))
    gaps = np.linalg.norm(z[:, None] - z, axis=-1) ** 2
    away = np.linalg.norm(x[:, None] - x, axis=-1)
    share = away / away.max()
    bands = itertools.pairwise(_BANDS)
    return {
        "trace": round(float(spectrum.sum()), 2),
        "effective_rank": round(float(spectrum.sum() ** 2 / (spectrum**2).sum()), 2),
        "distance": [
            [high, round(float(gaps[(share > low) & (share <= high)].mean()), 3)]
            for low, high in bands
        ],
    }


def open_loop(
    model: SmallLeWM, latents: NDArray[Any], actions: NDArray[Any], measured: NDArray[Any]
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Errors of imagined latents and of what the probe reads in them, by environment step.

    Args:
        model: with its probe.
        latents: [n, F, D], one frame per model step.
        actions: [n, F - 1, P].
        measured: [n, F, M].

    Returns:
        The errors, and the imagined latents [n, F - h, D].
    """
    history = model.history
    run = jax.jit(lambda z, a: rollout(model.predictor, z, a))
    found = np.asarray(run(jnp.asarray(latents[:, :history]), jnp.asarray(actions)))
    seen = np.abs(np.asarray(model.measure(jnp.asarray(found))) - measured[:, history:])
    gaps = np.mean((found - latents[:, history:]) ** 2, axis=-1)
    # What no prediction would do: the last frame seen, held.
    held = np.mean((latents[:, history - 1 : history] - latents[:, history:]) ** 2, axis=-1)
    rows = {
        str((k + 1) * model.frameskip): {
            "latent": round(float(gaps[:, k].mean()), 5),
            "latent_if_still": round(float(held[:, k].mean()), 5),
            **quantiles(seen[:, k]),
        }
        for k in range(found.shape[1])
    }
    return rows, found


def picture(
    model: SmallLeWM, frames: NDArray[np.uint8], imagined: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Rows of true frames [n, F, S, S, 3], each above what the model imagined [n, F - h, D]."""
    strips = []
    for true, found in zip(frames, imagined, strict=True):
        seen = encode_frames(model, true)[: model.history]
        drawn = np.asarray(model.decode(jnp.asarray(np.concatenate([seen, found]))))
        for row in (true, drawn):
            bordered = np.pad(row, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=90)
            strips.append(np.concatenate(list(bordered), axis=1))
    return np.concatenate(strips).repeat(2, axis=0).repeat(2, axis=1)
