r"""Trains a visual world model from frames and actions alone, then measures it.

    python -m experiments.environments.pusht.collect --output=data/pusht
    python -m experiments.models.sprites.train --environment=pusht

With --sprites_of only the motion is trained, on the latents of that checkpoint's encoder. What
planners try differs from the data's policies: `experiments.mazes.collect` executes plans made
through a trained model, and --plans adds them to the data of the next one.

Stages, each kept in --work, so that the same command continues after a kill: sprites from a few
hundred frames; an encoder from the sprites' own renderings; the latents of all frames, drawn from
recorded states as they are needed; the motion of the objects in open-loop rollouts of growing
length; a probe and a report, for which alone the simulator's states are read.
"""

import itertools
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from tqdm import tqdm

from experiments.harness.files import replacing
from experiments.harness.flags import begin
from experiments.harness.settings import check_settings, fingerprint
from experiments.models import snapshots
from experiments.models.checkpoint import checkpoint_path, rounded
from experiments.models.load import load_model
from experiments.models.plans import read_plans
from experiments.models.runs import (
    Stage,
    TrainingRun,
    make_optimizer,
    parse_stage,
)
from experiments.models.sources import SOURCES, Source
from experiments.models.sprites import encoder as encoders
from experiments.models.sprites import training
from experiments.models.sprites.discover import discover
from experiments.models.sprites.dynamics import Dynamics, fit_coasting, fit_drive
from experiments.models.sprites.encoder import Encoder
from experiments.models.sprites.model import (
    Config,
    VisualModel,
    blank,
    save_model,
)
from experiments.models.sprites.report import write_report
from experiments.models.sprites.scene import Scene
from experiments.models.sprites.training import Data, TrainState

DISCOVERY_FRAMES = 192
SHARD = 100  # trajectories encoded between two writes
# Trajectories drawn and frames encoded side by side: a core gains nothing from more, an accelerator
# takes as long for a thousand frames as for one.
_ON_A_CPU = (1, 16)
_ON_AN_ACCELERATOR = (50, 1024)
SNAPSHOT_CHUNKS = 20


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "pusht", sorted(SOURCES), "What to model.")
    flags.DEFINE_integer("trajectories", 1500, "Trajectories to encode.", lower_bound=20)
    flags.DEFINE_integer("seed", 0, "Seed of frames, weights and batches.")
    flags.DEFINE_integer("encoder_updates", 2000, "Updates of the encoder.")
    flags.DEFINE_list(
        "stages",
        ["1:512:8000:3e-3", "4:128:6000:1e-3", "10:64:4000:5e-4"],
        "Stages of the dynamics as model steps:batch size:updates:peak learning rate.",
    )
    flags.DEFINE_integer("width", 96, "Width of the dynamics' networks.")
    flags.DEFINE_list(
        "plans", [], "Folders of executed plans to train on, too (`experiments.mazes.collect`)."
    )
    flags.DEFINE_string(
        "sprites_of",
        None,
        "Checkpoint to take sprites and encoder from: only the motion is trained.",
    )
    flags.DEFINE_string("work", None, "Folder of snapshots; data/<environment>_pixels by default.")
    flags.DEFINE_string("output", None, "Checkpoint to write; the shipped one by default.")


def known_sprites(name: str, source: Source) -> tuple[Scene, Encoder]:
    """Those of a checkpoint of the same environment."""
    known = load_model(name)
    if not isinstance(known, VisualModel) or known.config.kinds != source.kinds:
        raise app.UsageError(f"--sprites_of: {name} is no model of {source.name}'s sprites.")
    return known.scene, known.encoder


def learn_scene(source: Source, states: np.ndarray, seed: int, path: pathlib.Path) -> Scene:
    """Sprites, from frames of random moments."""
    like = blank(Config(source.kinds)).scene
    if snapshots.exists(path):
        return snapshots.restore(path, like)
    rng = np.random.default_rng(seed)
    flat = states.reshape(-1, states.shape[-1])
    frames = source.render(flat[rng.choice(len(flat), DISCOVERY_FRAMES, replace=False)])
    found = discover(
        jnp.asarray(frames, jnp.float32) / 255,
        source.kinds,
        jax.random.key(seed),
        lambda stage, error: print(f"sprites: {stage}: error {error:.6f}", flush=True),
    )
    snapshots.save(path, found.scene)
    return found.scene


def learn_encoder(scene: Scene, updates: int, seed: int, path: pathlib.Path) -> Encoder:
    """The first guess, from the scene's own renderings."""
    encoder: Any = Encoder.random(jax.random.key(seed), scene)
    if snapshots.exists(path):
        return snapshots.restore(path, encoder)
    optimizer = encoders.make_optimizer(1.5e-3, updates)
    state = optimizer.init(encoder)
    key = jax.random.key(seed + 1)
    with tqdm(total=updates, desc="encoder", unit="update") as bar:
        for chunk in range(updates // encoders.CHUNK):
            encoder, state, loss = encoders.train_chunk(
                encoder, state, scene, jax.random.fold_in(key, chunk), optimizer, 64
            )
            bar.update(encoders.CHUNK)
            bar.set_postfix(loss=f"{float(loss):.4f}")
    snapshots.save(path, encoder)
    return encoder


def learn_appearance(
    source: Source,
    states: np.ndarray,
    sprites_of: str | None,
    updates: int,
    seed: int,
    work: pathlib.Path,
) -> tuple[Scene, Encoder]:
    """Sprites and encoder, learned or those of a checkpoint; the encoder as it will be stored."""
    if sprites_of:
        scene, encoder = known_sprites(sprites_of, source)
    else:
        scene = learn_scene(source, states, seed, work / "scene")
        encoder = learn_encoder(scene, updates, seed, work / "encoder")
    return scene, rounded(encoder)


def encode_all(
    source: Source, model: VisualModel, states: np.ndarray, folder: pathlib.Path
) -> np.ndarray:
    """Latents [n, T + 1, L] of the frames of states [n, T + 1, S], written shard by shard."""
    encode = jax.jit(VisualModel.encode, static_argnames="batch")
    together, batch = _ON_A_CPU if jax.default_backend() == "cpu" else _ON_AN_ACCELERATOR
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    with tqdm(total=len(states) * states.shape[1], desc="latents", unit="frame") as bar:
        for low in range(0, len(states), SHARD):
            path = folder / f"latents_{low:06d}.npy"
            part = states[low : low + SHARD]
            if not path.exists():
                rows = []
                for first in range(0, len(part), together):
                    frames = source.render(part[first : first + together])
                    flat = jnp.asarray(frames.reshape(-1, *frames.shape[2:]))
                    found = np.asarray(encode(model, flat, batch=batch))
                    rows.append(found.reshape(*frames.shape[:2], -1))
                    bar.update(len(flat))
                with replacing(path) as temporary:
                    np.save(temporary, np.concatenate(rows))
            parts.append(np.load(path))
            if len(parts[-1]) != len(part):
                raise ValueError(f"{path} holds {len(parts[-1])} of {len(part)} trajectories")
    return np.concatenate(parts)


def executed_plans(
    source: Source, model: VisualModel, folders: list[str], work: pathlib.Path
) -> list[Data]:
    """What `experiments.mazes.collect` has written to some folders, encoded into `work`."""
    executed = [read_plans(folder, source.name) for folder in folders]
    content = fingerprint(*itertools.chain(*executed))
    check_settings(work, {"content": content}, results="*/latents_*.npy", flag="--work")
    signs = np.asarray(source.action_signs, np.float32)
    return [
        Data(encode_all(source, model, states, work / str(i)), taken * signs)
        for i, (states, taken) in enumerate(executed)
    ]


def learn_dynamics(
    scene: Scene,
    data: Data,
    drive: np.ndarray,
    stages: tuple[Stage, ...],
    width: int,
    every: int,
    seed: int,
    work: pathlib.Path,
) -> Dynamics:
    """Runs or resumes the training of the motion around the fitted `drive`."""
    fresh: Any = Dynamics.random(
        jax.random.key(seed + 2), scene, jnp.asarray(drive, jnp.float32), width
    )
    optimizer, run = make_optimizer(stages), TrainingRun(work, "dynamics")
    updates = sum(s.updates for s in stages)
    state, done = run.resume(TrainState(fresh, fresh, optimizer.init(fresh)), updates)
    data = jax.tree.map(jnp.asarray, data)
    end, key = 0, jax.random.key(seed + 3)
    with tqdm(total=updates, initial=done, desc="dynamics") as bar:
        for stage in stages:
            end += stage.updates
            starts = training.segment_starts(scene, data, stage, every) if done < end else None
            while done < end:
                first = jnp.asarray(done, jnp.int32)
                assert starts is not None
                state, loss = training.train_chunk(
                    state, scene, data, starts, key, first, optimizer, stage, every
                )
                done += training.CHUNK
                bar.update(training.CHUNK)
                bar.set_postfix(loss=f"{float(loss):.5f}", steps=stage.steps)
                if (done // training.CHUNK) % SNAPSHOT_CHUNKS == 0 or done == end:
                    run.record(done, {"steps": stage.steps, "loss": float(loss)})
                    run.save(state, done)
    return state.average


def command_line() -> str:
    """The command that trains this model, for its report."""
    values = flags.FLAGS
    return (
        f"python -m experiments.models.sprites.train --environment={values.environment}"
        f" --seed={values.seed} --trajectories={values.trajectories}"
        f" --encoder_updates={values.encoder_updates} --width={values.width}"
        f" --stages={','.join(values.stages)}"
        + (f" --sprites_of={values.sprites_of}" if values.sprites_of else "")
        + (f" --plans={','.join(values.plans)}" if values.plans else "")
        + (f" --output={values.output}" if values.output else "")
    )


def main(argv: list[str]) -> None:
    """Trains, then writes the checkpoint and its report."""
    begin(argv)
    values = flags.FLAGS
    source = SOURCES[values.environment]
    work = pathlib.Path(values.work or f"data/{source.name}_pixels")
    # What the sprites and the latents that are kept depend on; motion may be trained on.
    names = ("environment", "trajectories", "seed", "encoder_updates")
    states, actions = source.trajectories(values.trajectories, values.seed)
    settings = {name: values[name].value for name in names}
    settings["content"] = fingerprint(states, actions)
    check_settings(work, settings, results="scene*", flag="--work")
    stages = tuple(parse_stage(text, training.CHUNK) for text in values.stages)
    held_out = max(4, len(states) // 20)

    scene, encoder = learn_appearance(
        source,
        states[:-held_out],
        values.sprites_of,
        values.encoder_updates,
        values.seed,
        work,
    )
    # Latents and motion are those of one pair of sprites and encoder.
    work = work / fingerprint(*map(np.asarray, jax.tree.leaves((scene, encoder))))
    std = float(np.std(actions))
    measured = source.measured(states[:1]).shape[-1]
    size = scene.size
    config = Config(
        source.kinds, size, source.frameskip, std, source.action_signs, measured, values.width
    )
    model = eqx.tree_at(lambda m: (m.scene, m.encoder), blank(config), (scene, encoder))
    latents = encode_all(source, model, states, work)
    signs = np.asarray(source.action_signs, np.float32)
    moves = np.asarray(actions, np.float32) * signs
    seen = Data(latents[:-held_out], moves[:-held_out])
    fit = fit_coasting if scene.sprites[-1].kind.coasts else fit_drive
    drive = fit(latents[:-held_out], moves[:-held_out], source.frameskip)
    folder = work
    if values.plans:
        # A folder of its own: the training without plans keeps its snapshot.
        folder = work / "+".join(pathlib.Path(plans).name for plans in values.plans)
        seen = training.join([seen, *executed_plans(source, model, values.plans, folder)])
    dynamics = learn_dynamics(
        scene, seen, drive, stages, values.width, source.frameskip, values.seed, folder
    )
    model = eqx.tree_at(lambda m: m.dynamics, model, dynamics)
    output = pathlib.Path(values.output or checkpoint_path(f"{source.name}_pixels"))
    data, curve = Data(latents, moves), folder / "curve.jsonl"
    model = write_report(model, source, data, states, held_out, command_line(), output, curve)
    save_model(model, output)
    print(f"Wrote {output} and its report.")


if __name__ == "__main__":
    define_flags()
    app.run(main)
