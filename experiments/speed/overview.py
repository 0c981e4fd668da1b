"""The study's first picture: goals solved within a planning time, on a core and on a GPU.

    python -m experiments.speed.overview

Push-T from pixels, H = 40, one goal planned at a time by the same commands on both; from the
records of `experiments.pusht` (its `reproduce.sh` has the commands).
"""

import json
import pathlib
from typing import Any

from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.summary import success_curves

_RESULTS = pathlib.Path(__file__).parents[1] / "results"
MACHINES = {
    "one CPU core": ("pusht_pixels_alone", "-"),
    "H200": ("pusht_pixels_h200", "--"),
}
"""Where a plan was made: folder of the records, and the style of the lines."""


def draw(path: pathlib.Path) -> None:
    """One line per planner and machine."""
    from experiments.harness.plots import color, new_axes, save_figure

    figure, axes = new_axes()
    for machine, (folder, style) in MACHINES.items():
        lines = (_RESULTS / folder / "results.jsonl").read_text().splitlines()
        curves = success_curves([json.loads(line) for line in lines])
        for name, (seconds, share) in curves.items():
            look: dict[str, Any] = {"color": color(name), "linestyle": style}
            axes.step(
                seconds, 100 * share, where="post", lw=1.8, label=f"{name}, {machine}", **look
            )
    axes.set(
        xscale="log",
        ylim=(0, 101),
        xlabel="seconds of planning, one goal at a time",
        ylabel="goals solved, %",
        title="Push-T from pixels, H = 40, 50 goals",
    )
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    save_figure(figure, path)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("output", str(_RESULTS / "benchmark"), "Folder of the picture.")


def main(argv: list[str]) -> None:
    """Draws."""
    begin(argv)
    draw(pathlib.Path(flags.FLAGS.output) / "success_against_seconds.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
