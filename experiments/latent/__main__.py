r"""Plans Push-T through a learned visual latent, scores every plan in the simulator.

    python -m experiments.latent --checkpoint=pusht_vector               # hours on 2 cores
    python -m experiments.latent --checkpoint=pusht_tokens@temporal --planners=CEM,GRASP
    python -m experiments.latent.pipeline                                # all of it, on a GPU

`@temporal` takes the learned distance in time as the goal cost instead of the latent distance.
Ablations run where `--planners` names them. It resumes after a kill.
"""

from absl import app, flags

from experiments import sweeps
from experiments.arguments import refuse_arguments
from experiments.latent import study
from experiments.pixels import binary


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    sweeps.define_flags(horizons=(25, 50), goals=4, output="runs/pusht_latent")
    binary.define_pixel_flags("pusht_vector")


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    refuse_arguments(argv)
    values = flags.FLAGS
    sweeps.run(study.sweep(values.checkpoint, values.replan_every, values.budget))


if __name__ == "__main__":
    define_flags()
    app.run(main)
