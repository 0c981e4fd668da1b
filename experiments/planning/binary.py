"""What the binaries that plan from pixels share."""

import functools
from collections.abc import Mapping
from typing import Any

from absl import flags

from experiments.harness.settings import fingerprint
from experiments.models.checkpoint import locate
from experiments.planning import pictures, runner, sweeps
from experiments.planning.tasks import Task


def define_flags(checkpoint: str | None) -> None:
    """Defines the flags that only planning from pixels has."""
    flags.DEFINE_string(
        "checkpoint",
        checkpoint,
        "The visual model: a shipped one's name, or a file; by default the environment's own.",
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


def run(task: Task, planners: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    """Plans, scores, prints, draws.

    Args:
      task: The environment.
      planners: Name to planner, those of the table.
      extra: More, run only where `--planners` names them.
    """
    checkpoint = flags.FLAGS.checkpoint or task.checkpoint
    setting = runner.Setting(task, checkpoint, flags.FLAGS.replan_every, flags.FLAGS.budget)
    closed = setting.mode == runner.CLOSED_LOOP
    how = f"replanned every {setting.replan_every} model steps" if closed else "open loop"
    sweeps.run(
        sweeps.Sweep(
            title=f"{task.title} from pixels, {how}, scored in the simulator",
            planners=planners,
            extra=extra,
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
