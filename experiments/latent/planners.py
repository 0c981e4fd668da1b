"""The planners of the study; actions in units of the data's standard deviation, states of about 1.

Those of `table` are first guesses from the Push-T tables of other models. Those of `tuned` solved
most of three settings per family in two sweeps over 32 other goals (`experiments.latent.tune`),
through the code's first motion and through the shipped one; MPPI and GRASP-sync-only in the first
alone.
"""

import dataclasses
from typing import Any

from experiments.planning.planners import SMOOTH, STACKED, alter, grasp
from experiments.pusht.planners import sync_only
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Colored, LatCo, MultiStart, Segments


def table() -> dict[str, Any]:
    """Name to planner, in the order of the tables."""
    author = GRASP()
    return {
        "CEM": CEM(std=1.0),
        "iCEM": ICEM(std=1.0, noise=Colored(exponent=1.0, action_block=STACKED)),
        "MPPI": MPPI(std=0.5, temperature=0.03, noise=SMOOTH),
        "GD-Adam": GD(learning_rate=0.1, iterations=500),
        "GD-Adam-x8": MultiStart(
            GD(learning_rate=0.1, iterations=300), num_starts=8, start_std=1.0, noise=SMOOTH
        ),
        "LatCo": LatCo(learning_rate=0.05, iterations=1000, multiplier=10.0),
        "GRASP-author": author,
        "GRASP-plain": dataclasses.replace(author, sync=GD(learning_rate=0.1, iterations=30)),
        "GRASP-CEM-sync": dataclasses.replace(
            author, sync=CEM(num_samples=100, num_elites=10, iterations=6, std=0.5)
        ),
        "GRASP": grasp(noise=0.3, exchange=1),
        "GRASP-sync-only": sync_only(exchange=1),
        "GRASP-iCEM-sync": sampled(),
    }


TUNED_ON = "pusht_code"
"""The checkpoint through which settings were tuned."""


def tuned() -> dict[str, Any]:
    """The same rows with tuned settings; where the first guess was best, it stays."""
    rows = table()
    return {
        **rows,
        "CEM": CEM(std=1.5),
        "iCEM": dataclasses.replace(rows["iCEM"], std=1.5, num_elites=15),
        "GD-Adam": GD(learning_rate=0.03, iterations=500),
        "GD-Adam-x8": dataclasses.replace(
            rows["GD-Adam-x8"], planner=GD(learning_rate=0.03, iterations=300)
        ),
    }


def sampled() -> MultiStart:
    """GRASP with restarts and a small iCEM as its sync."""
    sync = ICEM(
        num_samples=64,
        num_elites=8,
        num_kept=5,
        iterations=5,
        std=0.4,
        noise=Colored(exponent=1.0, action_block=STACKED),
    )
    return alter(grasp(starts=8, cycles=6, noise=0.3, exchange=1), sync=sync)


def ablations() -> dict[str, Any]:
    """The author's GRASP and ours, each without one part or with another."""
    author, full = GRASP(), table()["GRASP"]
    frozen = {"state_rate": 0.0, "action_rate": 0.0}
    return {
        "author-state-gradient": dataclasses.replace(author, stop_state_gradient=False),
        "author-no-goal-term": dataclasses.replace(author, goal_weight=0.0),
        "author-sync-only": dataclasses.replace(author, **frozen),
        "author-no-sync": dataclasses.replace(author, sync=None, action_rate=0.05),
        "author-no-sync-state-gradient": dataclasses.replace(
            author, sync=None, action_rate=0.05, stop_state_gradient=False
        ),
        "GRASP-state-gradient": alter(full, stop_state_gradient=False),
        "GRASP-goal-term": alter(full, goal_weight=author.goal_weight),
        # Of a cycle's four lifted steps and thirty of its sync all are lifted.
        "GRASP-no-sync": alter(
            full, sync=None, sync_std=None, restart_states=None, iterations=8 * (4 + 30)
        ),
        "GRASP-segments-sync": alter(
            full, sync=Segments(segment_length=5, iterations=30, state_rate=0.05, action_rate=0.1)
        ),
    }


PARTS = {
    "GRASP-sync-only": "no virtual states",
    "GRASP-state-gradient": "gradients through states",
    "GRASP-goal-term": "a dense goal term, as the author has",
    "GRASP-no-sync": "no sync, lifted steps in its place",
    "GRASP-iCEM-sync": "iCEM as the sync",
    "GRASP-segments-sync": "segments of five steps as the sync",
    "author-state-gradient": "gradients through states",
    "author-no-goal-term": "no dense goal term",
    "author-sync-only": "no lifted steps",
    "author-no-sync": "no sync, faster actions",
    "author-no-sync-state-gradient": "the same, gradients through states",
}
"""What differs in each variant, from `GRASP` or from `GRASP-author`."""
