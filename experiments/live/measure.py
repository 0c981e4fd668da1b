"""Times the page's loop without a page: updates per second, planning per step, goals reached.

    python -m experiments.live.measure --worlds=pusht,wall,ball_u_trap

Each goal is planned for and followed as on the page, pictures and messages made and thrown away;
compiling is apart. One line per goal is appended to experiments/results/live/speed.jsonl.
"""

import json
import os
import pathlib
import time
from typing import Any

import numpy as np
from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.version import code_version
from experiments.live.outbox import Outbox
from experiments.live.session import Session, Wish
from experiments.live.world import World
from experiments.live.worlds import WORLDS

_DEFAULT_OUTPUT = "experiments/results/live/speed.jsonl"


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("worlds", ["pusht", "wall", "ball_u_trap"], "Which worlds.")
    flags.DEFINE_string("planner", "GRASP", "A planner that all of them offer.")
    flags.DEFINE_integer("goals", 3, "Tasks of each world.", lower_bound=1)
    flags.DEFINE_float("limit", 120.0, "Seconds for a goal, compiling included.", lower_bound=1)
    flags.DEFINE_string("output", _DEFAULT_OUTPUT, "File to append to.")


class _Watch(Outbox):
    """Notes when a search was shown; what is shown goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.gaps: list[float] = []
        self.step_ms: list[float] = []
        self.steps, self.phase = 0, ""

    def show(self, **parts: Any) -> None:
        now = time.perf_counter()
        if "rolloutLine" in parts and parts.get("phase", "").startswith("planning"):
            if self.times and self.phase.startswith("planning"):
                self.gaps.append(now - self.times[-1])
            self.times.append(now)
            json.dumps(parts)
        self.phase = parts.get("phase", self.phase)
        self.steps = parts.get("steps", self.steps)
        if "stepMs" in parts:
            self.step_ms.append(parts["stepMs"])

    def add_row(self, *row: Any) -> None:
        del row


def measure(world: World, planner: str, seed: int, limit: float) -> dict[str, Any]:
    """One goal, from its start until it is reached or the time is over."""
    watch = _Watch()
    state, goal = world.task(seed)
    session = Session(world, Wish(world.presets[planner], goal), state, watch, seed)
    began = time.perf_counter()
    session.start()
    while watch.phase not in ("reached", "stopped") and time.perf_counter() - began < limit:
        time.sleep(0.05)
    session.close()
    gaps = np.array(watch.gaps or [np.nan])
    return {
        "world": world.name,
        "planner": planner,
        "seed": seed,
        "reached": watch.phase == "reached",
        "steps": watch.steps,
        "updates_per_second": round(float(1 / gaps.mean()), 1),
        "slowest_update_ms": round(float(1000 * gaps.max()), 1),
        "planning_ms_per_step": round(float(np.median(watch.step_ms or [np.nan])), 1),
        "seconds": round(time.perf_counter() - began, 1),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": round(os.getloadavg()[0], 1),
        "code": code_version(),
    }


def main(argv: list[str]) -> None:
    """Measures what was asked for; the first goal of a world compiles."""
    begin(argv)
    path = pathlib.Path(flags.FLAGS.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in flags.FLAGS.worlds:
        world = WORLDS[name]()
        for seed in range(flags.FLAGS.goals):
            row = measure(world, flags.FLAGS.planner, seed, flags.FLAGS.limit)
            line = json.dumps(row).replace("NaN", "null")
            with path.open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
