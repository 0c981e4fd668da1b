"""How long one plan takes through LeWM: ours, PyTorch's textbook loop, stable-worldmodel's solvers.

python -m experiments.speed.swm                    # 10 minutes on one core
python -m experiments.speed.swm --output=/tmp/t    # elsewhere

All plan the same problem on the same random weights of LeWM's size, in one process on one core:
from a frame to a goal frame, `horizon` model steps. Our GRASP runs in full; the others are timed
over some iterations and extended linearly to all, as each record says. Compilation is apart.

`h1` shows the predictor the present frame alone, `author` does so in the lifted phase; the others
read windows of 3.

Needs stable-worldmodel installed whole (torchvision and its other requirements).
"""

import importlib.metadata
import os
import pathlib

from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.speed.swm_cases import Case, planners, their_solvers

_FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defined when run, so that tests may import this file beside other binaries."""
    flags.DEFINE_string(
        "output",
        str(pathlib.Path(__file__).parents[1] / "results" / "swm_timings"),
        "Where results go.",
    )
    flags.DEFINE_integer("core", 0, "The core that everything runs on.")
    flags.DEFINE_list("only", [], "Planners to time, e.g. GRASP; all by default.")
    flags.DEFINE_bool("small", False, "A small model, to see whether everything runs.")


def pin(core: int) -> None:
    """One core and one thread for this process; before JAX and PyTorch are imported."""
    os.sched_setaffinity(0, {core})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)


def summary(records: list[Record]) -> list[Record]:
    """One row per planner and horizon, in the order of `planners`."""
    order = list(planners())
    rows = [
        {
            "planner": r["planner"],
            "horizon": r["horizon"],
            "median_seconds": r["seconds"],
            "compile_seconds": r.get("compile_seconds"),
            "measured_iterations": r["measured"],
        }
        for r in records
        if r["planner"] in order
    ]
    return sorted(rows, key=lambda r: (r["horizon"], order.index(r["planner"])))


def main(argv: list[str]) -> None:
    """Times what is not recorded yet, and writes the table."""
    begin(argv, keep_programs=False)
    pin(_FLAGS.core)
    their_solvers()
    versions = {"torch": importlib.metadata.version("torch")}
    folder = pathlib.Path(_FLAGS.output)
    log = ResultLog(folder / "results.jsonl", ("planner", "horizon"))
    chosen = {k: v for k, v in planners().items() if not _FLAGS.only or k in _FLAGS.only}
    work = [
        (name, horizon)
        for name, (_, horizons) in chosen.items()
        for horizon in horizons
        if not log.done(planner=name, horizon=horizon)
    ]
    if work:
        case = Case(_FLAGS.small)
        with progress(len(work), "timings") as bar:
            for name, horizon in work:
                found = chosen[name][0](case, horizon)
                log.append({"planner": name, "horizon": horizon, **found, **machine(), **versions})
                bar(1, f"{name}, T = {horizon}: {found['seconds']:.1f} s")
    rows = summary(log.records)
    write_summary(folder / "summary.csv", rows)
    picture(rows, folder / "seconds.png")
    print_table(rows, "one plan, one core")


def picture(rows: list[Record], path: pathlib.Path) -> None:
    """A bar per planner at the longest horizon, ours and others' in two colours."""
    from experiments.harness import plots

    longest = max(r["horizon"] for r in rows)
    shown = [r for r in rows if r["horizon"] == longest][::-1]
    figure, axes = plots.new_axes()
    for kind, tone in (("grasp_jax", "GRASP"), ("PyTorch", "GD")):
        own = [
            r
            for r in shown
            if r["planner"].startswith(("swm", "textbook")) == (kind != "grasp_jax")
        ]
        values = [r["median_seconds"] for r in own]
        bars = axes.barh([r["planner"] for r in own], values, color=plots.color(tone), label=kind)
        axes.bar_label(bars, fmt=" %.0f s")
    axes.set_xlabel(f"seconds per plan through LeWM, T = {longest}, one core")
    axes.legend()
    plots.save_figure(figure, path)


if __name__ == "__main__":
    define_flags()
    app.run(main)
