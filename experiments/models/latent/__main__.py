r"""Trains a visual latent of Push-T from frames and actions, then measures it.

    python -m experiments.collect_pusht --output=data/pusht --trajectories=24000
    python -m experiments.models.latent --kind=tokens --seconds=300     # a GPU; hours on a CPU
    python -m experiments.models.latent --kind=vector --seconds=300

`vector` is LeWM's recipe with one vector of 192 numbers, `tokens` a grid of 8 x 8 tokens of 16.
Snapshots in --work let the same command go on after a kill. States are drawn to frames, and serve
probe and report; nothing else of them reaches a model.
"""

import concurrent.futures
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.arguments import refuse_arguments
from experiments.collect_pusht import SHARD_SIZE, load_shards
from experiments.environments.pusht_goals import sample_goals
from experiments.models.latent import report, training
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.training import Coded, Motion, Recipe, Trained, Videos
from experiments.pixels import checkpoint
from experiments.training_runs import TrainingRun

HELD_OUT = 400  # trajectories
_FINISHED = 10**9  # of a stage, whatever its time
_CONFIGS = {
    "vector": Config(grid=1, channels=192, width=288),
    "tokens": Config(grid=8, channels=16, width=160),
}
_RECIPES = {
    "vector": Recipe(),
    "tokens": Recipe(batch=192, steps=0, noise=0.1, reconstruction=1.0),
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: of its snapshot and its losses.
        share: of the time.
        motion: how the predictor is trained, or None for other parts.
    """

    name: str
    share: float
    motion: Motion | None = None


_STAGES = {
    "vector": (
        Stage("latent", 0.55),
        Stage("motion_4", 0.15, Motion(4, 1024)),
        Stage("motion_10", 0.23, Motion(10, 1024, 6e-4)),
        Stage("time", 0.03),
        Stage("probe", 0.04),
    ),
    "tokens": (
        Stage("latent", 0.25),
        Stage("motion_2", 0.25, Motion(2, 512)),
        Stage("motion_5", 0.24, Motion(5, 256, 6e-4)),
        Stage("motion_10", 0.18, Motion(10, 256, 3e-4)),
        Stage("time", 0.04),
        Stage("probe", 0.04),
    ),
}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("kind", "tokens", sorted(_CONFIGS), "Which latent.")
    flags.DEFINE_string("data", "data/pusht", "Folder of `experiments.collect_pusht`.")
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


class Programs:
    """Compiles the stages side by side, in the background."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(10)
        self._found: dict[str, Any] = {}

    def add(self, name: str, function: Any, *shapes: Any, **static: Any) -> None:
        """Begins to compile a jitted function for arguments of such shapes."""
        self._found[name] = self._pool.submit(self._compile, name, function, shapes, static)

    def _compile(self, name: str, function: Any, shapes: Any, static: Any) -> Any:
        began = time.monotonic()
        program = function.lower(*shapes, **static).compile()
        _say(f"compiled {name} in {time.monotonic() - began:.1f} s")
        return program

    def beside(self, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        """Does other work in the background."""
        return self._pool.submit(work)

    def __getitem__(self, name: str) -> Any:
        """Waits for it."""
        return self._found[name].result()


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run_stage(
    work: pathlib.Path,
    name: str,
    fresh: Trained,
    update: Callable[[Trained, jax.Array, jax.Array], Any],
    seconds: float,
    key: jax.Array,
) -> Trained:
    """Runs or resumes a stage for so many seconds, in chunks; a snapshot every 30 seconds."""
    run = TrainingRun(work / name, name)
    # Its count of updates is the stage's milliseconds here.
    budget = max(1, int(1000 * seconds))
    state, done = run.resume(fresh, _FINISHED)
    done, saved, shown, parts, began = float(done), time.monotonic(), 0.0, {}, int(state.count)
    while done < budget:
        before = time.monotonic()
        place = jax.random.fold_in(key, int(state.count))
        state, parts = update(state, place, jnp.float32(done / budget))
        parts = {k: round(float(v), 5) for k, v in parts.items()}
        done += 1000 * (time.monotonic() - before)
        if done > shown + 2000 or done >= budget:
            shown = done
            run.record(int(done), {"stage": name, "count": int(state.count), **parts})
            _say(f"{name} {done / budget:5.1%} {int(state.count)} updates {parts}")
        if time.monotonic() > saved + 30:
            run.save(state, int(done))
            saved = time.monotonic()
    run.save(state, _FINISHED)
    _say(f"{name} done: {int(state.count) - began} updates in {done / 1000:.1f} s, {parts}")
    return state


def wait_for(folder: pathlib.Path, trajectories: int, seconds: float) -> list[pathlib.Path]:
    """The shards of so many trajectories, once they are all there.

    Raises:
        FileNotFoundError: they are not after so many seconds.
    """
    count, until = -(-trajectories // SHARD_SIZE), time.monotonic() + seconds
    paths = [folder / f"shard_{i:05d}.npz" for i in range(count)]
    while missing := [path for path in paths if not path.exists()]:
        if time.monotonic() > until:
            raise FileNotFoundError(
                f"{folder} lacks {len(missing)} of {count} shards, among them {missing[0].name}: "
                f"run `python -m experiments.collect_pusht --output={folder} "
                f"--trajectories={trajectories}` first"
            )
        time.sleep(0.5)
    return paths


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)


class Trainer:
    """One run: what it compiles, trains and writes."""

    def __init__(self, kind: str, config: Config, bfloat16: bool, shrink: float, rows: int) -> None:
        self.kind, self.config, self.bfloat16 = kind, config, bfloat16
        self.recipe = dataclasses.replace(
            _RECIPES[kind], batch=max(2, int(_RECIPES[kind].batch / shrink)), bfloat16=bfloat16
        )
        self.stages = [
            dataclasses.replace(
                stage,
                motion=stage.motion
                and dataclasses.replace(
                    stage.motion, batch=max(2, int(stage.motion.batch / shrink)), bfloat16=bfloat16
                ),
            )
            for stage in _STAGES[kind]
        ]
        self.chunk = 20 if shrink <= 1 else 1
        self.small = max(16, int(2048 / shrink) // 8 * 8)
        self.rows, self.programs = rows, Programs()

    def compile(self, steps: int) -> None:
        """Compiles every stage for videos [rows, steps + 1, ...]."""
        c, key = self.config, jax.random.key(0)
        networks = jax.eval_shape(lambda: training.fresh(key, c))
        model = networks[0]
        f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        actions = f32((self.rows, steps, 2))
        videos = Videos(f32((self.rows, steps + 1, 10)), actions, f32((64, 64, 3)))
        bf16 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.bfloat16)
        coded = Coded(bf16((self.rows, steps + 1, c.latent)), actions, bf16((c.latent,)))
        targets = f32((self.rows, steps + 1, c.measured))
        ends = _shapes(key), f32(())
        trained = lambda parts: jax.eval_shape(training.start, parts)  # noqa: E731
        self.programs.add(
            "latent", training.latent_updates, trained(networks), videos, *ends,
            config=c, recipe=self.recipe, chunk=self.chunk,
        )  # fmt: skip
        encode = training.encode_videos
        self.programs.add("encode", encode, model, videos.states, bfloat16=self.bfloat16)
        for stage in self.stages:
            if stage.motion:
                self.programs.add(
                    stage.name, training.motion_updates, trained(model.predictor), coded, *ends,
                    config=c, motion=stage.motion, chunk=self.chunk,
                )  # fmt: skip
        self.programs.add(
            "time", training.time_updates, trained(model.time), coded, *ends,
            config=c, batch=self.small, chunk=2 * self.chunk,
        )  # fmt: skip
        self.programs.add(
            "probe", training.probe_updates, trained(model.probe), coded, targets, *ends,
            config=c, batch=self.small, chunk=2 * self.chunk,
        )  # fmt: skip

    def train(
        self,
        networks: Any,
        states: np.ndarray,
        actions: np.ndarray,
        work: pathlib.Path,
        until: Callable[[float], float],
        seed: int,
    ) -> LatentModel:
        """All stages; `until(share)` gives the seconds of a stage from its share of what is left."""
        key = jax.random.key(seed + 1)
        shares = [stage.share for stage in self.stages]
        some = np.random.default_rng(0).integers(0, len(states), 512)
        drawn = np.asarray(jax.jit(training.frames_of)(jnp.asarray(states[some, ::60][:, 0])))
        videos = Videos(
            jnp.asarray(states), jnp.asarray(actions), jnp.asarray(np.median(drawn, 0) / 255, "f4")
        )
        seconds = until(shares[0] / sum(shares))
        fresh = training.start(networks)
        program = self.programs["latent"]
        found = run_stage(
            work, "latent", fresh, lambda s, k, p: program(s, videos, k, p), seconds, key
        )
        model: LatentModel = found.average[0]
        latents = self.programs["encode"](model, videos.states)
        middle = np.median(np.asarray(latents[:512, ::20], np.float32), axis=(0, 1))
        coded = Coded(latents, videos.actions, jnp.asarray(middle, jnp.bfloat16))
        _say("encoded all videos")
        known = report.targets_of(states)
        units = np.stack([known.mean((0, 1)), known.std((0, 1))])
        targets = jnp.asarray((known - units[0]) / units[1], jnp.float32)
        extra = {"probe": (targets,)}
        for i, stage in enumerate(self.stages[1:], 1):
            part = "predictor" if stage.motion else stage.name
            program, more = self.programs[stage.name], extra.get(stage.name, ())
            state = run_stage(
                work,
                stage.name,
                training.start(getattr(model, part)),
                lambda s, k, p, program=program, more=more: program(s, coded, *more, k, p),
                until(shares[i] / sum(shares[i:])),
                jax.random.fold_in(key, i),
            )
            model = eqx.tree_at(lambda m, part=part: getattr(m, part), model, state.average)
        return eqx.tree_at(lambda m: m.units, model, jnp.asarray(units, jnp.float32))


_goals = functools.cache(functools.partial(sample_goals, split="tune"))


def measure(
    model: LatentModel, states: np.ndarray, actions: np.ndarray, goals: int
) -> dict[str, Any]:
    """The report of a model: on held-out videos, and on goals."""
    found = report.on_videos(model, states, actions)
    found["goals"] = [
        report.on_goals(model, _goals(goals, horizon), horizon) for horizon in (25, 50, 100)
    ]
    return found


def main(argv: list[str]) -> None:
    """Trains, then writes the checkpoint and its report."""
    refuse_arguments(argv)
    values, began = flags.FLAGS, time.monotonic()
    accelerated = jax.default_backend() != "cpu"
    _say(f"{values.kind} on {jax.devices()}")
    output = pathlib.Path(values.output or checkpoint.checkpoint_path(f"pusht_{values.kind}"))
    work = pathlib.Path(values.work or f"data/{output.stem}")
    work.mkdir(parents=True, exist_ok=True)
    # The unit of actions is a constant of the collector's policies.
    config = dataclasses.replace(_CONFIGS[values.kind], action_std=0.2)
    bfloat16 = accelerated if values.bfloat16 is None else values.bfloat16
    held_out = min(HELD_OUT, values.trajectories // 4)
    rows = values.trajectories - held_out
    trainer = Trainer(values.kind, config, bfloat16, values.shrink, rows)
    trainer.compile(120)
    held = np.zeros((held_out, 121, 10), np.float32), np.zeros((held_out, 120, 2), np.float32)
    # What measures the model compiles beside its training.
    blank = LatentModel.random(jax.random.key(0), config)
    ahead = trainer.programs.beside(lambda: measure(blank, *held, values.goals))
    paths = wait_for(pathlib.Path(values.data), values.trajectories, values.wait)
    states, actions = load_shards(paths)
    states, actions = states[: values.trajectories], actions[: values.trajectories]
    _say(f"data {states.shape}")
    networks = training.fresh(jax.random.key(values.seed), config)
    if values.start:
        networks = (checkpoint.fill(networks[0], *checkpoint.read(values.start)[:2]), networks[1])
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
    _say(f"wrote {output}")
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
    ahead.result()
    found = measure(model, states[rows:], actions[rows:], values.goals)
    text = json.dumps({**about, **found, "loss": curve[:: max(1, len(curve) // 60)]}, indent=1)
    output.with_suffix(".json").write_text(text + "\n")
    print(json.dumps(found, indent=None))


if __name__ == "__main__":
    define_flags()
    app.run(main)
