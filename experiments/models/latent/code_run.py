"""What the commands that train codes and their motions share: flags, vectors, the loop, files."""

import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from jax import Array

from experiments.environments.pusht.collect import load_shards
from experiments.harness.files import replacing, write_text
from experiments.models import checkpoint
from experiments.models.latent import report
from experiments.models.latent.code import Code
from experiments.models.latent.model import LatentModel
from experiments.models.latent.networks import rollout
from experiments.models.latent.run import say
from experiments.models.runs import Stage, TrainingRun, make_optimizer

CHUNK = 50  # updates per compiled call
HELD_OUT = 400  # trajectories, the first ones
_AVERAGE = 0.003  # share of the newest weights

Step = Callable[[Array, Array], Array]
"""The next code, from a window and its actions."""


def define_shared_flags(start: str, data: str, trajectories: int) -> None:
    """Defines the flags that both commands have, with a command's defaults."""
    flags.DEFINE_string("start", start, "The checkpoint that it begins with.")
    flags.DEFINE_string("data", data, "Folder of `experiments.environments.pusht.collect`.")
    flags.DEFINE_integer("trajectories", trajectories, "How many of them.", lower_bound=4)
    flags.DEFINE_integer("axes", 64, "Principal axes of the vector.", lower_bound=1)
    flags.DEFINE_float("floor", 0.01, "Variance below which an axis matters less.")
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


@jax.jit
def errors(code: Code, step: Step, vectors: Array, actions: Array) -> Array:
    """Mean squared errors of vectors on scaled axes: now, then after 1 to 10 model steps."""
    codes = code.down(vectors[:, :2])
    codes = jnp.concatenate([codes[:, 1:], rollout(step, codes, actions[:, :11])], axis=1)
    return jnp.mean((code.up(codes) - vectors[:, 1 : codes.shape[1] + 1]) ** 2, axis=(0, 2))


def write(output: pathlib.Path, model: LatentModel) -> None:
    """A code's own parts; encoder and decoder are in the checkpoint of its vector."""
    own = {"code": model.code, "predictor": model.predictor, "probe": model.probe}
    checkpoint.write(output, own, dataclasses.asdict(model.config), half=("",))
    say(f"wrote {output}")


def write_report(
    output: pathlib.Path,
    command: str,
    told: Sequence[str],
    data: str,
    model: LatentModel,
    found: dict[str, Any],
    parts: Sequence[str],
) -> None:
    """The report beside a checkpoint.

    Args:
        output: the checkpoint.
        command: the module that trained it.
        told: flags that say how.
        data: what it was trained on, in words.
        model: what was trained.
        found: what was measured.
        parts: folders below --work whose curves it holds.
    """
    values = flags.FLAGS
    work = pathlib.Path(values.work)
    curves = {
        part: [json.loads(line) for line in (work / part / "curve.jsonl").read_text().splitlines()]
        for part in parts
    }
    about = {
        "command": " ".join([f"python -m {command}", *(_flag(name) for name in told)]),
        "device": str(jax.devices()[0].device_kind),
        "data": data,
        "parameters": {
            name: sum(x.size for x in jax.tree.leaves(getattr(model, name)))
            for name in ("encoder", "code", "predictor", "decoder", "probe")
        },
    }
    text = json.dumps({**about, **found, "curves": curves}, indent=1)
    write_text(output.with_suffix(".json"), text + "\n")


def split(count: int) -> str:
    """How so many trajectories are used, in words."""
    return f"{count - HELD_OUT} trajectories for training, {HELD_OUT} held out"


def _flag(name: str) -> str:
    value = flags.FLAGS[name].value
    return f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
