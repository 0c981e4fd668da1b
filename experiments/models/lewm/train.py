r"""Trains a small LeWM from frames and actions alone, then measures it.

    python -m experiments.models.lewm.train --environment=wall
    python -m experiments.mazes --checkpoint=wall_lewm

Frames are drawn once, into a file where a million take about a gigabyte; an accelerator holds them
if they take less than a third of its memory. Snapshots in --work let the same command go on after a
kill, to the same weights. States serve the probe and the report alone. With several devices the
batch is dealt to them.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from absl import app, flags
from PIL import Image
from tqdm import tqdm

from experiments.harness.flags import begin
from experiments.harness.settings import check_settings, fingerprint
from experiments.models import checkpoint
from experiments.models.lewm import report, training
from experiments.models.lewm.frames import StoredFrames, store
from experiments.models.lewm.model import Config, SmallLeWM
from experiments.models.lewm.training import Recipe, Recorded
from experiments.models.plans import read_plans
from experiments.models.runs import TrainingRun
from experiments.models.sources import SOURCES, Source

EVERY = 100  # updates between two lines of the curve
_OF_THE_RUN = [
    "environment", "trajectories", "seed", "latent", "history", "encoder_width", "width", "depth",
    "skip",
]  # fmt: skip


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "wall", sorted(SOURCES), "What to model.")
    flags.DEFINE_integer("trajectories", 1000, "Trajectories, a twentieth held out.", lower_bound=4)
    flags.DEFINE_integer("seed", 0, "Seed of data, weights and batches.")
    flags.DEFINE_integer("latent", 128, "Numbers in a latent.", lower_bound=2)
    flags.DEFINE_integer("history", 2, "Frames in the window.", lower_bound=1, upper_bound=3)
    flags.DEFINE_integer("encoder_width", 256, "Width of encoder and decoder.", lower_bound=16)
    flags.DEFINE_integer("width", 128, "Width of the predictor.", lower_bound=1)
    flags.DEFINE_integer("depth", 3, "Blocks of the predictor.", lower_bound=1)
    flags.DEFINE_bool("skip", False, "Predict the change of the latent; LeWM does not.")
    recipe = Recipe()
    flags.DEFINE_integer("updates", recipe.updates, "Updates of the weights.", lower_bound=2)
    flags.DEFINE_integer("batch", recipe.batch, "Segments in an update.", lower_bound=2)
    flags.DEFINE_integer("steps", recipe.steps, "Open-loop predictions in a segment.")
    flags.DEFINE_float("rate", recipe.rate, "Peak learning rate.")
    flags.DEFINE_float("sigreg", recipe.sigreg, "Weight of SIGReg.")
    flags.DEFINE_float("inverse", recipe.inverse, "Weight of the inverse model's error.")
    flags.DEFINE_float("reconstruction", recipe.reconstruction, "Weight of the decoder's error.")
    flags.DEFINE_integer("projections", recipe.projections, "Random directions of SIGReg.")
    flags.DEFINE_bool("bfloat16", recipe.bfloat16, "Compute in bfloat16; for accelerators.")
    flags.DEFINE_integer("head_updates", 6000, "Updates of the decoder, after training.")
    flags.DEFINE_integer("snapshot_every", 500, "Updates between two snapshots.", lower_bound=1)
    flags.DEFINE_list(
        "plans", [], "Folders of executed plans to train on, too (`experiments.mazes.collect`)."
    )
    flags.DEFINE_string("work", None, "Folder of snapshots; data/<checkpoint> by default.")
    flags.DEFINE_string(
        "output", None, "Checkpoint to write; the shipped <environment>_lewm[_plans] by default."
    )


def train(
    groups: Sequence[Recorded],
    config: Config,
    recipe: Recipe,
    seed: int,
    work: pathlib.Path,
    snapshot_every: int = 500,
) -> SmallLeWM:
    """Runs or resumes the training; returns the averaged model.

    Args:
        groups: frames and actions, one group per length of trajectories.
        config: of the model.
        recipe: how to train.
        seed: of weights and batches.
        work: where snapshots and the curve lie.
        snapshot_every: updates.
    """
    run, key = TrainingRun(work, "training"), jax.random.key(seed + 1)
    fresh = training.start(jax.random.key(seed), config, recipe)
    state, done = run.resume(fresh, recipe.updates)
    held = training.on_device(groups)
    with tqdm(total=recipe.updates, initial=done, desc="training", unit="update") as bar:
        while done < recipe.updates:
            batch = training.draw(groups, config, recipe, seed, done, held)
            place = jax.random.fold_in(key, done)
            state, parts = training.update(state, training.spread(batch), place, recipe)
            done += 1
            bar.update()
            if done % EVERY == 0 or done == recipe.updates:
                row = {name: round(float(value), 5) for name, value in parts.items()}
                bar.set_postfix(row)
                run.record(done, row)
            if done % snapshot_every == 0 or done == recipe.updates:
                run.save(state, done)
    return state.average.model


def finish(
    model: SmallLeWM,
    source: Source,
    frames: StoredFrames,
    states: np.ndarray,
    actions: np.ndarray,
    held_out: int,
    head_updates: int,
    about: dict[str, Any],
    output: pathlib.Path,
) -> SmallLeWM:
    """Fits decoder and probe, writes checkpoint, report and picture.

    Args:
        model: as trained.
        source: of the frames.
        frames: [n, T + 1, S, S, 3].
        states: [n, T + 1, S].
        actions: [n, T, 2].
        held_out: trajectories at the end that training has not seen.
        head_updates: of the decoder.
        about: what the report begins with.
        output: the checkpoint's path.
    """
    measured = source.measured(states)
    seen = report.sample(model, frames[:-held_out], measured[:-held_out], 12000, 0)
    model = report.with_heads(model, seen, head_updates)
    model = checkpoint.rounded(model)
    seen = report.Sample(seen.frames, seen.measured, report.encode_frames(model, seen.frames))
    test = report.sample(model, frames[-held_out:], measured[-held_out:], 3000, 1)
    tail = np.ascontiguousarray(frames[-held_out:, :: model.frameskip])
    latents = report.encode_frames(model, tail.reshape(-1, *tail.shape[2:]))
    latents = latents.reshape(*tail.shape[:2], -1)
    taken = model.from_environment(actions[-held_out:])[:, : tail.shape[1] - 1]
    errors, imagined = report.open_loop(
        model, latents, taken, measured[-held_out:, :: model.frameskip]
    )
    found = {
        **about,
        "data": f"{len(states) - held_out} trajectories for training, {held_out} held out",
        "probe": report.probe_errors(model, seen, test),
        "latents": report.geometry(test),
        "open_loop": errors,
    }
    checkpoint.write(output, model, model.config.__dict__, half=("",))
    output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    shown = report.picture(model, tail[:3], imagined[:3])
    Image.fromarray(shown).save(output.with_suffix(".png"))
    print(json.dumps({k: v for k, v in found.items() if k != "loss"}, indent=1))
    return model


def recipe_of_flags() -> Recipe:
    """How the flags say to train."""
    chosen: dict[str, Any] = {
        field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Recipe)
    }
    return Recipe(**chosen)


def main(argv: list[str]) -> None:
    """Trains, then writes the checkpoint and its report."""
    begin(argv)
    values = flags.FLAGS
    source, recipe = SOURCES[values.environment], recipe_of_flags()
    name = f"{source.name}_lewm" + "_plans" * bool(values.plans)
    work = pathlib.Path(values.work or f"data/{name}")
    work.mkdir(parents=True, exist_ok=True)
    settings = {**{name: values[name].value for name in _OF_THE_RUN}, **recipe.__dict__}
    states, actions = source.trajectories(values.trajectories, values.seed)
    plans = [read_plans(folder, source.name) for folder in values.plans]
    recorded = {**settings, "content": fingerprint(states, actions, *itertools.chain(*plans))}
    check_settings(work, recorded, results="training*", flag="--work")
    held_out = max(2, len(states) // 20)
    config = Config(
        latent=values.latent,
        history=values.history,
        encoder_width=values.encoder_width,
        frameskip=source.frameskip,
        action_std=float(np.std(actions)),
        measured=source.measured(states[:1]).shape[-1],
        width=values.width,
        depth=values.depth,
        skip=values.skip,
    )
    frames = store(source, states, work / "frames.bin")
    groups = [Recorded(frames[:-held_out], actions[:-held_out])]
    for i, (tried, taken) in enumerate(plans):
        groups.append(Recorded(store(source, tried, work / f"plans_{i}.bin"), taken))
    model = train(groups, config, recipe, values.seed, work, values.snapshot_every)
    output = pathlib.Path(values.output or checkpoint.checkpoint_path(name))
    settings["head_updates"] = values.head_updates
    if values.plans:
        settings["plans"] = ",".join(values.plans)
    about = describe_run(settings, model, work / "curve.jsonl")
    finish(model, source, frames, states, actions, held_out, values.head_updates, about, output)
    print(f"Wrote {output}, its report and its picture.")


def describe_run(
    settings: dict[str, Any], model: SmallLeWM, curve_path: pathlib.Path
) -> dict[str, Any]:
    """What a report begins with: the command, the model's size, time and losses."""
    curve = [json.loads(line) for line in curve_path.read_text().splitlines()]
    chosen = [f"--{name}={value}" for name, value in settings.items()]
    return {
        "command": " ".join(["python -m experiments.models.lewm.train", *chosen]),
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(eqx.filter(part, eqx.is_array)))
            for name, part in (("encoder", model.encoder), ("predictor", model.predictor))
        },
        "training_seconds": curve[-1]["seconds"],
        "loss": curve[:: max(1, len(curve) // 20)],
    }


if __name__ == "__main__":
    define_flags()
    app.run(main)
