r"""Executes plans on Push-T from pixels, as training data for the next visual model.

    python -m experiments.pusht.collect --checkpoint=data/pusht_first.safetensors
    python -m experiments.models.sprites.train --environment=pusht --plans=data/pusht_plans ...

What is planned and kept: `experiments.planning.collect`.
"""

from absl import app

from experiments.harness.flags import begin
from experiments.planning import collect, tasks
from experiments.pusht import planners


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    collect.define_flags(horizon=60)


def main(argv: list[str]) -> None:
    """Plans, executes, writes."""
    begin(argv)
    collect.run(tasks.PUSHT, planners.of_pixels())


if __name__ == "__main__":
    define_flags()
    app.run(main)
