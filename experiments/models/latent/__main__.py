r"""Trains a visual latent of Push-T from frames and actions, then measures it.

    python -m experiments.environments.pusht.collect --output=data/pusht --trajectories=24000
    python -m experiments.models.latent --kind=tokens --seconds=300     # a GPU; hours on a CPU
    python -m experiments.models.latent --kind=vector --seconds=300

`vector` is LeWM's recipe with one vector of 192 numbers, `tokens` a grid of 8 x 8 tokens of 16.
Snapshots in --work let the same command go on after a kill. States are drawn to frames, and serve
probe and report; nothing else of them reaches a model.
"""

import dataclasses
import functools
import json
import pathlib
import time

import jax
import numpy as np
from absl import app, flags

from experiments.environments.pusht.collect import load_shards
from experiments.harness.flags import begin
from experiments.models import checkpoint
from experiments.models.latent import report, training
from experiments.models.latent.model import LatentModel
from experiments.models.latent.recipes import ACTION_STD, CONFIGS
from experiments.models.latent.run import Trainer, say, wait_for

HELD_OUT = 400  # trajectories


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("kind", "tokens", sorted(CONFIGS), "Which latent.")
    flags.DEFINE_string("data", "data/pusht", "Folder of `experiments.environments.pusht.collect`.")
    flags.DEFINE_integer("trajectories", 24000, "How many of them.", lower_bound=4)
    flags.DEFINE_float("seconds", 3600.0, "Time to train, compilation apart.", lower_bound=0.1)
    flags.DEFINE_float("until", None, "Train until this Unix time instead.")
    flags.DEFINE_float("wait", 0.0, "Seconds to wait for the data to be complete.")
    flags.DEFINE_integer("seed", 0, "Seed of weights and batches.")
    flags.DEFINE_string("start", None, "A checkpoint to begin with.")
    flags.DEFINE_float("shrink", 1.0, "Divides all batches, to try the run on a CPU.")
    flags.DEFINE_integer("goals", 300, "Goals of the report, per horizon.", lower_bound=1)
    flags.DEFINE_bool("bfloat16", None, "Compute in bfloat16; by default on accelerators.")
    flags.DEFINE_string("work", None, "Folder of snapshots; data/<checkpoint> by default.")
    flags.DEFINE_string("output", None, "Checkpoint; the shipped pusht_<kind> by default.")


def main(argv: list[str]) -> None:
    """Trains, then writes the checkpoint and its report."""
    begin(argv)
    values, began = flags.FLAGS, time.monotonic()
    accelerated = jax.default_backend() != "cpu"
    say(f"{values.kind} on {jax.devices()}")
    output = pathlib.Path(values.output or checkpoint.checkpoint_path(f"pusht_{values.kind}"))
    work = pathlib.Path(values.work or f"data/{output.stem}")
    work.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(CONFIGS[values.kind], action_std=ACTION_STD)
    bfloat16 = accelerated if values.bfloat16 is None else values.bfloat16
    held_out = min(HELD_OUT, values.trajectories // 4)
    rows = values.trajectories - held_out
    trainer = Trainer(values.kind, config, bfloat16, values.shrink, rows, stored=not accelerated)
    trainer.compile(120)
    held = np.zeros((held_out, 121, 10), np.float32), np.zeros((held_out, 120, 2), np.float32)
    # What measures the model compiles beside its training, where that is not a burden.
    blank = LatentModel.random(jax.random.key(0), config)
    if accelerated:
        ahead = trainer.programs.beside(lambda: report.measure(blank, *held, values.goals))
    paths = wait_for(pathlib.Path(values.data), values.trajectories, values.wait)
    states, actions = load_shards(paths)
    states, actions = states[: values.trajectories], actions[: values.trajectories]
    say(f"data {states.shape}")
    networks = training.fresh(jax.random.key(values.seed), config)
    if values.start:
        path, tensors, _ = checkpoint.read(values.start)
        blank_model = functools.partial(LatentModel.random, jax.random.key(0), config)
        networks = (checkpoint.fill(blank_model, path, tensors), networks[1])
    _ = trainer.programs["latent"]  # waits: compilation is not training
    end = values.until or time.time() + values.seconds
    model = trainer.train(
        networks,
        states[:rows],
        actions[:rows],
        work,
        lambda share: share * max(0.0, end - time.time()),
        values.seed,
    )
    model = checkpoint.rounded(model)
    checkpoint.write(output, model, dataclasses.asdict(config), half=("",))
    say(f"wrote {output}")
    curve = [
        json.loads(line)
        for stage in trainer.stages
        for line in (work / stage.name / "curve.jsonl").read_text().splitlines()
    ]
    about = {
        "command": f"python -m experiments.models.latent --kind={values.kind} "
        f"--seconds={values.seconds} --trajectories={values.trajectories} --seed={values.seed}",
        "device": str(jax.devices()[0].device_kind),
        "seconds": round(time.monotonic() - began, 1),
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(getattr(model, name)))
            for name in ("encoder", "predictor", "decoder", "probe", "time")
        },
        "data": f"{rows} trajectories for training, {held_out} held out",
        "recipe": dataclasses.asdict(trainer.recipe),
        "stages": [dataclasses.asdict(stage) for stage in trainer.stages],
    }
    if accelerated:
        ahead.result()
    found = report.measure(model, states[rows:], actions[rows:], values.goals)
    text = json.dumps({**about, **found, "loss": curve[:: max(1, len(curve) // 60)]}, indent=1)
    output.with_suffix(".json").write_text(text + "\n")
    print(json.dumps(found, indent=None))


if __name__ == "__main__":
    define_flags()
    app.run(main)
