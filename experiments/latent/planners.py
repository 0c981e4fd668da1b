"""The planners of the study; actions in units of the data's standard deviation, states of about 1.

All are first guesses from the Push-T tables of other models unless a name says more.
"""

import dataclasses
from typing import Any

from experiments.pusht_planners import RESTART, grasp, sync_only
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Colored, LatCo, MultiStart

STACKED = 5


def table() -> dict[str, Any]:
    """Name to planner, in the order of the tables."""
    author = GRASP.author()
    return {
        "CEM": CEM(std=1.0),
        "iCEM": ICEM(std=1.0, noise=Colored(1.0, stacked=STACKED)),
        "MPPI": MPPI(std=0.5, temperature=0.03, noise=RESTART),
        "GD-Adam": GD(0.1, 500),
        "GD-Adam-x8": MultiStart(GD(0.1, 300), 8, 1.0, RESTART),
        "LatCo": LatCo(0.05, 1000, multiplier=10.0),
        "GRASP-author": author,
        "GRASP-plain": dataclasses.replace(author, sync=GD(0.1, 30)),
        "GRASP-CEM-sync": dataclasses.replace(author, sync=CEM(100, 10, 6, std=0.5)),
        "GRASP": grasp(noise=0.3, exchange=1),
        "GRASP-sync-only": sync_only(exchange=1),
        "GRASP-iCEM-sync": sampled(),
    }


def sampled() -> MultiStart:
    """GRASP with restarts and a small iCEM as its sync."""
    sync = ICEM(64, 8, 5, 5, std=0.4, noise=Colored(1.0, stacked=STACKED))
    full = grasp(starts=8, cycles=6, noise=0.3, exchange=1)
    assert isinstance(full.planner, GRASP)
    return dataclasses.replace(full, planner=dataclasses.replace(full.planner, sync=sync))


def ablations() -> dict[str, Any]:
    """The author's GRASP and ours, each without one part or with another."""
    author, full = GRASP.author(), table()["GRASP"]
    frozen = {"state_rate": 0.0, "action_rate": 0.0}
    return {
        "author-state-gradient": dataclasses.replace(author, stop_state_gradient=False),
        "author-no-goal-term": dataclasses.replace(author, goal_weight=0.0),
        "author-sync-only": dataclasses.replace(author, **frozen),
        "author-no-sync": dataclasses.replace(author, sync=None, action_rate=0.05),
        "author-no-sync-state-gradient": dataclasses.replace(
            author, sync=None, action_rate=0.05, stop_state_gradient=False
        ),
        "GRASP-state-gradient": dataclasses.replace(
            full, planner=dataclasses.replace(full.planner, stop_state_gradient=False)
        ),
    }
