"""When lifting pays: a ball among walls, where the direct way to the goal is a dead end.

    python -m experiments.ball                 # about a minute on 2 idle cores
    python -m experiments.ball --goals=200 --nocompile_fast \
        --output=experiments/results/ball_navigation

Plans 60 steps through the true dynamics from random starts on two maps, with every planner at
about the same number of model evaluations, between the zero-action floor and the ceiling of a way
found on the map. Prints and writes the table, three pictures and a GIF of GRASP's virtual states.
Results are written as they finish; the same command resumes after a kill.
"""

from absl import app, flags

from experiments.ball import pictures
from experiments.ball.planners import planners
from experiments.environments import ball
from experiments.harness.flags import begin
from experiments.planning import table, tasks
from experiments.planning.runner import Setting

TASKS = {task.name: task for task in tasks.BALL}


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_multi_enum("environment", list(TASKS), list(TASKS), "Maps; all by default.")
    # The world is its own model, so that one read tells all.
    table.define_flags(
        (ball.HORIZON,), goals=50, output="runs/ball_navigation", checkpoint=False, checks=1
    )


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    begin(argv)
    chosen = [TASKS[name] for name in flags.FLAGS.environment]
    values = flags.FLAGS
    table.run(
        table.Table(
            title=f"Ball navigation, T = {ball.HORIZON}, the true world as model",
            settings=tuple(
                Setting(t, t.checkpoint, values.replan_every, values.budget) for t in chosen
            ),
            planners=planners(),
            extra={},
            draw=pictures.draw_all,
        )
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
