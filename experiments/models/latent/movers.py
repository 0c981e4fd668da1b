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
from experiments.models.latent import code_run, report
from experiments.models.latent.code import Axes, Code, Mover, Movers, axes_of, motion_loss
from experiments.models.latent.code_run import (
    Step,
    define_shared_flags,
    encode_shard,
    errors,
    train,
    write,
    write_report,
)
from experiments.models.latent.model import LatentModel
from experiments.models.latent.run import wait_for
from experiments.models.load import load_model
from experiments.models.plans import read_plans
from experiments.models.runs import Stage, TrainingRun, parse_stage

_TOLD = ("start", "trajectories", "movers", "axes", "floor", "stages", "fresh", "action_limit")
_TOLD += ("plans", "share", "seed")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    define_shared_flags("pusht_code", "data/pusht100", 100000)
    flags.DEFINE_string("vector", "pusht_vector", "The checkpoint that encodes frames.")
    flags.DEFINE_integer("movers", 2, "Motions in the mean.", lower_bound=1)
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

    @staticmethod
    def of(code: Code, vectors: list[np.ndarray], actions: list[np.ndarray]) -> "Videos":
        """Of videos' frames on scaled axes and planning actions, one part after the other."""
        rows, size = jnp.asarray(np.concatenate(vectors)), 500
        codes = [code.down(rows[i : i + size]) for i in range(0, len(rows), size)]
        return Videos(jnp.concatenate(codes), rows, jnp.asarray(np.concatenate(actions)))

    def part(self, rows: slice) -> "Videos":
        """Some of the videos."""
        return Videos(*(x[rows] for x in self))

    def error(self, code: Code, step: Step) -> float:
        """Mean squared error on scaled axes after the last of ten model steps."""
        return round(float(errors(code, step, self.vectors, self.actions)[-1]), 4)

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

    videos, *plans = sets
    held = videos.part(slice(code_run.HELD_OUT))

    def look(mover: Mover) -> str:
        return f"held out: {held.error(code, mover)} after ten steps"

    stages = tuple(parse_stage(text, code_run.CHUNK) for text in texts)
    run = TrainingRun(pathlib.Path(values.work) / f"mover_{index}", "snapshot")
    seen = [videos.part(slice(code_run.HELD_OUT, None)), *plans]
    return train(first, (code, seen), stages, loss_of, run, key, until, look)


def _movers_of(model: LatentModel) -> list[Mover]:
    found = model.predictor
    assert isinstance(found, Mover | Movers)
    return [found] if isinstance(found, Mover) else found.movers


def _collected(
    vector: LatentModel, code: Code, paths: list[pathlib.Path], axes: Axes, until: float
) -> Videos:
    """The collector's shards, those that are missing encoded."""
    scaled, taken = [], []
    for path in paths:
        rows = encode_shard(vector, path, _folder()).astype(np.float32)
        scaled.append((rows - axes.mean) @ axes.down)
        taken.append(vector.from_environment(load_shards([path])[1]))
        if time.time() > until:
            raise SystemExit("encoded a part of the data; run the same command to go on")
    return Videos.of(code, scaled, taken)


def _executed(vector: LatentModel, code: Code, axes: Axes) -> Videos:
    """The executed plans of all folders, one after the other."""
    scaled, taken = [], []
    for folder in flags.FLAGS.plans:
        states, actions = read_plans(folder, "pusht")
        rows = report.encode_many(vector, states[:, :: vector.frameskip])
        scaled.append((rows - axes.mean) @ axes.down)
        taken.append(vector.from_environment(actions))
    return Videos.of(code, scaled, taken)


def _folder() -> pathlib.Path:
    folder = pathlib.Path(flags.FLAGS.work) / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _axes(vector: LatentModel, paths: list[pathlib.Path]) -> Axes:
    """Scaled axes from the first videos that are trained on."""
    first = [encode_shard(vector, path, _folder()).astype(np.float32) for path in paths[:9]]
    rows = np.concatenate(first)[code_run.HELD_OUT :][:4000]
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
    sets = [_collected(vector, code, paths, axes, until)]
    if values.plans:
        sets.append(_executed(vector, code, axes))
    which = range(values.movers) if values.only is None else [values.only]
    movers = [learn(index, start, code, sets, until) for index in which]
    if values.only is not None:
        return
    limit = values.action_limit
    config = dataclasses.replace(start.config, movers=len(movers), action_limit=limit)
    predictor = Movers(movers) if len(movers) > 1 else movers[0]
    model = dataclasses.replace(start, predictor=predictor, config=config)
    model = checkpoint.rounded(model)
    write(output, model)
    held, again = slice(code_run.HELD_OUT), slice(code_run.HELD_OUT, 2 * code_run.HELD_OUT)
    states, actions = (x[held] for x in load_shards(paths[:1]))
    found = report.measure(model, states, actions, values.goals)
    steps: dict[str, Step] = {"mean": predictor}
    steps |= {str(index): mover for index, mover in enumerate(movers)}
    videos, *plans = sets
    shown = {"held_out": videos.part(held), "trained_on": videos.part(again)}
    if plans:
        shown["executed_plans"] = plans[0]
    found["errors_on_scaled_axes_after_ten_steps"] = {
        name: {label: part.error(code, step) for label, part in shown.items()}
        for name, step in steps.items()
    }
    print(json.dumps(found))
    before = checkpoint.locate(values.start).with_suffix(".json")
    found["code"] = json.loads(before.read_text()) if before.exists() else {}
    data = f"{code_run.split(len(videos.codes))}, {sum(len(x.codes) for x in plans)} executed plans"
    parts = [f"mover_{index}" for index in range(values.movers)]
    write_report(output, "experiments.models.latent.movers", _TOLD, data, model, found, parts)


if __name__ == "__main__":
    define_flags()
    app.run(main)
