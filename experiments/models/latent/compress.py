r"""Trains a code of a trained vector, and how it moves, on a CPU; encoder and decoder stay.

    python -m experiments.environments.pusht.collect --output=data/pusht --trajectories=50000
    python -m experiments.models.latent.compress --data=data/pusht

Encodes every frame that a model step sees once, then learns the code and its motion together: the
vectors of a video must come back from codes, from those seen first and from those that the motion
makes of them. Vectors and actions alone are used; the probe, which only measures, is learned last.
Every part resumes from its snapshot in --work; with --seconds the command stops by itself, to be
run again.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import Array

from experiments.environments.pusht.collect import load_shards
from experiments.harness.flags import begin
from experiments.models import checkpoint
from experiments.models.latent import code_run, report
from experiments.models.latent.code import Code, Mover, axes_of, code_loss, folded
from experiments.models.latent.code_run import (
    define_shared_flags,
    encode_shard,
    errors,
    train,
    write,
    write_report,
)
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.run import wait_for
from experiments.models.lewm.networks import Perceptron
from experiments.models.load import load_model
from experiments.models.runs import Stage, TrainingRun, parse_stage

_TOLD = ("start", "trajectories", "code", "code_width", "axes", "floor", "still", "width", "depth")
_TOLD += ("stages", "probe_updates", "seed")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    define_shared_flags("pusht_vector", "data/pusht", 50000)
    flags.DEFINE_integer("code", 16, "Numbers in the code.", lower_bound=1)
    flags.DEFINE_integer("code_width", 128, "Of its autoencoder's layers.", lower_bound=1)
    flags.DEFINE_float("still", 0.05, "Weight of the mean absolute change of the code.")
    flags.DEFINE_integer("width", 128, "Of the motion's layers.", lower_bound=1)
    flags.DEFINE_integer("depth", 3, "Of the motion's layers.", lower_bound=1)
    flags.DEFINE_list(
        "stages",
        "0:512:8000:1e-2,3:512:5000:5e-3,6:256:6000:4e-3,10:256:6000:2e-3,10:256:18000:3e-3",
        "As predicted model steps:batch size:updates:peak learning rate; 0 steps: the code alone.",
    )
    flags.DEFINE_integer("probe_updates", 5000, "Of the probe.", lower_bound=1)


def learn(
    scaled: Array, actions: Array, config: Config, values: Any, until: float
) -> tuple[Code, Mover]:
    """Code and motion of vectors on scaled axes [n, F, axes] and planning actions [n, F - 1, P]."""

    def loss_of(stage: Stage) -> Callable[..., tuple[Array, Array]]:
        def loss(networks: tuple[Code, Mover], data: Any, key: Array) -> tuple[Array, Array]:
            vectors, actions = data
            one, two, three = jax.random.split(key, 3)
            row = jax.random.randint(one, (stage.batch, 1), 0, len(vectors))
            last = vectors.shape[1] - stage.steps - 1
            at = jax.random.randint(two, (stage.batch, 1), 0, last) + jnp.arange(stage.steps + 2)
            seen, taken = vectors[row, at], actions[row, at[:, :-1]]
            return code_loss(*networks, seen, taken, three, values.still)

        return loss

    def look(networks: tuple[Code, Mover]) -> str:
        now, later = errors(*networks, scaled[: code_run.HELD_OUT], actions[: code_run.HELD_OUT])[
            jnp.array([0, -1])
        ]
        return f"held out: {now:.4f} now, {later:.4f} after ten steps"

    one, two = jax.random.split(jax.random.key(values.seed))
    fresh = (
        Code.random(one, scaled.shape[-1], config.code, config.code_width),
        Mover.random(two, config.code, config.action_size, config.width, config.depth),
    )
    stages = tuple(parse_stage(text, code_run.CHUNK) for text in values.stages)
    run = TrainingRun(pathlib.Path(values.work) / "world", "snapshot")
    data = scaled[code_run.HELD_OUT :], actions[code_run.HELD_OUT :]
    return train(fresh, data, stages, loss_of, run, jax.random.key(values.seed), until, look)


def learn_probe(
    codes: Array, states: report.Floats, model: LatentModel, values: Any, until: float
) -> Perceptron:
    """A probe of codes [n, F, C], which only measures."""
    targets = (report.targets_of(states) - model.units[0]) / model.units[1]
    batch = 1024

    def loss_of(stage: Stage) -> Callable[..., tuple[Array, Array]]:
        def loss(probe: Perceptron, data: Any, key: Array) -> tuple[Array, Array]:
            one, two = jax.random.split(key)
            row = jax.random.randint(one, (stage.batch,), 0, len(data[0]))
            at = jax.random.randint(two, (stage.batch,), 0, data[0].shape[1])
            errors = jnp.mean((probe(data[0][row, at]) - data[1][row, at]) ** 2, axis=-1)
            return jnp.mean(jnp.sqrt(errors + 1e-6)), jnp.mean(errors)[None]

        return loss

    run = TrainingRun(pathlib.Path(values.work) / "probe", "snapshot")
    stages = (Stage(1, batch, code_run.CHUNK * (values.probe_updates // code_run.CHUNK), 1e-2),)
    data, key = (codes, jnp.asarray(targets)), jax.random.key(values.seed + 1)
    return train(model.probe, data, stages, loss_of, run, key, until, lambda _: "")


def main(argv: list[str]) -> None:
    """Encodes, trains, writes the checkpoint and its report."""
    begin(argv)
    values, began = flags.FLAGS, time.time()
    until = began + (values.seconds or 1e9)
    start = load_model(values.start)
    if not isinstance(start, LatentModel) or start.config.grid > 1 or start.code is not None:
        raise app.UsageError(f"--start must be a vector without a code, got {values.start}.")
    work, output = pathlib.Path(values.work), pathlib.Path(values.output)
    (work / "vectors").mkdir(parents=True, exist_ok=True)
    paths = wait_for(pathlib.Path(values.data), values.trajectories, 0.0)
    vectors = []
    for path in paths:
        vectors.append(encode_shard(start, path, work / "vectors"))
        if time.time() > until:
            raise SystemExit("encoded a part of the data; run the same command to go on")
    states, actions = load_shards(paths)
    rows = np.concatenate(vectors).astype(np.float32)
    axes = axes_of(
        rows[code_run.HELD_OUT :][:4000].reshape(-1, rows.shape[-1]), values.axes, values.floor
    )
    scaled = jnp.asarray((rows - axes.mean) @ axes.down)
    sizes = {name: values[name].value for name in ("code", "code_width", "width", "depth", "start")}
    config = dataclasses.replace(start.config, **sizes)
    taken = jnp.asarray(start.from_environment(actions))
    raw, mover = learn(scaled, taken, config, values, until)
    model = dataclasses.replace(
        LatentModel.random(jax.random.key(values.seed), config),
        encoder=start.encoder,
        decoder=start.decoder,
        units=start.units,
        code=folded(raw, axes),
        predictor=mover,
    )
    seen = states[:, :: start.frameskip]
    codes = jnp.concatenate([raw.down(scaled[i : i + 500]) for i in range(0, len(scaled), 500)])
    probe = learn_probe(codes[code_run.HELD_OUT :], seen[code_run.HELD_OUT :], model, values, until)
    model = dataclasses.replace(model, probe=probe)
    model = checkpoint.rounded(model)
    write(output, model)
    held, again = slice(code_run.HELD_OUT), slice(code_run.HELD_OUT, 2 * code_run.HELD_OUT)
    found = report.measure(model, states[held], actions[held], values.goals)
    found["errors_on_scaled_axes"] = {
        "held_out": _by_step(errors(raw, mover, scaled[held], taken[held])),
        "trained_on": _by_step(errors(raw, mover, scaled[again], taken[again])),
    }
    print(json.dumps(found))
    found["axes"] = [round(float(x), 5) for x in axes.variance]
    command = "experiments.models.latent.compress"
    data = code_run.split(len(rows))
    write_report(output, command, _TOLD, data, model, found, ("world", "probe"))


def _by_step(errors: Array) -> dict[str, float]:
    """Errors by model steps, 0 of a frame that is seen."""
    return {str(k): round(float(errors[k]), 4) for k in (0, 1, 2, 5, 10) if k < len(errors)}


if __name__ == "__main__":
    define_flags()
    app.run(main)
