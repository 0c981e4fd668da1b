"""Trains the Push-T state world model and reports its open-loop errors.

    python -m experiments.environments.pusht.collect --output=data/pusht
    python -m experiments.models.pusht_state.train --data=data/pusht

The second command's defaults reproduce the shipped checkpoint's accuracy in about 20 minutes on
one core (its .json tells how it was made and what it measures).
Stages of growing rollout length share one optimiser: one-step training sees the most states,
the longer rollouts then teach the model to recover from its own errors. After an interruption,
the same command continues from the last snapshot in --work.
"""

import functools
import json
import pathlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jax import Array
from tqdm import tqdm

from experiments.harness.flags import begin
from experiments.harness.settings import check_settings, fingerprint
from experiments.models.pusht_state import model as psm
from experiments.models.pusht_state.features import COG, rotate
from experiments.models.pusht_state.report import open_loop_report, plot_curves, speed_report
from experiments.models.pusht_state.segments import Data, load_data, sample_batch, segment_starts
from experiments.models.runs import Stage, TrainingRun, make_optimizer, parse_stage

CHUNK = 100  # updates per compiled call
SNAPSHOT_CHUNKS = 50
EMA_DECAY = 0.999
ROBUST = 5.0  # px at which an error starts to count logarithmically: jams at walls are chaotic
VALIDATION = (256, 60)  # held-out trajectories, environment steps


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/pusht", "Directory of the collected shards.")
    flags.DEFINE_string("work", "data/pusht_state", "Directory of snapshots and curves.")
    flags.DEFINE_string("output", str(psm.DEFAULT_CHECKPOINT), "Checkpoint to write.")
    flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of the batches.")
    flags.DEFINE_list("widths", ["64", "64", "64", "64"], "Hidden widths of the MLP.")
    flags.DEFINE_list(
        "stages",
        ["1:1024:60000:4e-3", "10:128:80000:1.5e-3", "30:64:30000:7e-4"],
        "Stages as environment steps:batch size:updates:peak learning rate.",
    )


class TrainState(NamedTuple):
    """All that a resumed run needs besides the flags."""

    model: psm.PushTStateModel
    average: psm.PushTStateModel
    optimizer: optax.OptState


def segment_errors(model: psm.PushTStateModel, states: Array, actions: Array) -> Array:
    """Open-loop errors [steps] in px of the block's (x, y, 60 px/rad * angle) over a segment.

    Args:
        model: the model.
        states: [steps + 1, 10] simulator states.
        actions: [steps, 2] environment actions.
    """
    x = psm.encode(states)
    c, s = x[:, 4] / psm.ANGLE_RADIUS, x[:, 5] / psm.ANGLE_RADIUS
    cog = x[:, 2:4] + jax.vmap(rotate, (0, 0, None))(c, s, jnp.asarray(COG, x.dtype))
    truth = jnp.concatenate([cog, x[:, 4:6]], axis=-1)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(carry: tuple[Array, ...], inputs: tuple[Array, Array]) -> tuple[Any, Array]:
        action, target = inputs
        position, velocity, cog, c, s = carry
        carry = model.environment_step(position, velocity, cog, c, s, action)
        angle = psm.ANGLE_RADIUS * jnp.stack(carry[3:5])
        error = psm.PIXELS * (jnp.concatenate([carry[2], angle]) - target)
        return carry, jnp.sqrt(jnp.sum(error * error) + 1e-2)

    first = (x[0, 0:2], x[0, 6:8], cog[0], c[0], s[0])
    return jax.lax.scan(step, first, (actions, truth[1:]))[1]


def loss_fn(model: psm.PushTStateModel, states: Array, actions: Array) -> Array:
    """Robust mean error of a batch [batch, steps + 1, 10], [batch, steps, 2]."""
    # The agent's map is identified, not trained.
    model = eqx.tree_at(lambda m: m.agent, model, jax.lax.stop_gradient(model.agent))
    errors = jax.vmap(segment_errors, (None, 0, 0))(model, states, actions)
    return jnp.mean(ROBUST * jnp.log1p(errors / ROBUST))


@functools.partial(jax.jit, static_argnames=("optimizer", "stage"))
def train_chunk(
    state: TrainState,
    data: Data,
    starts: Array,
    key: Array,
    first: Array,
    optimizer: optax.GradientTransformation,
    stage: Stage,
) -> tuple[TrainState, Array]:
    """CHUNK updates, numbered from `first` []; returns the state and the mean loss []."""

    def update(state: TrainState, index: Array) -> tuple[TrainState, Array]:
        batch = sample_batch(data, starts, stage, jax.random.fold_in(key, index))
        old: Any = state.model  # optax's types know arrays and containers only
        average: Any = state.average
        loss, gradient = jax.value_and_grad(loss_fn)(old, *batch)
        change, opt = optimizer.update(gradient, state.optimizer, old)
        model: Any = optax.apply_updates(old, change)
        model = eqx.tree_at(lambda m: m.agent, model, old.agent)
        average = optax.incremental_update(model, average, 1.0 - EMA_DECAY)
        return TrainState(model, average, opt), loss

    state, losses = jax.lax.scan(update, state, first + jnp.arange(CHUNK))
    return state, jnp.mean(losses)


@jax.jit
def validate(model: psm.PushTStateModel, held_out: Data) -> Array:
    """Median open-loop block error [] in px at the end of the VALIDATION segments."""
    count, steps = VALIDATION
    states = jnp.asarray(held_out.states)[:count, : steps + 1]
    actions = jnp.asarray(held_out.actions)[:count, :steps]
    return jnp.median(jax.vmap(segment_errors, (None, 0, 0))(model, states, actions)[:, -1])


def train(
    data: Data,
    held_out: Data,
    stages: list[Stage],
    widths: tuple[int, ...],
    seed: int,
    work: pathlib.Path,
    max_chunks: int | None = None,
) -> psm.PushTStateModel:
    """Runs or resumes training in `work`; stops early after `max_chunks` chunks if given."""
    key = jax.random.key(seed)
    model: Any = psm.init_model(key, psm.fit_agent(data.states[:256], data.actions[:256]), widths)
    optimizer, run = make_optimizer(tuple(stages)), TrainingRun(work, "snapshot")
    total = sum(stage.updates for stage in stages)
    state, done = run.resume(TrainState(model, model, optimizer.init(model)), total)
    data = Data(*map(jnp.asarray, data))
    progress = tqdm(total=total, initial=done, desc="training", unit="update")
    chunks, end = 0, 0
    for stage in stages:
        end += stage.updates
        starts = segment_starts(data, stage) if done < end else None
        while done < end and chunks != max_chunks:
            first = jnp.asarray(done, jnp.int32)
            state, loss = train_chunk(state, data, starts, key, first, optimizer, stage)
            done, chunks = done + CHUNK, chunks + 1
            progress.update(CHUNK)
            if chunks % SNAPSHOT_CHUNKS == 0 or done == end or chunks == max_chunks:
                error = float(validate(state.average, held_out))
                row = {"steps": stage.steps, "loss": float(loss), "held_out_px": error}
                run.record(done, row)
                progress.set_postfix(loss=f"{float(loss):.3f}", held_out=f"{error:.2f}px")
                psm.save_model(state.average, work / "model.safetensors")
                run.save(state, done)
    progress.close()
    return state.average


def main(argv: list[str]) -> None:
    """Trains, then writes the checkpoint, its report and the curve."""
    begin(argv)
    data, held_out = load_data(flags.FLAGS.data)
    work, output = pathlib.Path(flags.FLAGS.work), pathlib.Path(flags.FLAGS.output)
    # Stages may be changed on the way, what the snapshot's numbers come from may not.
    content = fingerprint(np.asarray(data.states), np.asarray(data.actions))
    settings = {"seed": flags.FLAGS.seed, "trajectories": len(data.states), "content": content}
    check_settings(work, settings, results="snapshot*", flag="--work")
    stages = [parse_stage(text, CHUNK) for text in flags.FLAGS.stages]
    widths = tuple(int(width) for width in flags.FLAGS.widths)
    model = train(data, held_out, stages, widths, flags.FLAGS.seed, work)
    psm.save_model(model, output)
    report = {
        "command": "python -m experiments.models.pusht_state.train --data=data/pusht"
        f" --seed={flags.FLAGS.seed} --widths={','.join(flags.FLAGS.widths)}"
        f" --stages={','.join(flags.FLAGS.stages)}",
        "data": f"{len(data.states)} training and {len(held_out.states)} held-out trajectories",
        "open_loop": open_loop_report(model, held_out.states, held_out.actions),
        "speed": speed_report(model),
    }
    output.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    plot_curves(work / "curve.jsonl", output.with_suffix(".png"))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    define_flags()
    app.run(main)
