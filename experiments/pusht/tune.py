"""The sweep that chose the settings of the Push-T tables, on other goals than the tables'.

    python -m experiments.pusht.tune                       # results/pusht_state/tuning.csv
    python -m experiments.pusht.tune --observation=pixels  # results/pusht_pixels/tuning.csv

Every planner family gets its sweep on the `tune` split; the best setting of each family (success
in the simulator, ties to the faster one) is what `experiments.pusht.planners` holds.
"""

import pathlib

from absl import app, flags

from experiments.harness.flags import begin
from experiments.planning import tasks, tuning
from experiments.planning.runner import Setting
from experiments.pusht import candidates


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    tuning.define_flags(horizon=60, goals=40)
    flags.DEFINE_enum("observation", "state", ["state", "pixels"], "What the planner sees.")
    flags.DEFINE_string("checkpoint", None, "The model; the shipped one by default.")
    flags.DEFINE_string("output", None, "Folder; experiments/results/pusht_<observation>.")


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    begin(argv)
    values = flags.FLAGS
    task, tried = {
        "state": (tasks.PUSHT_STATE, candidates.of_states),
        "pixels": (tasks.PUSHT, candidates.of_pixels),
    }[values.observation]
    folder = pathlib.Path(values.output or f"experiments/results/pusht_{values.observation}")
    tuning.run((Setting(task, values.checkpoint or task.checkpoint),), tried(), folder)


if __name__ == "__main__":
    define_flags()
    app.run(main)
