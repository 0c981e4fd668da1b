"""The planners of the Push-T table, with the settings that `experiments.tune_pusht` chose."""

import dataclasses
from typing import Any

import optax

import grasp_jax


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
