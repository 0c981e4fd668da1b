r"""Wall from pixels: a dot finds the door between two rooms, from a start frame to a goal frame.

    python -m experiments.wall                        # a few minutes on 2 cores
    python -m experiments.wall --goals=500 --nocompile_fast \
        --output=experiments/results/wall_pixels     # recorded
    python -m experiments.wall --replan_every=1 --planners=GRASP   # closed loop

Plans through the shipped visual world model (`experiments.train_visual` makes it anew) and scores
every plan in the simulator: table, plots and a GIF, as `experiments.pusht` does. It resumes after a
kill.
"""

from absl import app

from experiments.pixels import binary, tasks


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    binary.define_flags(tasks.WALL, horizons=(10, 20, 30, 40, 50), goals=20)


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    binary.run(tasks.WALL, argv)


if __name__ == "__main__":
    define_flags()
    app.run(main)
