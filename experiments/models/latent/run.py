"""One training run: what it compiles, trains, saves and resumes."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.environments.pusht.collect import SHARD_SIZE
from experiments.environments.pusht.frames import render
from experiments.models.latent import losses, report, training
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.recipes import RECIPES, STAGES
from experiments.models.latent.training import Coded, Trained, Videos
from experiments.models.runs import TrainingRun

_FINISHED = 10**9  # of a stage, whatever its time


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
        say(f"compiled {name} in {time.monotonic() - began:.1f} s")
        return program

    def beside(self, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        """Does other work in the background."""
        return self._pool.submit(work)

    def __getitem__(self, name: str) -> Any:
        """Waits for it."""
        return self._found[name].result()


def say(text: str) -> None:
    """Prints a line of progress."""
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
            say(f"{name} {done / budget:5.1%} {int(state.count)} updates {parts}")
        if time.monotonic() > saved + 30:
            run.save(state, int(done))
            saved = time.monotonic()
    run.save(state, _FINISHED)
    say(f"{name} done: {int(state.count) - began} updates in {done / 1000:.1f} s, {parts}")
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
                f"run `python -m experiments.environments.pusht.collect --output={folder} "
                f"--trajectories={trajectories}` first"
            )
        time.sleep(0.5)
    return paths


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)


class Trainer:
    """One run: what it compiles, trains and writes."""

    def __init__(
        self, kind: str, config: Config, bfloat16: bool, shrink: float, rows: int, stored: bool
    ) -> None:
        self.kind, self.config, self.bfloat16, self.stored = kind, config, bfloat16, stored
        self.recipe = dataclasses.replace(
            RECIPES[kind], batch=max(2, int(RECIPES[kind].batch / shrink)), bfloat16=bfloat16
        )
        self.stages = [
            dataclasses.replace(
                stage,
                motion=stage.motion
                and dataclasses.replace(
                    stage.motion, batch=max(2, int(stage.motion.batch / shrink)), bfloat16=bfloat16
                ),
            )
            for stage in STAGES[kind]
        ]
        self.chunk = 20 if shrink <= 1 else 1
        self.small = max(16, int((256 if stored else 2048) / shrink) // 8 * 8)
        self.rows, self.programs = rows, Programs()

    def compile(self, steps: int) -> None:
        """Compiles every stage for videos [rows, steps + 1, ...]."""
        c, key = self.config, jax.random.key(0)
        networks = jax.eval_shape(lambda: training.fresh(key, c))
        model = networks[0]
        f32: Any = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        actions = f32((self.rows, steps, 2))
        held: Any = f32((self.rows, steps + 1, 10))
        if self.stored:
            held = jax.ShapeDtypeStruct((self.rows, steps + 1, 64, 64, 3), jnp.uint8)
        videos = Videos(held, actions, f32((64, 64, 3)))
        bf16: Any = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.bfloat16)
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
        """All stages; `until(share)`: the seconds of a stage that gets so much of what is left."""
        key = jax.random.key(seed + 1)
        shares = [stage.share for stage in self.stages]
        some = np.random.default_rng(0).integers(0, len(states), 512)
        drawn = np.asarray(jax.jit(losses.frames_of)(jnp.asarray(states[some, ::60][:, 0])))
        held = np.stack([render(row) for row in tqdm(states, "frames")]) if self.stored else states
        median = jnp.asarray(np.median(drawn, 0) / 255, jnp.float32)
        videos = Videos(jnp.asarray(held), jnp.asarray(actions), median)
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
        say("encoded all videos")
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
