r"""Trains several motions of a trained code on more videos; the model moves by their mean.

    python -m experiments.environments.pusht.collect --output=data/pusht100 --trajectories=100000
    python -m experiments.models.latent.movers --data=data/pusht100

The code stays. Motions that the checkpoint has are trained on, the others begin anew. Each is
trained by itself on the same videos, so that `--only` spreads them over cores; without it those
that are missing are trained, and the checkpoint is written. Every part resumes from its snapshot.
With `--plans`, folders of `experiments.latent.collect`, a part of each batch is executed plans.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

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
from experiments.models.plans import read_plans
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
    flags.DEFINE_list(
        "stages", "10:256:16000:2e-3", "Of motions that the checkpoint has, see `compress`."
    )
    flags.DEFINE_list(
        "fresh", "3:512:5000:5e-3,6:256:8000:4e-3,10:256:18000:3e-3", "Stages of the others."
    )
    flags.DEFINE_list("plans", [], "Folders of executed plans to train on, too.")
    flags.DEFINE_float("share", 0.25, "Of a batch that is of executed plans.", 0.0, 1.0)
    flags.DEFINE_float("action_limit", 0.0, "Of planning actions; 0 for the environment's alone.")
    flags.DEFINE_integer("only", None, "Train this motion, from 0, and write no checkpoint.")
    flags.DEFINE_integer("seed", 0, "Seed of weights and batches.")
    flags.DEFINE_integer("goals", 300, "Goals of the report, per horizon.", lower_bound=1)
    flags.DEFINE_float("seconds", None, "Stop after so long, with a snapshot; by default never.")
    flags.DEFINE_string("work", "data/pusht_code", "Folder of vectors and snapshots.")
    flags.DEFINE_string("output", str(checkpoint.checkpoint_path("pusht_code")), "Checkpoint.")


class Videos(NamedTuple):
    """What motions learn from.

    Attributes:
        codes: [n, F, C] of the frames.
        vectors: [n, F, axes], the frames' vectors on scaled axes.
        actions: [n, F - 1, P], planning actions between them.
    """

    codes: Array
    vectors: Array
    actions: Array

    def draw(self, key: Array, count: int, steps: int) -> tuple[Array, Array, Array]:
        """Windows: two codes, the `steps` vectors after them, the actions from the first on."""
        one, two = jax.random.split(key)
        row = jax.random.randint(one, (count, 1), 0, len(self.codes))
        last = self.codes.shape[1] - steps - 1
        at = jax.random.randint(two, (count, 1), 0, last) + jnp.arange(steps + 2)
        return (
            self.codes[row, at[:, :2]],
            self.vectors[row, at[:, 2:]],
            self.actions[row, at[:, :-1]],
        )


def learn(index: int, start: LatentModel, code: Code, sets: list[Videos], until: float) -> Mover:
    """Trains or resumes a motion.

    Args:
        index: which one.
        start: the checkpoint, whose motions go on.
        code: its code, of vectors on scaled axes.
        sets: the videos, the held-out ones first; then executed plans, if there are any.
        until: Unix time to stop at.
    """
    values, c = flags.FLAGS, start.config
    key = jax.random.fold_in(jax.random.key(values.seed), index)
    known = _movers_of(start)
    if index < len(known):
        first, texts = known[index], values.stages
    else:
        first, texts = Mover.random(key, c.code, c.action_size, c.width, c.depth), values.fresh

    def loss_of(stage: Stage) -> Callable[..., tuple[Array, Array]]:
        planned = round(values.share * stage.batch) if len(sets) > 1 else 0
        counts = (stage.batch - planned, planned)

        def loss(mover: Mover, data: Any, key: Array) -> tuple[Array, Array]:
            code, sets = data
            *places, noise = jax.random.split(key, 3)
            parts = [
                part.draw(place, count, stage.steps)
                for part, place, count in zip(sets, places, counts, strict=False)
            ]
            seen, later, actions = (jnp.concatenate(found) for found in zip(*parts, strict=True))
            return motion_loss(mover, code.up, seen, later, actions, noise)

        return loss

    held = jax.tree.map(lambda x: x[:HELD_OUT], sets[0])

    def look(mover: Mover) -> str:
        return f"held out: {_errors(mover, code, held)[-1]:.4f} after ten steps"

    stages = tuple(parse_stage(text, CHUNK) for text in texts)
    run = TrainingRun(pathlib.Path(values.work) / f"mover_{index}", "snapshot")
    seen = [jax.tree.map(lambda x: x[HELD_OUT:], sets[0]), *sets[1:]]
    return train(first, (code, seen), stages, loss_of, run, key, until, look)


def _movers_of(model: LatentModel) -> list[Mover]:
    found = model.predictor
    assert isinstance(found, Mover | Movers)
    return [found] if isinstance(found, Mover) else found.movers


@jax.jit
def _errors(step: Step, code: Code, videos: Videos) -> Array:
    """Mean squared errors on scaled axes after 1 to 10 model steps."""
    found = code.up(rollout(step, videos.codes[:, :2], videos.actions[:, :11]))
    return jnp.mean((found - videos.vectors[:, 2 : 2 + found.shape[1]]) ** 2, axis=(0, 2))


class Encoded(NamedTuple):
    """Videos that were encoded: their frames' vectors on scaled axes, and planning actions."""

    vectors: np.ndarray
    actions: np.ndarray

    def videos(self, code: Code) -> Videos:
        """With their codes."""
        vectors, size = jnp.asarray(self.vectors), 500
        codes = [code.down(vectors[i : i + size]) for i in range(0, len(vectors), size)]
        return Videos(jnp.concatenate(codes), vectors, jnp.asarray(self.actions))


def _encoded(vector: LatentModel, paths: list[pathlib.Path], axes: Axes, until: float) -> Encoded:
    """The collector's shards, those that are missing encoded."""
    scaled, taken = [], []
    for path in paths:
        rows = encode_shard(vector, path, _folder()).astype(np.float32)
        scaled.append((rows - axes.mean) @ axes.down)
        taken.append(vector.from_environment(load_shards([path])[1]))
        if time.time() > until:
            raise SystemExit("encoded a part of the data; run the same command to go on")
    return Encoded(np.concatenate(scaled), np.concatenate(taken))


def _executed(vector: LatentModel, axes: Axes) -> list[Encoded]:
    """The executed plans of all folders, one after the other."""
    found = []
    for folder in flags.FLAGS.plans:
        states, actions = read_plans(folder, "pusht")
        rows = report.encode_many(vector, states[:, :: vector.frameskip])
        found.append(Encoded((rows - axes.mean) @ axes.down, vector.from_environment(actions)))
    return [Encoded(*map(np.concatenate, zip(*found, strict=True)))] if found else []


def _folder() -> pathlib.Path:
    folder = pathlib.Path(flags.FLAGS.work) / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _axes(vector: LatentModel, paths: list[pathlib.Path]) -> Axes:
    """Scaled axes from the first videos that are trained on."""
    first = [encode_shard(vector, path, _folder()).astype(np.float32) for path in paths[:9]]
    rows = np.concatenate(first)[HELD_OUT:][:4000]
    return axes_of(rows.reshape(-1, rows.shape[-1]), flags.FLAGS.axes, flags.FLAGS.floor)


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
    paths = wait_for(pathlib.Path(values.data), values.trajectories, 0.0)
    axes = _axes(vector, paths)
    code = start.code.on(axes)
    encoded = [_encoded(vector, paths, axes, until), *_executed(vector, axes)]
    sets = [part.videos(code) for part in encoded]
    which = range(values.movers) if values.only is None else [values.only]
    movers = [learn(index, start, code, sets, until) for index in which]
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
    states, actions = load_shards(paths[:1])
    found = report.measure(model, states[:HELD_OUT], actions[:HELD_OUT], values.goals)
    steps: dict[str, Step] = {"mean": predictor}
    steps |= {str(index): mover for index, mover in enumerate(movers)}
    shown = {
        "held_out": jax.tree.map(lambda x: x[:HELD_OUT], sets[0]),
        "trained_on": jax.tree.map(lambda x: x[HELD_OUT : 2 * HELD_OUT], sets[0]),
        **({"executed_plans": sets[1]} if len(sets) > 1 else {}),
    }
    found["errors_on_scaled_axes_after_ten_steps"] = {
        name: {label: round(float(_errors(step, code, x)[-1]), 4) for label, x in shown.items()}
        for name, step in steps.items()
    }
    _write_report(output, found, [len(part.codes) for part in sets], model)


def _write_report(
    output: pathlib.Path, found: dict[str, Any], rows: list[int], model: LatentModel
) -> None:
    """The report beside the checkpoint, after what is known of its code."""
    values = flags.FLAGS
    before = checkpoint.locate(values.start).with_suffix(".json")
    told = ("start", "trajectories", "movers", "axes", "floor", "stages", "fresh", "action_limit")
    told += ("plans", "share", "seed")
    text = [f"--{name}={_text(values[name].value)}" for name in told]
    about = {
        "command": " ".join(["python -m experiments.models.latent.movers", *text]),
        "device": str(jax.devices()[0].device_kind),
        "data": f"{rows[0] - HELD_OUT} trajectories for training, {HELD_OUT} held out, "
        f"{sum(rows[1:])} executed plans",
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
