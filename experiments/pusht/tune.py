"""The sweep that chose the settings of the Push-T tables, on other goals than the tables'.

    python -m experiments.pusht.tune                       # results/pusht_state/tuning.csv
    python -m experiments.pusht.tune --observation=pixels  # results/pusht_pixels/tuning.csv

Every planner family gets its sweep on the `tune` split; the best setting of each family (success
in the simulator, ties to the faster one) is what `experiments.pusht.planners` holds.
"""

import pathlib

from absl import app, flags

from experiments.harness.flags import refuse_arguments
from experiments.harness.settings import fingerprint
from experiments.models.pusht_state.model import DEFAULT_CHECKPOINT
from experiments.planning import pusht_runner, tasks, tuning
from experiments.pusht import candidates


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    tuning.define_flags(horizon=60, goals=40)
    flags.DEFINE_enum("observation", "state", ["state", "pixels"], "What the planner sees.")
    flags.DEFINE_string("checkpoint", None, "The visual model; the shipped one by default.")
    flags.DEFINE_string("output", None, "Folder; experiments/results/pusht_<observation>.")


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    refuse_arguments(argv)
    values = flags.FLAGS
    folder = pathlib.Path(values.output or f"experiments/results/pusht_{values.observation}")
    if values.observation == "pixels":
        checkpoint = values.checkpoint or tasks.PUSHT.checkpoint
        tuning.run_pixels(tasks.PUSHT, checkpoint, candidates.of_pixels(), folder)
        return
    if values.checkpoint:
        raise app.UsageError("--checkpoint is for --observation=pixels.")
    tuning.run(
        "Push-T from states",
        candidates.of_states(),
        pusht_runner.run_cell,
        pusht_runner.KEY_FIELDS,
        folder,
        {"model": fingerprint(DEFAULT_CHECKPOINT)},
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
