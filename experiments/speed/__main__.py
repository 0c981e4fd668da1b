r"""How fast planning is: every planner's iteration beside the bare model, whole plans, memory.

    python -m experiments.speed                             # a small MLP, two minutes
    python -m experiments.speed --models=lewm --planners=GRASP --horizons=8,32,128
    python -m experiments.speed --compare=torch --models=   # beside textbook PyTorch
    python -m experiments.speed --models=dinowm --planners=GRASP --horizons=16 --goals=1 \
        --time_chunk=1 --loops=1 --repeats=1                    # 75,264 numbers per state
    ... --nobare_model --output=runs/memory                     # the memory of planning alone
    JAX_COMPILATION_CACHE_DIR=runs/cache ... --compile_only     # beforehand, for the same flags

`ratio` is an iteration's time over that of its model calls alone, all of them side by side (one
batched forward and one action-VJP for GRASP and GD, forwards for the samplers), timed in the same
run. It runs on one core of a CPU (--cores), or on whatever device JAX finds. Results are written as
they finish; the same command resumes.
"""

import dataclasses
import functools
import pathlib
import sys
import time
from typing import Any

import jax
from absl import app, flags

import grasp_jax
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.speed import models, timing

KEY_FIELDS = (
    "device", "cores", "model", "horizon", "goals", "planner", "time_chunk", "loops",
)  # fmt: skip
_LOOPS = {"mlp": 64, "lewm": 2, "dinowm": 1}
_COLUMNS = (
    "model",
    "horizon",
    "goals",
    "planner",
    "iteration_ms",
    "forward_ms",
    "forward_vjp_ms",
    "ratio",
    "sync_step_ms",
    "plan_seconds",
    "plans_per_second",
    "compile_seconds",
    "temporary_mb",
    "serial_depth",
    "model_forward",
    "model_backward",
)


def planners() -> dict[str, Any]:
    """The planners that are timed, at the settings their papers or authors give."""
    return {
        "GRASP": grasp_jax.GRASP(),
        "GD": grasp_jax.GD(learning_rate=0.1, iterations=150),
        "GD-parallel": grasp_jax.GD(learning_rate=0.1, iterations=150, parallel_in_time=True),
        "CEM": grasp_jax.CEM(),
        "iCEM": grasp_jax.ICEM(),
        "MPPI": grasp_jax.MPPI(),
        "LatCo": grasp_jax.LatCo(),
    }


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list(
        "models", ["mlp"], "Of mlp, mlp:SIZE, lewm, dinowm, and the latter two with :bfloat16."
    )
    flags.DEFINE_list("horizons", ["8", "64"], "T, model steps.")
    flags.DEFINE_list("goals", ["1", "16"], "Goals planned together.")
    flags.DEFINE_list("planners", ["GRASP", "GD", "CEM"], f"Of {', '.join(planners())}.")
    flags.DEFINE_integer("repeats", 7, "Interleaved repeats; medians are reported.", lower_bound=1)
    flags.DEFINE_integer("loops", None, "Iterations per timed call; by default by model.")
    flags.DEFINE_float("plan_limit", 3.0, "Run whole plans up to this many seconds.")
    flags.DEFINE_bool("whole_plans", True, "Compile whole plans; LeWM's take half a minute each.")
    flags.DEFINE_integer(
        "time_chunk", None, "Bound memory: GRASP's time_chunk, its sync recomputes the model."
    )
    flags.DEFINE_bool(
        "compile_only",
        False,
        "Only fill JAX's persistent cache (JAX_COMPILATION_CACHE_DIR), several of these side by "
        "side, before the same flags without it time on a GPU that is lent by the minute.",
    )
    flags.DEFINE_bool("bare_model", True, "Time the bare model too; without it there is no ratio.")
    flags.DEFINE_enum("compare", "none", ["none", "torch"], "Time textbook PyTorch beside ours.")
    flags.DEFINE_list("compare_horizons", ["5", "15", "30", "60"], "T of --compare.")
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results and pictures.")


def run_cells(log: ResultLog, computer: Record) -> None:
    """Times every cell that the log does not hold yet."""
    available = planners()
    chunk, where = flags.FLAGS.time_chunk, {k: computer[k] for k in ("device", "cores")}
    loops = {m: flags.FLAGS.loops or _LOOPS[m.split(":")[0]] for m in flags.FLAGS.models}
    cells = [
        {
            "model": m,
            "horizon": int(t),
            "goals": int(b),
            "planner": p,
            "time_chunk": chunk,
            "loops": loops[m],
        }
        for m in flags.FLAGS.models
        for t in flags.FLAGS.horizons
        for b in flags.FLAGS.goals
        for p in flags.FLAGS.planners
    ]
    cells = [c for c in cells if not log.done(**where, **c)]

    @functools.lru_cache(maxsize=1)
    def bare(model: str, horizon: int, goals: int, loops: int) -> tuple[Any, Any]:
        workload = models.make_workload(model, goals)
        if not flags.FLAGS.bare_model:
            return workload, {}
        return workload, timing.roofline(workload, horizon, loops)

    with progress(len(cells), "benchmark") as bar:
        for cell in cells:
            planner = available[cell["planner"]]
            if flags.FLAGS.time_chunk and isinstance(planner, grasp_jax.GRASP):
                sync = dataclasses.replace(planner.sync, remat=True)  # pyright: ignore[reportArgumentType,reportCallIssue]
                planner = dataclasses.replace(
                    planner, time_batch_size=flags.FLAGS.time_chunk, sync=sync
                )
            workload, model = bare(cell["model"], cell["horizon"], cell["goals"], cell["loops"])
            if flags.FLAGS.compile_only:
                whole = flags.FLAGS.whole_plans
                timing.compile_only(workload, cell["horizon"], planner, cell["loops"], whole)
                bar()
                continue
            found = timing.measure(
                workload,
                cell["horizon"],
                planner,
                model,
                flags.FLAGS.repeats,
                cell["loops"],
                flags.FLAGS.plan_limit if flags.FLAGS.whole_plans else None,
            )
            repeats = flags.FLAGS.repeats
            size = workload.state_size
            log.append({**cell, "repeats": repeats, "state_size": size, **found, **computer})
            bar(latest=f"{cell['model']} T={cell['horizon']} {cell['planner']}")


def report(folder: pathlib.Path, log: ResultLog) -> None:
    """Table, summary and pictures from the recorded results alone."""
    from experiments.speed import pictures

    # The record of most iterations per call counts, of several the latest.
    records = sorted(log.records, key=lambda r: r["loops"])
    rows = list({tuple(r[f] for f in KEY_FIELDS if f != "loops"): r for r in records}.values())
    if not rows:
        return
    rows.sort(key=lambda r: (r["model"], r["horizon"], r["goals"]))
    shown = (
        "device",
        "cores",
        "time_chunk",
        "loops",
        *_COLUMNS,
        "state_size",
        "plan_measured",
        "process_peak_mb",
    )
    # `goals` is a column of every summary.csv.
    write_summary(folder / "summary.csv", [{k: r.get(k) for k in shown} for r in rows])
    devices = {r["device"] for r in rows}
    columns = _COLUMNS if len(devices) == 1 else ("device", *_COLUMNS)
    print_table(rows, title=f"One plan or batch, {', '.join(sorted(devices))}", columns=columns)
    compared = [r for r in rows if "ratio" in r]
    if compared:
        pictures.ratio_against_horizon(compared, folder / "ratio_against_horizon.png")
    pictures.throughput_against_goals(rows, folder / "throughput_against_goals.png")


def main(argv: list[str]) -> None:
    """Measures, prints, draws."""
    begin(argv, keep_programs=False)
    unknown = [n for n in flags.FLAGS.planners if n not in planners()]
    if unknown:
        raise app.UsageError(f"--planners: no {unknown[0]!r}; there are {', '.join(planners())}.")
    wrong = [n for n in flags.FLAGS.models if n.split(":")[0] not in models.NAMES]
    if wrong:
        raise app.UsageError(f"--models: no {wrong[0]!r}; there are {', '.join(models.NAMES)}.")
    began = time.perf_counter()
    use_cores(flags.FLAGS.cores)
    folder = pathlib.Path(flags.FLAGS.output)
    computer = machine()
    log = ResultLog(folder / "results.jsonl", KEY_FIELDS)
    if flags.FLAGS.compile_only and not getattr(jax.config, "jax_compilation_cache_dir", None):
        raise app.UsageError(
            "--compile_only needs JAX_COMPILATION_CACHE_DIR, to keep the programs."
        )
    if flags.FLAGS.models != [""]:
        run_cells(log, computer)
    report(folder, log)
    if flags.FLAGS.compare == "torch":
        from experiments.speed import pytorch

        pytorch.compare(
            folder, [int(t) for t in flags.FLAGS.compare_horizons], flags.FLAGS.repeats, computer
        )
    print(f"Finished in {time.perf_counter() - began:.0f} s. Results and pictures: {folder}")
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    app.run(main)
