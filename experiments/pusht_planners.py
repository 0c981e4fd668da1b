"""The planners of the Push-T table, with the settings that `experiments.tune_pusht` chose."""

import dataclasses
from typing import Any

import optax

import grasp_jax

RESTART = grasp_jax.Correlated(0.9, stacked=5)


def grasp(
    lifted: int = 5,
    pulse: float = 0.2,
    sync_noise: float | None = 0.3,
    action_rate: float = 0.1,
    starts: int = 8,
    cycles: int = 15,
) -> grasp_jax.MultiStart:
    """GRASP from several starts, in cycles that all begin at the best plan's rollout.

    A pulse of time-correlated noise moves the nearly frozen virtual states off the rollout, the
    actions follow them for a few lifted iterations, all steps side by side, and the sync pulls
    the plan back to a true rollout.

    Args:
      lifted: Lifted iterations per cycle.
      pulse: Standard deviation of the state noise, in planning units (100 px).
      sync_noise: Standard deviation of correlated noise on the actions before the sync, or None.
      action_rate: Rate of the actions in the lifted iterations.
      starts: Searches side by side.
      cycles: Syncs of each.
    """
    planner = grasp_jax.GRASP(
        iterations=lifted * cycles,
        state_rate=0.03,
        action_rate=action_rate,
        goal_weight=0.0,
        state_noise=grasp_jax.Pulse(pulse, lifted),
        noise=grasp_jax.Correlated(0.8),
        path=grasp_jax.Rollout(),
        sync=grasp_jax.GD(0.1, 30),
        sync_every=lifted,
        sync_noise=sync_noise,
        sync_noise_shape=RESTART,
        restart_from_best=True,
    )
    return grasp_jax.MultiStart(planner, starts, 0.5, RESTART)


def sync_only(starts: int = 8, cycles: int = 15, noise: float = 0.5) -> grasp_jax.MultiStart:
    """The same without lifting (an ablation): noise on the best plan's actions, then the sync."""
    planner = grasp_jax.GRASP(
        iterations=cycles,
        state_rate=0.0,
        action_rate=0.0,
        state_noise=None,
        sync=grasp_jax.GD(0.1, 30),
        sync_every=1,
        sync_noise=noise,
        sync_noise_shape=RESTART,
        restart_from_best=True,
    )
    return grasp_jax.MultiStart(planner, starts, 0.5, RESTART)


def planners() -> dict[str, Any]:
    """Name in tables to planner, in the order of the tables."""
    return {
        "CEM": grasp_jax.CEM(),
        "iCEM": grasp_jax.ICEM(),
        "MPPI": grasp_jax.MPPI(),
        "GD-SGD": grasp_jax.GD(learning_rate=1.0, optimizer=optax.sgd),
        "GD-Adam": grasp_jax.GD(),
        "LatCo": grasp_jax.LatCo(),
        "GRASP-author": grasp_jax.GRASP.author(),
        "GRASP": grasp_jax.GRASP(sync=grasp_jax.GD(learning_rate=0.1, iterations=30)),
    }


def describe(value: Any) -> Any:
    """A planner's settings as plain data, to record beside results and to compare with them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (tuple, list)):
        return [describe(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", repr(value))
