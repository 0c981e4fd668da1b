r"""Executes plans made through a code of Push-T, as training data for its next motion.

    python -m experiments.latent.collect --checkpoint=pusht_code --goals=2000 --horizon=60
    python -m experiments.models.latent.movers --plans=data/pusht_plans ...

What is planned and kept: `experiments.planning.collect`.
"""

from absl import app

from experiments.harness.flags import begin
from experiments.latent import planners, study
from experiments.planning import collect


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    collect.define_flags(horizon=60)


def main(argv: list[str]) -> None:
    """Plans, executes, writes."""
    begin(argv)
    collect.run(study.TASK, planners.tuned())


if __name__ == "__main__":
    define_flags()
    app.run(main)
