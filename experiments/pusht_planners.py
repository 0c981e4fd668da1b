"""The planners of the Push-T table, with the settings that `experiments.tune_pusht` chose."""

import dataclasses
from typing import Any

import optax

from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Colored,
    Correlated,
    LatCo,
    MultiStart,
    restarted_grasp,
)

RESTART = Correlated(0.9, stacked=5)


def grasp(
    starts: int = 8,
    cycles: int = 8,
    *,
    lifted: int = 4,
    noise: float = 0.2,
    sync_noise: float | None = 0.3,
    sync_rate: float = 0.1,
    sync_steps: int = 30,
    start_noise: float = 0.5,
    action_rate: float = 0.1,
    exchange: int | None = None,
) -> MultiStart:
    """`restarted_grasp` in the words of the sweeps; by default Push-T's, from states."""
    return restarted_grasp(
        starts,
        cycles,
        lifted=lifted,
        state_noise=noise,
        action_noise=sync_noise,
        start_noise=start_noise,
        action_rate=action_rate,
        sync=GD(sync_rate, sync_steps),
        exchange=exchange,
        noise=RESTART,
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


def planners() -> dict[str, Any]:
    """Name in tables to planner, in the order of the tables."""
    return {
        "CEM": CEM(std=2.0),
        "iCEM": ICEM(std=1.0, noise=Colored(1.0, stacked=5)),
        "MPPI": MPPI(std=0.5, temperature=0.03, noise=RESTART),
        "GD-SGD": GD(1.0, 500, optax.sgd),
        "GD-Adam": GD(0.03, 500),
        "GD-Adam-x8": MultiStart(GD(0.03, 300), 8, 1.0, RESTART),
        "LatCo": LatCo(0.05, 1000, multiplier=10.0),
        "GRASP-plain": dataclasses.replace(GRASP.author(), sync=GD(0.03, 30)),
        "GRASP": grasp(exchange=2),
    }


def extra() -> dict[str, Any]:
    """Parts of GRASP, Adam with what GRASP has, and `-x2`: twice the budget."""
    return {
        "CEM-15": CEM(300, 15, std=3.0),
        "iCEM-15": ICEM(300, 15, std=1.0, noise=Colored(1.0, stacked=5)),
        "GRASP-no-exchange": grasp(),
        "GRASP-sync-only": sync_only(exchange=2),
        "GD-Adam-16x150": MultiStart(GD(0.03, 150), 16, 1.0, RESTART),
        "GD-Adam-exchange": MultiStart(GD(0.03, 300, action_noise=0.03), 8, 1.0, RESTART, 50),
        "GD-Adam-long": long_descent(planners()),
        "iCEM-x2": ICEM(600, 60, 10, std=1.0, noise=Colored(1.0, stacked=5)),
        "GD-Adam-x16": MultiStart(GD(0.03, 300), 16, 1.0, RESTART),
        "GRASP-sync-only-x2": sync_only(cycles=16, exchange=2),
        "GRASP-x2": grasp(cycles=16, exchange=2),
    }


def long_descent(table: dict[str, Any]) -> GD:
    """A table's `GD-Adam` with as many gradients as its `GRASP-plain`."""
    plain = table["GRASP-plain"]
    syncs = plain.iterations // plain.sync_every
    steps = plain.iterations + syncs * plain.sync.iterations
    return dataclasses.replace(table["GD-Adam"], iterations=steps)
