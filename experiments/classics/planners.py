"""The planners of the table, every one at its defaults."""

from typing import Any

from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    LatCo,
    MultiStart,
    Scaled,
    portfolio,
    restarted_grasp,
)


def planners() -> dict[str, Any]:
    """Name in the table to planner; `scaled` means in the problem's own units."""
    return {
        "portfolio": portfolio(),
        "restarted GRASP": restarted_grasp(),
        "GRASP": GRASP(),
        "GD": GD(),
        "GD x8": MultiStart(GD(), num_starts=8, start_std=0.5),
        "CEM": CEM(),
        "iCEM": ICEM(),
        "MPPI": MPPI(),
        "LatCo": LatCo(),
        "restarted GRASP scaled": Scaled(restarted_grasp()),
        "GD x8 scaled": Scaled(MultiStart(GD(), num_starts=8, start_std=0.5)),
        "CEM scaled": Scaled(CEM()),
        "iCEM scaled": Scaled(ICEM()),
        "MPPI scaled": Scaled(MPPI()),
        "LatCo scaled": Scaled(LatCo()),
    }
