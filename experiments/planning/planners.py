"""What the planners of several tables are made of."""

import dataclasses
from typing import Any

from grasp_jax import GD, GRASP, Correlated, MultiStart, restarted_grasp

STACKED = 5
"""Environment actions in a planning action."""
SMOOTH = Correlated(0.9, stacked=STACKED)
"""The noise of Push-T's and the mazes' planners: environment actions that change slowly."""


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
        noise=SMOOTH,
    )


def long_descent(table: dict[str, Any]) -> GD:
    """A table's `GD-Adam` with as many gradients as its `GRASP-plain`."""
    plain = table["GRASP-plain"]
    syncs = plain.iterations // plain.sync_every
    steps = plain.iterations + syncs * plain.sync.iterations
    return dataclasses.replace(table["GD-Adam"], iterations=steps)


def ablations(table: dict[str, Any]) -> dict[str, Any]:
    """A table's GRASP, and the author's, without one of its parts.

    The same random numbers in the same places as GRASP: what differs is the part left out.
    """
    full, author = table["GRASP"], GRASP.author()
    frozen = {"state_rate": 0.0, "action_rate": 0.0}
    found = {
        "GRASP-state-gradient": alter(full, stop_state_gradient=False),
        "GRASP-sync-only": alter(full, **frozen),
        "GRASP-author-state-gradient": dataclasses.replace(author, stop_state_gradient=False),
        "GRASP-author-sync-only": dataclasses.replace(author, **frozen),
    }
    if "GRASP-plain" in table:
        found["GD-Adam-long"] = long_descent(table)
    return found


def alter(full: MultiStart, **changes: Any) -> MultiStart:
    """The same starts of a GRASP with other fields."""
    assert isinstance(full.planner, GRASP)
    return dataclasses.replace(full, planner=dataclasses.replace(full.planner, **changes))
