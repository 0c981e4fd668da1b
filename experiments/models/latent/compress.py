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
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from jax import Array

from experiments.environments.pusht.collect import load_shards
from experiments.harness.files import replacing
from experiments.harness.flags import begin
from experiments.models import checkpoint
from experiments.models.latent import report
from experiments.models.latent.code import Code, Mover, axes_of, code_loss, folded
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.networks import rollout
from experiments.models.latent.run import say, wait_for
from experiments.models.lewm.networks import Perceptron
from experiments.models.load import load_model
from experiments.models.runs import Stage, TrainingRun, make_optimizer, parse_stage

CHUNK = 50  # updates per compiled call
HELD_OUT = 400  # trajectories, the first ones
_AVERAGE = 0.003  # share of the newest weights
_TOLD = ("start", "trajectories", "code", "code_width", "axes", "floor", "still", "width", "depth")
_TOLD += ("stages", "probe_updates", "seed")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("start", "pusht_vector", "The checkpoint of the vector.")
    flags.DEFINE_string("data", "data/pusht", "Folder of `experiments.environments.pusht.collect`.")
    flags.DEFINE_integer("trajectories", 50000, "How many of them.", lower_bound=4)
    flags.DEFINE_integer("code", 16, "Numbers in the code.", lower_bound=1)
    flags.DEFINE_integer("code_width", 128, "Of its autoencoder's layers.", lower_bound=1)
    flags.DEFINE_integer("axes", 64, "Principal axes of the vector.", lower_bound=1)
    flags.DEFINE_float("floor", 0.01, "Variance below which an axis matters less.")
    flags.DEFINE_float("still", 0.05, "Weight of the mean absolute change of the code.")
    flags.DEFINE_integer("width", 128, "Of the motion's layers.", lower_bound=1)
    flags.DEFINE_integer("depth", 3, "Of the motion's layers.", lower_bound=1)
    flags.DEFINE_list(
        "stages",
        "0:512:8000:1e-2,3:512:5000:5e-3,6:256:6000:4e-3,10:256:6000:2e-3,10:256:18000:3e-3",
        "As predicted model steps:batch size:updates:peak learning rate; 0 steps: the code alone.",
    )
    flags.DEFINE_integer("probe_updates", 5000, "Of the probe.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of weights and batches.")
    flags.DEFINE_integer("goals", 300, "Goals of the report, per horizon.", lower_bound=1)
    flags.DEFINE_float("seconds", None, "Stop after so long, with a snapshot; by default never.")
    flags.DEFINE_string("work", "data/pusht_code", "Folder of vectors and snapshots.")
    flags.DEFINE_string("output", str(checkpoint.checkpoint_path("pusht_code")), "Checkpoint.")


class State(NamedTuple):
    """What a part of the training carries."""

    networks: Any
    average: Any
    optimizer: Any


def encode_shard(model: LatentModel, path: pathlib.Path, folder: pathlib.Path) -> np.ndarray:
    """Vectors [n, T / frameskip + 1, D] float16 of a shard, made once."""
    kept = folder / f"{path.stem}.npy"
    if not kept.exists():
        states, _ = load_shards([path])
        with replacing(kept) as temporary, temporary.open("wb") as file:
            seen = states[:, :: model.frameskip]
            np.save(file, report.encode_many(model, seen).astype(np.float16))
        say(f"encoded {kept.name}")
    return np.load(kept)


@functools.partial(jax.jit, static_argnames=("loss", "optimizer"))
def _chunk(
    state: State,
    data: Any,
    key: Array,
    first: Array,
    loss: Callable[..., tuple[Array, Array]],
    optimizer: optax.GradientTransformation,
) -> tuple[State, Array]:
    """CHUNK updates from number `first` on; the mean of what `loss` reports."""

    def update(state: State, index: Array) -> tuple[State, Array]:
        place = jax.random.fold_in(key, index)
        gradient, shown = jax.grad(loss, has_aux=True)(state.networks, data, place)
        change, inner = optimizer.update(gradient, state.optimizer, state.networks)
        networks = optax.apply_updates(state.networks, change)
        average = optax.incremental_update(networks, state.average, _AVERAGE)
        return State(networks, average, inner), shown

    state, shown = jax.lax.scan(update, state, first + jnp.arange(CHUNK))
    return state, jnp.mean(shown, axis=0)


def train(
    networks: Any,
    data: Any,
    stages: tuple[Stage, ...],
    loss_of: Callable[[Stage], Callable[..., tuple[Array, Array]]],
    run: TrainingRun,
    key: Array,
    until: float,
    look: Callable[[Any], str],
) -> Any:
    """Runs or resumes all stages.

    Args:
        networks: fresh ones.
        data: what the loss takes.
        stages: in order.
        loss_of: a stage to `(networks, data, key) -> (loss, reported)`.
        run: snapshots.
        key: of the batches.
        until: Unix time to stop at.
        look: measures networks, in words.

    Returns:
        The averaged networks.

    Raises:
        SystemExit: the time is over; a snapshot is kept.
    """
    optimizer = make_optimizer(stages)
    total, end, saved = sum(stage.updates for stage in stages), 0, time.time()
    state, done = run.resume(State(networks, networks, optimizer.init(networks)), total)
    for stage in stages:
        loss, end = loss_of(stage), end + stage.updates
        while done < end:
            state, shown = _chunk(state, data, key, jnp.asarray(done), loss, optimizer)
            # Chunks would queue up, and neither snapshots nor --seconds be in time.
            jax.block_until_ready(shown)
            done += CHUNK
            late = time.time() > until
            if late or done == total or time.time() > saved + 30:
                numbers = [round(float(x), 5) for x in shown]
                run.record(done, {"steps": stage.steps, "errors": numbers})
                run.save(state, done)
                say(f"{done} of {total}, {stage.steps} steps, {numbers} {look(state.average)}")
                saved = time.time()
            if late:
                raise SystemExit(f"{done} of {total} updates; run the same command to go on")
    return state.average


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
        now, later = _errors(*networks, scaled[:HELD_OUT], actions[:HELD_OUT])[jnp.array([0, -1])]
        return f"held out: {now:.4f} now, {later:.4f} after ten steps"

    one, two = jax.random.split(jax.random.key(values.seed))
    fresh = (
        Code.random(one, scaled.shape[-1], config.code, config.code_width),
        Mover.random(two, config.code, config.action_size, config.width, config.depth),
    )
    stages = tuple(parse_stage(text, CHUNK) for text in values.stages)
    run = TrainingRun(pathlib.Path(values.work) / "world", "snapshot")
    data = scaled[HELD_OUT:], actions[HELD_OUT:]
    return train(fresh, data, stages, loss_of, run, jax.random.key(values.seed), until, look)


@jax.jit
def _errors(code: Code, mover: Mover, vectors: Array, actions: Array) -> Array:
    """Mean squared errors of vectors on scaled axes: now, then after 1 to 10 model steps."""
    codes = code.down(vectors[:, :2])
    codes = jnp.concatenate([codes[:, 1:], rollout(mover, codes, actions[:, :11])], axis=1)
    return jnp.mean((code.up(codes) - vectors[:, 1 : codes.shape[1] + 1]) ** 2, axis=(0, 2))


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
    stages = (Stage(1, batch, CHUNK * (values.probe_updates // CHUNK), 1e-2),)
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
    axes = axes_of(rows[HELD_OUT:][:4000].reshape(-1, rows.shape[-1]), values.axes, values.floor)
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
    probe = learn_probe(codes[HELD_OUT:], seen[HELD_OUT:], model, values, until)
    model = dataclasses.replace(model, probe=probe)
    model = checkpoint.rounded(model)
    own = {"code": model.code, "predictor": model.predictor, "probe": model.probe}
    checkpoint.write(output, own, dataclasses.asdict(config), half=("",))
    say(f"wrote {output}")
    about = {
        "command": "python -m experiments.models.latent.compress "
        + " ".join(f"--{name}={_text(values[name].value)}" for name in _TOLD),
        "device": str(jax.devices()[0].device_kind),
        "data": f"{len(rows) - HELD_OUT} trajectories for training, {HELD_OUT} held out",
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(getattr(model, name)))
            for name in ("encoder", "code", "predictor", "decoder", "probe")
        },
        "axes": [round(float(x), 5) for x in axes.variance],
    }
    held, again = slice(HELD_OUT), slice(HELD_OUT, 2 * HELD_OUT)
    found = report.measure(model, states[held], actions[held], values.goals)
    found["errors_on_scaled_axes"] = {
        "held_out": _by_step(_errors(raw, mover, scaled[held], taken[held])),
        "trained_on": _by_step(_errors(raw, mover, scaled[again], taken[again])),
    }
    curves = {
        part: [json.loads(line) for line in (work / part / "curve.jsonl").read_text().splitlines()]
        for part in ("world", "probe")
    }
    text = json.dumps({**about, **found, "curves": curves}, indent=1)
    output.with_suffix(".json").write_text(text + "\n")
    print(json.dumps(found, indent=None))


def _by_step(errors: Array) -> dict[str, float]:
    """Errors by model steps, 0 of a frame that is seen."""
    return {str(k): round(float(errors[k]), 4) for k in (0, 1, 2, 5, 10) if k < len(errors)}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    define_flags()
    app.run(main)
