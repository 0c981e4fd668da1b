"""Draws what `experiments.speed.gpu` recorded: the best cost of one goal against milliseconds.

python -m experiments.speed.gpu_picture
"""

import pathlib

from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.speed.gpu import rows
from experiments.speed.series import depth

_FOLDER = pathlib.Path(__file__).parents[1] / "results" / "benchmark_gpu"


def seconds_of(record: Record) -> list[float]:
    """When each kept iteration ended, seconds: a plan's time, shared out by model steps in series.

    All of a row's iterations but syncs are alike, and what a plan waits for are steps in series.
    """
    planner = rows(record["horizon"])[record["row"]]
    whole = depth(planner, record["horizon"])
    passed = [depth(planner, record["horizon"], i + 1) for i in record["iterations"]]
    return [1e-3 * record["all_ms"][0] * p / whole for p in passed]


def draw(records: list[Record], horizon: int, path: pathlib.Path) -> None:
    """One line per row."""
    from experiments.harness.plots import new_axes, save_figure

    figure, axes = new_axes()
    shown = [r for r in records if r["horizon"] == horizon and r["goals"] == 1]
    for record in sorted(shown, key=lambda r: r["row"]):
        axes.step(seconds_of(record), record["best_costs"], where="post", label=record["row"])
    author = [r["costs"][0] for r in shown if r["row"] == "GRASP"]
    if author:
        axes.axhline(author[0], color="black", lw=0.8, ls=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(0.03, None),
        xlabel="seconds",
        ylabel="best cost so far",
        title=f"One plan at LeWM's size, T = {horizon}, H200 (dotted: GRASP(), author's settings)",
    )
    axes.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_integer("horizon", 60, "T, model steps.", lower_bound=1)
    flags.DEFINE_string("folder", str(_FOLDER), "Where `plans.jsonl` lies and the picture goes.")


def main(argv: list[str]) -> None:
    """Draws."""
    begin(argv)
    folder = pathlib.Path(flags.FLAGS.folder)
    records = ResultLog(folder / "plans.jsonl").records
    draw(records, flags.FLAGS.horizon, folder / "plans.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
