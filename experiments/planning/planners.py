"""What the planners of several tables are made of."""

import dataclasses
from typing import Any

from grasp_jax import AR1, GD, GRASP, Hops, MultiStart, portfolio, restarted_grasp

STACKED = 5
"""Environment actions in a planning action."""
SMOOTH = AR1(rho=0.9, action_block=STACKED)
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
    """`restarted_grasp` in the words of the sweeps; by default Push-T's, from states.

    Without lifted iterations it is noise on the best plan's actions and the sync alone.
    """
    sync = GD(learning_rate=sync_rate, iterations=sync_steps)
    if not lifted:
        return MultiStart(
            Hops(planner=sync, iterations=cycles, std=sync_noise, noise=SMOOTH),
            num_starts=starts,
            start_std=start_noise,
            noise=SMOOTH,
            resample_every=exchange,
        )
    return restarted_grasp(
        num_starts=starts,
        num_cycles=cycles,
        num_lifted=lifted,
        state_std=noise,
        action_std=sync_noise,
        start_std=start_noise,
        action_rate=action_rate,
        sync=sync,
        resample_every=exchange,
        noise=SMOOTH,
    )


def untuned() -> dict[str, Any]:
    """What `plan()` and `MPC` take by themselves, with no setting of a task."""
    return {"untuned-GRASP": restarted_grasp(), "untuned-portfolio": portfolio()}


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
    full, author = table["GRASP"], GRASP()
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
