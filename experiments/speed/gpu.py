r"""Whole plans at LeWM's size on an accelerator: every kind of sync beside samplers and descent.

    python -m experiments.speed.gpu --output=experiments/results/benchmark_gpu

LeWM's predictor with random weights (192 numbers per state, windows of 3 frames); each goal is
where random actions lead, so that cost 0 is possible. Everything is compiled first, side by side,
the most important first; what is not ready after --compile_seconds is left out and said so. Then
whole plans are timed in rounds, one plan of each after the other. The curve of the best cost over a
plan's iterations is kept: milliseconds to a given cost follow from it. The same command resumes
with what is missing.
"""

import concurrent.futures
import dataclasses
import functools
import pathlib
import statistics
import time
from collections.abc import Iterable
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
_ACTION_SIZE = 10
_POINTS = 60  # of a kept curve, at most


def rows(horizon: int) -> dict[str, Any]:
    """What is timed, in the order of importance."""
    few: dict[str, Any] = {"iterations": 200, "sync_every": 40}
    segments = functools.partial(ParallelShooting, learning_rate=0.1, serial_iterations=5)
    third = max(horizon // 3, 1)
    return {
        "GRASP GD-60": GRASP(sync=GD(learning_rate=0.2, iterations=60), **few),
        "GRASP segments-T/3": GRASP(sync=segments(iterations=60, num_segments=third), **few),
        "CEM": CEM(),
        "iCEM": ICEM(),
        "GD": GD(learning_rate=0.2, iterations=150),
        "segments-T/3": segments(iterations=150, num_segments=third),
        "GRASP": GRASP(),
        "GRASP segments-T": GRASP(sync=segments(iterations=60, num_segments=horizon), **few),
        "segments-T diagonal": segments(
            iterations=150, num_segments=horizon, correction=Correction.DIAGONAL
        ),
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
    """All cells, the most important first: one goal alone, then batches."""
    horizons = list(horizons)
    order: list[Cell] = []
    for name in rows(max(horizons)):
        order += [Cell(name, rows(t)[name], t, 1) for t in reversed(horizons)]
    together = ("GRASP GD-60", "GRASP segments-T/3", "CEM", "GD")
    last = max(horizons)
    return order + [Cell(name, rows(last)[name], last, batch) for name in together]


def reachable(model: LeWM, horizon: int, goals: int) -> Problem:
    """Starts that the model itself has reached, and the ends of random actions from there."""
    context = model.empty_context()
    like = jnp.zeros((horizon, _ACTION_SIZE))

    def follow(start: jax.Array, key: jax.Array) -> jax.Array:
        actions = jax.random.normal(key, like.shape)
        problem = grasp_jax.make_problem(model, start, start, like, context=context)
        return grasp_jax.trajectory(problem, actions)[-1]

    first, middle, last = (
        jax.random.split(jax.random.fold_in(jax.random.key(7), i), goals) for i in range(3)
    )
    draw = jax.vmap(lambda key: jax.random.normal(key, (model.config.latent,)))
    follow = jax.jit(jax.vmap(follow))
    start = follow(draw(first), middle)
    goal = follow(start, last)
    if goals == 1:
        return grasp_jax.make_problem(model, start[0], goal[0], like, context=context)
    contexts = jax.tree.map(lambda x: jnp.broadcast_to(x, (goals, *x.shape)), context)
    return grasp_jax.make_problem(model, start, goal, like, context=contexts, batched=True)


def compiled(problem: Problem, planner: Any) -> tuple[Any, float]:
    """A program of the whole plan, and its seconds."""
    began = time.perf_counter()
    whole = jax.jit(lambda problem, key: grasp_jax.solve(problem, key, planner=planner))
    program = whole.lower(problem, jax.random.key(0)).compile()
    return program, time.perf_counter() - began


def timed(program: Any, problem: Problem, seed: int) -> tuple[float, grasp_jax.Plan]:
    """Milliseconds of one plan."""
    key = jax.random.key(seed)
    jax.block_until_ready(key)
    began = time.perf_counter()
    plan = jax.block_until_ready(program(problem, key))
    return 1e3 * (time.perf_counter() - began), plan


def summary(cell: Cell, spent: list[float], plan: grasp_jax.Plan, seconds: float) -> Record:
    """A record of one cell."""
    costs = np.atleast_2d(np.asarray(plan.metrics.best_cost))
    picked = np.unique(np.linspace(0, costs.shape[1] - 1, _POINTS).astype(int))
    return {
        "horizon": cell.horizon,
        "goals": cell.goals,
        "row": cell.row,
        "plan_ms": statistics.median(spent),
        "all_ms": [round(x, 3) for x in spent],
        "ms_per_goal": statistics.median(spent) / cell.goals,
        "cost": float(jnp.mean(plan.cost)),
        "depth": depth(cell.planner, cell.horizon),
        "model_evals": float(jnp.sum(plan.metrics.model_evals)) / cell.goals,
        "model_vjps": float(jnp.sum(plan.metrics.model_vjps)) / cell.goals,
        "compile_seconds": round(seconds, 2),
        "iterations": picked.tolist(),
        "best_costs": costs.mean(0)[picked].round(4).tolist(),
    }


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("horizons", ["10", "15", "60"], "T, model steps.")
    flags.DEFINE_integer("batch", 64, "Goals of the batched cells.", lower_bound=2)
    flags.DEFINE_integer("threads", 16, "Programs compiled side by side.", lower_bound=1)
    flags.DEFINE_float("compile_seconds", 110.0, "What is not compiled by then is left out.")
    flags.DEFINE_float("time_seconds", 60.0, "No plan is started after so many seconds of timing.")
    flags.DEFINE_integer("repeats", 3, "Plans of each cell; medians are reported.", lower_bound=1)
    flags.DEFINE_list("rows", [], "Only these; all by default.")
    flags.DEFINE_bool(
        "full_size", True, "False rehearses with one small block; times mean nothing."
    )
    flags.DEFINE_string("output", "runs/benchmark_gpu", "Folder for `plans.jsonl`.")


def main(argv: list[str]) -> None:
    """Compiles, times, prints."""
    begin(argv, keep_programs=False)
    began = time.perf_counter()
    where = machine()
    log = ResultLog(pathlib.Path(flags.FLAGS.output) / "plans.jsonl", KEY_FIELDS)
    small: dict[str, Any] = {} if flags.FLAGS.full_size else {"depth": 1, "heads": 1, "hidden": 64}
    model = LeWM.random(jax.random.key(0), LeWMConfig(**small))
    todo = [
        c
        for c in cells([int(t) for t in flags.FLAGS.horizons], flags.FLAGS.batch)
        if (not flags.FLAGS.rows or c.row in flags.FLAGS.rows)
        and not log.done(device=where["device"], horizon=c.horizon, goals=c.goals, row=c.row)
    ]
    problems = {
        shape: reachable(model, *shape) for shape in sorted({(c.horizon, c.goals) for c in todo})
    }
    print(f"{time.perf_counter() - began:6.1f} s: goals drawn; {len(todo)} cells", flush=True)
    pool = concurrent.futures.ThreadPoolExecutor(flags.FLAGS.threads)
    jobs = {c: pool.submit(compiled, problems[c.horizon, c.goals], c.planner) for c in todo}
    left = max(flags.FLAGS.compile_seconds - (time.perf_counter() - began), 0)
    concurrent.futures.wait(jobs.values(), timeout=left)
    pool.shutdown(wait=False, cancel_futures=True)
    ready = [c for c in todo if jobs[c].done() and not jobs[c].cancelled()]
    print(f"{time.perf_counter() - began:6.1f} s: {len(ready)} programs compiled", flush=True)
    started, spent = time.perf_counter(), {c: [] for c in ready}
    plans = {}
    for repeat in range(flags.FLAGS.repeats + 1):
        for c in ready:
            if time.perf_counter() - started > flags.FLAGS.time_seconds:
                break
            program, _ = jobs[c].result()
            ms, plans[c] = timed(program, problems[c.horizon, c.goals], repeat)
            if repeat:  # the first plan of each warms up
                spent[c].append(ms)
    for c in ready:
        if spent[c]:
            record = summary(c, spent[c], plans[c], jobs[c].result()[1])
            log.append({**record, **where})
            print(
                f"T={c.horizon:3d} B={c.goals:3d} {c.row:34s} {record['plan_ms']:9.1f} ms  "
                f"cost {record['cost']:8.3f}  depth {record['depth']:6d}",
                flush=True,
            )
    missing = [f"T={c.horizon} B={c.goals} {c.row}" for c in todo if not spent.get(c)]
    print(
        f"{time.perf_counter() - began:6.1f} s: done. Left out: {missing or 'nothing'}", flush=True
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
