"""A sweep over the settings of a table over images, on other goals than the table's.

    python -m experiments.tune_pixels --task=wall    # experiments/results/wall_pixels/tuning.csv

Every planner family gets its sweep on the `tune` split; the best setting of each (success in the
simulator, ties to the faster one) belongs into `experiments.pixels.planners`.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import optax
from absl import app, flags

from experiments import pusht_planners, tuning
from experiments.arguments import refuse_arguments
from experiments.pixels import runner, tasks
from experiments.pixels.checkpoint import locate
from experiments.pixels.planners import (
    SMOOTH,
    STACKED,
    grasp,
    sampled_grasp,
    sampled_maze_grasp,
    sync_only,
    wide_grasp,
)
from experiments.settings import fingerprint
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Chain, Colored, LatCo, MultiStart, White

_SHAPES = {"white": White(), "smooth": SMOOTH}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("task", "wall", list(tasks.TASKS), "The environment.")
    tuning.define_flags(horizon=50, goals=50)
    flags.DEFINE_string("checkpoint", None, "The visual model; the task's own by default.")
    flags.DEFINE_string("output", None, "Folder; experiments/results/<task>_pixels by default.")


def candidates(task: str) -> dict[str, dict[str, Any]]:
    """Family to (label to planner)."""
    return pusht_candidates() if task == "pusht" else maze_candidates()


def pusht_candidates() -> dict[str, dict[str, Any]]:
    """For Push-T, around the settings that the sweep on its states chose."""

    def icem(beta: float, std: float) -> ICEM:
        return ICEM(std=std, noise=Colored(beta, stacked=STACKED))

    def restarts(rate: float, start: float) -> MultiStart:
        return MultiStart(GD(rate, 300), 8, start, SMOOTH)

    pusht = functools.partial(pusht_planners.grasp, noise=0.08, starts=16, cycles=4)
    return {
        "CEM": {f"std={std}": CEM(std=std) for std in (0.5, 1.0, 2.0)},
        "iCEM": {
            f"beta={b} std={std}": icem(b, std)
            for b, std in [(1.0, 1.0), (1.0, 0.5), (2.0, 1.0), (2.0, 0.5)]
        }
        # As much work as the wide GRASP.
        | {"wide": ICEM(1130, 113, 5, 30, std=1.0, noise=Colored(1.0, stacked=STACKED))},
        "MPPI": {
            f"std={std} temperature={t}": MPPI(std=std, temperature=t, noise=SMOOTH)
            for std, t in [(0.5, 0.03), (1.0, 0.03), (0.5, 0.1)]
        },
        "GD-SGD": {f"rate={rate}": GD(rate, 500, optax.sgd) for rate in (2.0, 6.5, 20.0, 60.0)},
        "GD-Adam": {f"rate={rate}": GD(rate, 500) for rate in (0.03, 0.1)},
        "GD-Adam-x8": {
            f"rate={rate} start={start}": restarts(rate, start)
            for rate, start in [(0.01, 1.0), (0.03, 1.0), (0.03, 0.5), (0.1, 1.0)]
        },
        # What GRASP may do too: half of the searches go on from the other half, here by noise.
        "GD-Adam-exchange": {
            f"{starts} starts, {steps} steps, noise={noise}, every {every}": MultiStart(
                GD(0.03, steps, action_noise=noise), starts, 1.0, SMOOTH, every
            )
            for starts, steps, every in [(8, 300, 50), (16, 150, 38)]
            for noise in (0.003, 0.01, 0.03)
        },
        # As many goals as GRASP's: fewer elites, a cold temperature.
        "baselines": {
            **{
                f"iCEM, 300 x 30, {elites} elites, std={std}": ICEM(
                    300, elites, std=std, noise=Colored(1.0, stacked=STACKED)
                )
                for elites, std in [(15, 1.0), (10, 1.0), (15, 1.5), (10, 1.5), (15, 2.0)]
            },
            "MPPI, std=0.5 temperature=0.01": MPPI(std=0.5, temperature=0.01, noise=SMOOTH),
            "CEM, 15 elites, std=1.5": CEM(300, 15, std=1.5),
        },
        "LatCo": {
            f"rate={rate} multiplier={m}": LatCo(rate, 1000, multiplier=m)
            for rate, m in [(0.05, 10.0), (0.05, 1.0), (0.02, 10.0)]
        },
        "GRASP-plain": {
            f"sync rate={rate}": dataclasses.replace(GRASP.author(), sync=GD(rate, 30))
            for rate in (0.03, 0.1)
        },
        "GRASP": {
            "plain": pusht(),
            "8 starts, 8 cycles": pusht(starts=8, cycles=8),
            "32 starts, 2 cycles": pusht(starts=32, cycles=2),
            "exchange": pusht(exchange=1),
            "noise=0.04": pusht(noise=0.04),
            "noise=0.16": pusht(noise=0.16),
            "noise=0.16 exchange": pusht(noise=0.16, exchange=1),
            "noise=0.24 exchange": pusht(noise=0.24, exchange=1),
            "sync noise=0.6": pusht(sync_noise=0.6),
            "lifted=8": pusht(lifted=8),
            "lifted=8 exchange": pusht(lifted=8, exchange=1),
            "lifted=8 noise=0.16 exchange": pusht(lifted=8, noise=0.16, exchange=1),
            "sync only": pusht_planners.sync_only(starts=16, cycles=4),
            "16 starts, 2 cycles, then iCEM": Chain(
                pusht(cycles=2),
                ICEM(iterations=12, std=0.3, noise=Colored(1.0, stacked=STACKED)),
            ),
            "iCEM as the sync": sampled_grasp(),
            "iCEM as the sync, 2 starts": sampled_grasp(2),
            "iCEM as the sync, 8 starts, 4 cycles, 32 samples": sampled_grasp(8, 4, 32, 4),
            "wide": wide_grasp(),
        },
    }


def maze_candidates() -> dict[str, dict[str, Any]]:
    """For Wall and PointMaze."""
    return {
        "CEM": {
            f"{shape} std={std}": CEM(100, 10, 15, std=std, noise=noise)
            for shape, noise in _SHAPES.items()
            for std in (0.5, 1.0, 2.0)
        },
        "iCEM": {
            f"beta={beta} std={std}": ICEM(
                100, 10, 5, 15, std=std, noise=Colored(beta, stacked=STACKED)
            )
            for beta in (1.0, 2.0)
            for std in (0.5, 1.0, 2.0)
        },
        "MPPI": {
            f"smooth std={std} temperature={temperature}": MPPI(
                100, 15, std=std, temperature=temperature, noise=SMOOTH
            )
            for std in (0.5, 1.0, 2.0)
            for temperature in (0.03, 0.1)
        },
        "GD-Adam": {f"rate={rate}": GD(rate, 200) for rate in (0.03, 0.1, 0.3, 1.0)},
        "GD-Adam-x8": {
            f"rate={rate} start={start}": MultiStart(GD(rate, 100), 8, start, SMOOTH)
            for rate in (0.03, 0.1, 0.3)
            for start in (0.3, 0.5, 1.0, 2.0)
        },
        "baselines": maze_baselines(),
        "LatCo": {
            f"rate={rate} multiplier={multiplier}": LatCo(rate, 400, multiplier=multiplier)
            for rate in (0.02, 0.05, 0.1, 0.2, 0.4)
            for multiplier in (1.0, 10.0, 100.0)
        },
        "GRASP-plain": {
            f"sync rate={rate} steps={steps}": dataclasses.replace(
                GRASP.author(), iterations=300, sync=GD(rate, steps)
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
            "iCEM as the sync": sampled_maze_grasp(),
            "iCEM as the sync, 4 starts": sampled_maze_grasp(4, 3, 30, 4),
            "iCEM as the sync, 1 start": sampled_maze_grasp(1, 4, 80, 5),
            "sync rate=0.3": grasp(sync_rate=0.3),
            "sync rate=0.3, start noise=1.5, sync noise=0.6": grasp(
                sync_rate=0.3, start_noise=1.5, sync_noise=0.6
            ),
        },
    }


def maze_baselines() -> dict[str, Any]:
    """On as many goals as GRASP's: fewer elites, a cold temperature, more and shorter descents."""
    return {
        **{
            f"iCEM, 5 elites, beta={beta} std={std}": ICEM(
                100, 5, 3, 15, std=std, noise=Colored(beta, stacked=STACKED)
            )
            for beta in (1.0, 2.0)
            for std in (0.5, 1.0, 1.5)
        },
        **{
            f"CEM, 5 elites, {shape} std={std}": CEM(100, 5, 15, std=std, noise=noise)
            for shape, noise in _SHAPES.items()
            for std in (0.5, 1.0, 1.5)
        },
        **{
            f"MPPI, std={std} temperature=0.01": MPPI(
                100, 15, std=std, temperature=0.01, noise=SMOOTH
            )
            for std in (0.5, 1.0)
        },
        **{
            f"GD-Adam-16x50, start={start}": MultiStart(GD(0.1, 50), 16, start, SMOOTH)
            for start in (0.5, 1.0, 2.0)
        },
    }


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    refuse_arguments(argv)
    task = tasks.TASKS[flags.FLAGS.task]
    setting = runner.Setting(task, flags.FLAGS.checkpoint or task.checkpoint)
    tuning.run(
        f"{task.title} from pixels",
        candidates(task.name),
        runner.run_cell,
        runner.KEY_FIELDS,
        pathlib.Path(flags.FLAGS.output or f"experiments/results/{task.name}_pixels"),
        {"checkpoint": setting.checkpoint, "model": fingerprint(locate(setting.checkpoint))},
        setting,
        {"mode": setting.mode},
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
