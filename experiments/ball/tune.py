"""Scores every candidate of the ball-navigation planners on starts that the table does not use.

    python -m experiments.ball.tune            # some minutes on 2 cores

Resumable. Writes `tuning.csv`; `experiments.ball.planners.CHOSEN` names the candidate of each
planner with the best mean success over both maps. (The recorded `tuning.csv` is of an earlier form:
one row per candidate, both maps beside each other, with its settings.)
"""

import pathlib

from absl import app, flags

from experiments.ball.planners import candidates
from experiments.environments import ball
from experiments.harness.flags import begin
from experiments.planning import tasks, tuning
from experiments.planning.runner import Setting


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    tuning.define_flags(horizon=ball.HORIZON, goals=60)
    flags.DEFINE_string("output", "runs/ball_tuning", "Folder.")


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    begin(argv)
    tried = {
        name: {str(i): planner for i, planner in enumerate(every)}
        for name, every in candidates().items()
    }
    settings = tuple(Setting(task, task.checkpoint) for task in tasks.BALL)
    tuning.run(settings, tried, pathlib.Path(flags.FLAGS.output))


if __name__ == "__main__":
    define_flags()
    app.run(main)
