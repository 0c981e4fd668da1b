r"""Plans Push-T through a learned visual latent, scores every plan in the simulator.

    python -m experiments.latent --checkpoint=pusht_vector              # minutes on 2 cores
    python -m experiments.latent --checkpoint=pusht_tokens --goals=100 \
        --nocompile_fast --output=experiments/results/pusht_latent/pusht_tokens   # a GPU
    python -m experiments.latent --checkpoint=pusht_tokens@temporal --planners=CEM,GRASP

`@temporal` takes the learned distance in time as the goal cost instead of the latent distance.
Ablations run where `--planners` names them. It resumes after a kill.
"""

import functools

from absl import app, flags

from experiments import sweeps
from experiments.arguments import refuse_arguments
from experiments.latent.planners import ablations, table
from experiments.pixels import binary, pictures, runner, tasks
from experiments.pixels.checkpoint import locate
from experiments.settings import fingerprint


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    sweeps.define_flags(horizons=(25, 50), goals=4, output="runs/pusht_latent")
    binary.define_pixel_flags("pusht_vector")


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    refuse_arguments(argv)
    name = flags.FLAGS.checkpoint
    setting = runner.Setting(tasks.PUSHT, name, flags.FLAGS.replan_every, flags.FLAGS.budget)
    closed = setting.mode == runner.CLOSED_LOOP
    sweeps.run(
        sweeps.Sweep(
            title=f"Push-T through {name}, {setting.mode.replace('_', ' ')}",
            planners=table(),
            extra=ablations(),
            work=runner.run_cell,
            key_fields=runner.KEY_FIELDS,
            draw=functools.partial(pictures.draw_all, tasks.PUSHT, name),
            setting=setting,
            identity={"mode": setting.mode},
            recorded={
                "checkpoint": name,
                "model": fingerprint(locate(name.partition("@")[0])),
                **({"replan_every": setting.replan_every} if closed else {}),
            },
            bounds=not closed,
            pad=not closed,
        )
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
