"""The sweep that chose the settings of a maze's table, on other goals than the table's.

    python -m experiments.mazes.tune --environment=wall  # results/wall_pixels/tuning.csv

Every planner family gets its sweep on the `tune` split; the best setting of each (success in the
simulator, ties to the faster one) belongs into `experiments.mazes.planners`.
"""

import dataclasses
import pathlib
from typing import Any

from absl import app, flags

from experiments.harness.flags import begin
from experiments.mazes.planners import SMOOTH, STACKED, grasp, sampled_grasp, sync_only
from experiments.planning import tasks, tuning
from experiments.planning.runner import Setting
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Colored, LatCo, MultiStart, White

_SHAPES = {"white": White(), "smooth": SMOOTH}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "wall", ["wall", "pointmaze"], "The maze.")
    tuning.define_flags(horizon=50, goals=50)
    flags.DEFINE_string("checkpoint", None, "The visual model; the environment's own by default.")
    flags.DEFINE_string(
        "output", None, "Folder; by default experiments/results/<environment>_pixels."
    )


def candidates() -> dict[str, dict[str, Any]]:
    """For Wall and PointMaze."""
    return {
        "CEM": {
            f"{shape} std={std}": CEM(
                num_samples=100, num_elites=10, iterations=15, std=std, noise=noise
            )
            for shape, noise in _SHAPES.items()
            for std in (0.5, 1.0, 2.0)
        },
        "iCEM": {
            f"beta={beta} std={std}": ICEM(
                num_samples=100,
                num_elites=10,
                num_kept=5,
                iterations=15,
                std=std,
                noise=Colored(exponent=beta, action_block=STACKED),
            )
            for beta in (1.0, 2.0)
            for std in (0.5, 1.0, 2.0)
        },
        "MPPI": {
            f"smooth std={std} temperature={temperature}": MPPI(
                num_samples=100, iterations=15, std=std, temperature=temperature, noise=SMOOTH
            )
            for std in (0.5, 1.0, 2.0)
            for temperature in (0.03, 0.1)
        },
        "GD-Adam": {
            f"rate={rate}": GD(learning_rate=rate, iterations=200) for rate in (0.03, 0.1, 0.3, 1.0)
        },
        "GD-Adam-x8": {
            f"rate={rate} start={start}": MultiStart(
                GD(learning_rate=rate, iterations=100), num_starts=8, start_std=start, noise=SMOOTH
            )
            for rate in (0.03, 0.1, 0.3)
            for start in (0.3, 0.5, 1.0, 2.0)
        },
        "baselines": baselines(),
        "LatCo": {
            f"rate={rate} multiplier={multiplier}": LatCo(
                learning_rate=rate, iterations=400, multiplier=multiplier
            )
            for rate in (0.02, 0.05, 0.1, 0.2, 0.4)
            for multiplier in (1.0, 10.0, 100.0)
        },
        "GRASP-plain": {
            f"sync rate={rate} steps={steps}": dataclasses.replace(
                GRASP(), iterations=300, sync=GD(learning_rate=rate, iterations=steps)
            )
            for rate, steps in [(0.05, 10), (0.1, 30), (0.3, 30)]
        },
        "GRASP": {
            "sync only": sync_only(),
            "sync only noise=1.0": sync_only(noise=1.0),
            "plain": grasp(),
            "sync noise=0.6": grasp(sync_noise=0.6),
            "start noise=1.5": grasp(start_noise=1.5),
            "start noise=1.5 sync noise=0.6": grasp(start_noise=1.5, sync_noise=0.6),
            "noise=0.3": grasp(noise=0.3),
            "8 starts, 3 cycles": grasp(starts=8, cycles=3),
            "8 starts, 3 cycles, start noise=1.5": grasp(starts=8, cycles=3, start_noise=1.5),
            "8 starts, 3 cycles, start noise=2.5": grasp(starts=8, cycles=3, start_noise=2.5),
            "8 starts, 3 cycles, start noise=1.5 sync noise=0.6": grasp(
                starts=8, cycles=3, start_noise=1.5, sync_noise=0.6
            ),
            "12 starts, 2 cycles, start noise=1.5": grasp(starts=12, cycles=2, start_noise=1.5),
            "12 starts, 2 cycles, start noise=2.5": grasp(starts=12, cycles=2, start_noise=2.5),
            "24 starts, 1 cycle, start noise=2.5": grasp(starts=24, cycles=1, start_noise=2.5),
            "exchange": grasp(exchange=1),
            "noise=0.3, exchange": grasp(noise=0.3, exchange=1),
            **{
                f"{starts} starts, {cycles} cycles, {steps} sync steps, noise={noise}, exchange": (
                    grasp(starts=starts, cycles=cycles, noise=noise, sync_steps=steps, exchange=1)
                )
                for starts, cycles, steps in [
                    (8, 3, 20),
                    (8, 6, 20),
                    (16, 3, 20),
                    (16, 4, 10),
                    (32, 3, 10),
                ]
                for noise in (0.1, 0.3)
            },
            # Near the guess, for models that far searches exploit.
            **{
                f"{starts} starts, {cycles} cycles, start noise=0.3 sync noise={sync}, exchange": (
                    grasp(
                        starts=starts, cycles=cycles, start_noise=0.3, sync_noise=sync, exchange=1
                    )
                )
                for starts, cycles in [(4, 6), (8, 3)]
                for sync in (None, 0.1, 0.3)
            },
            "iCEM as the sync": sampled_grasp(),
            "iCEM as the sync, 4 starts": sampled_grasp(4, 3, 30, 4),
            "iCEM as the sync, 1 start": sampled_grasp(1, 4, 80, 5),
            "sync rate=0.3": grasp(sync_rate=0.3),
            "sync rate=0.3, start noise=1.5, sync noise=0.6": grasp(
                sync_rate=0.3, start_noise=1.5, sync_noise=0.6
            ),
        },
    }


def baselines() -> dict[str, Any]:
    """On as many goals as GRASP's: fewer elites, a cold temperature, more and shorter descents."""
    return {
        **{
            f"iCEM, 5 elites, beta={beta} std={std}": ICEM(
                num_samples=100,
                num_elites=5,
                num_kept=3,
                iterations=15,
                std=std,
                noise=Colored(exponent=beta, action_block=STACKED),
            )
            for beta in (1.0, 2.0)
            for std in (0.5, 1.0, 1.5)
        },
        **{
            f"CEM, 5 elites, {shape} std={std}": CEM(
                num_samples=100, num_elites=5, iterations=15, std=std, noise=noise
            )
            for shape, noise in _SHAPES.items()
            for std in (0.5, 1.0, 1.5)
        },
        **{
            f"MPPI, std={std} temperature=0.01": MPPI(
                num_samples=100, iterations=15, std=std, temperature=0.01, noise=SMOOTH
            )
            for std in (0.5, 1.0)
        },
        **{
            f"GD-Adam-16x50, start={start}": MultiStart(
                GD(learning_rate=0.1, iterations=50), num_starts=16, start_std=start, noise=SMOOTH
            )
            for start in (0.5, 1.0, 2.0)
        },
    }


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    begin(argv)
    task = tasks.TASKS[flags.FLAGS.environment]
    folder = pathlib.Path(flags.FLAGS.output or f"experiments/results/{task.name}_pixels")
    setting = Setting(task, flags.FLAGS.checkpoint or task.checkpoint)
    tuning.run((setting,), candidates(), folder)


if __name__ == "__main__":
    define_flags()
    app.run(main)
