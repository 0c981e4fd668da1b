r"""Executes plans in a maze from pixels, as training data for the next visual model.

    python -m experiments.mazes.collect --environment=wall --checkpoint=data/wall_first.safetensors
    python -m experiments.models.sprites.train --environment=wall --plans=data/wall_plans ...

What is planned and kept: `experiments.planning.collect`.
"""

from absl import app, flags

from experiments.harness.flags import begin
from experiments.mazes.planners import planners
from experiments.planning import collect, tasks


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "wall", ["wall", "pointmaze"], "The maze.")
    collect.define_flags(horizon=50)


def main(argv: list[str]) -> None:
    """Plans, executes, writes."""
    begin(argv)
    task = tasks.TASKS[flags.FLAGS.environment]
    collect.run(task, planners(task.checkpoint))


if __name__ == "__main__":
    define_flags()
    app.run(main)
