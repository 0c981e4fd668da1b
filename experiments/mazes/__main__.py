r"""Mazes from pixels: Wall, where a dot finds the door between two rooms, and U-shaped PointMaze.

    python -m experiments.mazes                               # Wall, a few minutes on 2 cores
    python -m experiments.mazes --environment=pointmaze
    python -m experiments.mazes --environment=wall --goals=500 --nocompile_fast \
        --output=experiments/results/wall_pixels              # recorded
    python -m experiments.mazes --replan_every=1 --planners=GRASP   # closed loop

Plans from a start frame to a goal frame through the shipped visual world model
(`experiments.models.sprites.train` makes it anew) and scores every plan in the simulator: table,
plots and a GIF, as `experiments.pusht` does. It resumes after a kill.
"""

from absl import app, flags

from experiments.harness.flags import begin
from experiments.mazes.planners import extra, planners
from experiments.planning import table, tasks


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "wall", ["wall", "pointmaze"], "The maze.")
    table.define_flags(horizons=(10, 20, 30, 40, 50), goals=20, output="runs/<environment>_pixels")


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    begin(argv)
    values = flags.FLAGS
    task = tasks.TASKS[values.environment]
    checkpoint = values.checkpoint or task.checkpoint
    values.output = values.output.replace("<environment>", task.name)
    table.run(table.make_table(task, planners(checkpoint), extra(task.name, checkpoint)))


if __name__ == "__main__":
    define_flags()
    app.run(main)
