r"""Executes plans made through a code of Push-T, as training data for its next motion.

    python -m experiments.latent.collect --checkpoint=pusht_code --goals=5000
    python -m experiments.models.latent.movers --plans=data/pusht_plans ...

Planners have a ninth to a quarter of the table's budgets: many plans are worth more than good ones.
What is kept: `experiments.planning.collect`.
"""

import dataclasses
from typing import Any

from absl import app

from experiments.harness.flags import begin
from experiments.latent import planners, study
from experiments.planning import collect
from experiments.planning.planners import grasp
from grasp_jax import GD


def quick() -> dict[str, Any]:
    """Name to planner, each a small one of its family."""
    rows = planners.tuned()
    small = {"num_samples": 100, "iterations": 10}
    return {
        "GRASP": grasp(starts=4, cycles=4, noise=0.3, exchange=1),
        "iCEM": dataclasses.replace(rows["iCEM"], num_elites=10, **small),
        "GD-Adam": GD(learning_rate=0.03, iterations=300),
        "MPPI": dataclasses.replace(rows["MPPI"], **small),
    }


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    collect.define_flags(horizon=60, planners=list(quick()))


def main(argv: list[str]) -> None:
    """Plans, executes, writes."""
    begin(argv)
    collect.run(study.TASK, quick())


if __name__ == "__main__":
    define_flags()
    app.run(main)
