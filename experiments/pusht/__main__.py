r"""The main job: plan Push-T through learned world models, score every plan in the simulator.

    python -m experiments.pusht                        # a few minutes on 2 cores
    python -m experiments.pusht --planners=all --horizons=40,50,60,70,80    # every row
    bash experiments/pusht/reproduce.sh                # the recorded tables: hours

Prints and writes the table of success, planning time and model evaluations for each planner and
horizon, between the zero-action floor and the ground-truth ceiling; two plots and a GIF. Results
are written as they finish; the same command resumes after a kill. Several machines share a table
with --process=0 --processes=4 and so on: each plans its goals, the last one to finish (or any later
run) sums up all of them, and a process that died is started again.
"""

from absl import app, flags

from experiments.harness.flags import begin
from experiments.planning import table, tasks
from experiments.pusht import planners

SHOWN = ("GRASP", "iCEM", "GD-Adam-x8")
"""Rows from states of a short run; `--planners=all` runs every row."""
SHOWN_FROM_PIXELS = ("GRASP", "iCEM")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    table.define_flags((40, 60, 80), goals=10, output="runs/pusht")
    flags.DEFINE_enum(
        "observation",
        "both",
        ["state", "pixels", "both"],
        "What the planner sees of start and goal: the simulator's state, or a frame. `both` plans "
        "from states, then from frames at one horizon.",
    )


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    begin(argv)
    values = flags.FLAGS
    if values.observation == "both" and values.checkpoint:
        raise app.UsageError("--checkpoint: pass --observation, too; a model sees one of them.")
    if values.observation != "pixels":
        planned = planners.of_states(), planners.extra_of_states()
        table.run(table.make_table(tasks.PUSHT_STATE, *planned, default=SHOWN))
    planned = planners.of_pixels(), planners.extra_of_pixels()
    if values.observation == "both":
        values.output += "_pixels"
        if values.planners != ["all"]:
            values.planners = [n for n in values.planners if n in planned[0]]
        if not values["horizons"].present:
            values.horizons = ["40"]
    if values.observation != "state":
        table.run(table.make_table(tasks.PUSHT, *planned, default=SHOWN_FROM_PIXELS))
    print(
        "Next: --planners=all for every planner, --goals=100 for narrower intervals, "
        "`python -m experiments.mazes`, `python -m experiments.ball`; experiments/README.md lists "
        "all studies."
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
