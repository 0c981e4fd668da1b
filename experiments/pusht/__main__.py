r"""The main job: plan Push-T through a learned world model, score every plan in the simulator.

    python -m experiments.pusht                        # a few minutes on 2 cores
    python -m experiments.pusht --observation=state --goals=500 --nocompile_fast \
        --output=experiments/results/pusht_state       # the recorded table: 80 minutes
    python -m experiments.pusht --observation=pixels --horizons=40,60,80 --goals=50 \
        --nocompile_fast --output=experiments/results/pusht_pixels

Prints and writes the table of success, planning time and model evaluations for each planner and
horizon, between the zero-action floor and the ground-truth ceiling; two plots and a GIF. Results
are written as they finish; the same command resumes after a kill. Several machines share a sweep
with --process=0 --processes=4 and so on: each plans its goals, the last one to finish (or any later
run) sums up all of them, and a process that died is started again.
"""

from absl import app, flags

from experiments.harness.flags import refuse_arguments
from experiments.harness.settings import fingerprint
from experiments.models.pusht_state.model import DEFAULT_CHECKPOINT
from experiments.planning import binary, pusht_pictures, pusht_runner, sweeps, tasks
from experiments.pusht import planners

SHOWN_FROM_PIXELS = ("iCEM", "GD-Adam-x8", "GRASP")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    sweeps.define_flags((40, 50, 60, 70, 80), goals=10, output="runs/pusht")
    binary.define_flags(tasks.PUSHT.checkpoint)
    flags.DEFINE_enum(
        "observation",
        "both",
        ["state", "pixels", "both"],
        "What the planner sees of start and goal: the simulator's state, or a frame. `both` plans "
        "from states, then from frames with a few planners at two horizons.",
    )


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    refuse_arguments(argv)
    seen = ("checkpoint", "replan_every")
    if flags.FLAGS.observation == "state" and any(flags.FLAGS[name].present for name in seen):
        raise app.UsageError("--checkpoint and --replan_every are for --observation=pixels.")
    if flags.FLAGS.observation != "pixels":
        run_state()
    if flags.FLAGS.observation == "both":
        flags.FLAGS.output += "_pixels"
        known = [n for n in flags.FLAGS.planners if n in planners.of_pixels()]
        flags.FLAGS.planners = known or list(SHOWN_FROM_PIXELS)
        if not flags.FLAGS["horizons"].present:
            flags.FLAGS.horizons = ["40", "60"]
    if flags.FLAGS.observation != "state":
        binary.run(tasks.PUSHT, planners.of_pixels(), planners.extra_of_pixels())


def run_state() -> None:
    """Plans from states."""
    sweeps.run(
        sweeps.Sweep(
            title="Push-T through a learned state model, open loop, scored in the simulator",
            planners=planners.of_states(),
            extra=planners.extra_of_states(),
            work=pusht_runner.run_cell,
            key_fields=pusht_runner.KEY_FIELDS,
            draw=pusht_pictures.draw_all,
            recorded={"model": fingerprint(DEFAULT_CHECKPOINT)},
        )
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
