"""The planners of the Push-T tables, with the settings that `experiments.pusht.tune` chose."""

import dataclasses
from typing import Any

import optax

from experiments.planning.planners import (
    SMOOTH,
    STACKED,
    ablations,
    alter,
    grasp,
    long_descent,
    untuned,
)
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Colored,
    LatCo,
    MultiStart,
)


def sync_only(
    starts: int = 8,
    cycles: int = 8,
    sync_steps: int = 30,
    noise: float = 0.5,
    exchange: int | None = None,
) -> MultiStart:
    """The same without lifting (an ablation): noise on the best plan's actions, then the sync."""
    return grasp(
        starts, cycles, lifted=0, sync_noise=noise, sync_steps=sync_steps, exchange=exchange
    )


def of_states() -> dict[str, Any]:
    """From states: name in tables to planner, in the order of the tables."""
    return {
        "CEM": CEM(std=2.0),
        "iCEM": ICEM(std=1.0, noise=Colored(exponent=1.0, action_block=STACKED)),
        "MPPI": MPPI(std=0.5, temperature=0.03, noise=SMOOTH),
        "GD-SGD": GD(learning_rate=1.0, iterations=500, optimizer=optax.sgd),
        "GD-Adam": GD(learning_rate=0.03, iterations=500),
        "GD-Adam-x8": MultiStart(
            GD(learning_rate=0.03, iterations=300), num_starts=8, start_std=1.0, noise=SMOOTH
        ),
        "LatCo": LatCo(learning_rate=0.05, iterations=1000, multiplier=10.0),
        "GRASP-plain": dataclasses.replace(GRASP(), sync=GD(learning_rate=0.03, iterations=30)),
        "GRASP": grasp(exchange=2),
    }


def extra_of_states() -> dict[str, Any]:
    """Parts of GRASP, Adam with what GRASP has, `-x2`: twice the budget, and what is not tuned."""
    return {
        **untuned(),
        "CEM-15": CEM(num_samples=300, num_elites=15, std=3.0),
        "iCEM-15": ICEM(
            num_samples=300,
            num_elites=15,
            std=1.0,
            noise=Colored(exponent=1.0, action_block=STACKED),
        ),
        "GRASP-no-exchange": grasp(),
        "GRASP-sync-only": sync_only(exchange=2),
        "GD-Adam-16x150": MultiStart(
            GD(learning_rate=0.03, iterations=150), num_starts=16, start_std=1.0, noise=SMOOTH
        ),
        "GD-Adam-exchange": MultiStart(
            GD(learning_rate=0.03, iterations=300, action_std=0.03),
            num_starts=8,
            start_std=1.0,
            noise=SMOOTH,
            resample_every=50,
        ),
        "GD-Adam-long": long_descent(of_states()),
        "iCEM-x2": ICEM(
            num_samples=600,
            num_elites=60,
            num_kept=10,
            std=1.0,
            noise=Colored(exponent=1.0, action_block=STACKED),
        ),
        "GD-Adam-x16": MultiStart(
            GD(learning_rate=0.03, iterations=300), num_starts=16, start_std=1.0, noise=SMOOTH
        ),
        "GRASP-sync-only-x2": sync_only(cycles=16, exchange=2),
        "GRASP-x2": grasp(cycles=16, exchange=2),
    }


def of_pixels() -> dict[str, Any]:
    """From frames. The sweep began at the settings of the state table, in the units of frames.

    There 1 is 100 px, here 256 px.
    """
    return {
        **of_states(),
        "CEM": CEM(std=1.0),
        "GD-SGD": GD(learning_rate=6.5, iterations=500, optimizer=optax.sgd),
        "LatCo": LatCo(learning_rate=0.02, iterations=1000, multiplier=10.0),
        "GRASP-plain": dataclasses.replace(GRASP(), sync=GD(learning_rate=0.1, iterations=30)),
        "GRASP": grasp(noise=0.08, starts=16, cycles=4, exchange=1),
    }


def extra_of_pixels() -> dict[str, Any]:
    """More planners from frames: GRASP without one of its parts, short searches, other budgets."""
    return {
        **ablations(of_pixels()),
        **untuned(),
        "CEM-15": CEM(num_samples=300, num_elites=15, std=1.5),
        "iCEM-15": ICEM(
            num_samples=300,
            num_elites=15,
            std=1.5,
            noise=Colored(exponent=1.0, action_block=STACKED),
        ),
        "GD-Adam-16x150": extra_of_states()["GD-Adam-16x150"],
        "GRASP-author": GRASP(),
        "GRASP-iCEM": sampled_grasp(),
        "GRASP-wide": wide_grasp(),
        **short_searches(),
    }


def sampled_grasp(
    starts: int = 4, cycles: int = 8, samples: int = 48, elites: int = 6
) -> MultiStart:
    """Push-T's GRASP with a small iCEM as its sync."""
    sync = ICEM(
        num_samples=samples,
        num_elites=elites,
        num_kept=3,
        iterations=5,
        std=0.3,
        noise=Colored(exponent=1.0, action_block=STACKED),
    )
    return alter(grasp(noise=0.08, starts=starts, cycles=cycles), sync=sync)


def wide_grasp() -> MultiStart:
    """Push-T's GRASP for an accelerator: a fifth of its steps in series, eight times its work."""
    sync = ICEM(
        num_samples=100,
        num_elites=10,
        num_kept=5,
        iterations=10,
        std=0.3,
        noise=Colored(exponent=1.0, action_block=STACKED),
    )
    return alter(grasp(noise=0.08, starts=8, cycles=4, exchange=1), sync=sync)


def short_searches() -> dict[str, Any]:
    """Push-T's GRASP and iCEM at a fraction of their budgets, for control loops."""
    icem = of_states()["iCEM"]

    def fewer(samples: int, iterations: int) -> ICEM:
        return dataclasses.replace(
            icem, num_samples=samples, num_elites=samples // 10, iterations=iterations
        )

    return {
        "GRASP-x1/4": grasp(noise=0.08, starts=8, cycles=2),
        "GRASP-x1/16": grasp(noise=0.08, starts=4, cycles=1),
        "iCEM-x1/4": fewer(150, 15),
        "iCEM-x1/16": fewer(80, 7),
    }
