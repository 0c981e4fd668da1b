"""What was tried for the planners of the Push-T tables; `experiments.pusht.tune` scores it."""

import dataclasses
import functools
from typing import Any

import optax

from experiments.planning.planners import SMOOTH, STACKED, grasp
from experiments.pusht.planners import sampled_grasp, sync_only, wide_grasp
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Chain, Colored, LatCo, MultiStart, White

_SHAPES = {"white": White(), "correlated": SMOOTH}


def of_states() -> dict[str, dict[str, Any]]:
    """From states: family to (label to planner)."""
    return {
        "CEM": {
            f"{shape} std={std} samples={samples}": CEM(
                num_samples=samples, num_elites=samples // 10, std=std, noise=noise
            )
            for shape, noise in _SHAPES.items()
            for samples, std in [(300, 0.5), (300, 1.0), (300, 2.0), (300, 3.0)]
        },
        "iCEM": {
            f"beta={beta} std={std}": ICEM(
                std=std, noise=Colored(exponent=beta, action_block=STACKED)
            )
            for beta in (1.0, 2.0)
            for std in (0.5, 1.0, 2.0)
        },
        "MPPI": {
            f"{shape} std={std} temperature={temperature}": MPPI(
                std=std, temperature=temperature, noise=noise
            )
            for shape, noise in _SHAPES.items()
            for std in (0.25, 0.5, 1.0)
            for temperature in (0.01, 0.03, 0.1)
        },
        "GD-SGD": {
            f"rate={rate}": GD(learning_rate=rate, iterations=500, optimizer=optax.sgd)
            for rate in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
        },
        "GD-Adam": {
            f"rate={rate}": GD(learning_rate=rate, iterations=500)
            for rate in (0.01, 0.03, 0.1, 0.3, 1.0)
        },
        "GD-Adam-x8": {
            f"rate={rate} start={start}": MultiStart(
                GD(learning_rate=rate, iterations=300), num_starts=8, start_std=start, noise=SMOOTH
            )
            for rate in (0.01, 0.03, 0.1, 0.3)
            for start in (0.5, 1.0, 2.0)
        },
        "LatCo": {
            f"rate={rate} multiplier={multiplier}": LatCo(
                learning_rate=rate, iterations=1000, multiplier=multiplier
            )
            for rate in (0.02, 0.05, 0.1)
            for multiplier in (1.0, 10.0, 100.0)
        },
        "GRASP-author": {
            f"sync rate={rate} steps={steps}": dataclasses.replace(
                GRASP(), sync=GD(learning_rate=rate, iterations=steps)
            )
            for rate, steps in [(0.05, 10), (0.03, 30), (0.1, 30), (0.3, 30)]
        },
        "GRASP": {
            "sync only": sync_only(cycles=16),
            "noise=0.2 lifted=4 sync noise=0.3": grasp(cycles=16),
            "noise=0.2 lifted=4 sync noise=0.3 rate=0.2": grasp(action_rate=0.2, cycles=16),
            "noise=0.4 lifted=4 sync noise=0.3": grasp(noise=0.4, cycles=16),
            "noise=0.2 lifted=4 sync noise=0.5": grasp(sync_noise=0.5, cycles=16),
            "noise=0.2 lifted=9 rate=0.2": grasp(
                lifted=9, noise=0.2, sync_noise=None, action_rate=0.2, cycles=16
            ),
            "noise=0.4 lifted=9 rate=0.2": grasp(
                lifted=9, noise=0.4, sync_noise=None, action_rate=0.2, cycles=16
            ),
            "8 cycles": grasp(),
            "4 starts": grasp(starts=4, cycles=16),
            "4 starts, 8 cycles": grasp(starts=4),
            "15 sync steps": grasp(sync_steps=15, cycles=16),
        },
        "GRASP-noise": {
            f"noise={noise} sync noise={sync_noise} lifted={lifted}": grasp(
                lifted=lifted, noise=noise, sync_noise=sync_noise
            )
            for noise, sync_noise, lifted in [
                (0.1, 0.3, 4),
                (0.1, 0.2, 4),
                (0.2, 0.2, 4),
                (0.2, None, 4),
                (0.2, 0.3, 8),
            ]
        },
        "GRASP-budget": {
            f"{label}, {starts} starts, {cycles} cycles, {steps} sync steps": make(
                starts=starts, cycles=cycles, sync_steps=steps, **noise
            )
            for label, make, noise in [
                ("noise=0.2 sync noise=0.3", grasp, {}),
                ("noise=0.4 sync noise=0.5", grasp, {"noise": 0.4, "sync_noise": 0.5}),
                ("sync only", sync_only, {}),
            ]
            for starts, cycles, steps in [
                (8, 8, 30),
                (8, 16, 15),
                (16, 8, 15),
                (8, 16, 30),
                (16, 8, 30),
            ]
        },
        # As many goals as GRASP's: populations, elites, cold temperatures, starts against steps.
        "baselines": {
            **{
                f"iCEM, {n} x {iterations}, {elites} elites, {kept} kept, beta={beta} std={std}": (
                    ICEM(
                        num_samples=n,
                        num_elites=elites,
                        num_kept=kept,
                        iterations=iterations,
                        std=std,
                        noise=Colored(exponent=beta, action_block=STACKED),
                    )
                )
                for n, iterations, elites, kept, beta, std in [
                    (300, 30, 30, 5, 1.0, 1.0),
                    (300, 30, 15, 5, 1.0, 1.0),
                    (300, 30, 10, 5, 1.0, 1.0),
                    (300, 30, 5, 3, 1.0, 1.0),
                    (300, 30, 15, 5, 1.0, 1.5),
                    (300, 30, 10, 5, 1.0, 1.5),
                    (300, 30, 15, 5, 1.0, 2.0),
                    (300, 30, 10, 5, 1.0, 2.0),
                    (300, 30, 15, 5, 2.0, 1.0),
                    (300, 30, 15, 5, 0.5, 1.0),
                    (150, 60, 10, 5, 1.0, 1.0),
                    (600, 15, 20, 5, 1.0, 1.0),
                ]
            },
            **{
                f"CEM, {samples} x {iterations}, {elites} elites, {shape} std={std}": CEM(
                    num_samples=samples,
                    num_elites=elites,
                    iterations=iterations,
                    std=std,
                    noise=_SHAPES[shape],
                )
                for samples, iterations, elites, shape, std in [
                    (300, 30, 30, "white", 2.0),
                    (300, 30, 15, "white", 2.0),
                    (300, 30, 10, "white", 2.0),
                    (300, 30, 15, "white", 3.0),
                    (300, 30, 15, "correlated", 1.0),
                    (150, 60, 10, "white", 2.0),
                ]
            },
            **{
                f"MPPI, {samples} x {iterations}, std={std} temperature={temperature}": MPPI(
                    num_samples=samples,
                    iterations=iterations,
                    std=std,
                    temperature=temperature,
                    noise=SMOOTH,
                )
                for samples, iterations, std, temperature in [
                    (300, 30, 0.5, 0.03),
                    (300, 30, 0.5, 0.01),
                    (300, 30, 0.5, 0.003),
                    (300, 30, 0.25, 0.01),
                    (300, 30, 1.0, 0.003),
                    (150, 60, 0.5, 0.01),
                ]
            },
            **{
                f"GD-Adam, {starts} starts, {steps} steps, rate={rate}": MultiStart(
                    GD(learning_rate=rate, iterations=steps),
                    num_starts=starts,
                    start_std=1.0,
                    noise=SMOOTH,
                )
                for starts, steps, rate in [
                    (8, 300, 0.03),
                    (8, 300, 0.05),
                    (8, 300, 0.02),
                    (16, 150, 0.03),
                    (16, 150, 0.06),
                ]
            },
        },
        "exchange": {
            "GRASP": grasp(),
            "GRASP, every cycle": grasp(exchange=1),
            "GRASP, every 2 cycles": grasp(exchange=2),
            "GRASP, every 4 cycles": grasp(exchange=4),
            "GRASP, 16 starts of 15 sync steps, every 2 cycles": grasp(
                starts=16, sync_steps=15, exchange=2
            ),
            "GRASP, 16 starts of 15 sync steps, every cycle": grasp(
                starts=16, sync_steps=15, exchange=1
            ),
            "GRASP, 16 starts of 4 cycles, every cycle": grasp(starts=16, cycles=4, exchange=1),
            "GRASP, 16 starts of 4 cycles": grasp(starts=16, cycles=4),
            "GRASP, 32 starts of 2 cycles, every cycle": grasp(starts=32, cycles=2, exchange=1),
            "sync only": sync_only(),
            "sync only, every cycle": sync_only(exchange=1),
            "sync only, every 2 cycles": sync_only(exchange=2),
            "sync only, 16 starts of 4 cycles, every cycle": sync_only(16, 4, exchange=1),
            **{
                f"GD-Adam-x8, noise={noise}, every {every} steps": MultiStart(
                    GD(learning_rate=0.03, iterations=300, action_std=noise),
                    num_starts=8,
                    start_std=1.0,
                    noise=SMOOTH,
                    resample_every=every,
                )
                for noise in (0.01, 0.03)
                for every in (50, 100)
            },
        },
    }


def of_pixels() -> dict[str, dict[str, Any]]:
    """From frames: family to (label to planner), around the settings of the state table."""

    def icem(beta: float, std: float) -> ICEM:
        return ICEM(std=std, noise=Colored(exponent=beta, action_block=STACKED))

    def restarts(rate: float, start: float) -> MultiStart:
        return MultiStart(
            GD(learning_rate=rate, iterations=300), num_starts=8, start_std=start, noise=SMOOTH
        )

    pusht = functools.partial(grasp, noise=0.08, starts=16, cycles=4)
    return {
        "CEM": {f"std={std}": CEM(std=std) for std in (0.5, 1.0, 2.0)},
        "iCEM": {
            f"beta={b} std={std}": icem(b, std)
            for b, std in [(1.0, 1.0), (1.0, 0.5), (2.0, 1.0), (2.0, 0.5)]
        }
        # As much work as the wide GRASP.
        | {
            "wide": ICEM(
                num_samples=1130,
                num_elites=113,
                num_kept=5,
                iterations=30,
                std=1.0,
                noise=Colored(exponent=1.0, action_block=STACKED),
            )
        },
        "MPPI": {
            f"std={std} temperature={t}": MPPI(std=std, temperature=t, noise=SMOOTH)
            for std, t in [(0.5, 0.03), (1.0, 0.03), (0.5, 0.1)]
        },
        "GD-SGD": {
            f"rate={rate}": GD(learning_rate=rate, iterations=500, optimizer=optax.sgd)
            for rate in (2.0, 6.5, 20.0, 60.0)
        },
        "GD-Adam": {f"rate={rate}": GD(learning_rate=rate, iterations=500) for rate in (0.03, 0.1)},
        "GD-Adam-x8": {
            f"rate={rate} start={start}": restarts(rate, start)
            for rate, start in [(0.01, 1.0), (0.03, 1.0), (0.03, 0.5), (0.1, 1.0)]
        },
        # What GRASP may do too: half of the searches go on from the other half, here by noise.
        "GD-Adam-exchange": {
            f"{starts} starts, {steps} steps, noise={noise}, every {every}": MultiStart(
                GD(learning_rate=0.03, iterations=steps, action_std=noise),
                num_starts=starts,
                start_std=1.0,
                noise=SMOOTH,
                resample_every=every,
            )
            for starts, steps, every in [(8, 300, 50), (16, 150, 38)]
            for noise in (0.003, 0.01, 0.03)
        },
        # As many goals as GRASP's: fewer elites, a cold temperature.
        "baselines": {
            **{
                f"iCEM, 300 x 30, {elites} elites, std={std}": ICEM(
                    num_samples=300,
                    num_elites=elites,
                    std=std,
                    noise=Colored(exponent=1.0, action_block=STACKED),
                )
                for elites, std in [(15, 1.0), (10, 1.0), (15, 1.5), (10, 1.5), (15, 2.0)]
            },
            "MPPI, std=0.5 temperature=0.01": MPPI(std=0.5, temperature=0.01, noise=SMOOTH),
            "CEM, 15 elites, std=1.5": CEM(num_samples=300, num_elites=15, std=1.5),
        },
        "LatCo": {
            f"rate={rate} multiplier={m}": LatCo(learning_rate=rate, iterations=1000, multiplier=m)
            for rate, m in [(0.05, 10.0), (0.05, 1.0), (0.02, 10.0)]
        },
        "GRASP-plain": {
            f"sync rate={rate}": dataclasses.replace(
                GRASP(), sync=GD(learning_rate=rate, iterations=30)
            )
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
            "sync only": sync_only(starts=16, cycles=4),
            "16 starts, 2 cycles, then iCEM": Chain(
                pusht(cycles=2),
                ICEM(iterations=12, std=0.3, noise=Colored(exponent=1.0, action_block=STACKED)),
            ),
            "iCEM as the sync": sampled_grasp(),
            "iCEM as the sync, 2 starts": sampled_grasp(2),
            "iCEM as the sync, 8 starts, 4 cycles, 32 samples": sampled_grasp(8, 4, 32, 4),
            "wide": wide_grasp(),
        },
    }
