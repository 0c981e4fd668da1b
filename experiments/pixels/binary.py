"""What the binaries that plan from pixels share."""

import functools

from absl import flags

from experiments import sweeps
from experiments.arguments import refuse_arguments
from experiments.pixels import pictures, planners, runner
from experiments.pixels.checkpoint import locate
from experiments.pixels.tasks import Task
from experiments.settings import fingerprint


def define_flags(task: Task, horizons: tuple[int, ...], goals: int) -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    sweeps.define_flags(horizons, goals, output=f"runs/{task.name}_pixels")
    define_pixel_flags(task.checkpoint)


def define_pixel_flags(checkpoint: str) -> None:
    """Defines the flags that only planning from pixels has."""
    flags.DEFINE_string(
        "checkpoint", checkpoint, "The visual model: a shipped one's name, or a file."
    )
    flags.DEFINE_integer(
        "replan_every",
        None,
        "Close the loop: plan anew from the present frame every so many model steps. By default "
        "plans are executed blindly.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "budget", 1.0, "Closed loop: time to act, in multiples of the horizon.", lower_bound=0.1
    )


def run(task: Task, argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    refuse_arguments(argv)
    checkpoint = flags.FLAGS.checkpoint
    setting = runner.Setting(task, checkpoint, flags.FLAGS.replan_every, flags.FLAGS.budget)
    closed = setting.mode == runner.CLOSED_LOOP
    how = f"replanned every {setting.replan_every} model steps" if closed else "open loop"
    table = planners.table(task.name, checkpoint)
    sweeps.run(
        sweeps.Sweep(
            title=f"{task.title} from pixels, {how}, scored in the simulator",
            planners=table,
            extra=planners.extra(task.name, checkpoint),
            work=runner.run_cell,
            key_fields=runner.KEY_FIELDS,
            draw=functools.partial(pictures.draw_all, task, checkpoint),
            setting=setting,
            identity={"mode": setting.mode},
            recorded={
                "checkpoint": checkpoint,
                "model": fingerprint(locate(checkpoint)),
                **(
                    {"replan_every": setting.replan_every, "budget": setting.budget}
                    if closed
                    else {}
                ),
            },
            bounds=not closed,
            pad=not closed,
        )
    )
