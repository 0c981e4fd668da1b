"""What the trainers share: stages of growing rollout length, snapshots, the curve of a run."""

import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from experiments.harness.files import write_text
from experiments.models import snapshots


class Stage(NamedTuple):
    """Rollout length in steps, batch size, updates (a multiple of a compiled chunk), peak rate."""

    steps: int
    batch: int
    updates: int
    rate: float


def parse_stage(text: str, chunk: int) -> Stage:
    """Reads `steps:batch:updates:rate`; raises where `chunk` does not divide the updates."""
    steps, batch, updates, rate = text.split(":")
    if int(updates) % chunk:
        raise ValueError(f"stage {text!r}: updates must be a multiple of {chunk}")
    return Stage(int(steps), int(batch), int(updates), float(rate))


@functools.cache  # a new object would recompile the updates
def make_optimizer(stages: tuple[Stage, ...]) -> optax.GradientTransformation:
    """Muon (orthogonalised momentum) on matrices, Adam on biases; one cosine per stage."""
    schedules = [
        optax.warmup_cosine_decay_schedule(
            0.0, s.rate, min(200, s.updates // 2), s.updates, s.rate * 0.01
        )
        for s in stages
    ]
    ends = np.cumsum([s.updates for s in stages])[:-1].tolist()
    schedule = optax.join_schedules(schedules, ends)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.contrib.muon(schedule, adam_b2=0.99))


class TrainingRun:
    """Snapshots and the curve of one training, in a folder.

    Attributes:
      curve: File of JSON lines, one per `record`.
    """

    def __init__(self, work: pathlib.Path, name: str):
        work.mkdir(parents=True, exist_ok=True)
        self.curve = work / "curve.jsonl"
        self._snapshot = work / name
        self._began = time.monotonic()

    def resume(self, fresh: Any, updates: int) -> tuple[Any, int]:
        """The last snapshot's state and its number of updates, or `fresh` and 0.

        Lines of the curve after the snapshot are dropped: their updates are done again.

        Raises:
          ValueError: The snapshot has seen more than `updates`, or has other arrays than `fresh`.
        """
        state, done = fresh, 0
        if snapshots.exists(self._snapshot):
            state, count = snapshots.restore(self._snapshot, (fresh, jnp.zeros((), jnp.int32)))
            done = int(count)
        if done > updates:
            raise ValueError(
                f"{self._snapshot} has seen {done} updates, more than the {updates} asked for: "
                "remove it or change --work"
            )
        rows = [row for row in self._rows() if row["update"] <= done]
        write_text(self.curve, "".join(f"{json.dumps(row)}\n" for row in rows))
        # The clock goes on where the snapshot's stopped.
        self._began = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)
        return state, done

    def record(self, update: int, row: dict[str, Any]) -> None:
        """Adds a line to the curve: the update, `row`, seconds of training."""
        seconds = round(time.monotonic() - self._began, 1)
        with self.curve.open("a") as file:
            file.write(json.dumps({"update": update, **row, "seconds": seconds}) + "\n")

    def save(self, state: Any, done: int) -> None:
        """Writes the snapshot; a kill during the write leaves the previous one."""
        snapshots.save(self._snapshot, (state, jnp.asarray(done, jnp.int32)))

    def _rows(self) -> list[dict[str, Any]]:
        if not self.curve.exists():
            return []
        text = self.curve.read_text()
        # A kill may have torn the last line.
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
