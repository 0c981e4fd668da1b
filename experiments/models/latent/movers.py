r"""Trains several motions of a trained code on more videos; the model moves by their mean.

    python -m experiments.environments.pusht.collect --output=data/pusht100 --trajectories=100000
    python -m experiments.models.latent.movers --data=data/pusht100

The code stays. The first motion is the checkpoint's, trained on; the others begin anew. Each is
trained by itself on the same videos, so that `--only` spreads them over cores; without it those
that are missing are trained, and the checkpoint is written. Every part resumes from its snapshot.
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
from experiments.models.latent import report
from experiments.models.latent.code import Axes, Code, Mover, Movers, axes_of, motion_loss
from experiments.models.latent.compress import CHUNK, HELD_OUT, encode_shard, train
from experiments.models.latent.model import LatentModel
from experiments.models.latent.networks import rollout
from experiments.models.latent.run import say, wait_for
from experiments.models.load import load_model
from experiments.models.runs import Stage, TrainingRun, parse_stage

Step = Callable[[Array, Array], Array]


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("start", "pusht_code", "The checkpoint of the code and its first motion.")
    flags.DEFINE_string("vector", "pusht_vector", "The checkpoint that encodes frames.")
    flags.DEFINE_string("data", "data/pusht100", "Folder of the collector's shards.")
    flags.DEFINE_integer("trajectories", 100000, "How many of them.", lower_bound=4)
    flags.DEFINE_integer("movers", 2, "Motions in the mean.", lower_bound=1)
    flags.DEFINE_integer("axes", 64, "Principal axes on which errors count.", lower_bound=1)
    flags.DEFINE_float("floor", 0.01, "Variance below which an axis matters less.")
    flags.DEFINE_list("first", "10:256:16000:2e-3", "Stages of the first, see `compress`.")
    flags.DEFINE_list(
        "others", "3:512:5000:5e-3,6:256:8000:4e-3,10:256:18000:3e-3", "Stages of each other."
    )
    flags.DEFINE_float("action_limit", 0.0, "Of planning actions; 0 for the environment's alone.")
    flags.DEFINE_integer("only", None, "Train this motion, from 0, and write no checkpoint.")
    flags.DEFINE_integer("seed", 0, "Seed of weights and batches.")
    flags.DEFINE_integer("goals", 300, "Goals of the report, per horizon.", lower_bound=1)
    flags.DEFINE_float("seconds", None, "Stop after so long, with a snapshot; by default never.")
    flags.DEFINE_string("work", "data/pusht_code", "Folder of vectors and snapshots.")
    flags.DEFINE_string("output", str(checkpoint.checkpoint_path("pusht_code")), "Checkpoint.")


def learn(
    index: int, start: LatentModel, scaled: Array, actions: Array, axes: Axes, until: float
) -> Mover:
    """Trains or resumes a motion.

    Args:
        index: which one; 0 goes on from the checkpoint's.
        start: the checkpoint.
        scaled: vectors on scaled axes [n, F, axes], the held-out ones first.
        actions: planning actions [n, F - 1, P] between them.
        axes: the scaled axes.
        until: Unix time to stop at.
    """
    values, c = flags.FLAGS, start.config
    code = _on_axes(start, axes)
    codes = jnp.concatenate([code.down(scaled[i : i + 500]) for i in range(0, len(scaled), 500)])
    key = jax.random.fold_in(jax.random.key(values.seed), index)
    fresh = _movers_of(start)[0]
    if index:
        fresh = Mover.random(key, c.code, c.action_size, c.width, c.depth)

    def loss_of(stage: Stage) -> Callable[..., tuple[Array, Array]]:
        def loss(mover: Mover, data: Any, key: Array) -> tuple[Array, Array]:
            code, codes, scaled, actions = data
            one, two, three = jax.random.split(key, 3)
            row = jax.random.randint(one, (stage.batch, 1), 0, len(scaled))
            last = scaled.shape[1] - stage.steps - 1
            at = jax.random.randint(two, (stage.batch, 1), 0, last) + jnp.arange(stage.steps + 2)
            seen, later = codes[row, at[:, :2]], scaled[row, at[:, 2:]]
            return motion_loss(mover, code.up, seen, later, actions[row, at[:, :-1]], three)

        return loss

    def look(mover: Mover) -> str:
        later = _errors(mover, code, scaled[:HELD_OUT], actions[:HELD_OUT])[-1]
        return f"held out: {later:.4f} after ten steps"

    texts = values.others if index else values.first
    stages = tuple(parse_stage(text, CHUNK) for text in texts)
    run = TrainingRun(pathlib.Path(values.work) / f"mover_{index}", "snapshot")
    data = code, codes[HELD_OUT:], scaled[HELD_OUT:], actions[HELD_OUT:]
    return train(fresh, data, stages, loss_of, run, key, until, look)


def _on_axes(model: LatentModel, axes: Axes) -> Code:
    """The model's code, of vectors on scaled axes."""
    assert model.code is not None
    return model.code.on(axes)


def _movers_of(model: LatentModel) -> list[Mover]:
    found = model.predictor
    assert isinstance(found, Mover | Movers)
    return [found] if isinstance(found, Mover) else found.movers


@jax.jit
def _errors(step: Step, code: Code, scaled: Array, actions: Array) -> Array:
    """Mean squared errors on scaled axes after 1 to 10 model steps."""
    found = code.up(rollout(step, code.down(scaled[:, :2]), actions[:, :11]))
    return jnp.mean((found - scaled[:, 2 : 2 + found.shape[1]]) ** 2, axis=(0, 2))


def _data(vector: LatentModel, until: float) -> tuple[Array, Array, Axes, report.Floats, Any]:
    """Vectors on scaled axes, planning actions, the axes; states and actions to measure with."""
    values = flags.FLAGS
    folder = pathlib.Path(values.work) / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    paths = wait_for(pathlib.Path(values.data), values.trajectories, 0.0)
    first = [encode_shard(vector, path, folder).astype(np.float32) for path in paths[:9]]
    rows = np.concatenate(first)[HELD_OUT:][:4000]
    axes = axes_of(rows.reshape(-1, rows.shape[-1]), values.axes, values.floor)
    scaled, taken, measured = [], [], None
    for path in paths:
        rows = encode_shard(vector, path, folder).astype(np.float32)
        states, actions = load_shards([path])
        measured = measured or (states[:HELD_OUT], actions[:HELD_OUT])
        scaled.append((rows - axes.mean) @ axes.down)
        taken.append(vector.from_environment(actions))
        if time.time() > until:
            raise SystemExit("encoded a part of the data; run the same command to go on")
    assert measured is not None
    return jnp.asarray(np.concatenate(scaled)), jnp.asarray(np.concatenate(taken)), axes, *measured


def main(argv: list[str]) -> None:
    """Encodes what is not yet, trains, writes the checkpoint and its report."""
    begin(argv)
    values, output = flags.FLAGS, pathlib.Path(flags.FLAGS.output)
    until = time.time() + (values.seconds or 1e9)
    start, vector = load_model(values.start), load_model(values.vector)
    if not isinstance(start, LatentModel) or start.code is None:
        raise app.UsageError(f"--start must be a code, got {values.start}.")
    if not isinstance(vector, LatentModel):
        raise app.UsageError(f"--vector must be a visual latent, got {values.vector}.")
    scaled, taken, axes, states, actions = _data(vector, until)
    which = range(values.movers) if values.only is None else [values.only]
    movers = [learn(index, start, scaled, taken, axes, until) for index in which]
    if values.only is not None:
        return
    limit = values.action_limit
    config = dataclasses.replace(start.config, movers=len(movers), action_limit=limit)
    predictor = Movers(movers) if len(movers) > 1 else movers[0]
    model = dataclasses.replace(start, predictor=predictor, config=config)
    model = checkpoint.rounded(model)
    own = {"code": model.code, "predictor": model.predictor, "probe": model.probe}
    checkpoint.write(output, own, dataclasses.asdict(config), half=("",))
    say(f"wrote {output}")
    found = report.measure(model, states, actions, values.goals)
    code = _on_axes(model, axes)
    held, again = slice(HELD_OUT), slice(HELD_OUT, 2 * HELD_OUT)
    steps: dict[str, Step] = {"mean": predictor}
    steps |= {str(index): mover for index, mover in enumerate(movers)}
    found["errors_on_scaled_axes_after_ten_steps"] = {
        name: {
            label: round(float(_errors(step, code, scaled[rows], taken[rows])[-1]), 4)
            for label, rows in (("held_out", held), ("trained_on", again))
        }
        for name, step in steps.items()
    }
    _write_report(output, found, len(scaled), model)


def _write_report(
    output: pathlib.Path, found: dict[str, Any], rows: int, model: LatentModel
) -> None:
    """The report beside the checkpoint, after what is known of its code."""
    values = flags.FLAGS
    before = checkpoint.locate(values.start).with_suffix(".json")
    told = ("start", "trajectories", "movers", "axes", "floor", "first", "others", "action_limit")
    text = [f"--{name}={_text(values[name].value)}" for name in (*told, "seed")]
    about = {
        "command": " ".join(["python -m experiments.models.latent.movers", *text]),
        "device": str(jax.devices()[0].device_kind),
        "data": f"{rows - HELD_OUT} trajectories for training, {HELD_OUT} held out",
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(getattr(model, name)))
            for name in ("encoder", "code", "predictor", "decoder", "probe")
        },
    }
    curves = {
        f"mover_{index}": [
            json.loads(line)
            for line in (pathlib.Path(values.work) / f"mover_{index}" / "curve.jsonl")
            .read_text()
            .splitlines()
        ]
        for index in range(values.movers)
    }
    code = json.loads(before.read_text()) if before.exists() else {}
    whole = {**about, **found, "curves": curves, "code": code.get("code", code)}
    output.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(found, indent=None))


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    define_flags()
    app.run(main)
