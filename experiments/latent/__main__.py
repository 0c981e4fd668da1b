r"""Plans Push-T through a learned visual latent, scores every plan in the simulator.

    python -m experiments.latent --checkpoint=pusht_code --planners=all  # an hour of 2 cores
    python -m experiments.latent --checkpoint=pusht_vector               # hours of 2 cores
    python -m experiments.latent --checkpoint=pusht_tokens@temporal --planners=CEM,GRASP
    python -m experiments.latent.pipeline                                # all of it, on a GPU

`@temporal` takes the learned distance in time as the goal cost instead of the latent distance.
Ablations run where `--planners` names them. It resumes after a kill.
"""

from absl import app, flags

from experiments.harness.flags import begin
from experiments.latent import planners, study
from experiments.models.checkpoint import split
from experiments.planning import table


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    table.define_flags((25, 50), goals=4, output="runs/pusht_latent")


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    begin(argv)
    checkpoint = split(flags.FLAGS.checkpoint or study.TASK.checkpoint)[0]
    rows = planners.tuned() if checkpoint == planners.TUNED_ON else planners.table()
    table.run(table.make_table(study.TASK, rows, planners.ablations()))


if __name__ == "__main__":
    define_flags()
    app.run(main)
