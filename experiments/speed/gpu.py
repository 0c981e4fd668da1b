r"""Whole plans at LeWM's size on an accelerator: every kind of sync beside samplers and descent.

    python -m experiments.speed.gpu --output=experiments/results/benchmark_gpu

LeWM's predictor with random weights (192 numbers per state, windows of 3 frames); each goal is
where random actions lead, so that cost 0 is possible. Everything is compiled first, side by side,
the most important first; what is not ready after --compile_seconds is left out and said so. Then
every cell plans the same goals, one after the other, and once more until its cost is as low as that
of `GRASP()`, the author's settings, on that goal. A whole plan of every cell comes first; further
goals follow from the quickest cell to the slowest while --time_seconds last. The same command
resumes with what is missing.
"""

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine
from experiments.speed.series import depth
from grasp_jax import CEM, GD, GRASP, ICEM, Correction, ParallelShooting, Problem
from grasp_jax.world_models import LeWM, LeWMConfig

KEY_FIELDS = ("device", "horizon", "goals", "row")
_AUTHOR = "GRASP"
"""The row whose cost the others have to reach."""
_ACTION_SIZE = 10
_POINTS = 60  # of a kept curve, at most


def rows(horizon: int) -> dict[str, Any]:
    """What is timed, in the order of importance."""
    few: dict[str, Any] = {"iterations": 200, "sync_every": 40}
    segments = functools.partial(ParallelShooting, learning_rate=0.1, serial_iterations=5)
    third = max(horizon // 3, 1)
    return {
        _AUTHOR: GRASP(),
        "segments-T/3": segments(iterations=150, num_segments=third),
        "GRASP segments-T/3": GRASP(sync=segments(iterations=60, num_segments=third), **few),
        "CEM": CEM(),
        "iCEM": ICEM(),
        "GD": GD(learning_rate=0.2, iterations=150),
        "GRASP GD-60": GRASP(sync=GD(learning_rate=0.2, iterations=60), **few),
        "segments-T diagonal": segments(
            iterations=150, num_segments=horizon, correction=Correction.DIAGONAL
        ),
        "GRASP segments-T": GRASP(sync=segments(iterations=60, num_segments=horizon), **few),
        "GRASP iCEM": GRASP(
            iterations=200, sync_every=100, sync=ICEM(num_samples=100, num_elites=10, iterations=10)
        ),
    }


@dataclasses.dataclass(frozen=True)
class Cell:
    """One whole plan to time: `goals` at once over `horizon` steps."""

    row: str
    planner: Any
    horizon: int
    goals: int


def cells(horizons: Iterable[int], batch: int) -> list[Cell]:
    """All cells, the most important first: the longest horizon, the shorter ones, batches."""
    horizons = sorted(horizons, reverse=True)
    longest = horizons[0]
    order = [Cell(name, planner, longest, 1) for name, planner in rows(longest).items()]
    for horizon in reversed(horizons[1:]):
        order += [Cell(name, p, horizon, 1) for name, p in list(rows(horizon).items())[:6]]
    together = ("segments-T/3", "GRASP segments-T/3", "CEM")
    return order + [Cell(name, rows(longest)[name], longest, batch) for name in together]


def reachable(model: LeWM, horizons: Iterable[int], num: int) -> dict[int, tuple[Any, Any]]:
    """Per horizon starts and goals `[num, L]`: the model goes from one to the other."""
    horizons = list(horizons)
    like = jnp.zeros((max(horizons), _ACTION_SIZE))

    def follow(start: jax.Array, key: jax.Array) -> jax.Array:
        actions = jax.random.normal(key, like.shape)
        problem = grasp_jax.make_problem(model, start, start, like, context=model.empty_context())
        return grasp_jax.trajectory(problem, actions)

    first, middle, last = (
        jax.random.split(jax.random.fold_in(jax.random.key(7), i), num) for i in range(3)
    )
    drawn = jax.vmap(lambda key: jax.random.normal(key, (model.config.latent,)))(first)
    follow = jax.jit(jax.vmap(follow))
    start = follow(drawn, middle)[:, -1]
    states = follow(start, last)
    return {horizon: (start, states[:, horizon]) for horizon in horizons}


def problem_of(model: LeWM, horizon: int, start: Any, goal: Any) -> Problem:
    """A problem of one goal `[L]`, or of a batch `[B, L]`."""
    context, like = model.empty_context(), jnp.zeros((horizon, _ACTION_SIZE))
    if start.ndim == 1:
        return grasp_jax.make_problem(model, start, goal, like, context=context)
    contexts = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(start), *x.shape)), context)
    return grasp_jax.make_problem(model, start, goal, like, context=contexts, batched=True)


def lowered(problem: Problem, planner: Any) -> Any:
    """A whole plan that stops at a target cost, not compiled yet."""
    whole = jax.jit(
        lambda problem, key, target: grasp_jax.solve(
            problem, key, planner=planner, target_cost=target
        )
    )
    return whole.lower(problem, jax.random.key(0), jnp.float32(0))


def compiled(lowered: Any) -> tuple[Any, float]:
    """The program, and the seconds of compiling beside the others."""
    began = time.perf_counter()
    program = lowered.compile()
    return program, time.perf_counter() - began


class Timer:
    """Plans of one cell: whole, and until a cost is reached.

    Attributes:
      cell: What is timed.
      milliseconds: Of whole plans.
      plans: The whole plans.
      to_target: Milliseconds until the author's cost; None where it is not reached.
    """

    def __init__(self, cell: Cell, problems: list[Problem], job: Any) -> None:
        self.cell, self.problems = cell, problems
        self.program, self.compile_seconds = job.result()
        self.milliseconds: list[float] = []
        self.plans: list[grasp_jax.Plan] = []
        self.to_target: list[float | None] = []
        self._run(0, jnp.inf)  # loads the program: one iteration

    @property
    def shape(self) -> tuple[int, int]:
        """Horizon and goals at once."""
        return self.cell.horizon, self.cell.goals

    @property
    def done(self) -> bool:
        """Whether every goal is planned."""
        return len(self.plans) == len(self.problems)

    def whole(self) -> None:
        """The next goal, all iterations."""
        spent, plan = self._run(len(self.plans), -jnp.inf)
        self.milliseconds.append(spent)
        self.plans.append(plan)

    def until(self, author: "Timer") -> None:
        """Every goal that both have planned once more, until the author's cost of it."""
        for i in range(len(self.to_target), min(len(self.plans), len(author.plans))):
            target = jnp.max(author.plans[i].cost)
            if bool(jnp.max(self.plans[i].cost) > target):
                self.to_target.append(None)
            else:
                self.to_target.append(round(self._run(i, target)[0], 3))

    def record(self) -> Record:
        """What was found."""
        costs = np.atleast_2d(np.asarray(self.plans[0].metrics.best_cost))
        picked = np.unique(np.linspace(0, costs.shape[1] - 1, _POINTS).astype(int))
        cell, spent = self.cell, statistics.median(self.milliseconds)
        work = self.plans[0].metrics
        return {
            "horizon": cell.horizon,
            "goals": cell.goals,
            "row": cell.row,
            "plan_ms": spent,
            "all_ms": [round(x, 3) for x in self.milliseconds],
            "ms_per_goal": spent / cell.goals,
            "ms_to_author": self.to_target,
            "costs": [round(float(jnp.mean(p.cost)), 5) for p in self.plans],
            "depth": depth(cell.planner, cell.horizon),
            "model_evals": float(jnp.sum(work.model_evals)) / cell.goals,
            "model_vjps": float(jnp.sum(work.model_vjps)) / cell.goals,
            "compile_seconds": round(self.compile_seconds, 2),
            "iterations": picked.tolist(),
            "best_costs": costs.mean(0)[picked].round(4).tolist(),
        }

    def _run(self, index: int, target: Any) -> tuple[float, grasp_jax.Plan]:
        arguments = self.problems[index], jax.random.key(index), jnp.float32(target)
        jax.block_until_ready(arguments)
        began = time.perf_counter()
        plan = jax.block_until_ready(self.program(*arguments))
        return 1e3 * (time.perf_counter() - began), plan


def time_all(timers: list[Timer], seconds: float, keep: Callable[[Record], None]) -> None:
    """Plans the first goal with every cell, then the others, the quickest cells first.

    Args:
      timers: The cells.
      seconds: No plan that would end later is started.
      keep: Gets the record of a cell after its first goal and at the end; the last counts.
    """
    ends = time.perf_counter() + seconds
    authors = {t.shape: t for t in timers if t.cell.row == _AUTHOR}
    while left := [t for t in timers if not t.done]:
        new = [t for t in left if not t.plans]
        timer = new[0] if new else min(left, key=lambda t: sum(t.milliseconds))
        if time.perf_counter() + 1e-3 * max(timer.milliseconds, default=0) > ends:
            break
        timer.whole()
        for other in timers:
            author = authors.get(other.shape)
            if author is not None and time.perf_counter() < ends:
                other.until(author)
        if new:
            keep(timer.record())
    for timer in timers:
        if len(timer.plans) > 1:
            keep(timer.record())


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("horizons", ["10", "15", "60"], "T, model steps.")
    flags.DEFINE_integer("batch", 16, "Goals of the batched cells.", lower_bound=2)
    flags.DEFINE_integer("threads", 16, "Programs compiled side by side.", lower_bound=1)
    flags.DEFINE_float("compile_seconds", 95.0, "What is not compiled by then is left out.")
    flags.DEFINE_float("time_seconds", 85.0, "No plan is started after so many seconds of timing.")
    flags.DEFINE_integer("problems", 3, "Goals of each cell, or batches of goals.", lower_bound=1)
    flags.DEFINE_list("rows", [], "Only these; all by default.")
    flags.DEFINE_bool(
        "full_size", True, "False rehearses with one small block; times mean nothing."
    )
    flags.DEFINE_string("output", "runs/benchmark_gpu", "Folder for `plans.jsonl`.")


def main(argv: list[str]) -> None:
    """Compiles, times, prints."""
    begin(argv, keep_programs=False)
    began, where, settings = time.perf_counter(), machine(), flags.FLAGS
    log = ResultLog(pathlib.Path(settings.output) / "plans.jsonl", KEY_FIELDS)
    small: dict[str, Any] = {} if settings.full_size else {"depth": 1, "heads": 1, "hidden": 64}
    model = LeWM.random(jax.random.key(0), LeWMConfig(**small))
    horizons = [int(t) for t in settings.horizons]
    todo = [
        c
        for c in cells(horizons, settings.batch)
        if (not settings.rows or c.row in settings.rows)
        and not log.done(device=where["device"], horizon=c.horizon, goals=c.goals, row=c.row)
    ]
    drawn = reachable(model, horizons, settings.problems * settings.batch)

    def problems(cell: Cell) -> list[Problem]:
        start, goal = drawn[cell.horizon]
        picked = [
            i if cell.goals == 1 else slice(i * cell.goals, (i + 1) * cell.goals)
            for i in range(settings.problems)
        ]
        return [problem_of(model, cell.horizon, start[i], goal[i]) for i in picked]

    def say(what: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s: {what}", flush=True)

    say(f"goals drawn; {len(todo)} cells")
    pool, jobs = concurrent.futures.ThreadPoolExecutor(settings.threads), {}
    for c in todo:
        if time.perf_counter() - began < settings.compile_seconds:
            jobs[c] = pool.submit(compiled, lowered(problems(c)[0], c.planner))
    say(f"{len(jobs)} programs lowered")
    left = max(settings.compile_seconds - (time.perf_counter() - began), 0)
    concurrent.futures.wait(jobs.values(), timeout=left)
    pool.shutdown(wait=False, cancel_futures=True)
    ready = [c for c, job in jobs.items() if job.done() and not job.cancelled()]
    say(f"{len(ready)} programs compiled")
    timers = [Timer(c, problems(c), jobs[c]) for c in ready]
    say("programs loaded")
    time_all(timers, settings.time_seconds, lambda record: log.append({**record, **where}))
    for timer in timers:
        if timer.plans:
            record = timer.record()
            print(
                f"T={record['horizon']:3d} B={record['goals']:3d} {record['row']:20s} "
                f"{record['plan_ms']:9.1f} ms  cost {np.mean(record['costs']):8.3f}  "
                f"depth {record['depth']:6d}  to the author's cost {record['ms_to_author']}",
                flush=True,
            )
    timed = {t.cell for t in timers if t.plans}
    missing = [f"T={c.horizon} B={c.goals} {c.row}" for c in todo if c not in timed]
    say(f"done. Left out: {missing or 'nothing'}")
    if any(not job.done() for job in jobs.values()):
        # A compiler cannot be stopped, and Python would wait for it.
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    define_flags()
    app.run(main)
