r"""What compiling a plan costs, beside compiling one gradient of the same model.

    python -m experiments.speed.compiling --output=experiments/results/benchmark

Processor seconds of tracing and of compiling, on one core, nothing kept between programs; and the
kernels of the compiled program: its fusions, and its products that are calls into a library. One
gradient of a rollout is the measure of the others: a plan holds the model once for the gradients of
its rollouts, once more for the lifted terms, and a few times forward. `--label` tells runs of
different code or flags apart; the table compares each row with the gradient of its own run.
"""

import collections
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

import grasp_jax
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.tables import print_table, write_summary
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state.model import load_model
from experiments.speed.models import make_workload
from grasp_jax import GD, GRASP, ICEM, Problem
from grasp_jax.rollout import rollout_cost

KEY_FIELDS = ("label", "model", "row")
MODELS = {"pusht": 12, "lewm": 15, "mlp": 15}
"""Name to `T`."""
GRADIENT = "gradient"


def problem_of(name: str) -> Problem:
    """One goal, from zero actions."""
    if name != "pusht":
        return make_workload(name, 1).problem(MODELS[name])
    zeros = jnp.zeros((MODELS[name], coordinates.ACTION_SIZE))
    state = jnp.zeros(8)
    objective = grasp_jax.Objective(terminal_cost=coordinates.goal_distance)
    return grasp_jax.make_problem(load_model(), state, state + 1, zeros, objective=objective)


def _whole(planner: Any) -> Callable[[Problem, jax.Array], Any]:
    return lambda problem, key: grasp_jax.solve(problem, key, planner=planner)


def _gradient(problem: Problem, key: jax.Array) -> Any:
    del key
    return jax.value_and_grad(lambda a: rollout_cost(problem, a))(problem.init_actions)


def _one_step(problem: Problem, key: jax.Array) -> Any:
    """The model alone, forward and VJP, at one row."""
    del key
    windows = problem.windows(problem.init_actions)
    state = problem.state
    if problem.context is not None:
        state = jax.tree.map(
            lambda past, now: jnp.concatenate([past, now[None]]), problem.context.states, state
        )
    window = jax.tree.map(lambda x: x[0], windows)
    found, pull = jax.vjp(problem.step, state, window)
    return found, pull(found)


ROWS: dict[str, Callable[[Problem, jax.Array], Any]] = {
    "model step": _one_step,
    GRADIENT: _gradient,
    "GD": _whole(GD(learning_rate=0.1, iterations=100)),
    "iCEM": _whole(ICEM()),
    "GRASP()": _whole(GRASP()),
    "restarted_grasp()": _whole(grasp_jax.restarted_grasp()),
    "portfolio()": _whole(grasp_jax.portfolio()),
}


def measure(problem: Problem, row: Callable[[Problem, jax.Array], Any]) -> Record:
    """Compiles one program from nothing."""
    jax.clear_caches()
    began = time.process_time()
    lowered = jax.jit(row).lower(problem, jax.random.key(0))
    traced = time.process_time()
    program = lowered.compile()
    done = time.process_time()
    kinds = collections.Counter(re.findall(r"= \S+ ([a-z\-]+)\(", program.as_text() or ""))
    return {
        "trace_seconds": round(traced - began, 3),
        "compile_seconds": round(done - traced, 3),
        "fusions": kinds["fusion"],
        "products": kinds["dot"] + kinds["custom-call"],
    }


def summarize(records: list[Record]) -> list[Record]:
    """One row per program, with its ratio to the gradient of the same run."""
    total = {
        (r["label"], r["model"], r["row"]): r["trace_seconds"] + r["compile_seconds"]
        for r in records
    }
    rows = []
    for r in records:
        own = total[r["label"], r["model"], r["row"]]
        one = total.get((r["label"], r["model"], GRADIENT))
        shown = {k: r[k] for k in (*KEY_FIELDS, "fusions", "products")}
        rows.append(
            {
                **shown,
                "seconds": round(own, 2),
                "over_gradient": round(own / one, 2) if one else None,
            }
        )
    return rows


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("models", list(MODELS), f"Of {', '.join(MODELS)}.")
    flags.DEFINE_list("rows", [], "Only these programs; all by default.")
    flags.DEFINE_string("label", "now", "Of this run: which code, which flags.")
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results.")


def main(argv: list[str]) -> None:
    """Compiles, prints."""
    begin(argv, keep_programs=False)
    use_cores(flags.FLAGS.cores)
    folder = pathlib.Path(flags.FLAGS.output)
    log = ResultLog(folder / "compiling.jsonl", KEY_FIELDS)
    for model in flags.FLAGS.models:
        problem = problem_of(model)
        for name, row in ROWS.items():
            cell = {"label": flags.FLAGS.label, "model": model, "row": name}
            wanted = not flags.FLAGS.rows or name in flags.FLAGS.rows
            if wanted and not log.done(**cell):
                log.append({**cell, **measure(problem, row), **machine()})
    rows = summarize(log.records)
    write_summary(folder / "compiling.csv", rows)
    print_table(rows, "Compiling, processor seconds")


if __name__ == "__main__":
    define_flags()
    app.run(main)
