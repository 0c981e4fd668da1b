"""How many model calls of a plan have to follow each other: its depth."""

from typing import Any

from grasp_jax import GD, GRASP, Chain, MultiStart, ParallelShooting


def depth(planner: Any, horizon: int) -> int:
    """Model steps and derivatives in series, of all iterations and of what syncs begin and end with.

    Args:
      planner: A planner of the library; not one parallel in time by Newton sweeps, which vary.
      horizon: `T`.
    """
    if isinstance(planner, MultiStart):
        return depth(planner.planner, horizon)
    if isinstance(planner, Chain):
        return sum(depth(p, horizon) for p in planner.planners)
    if isinstance(planner, GRASP):
        syncs = 0 if planner.sync is None else planner.iterations // planner.sync_every
        # A rollout at the end of a sync, and one at its start where no iteration makes it.
        around = horizon * (2 - bool(getattr(planner.sync, "evaluates_guess", False)))
        each = 0 if planner.sync is None else depth(planner.sync, horizon) + around
        each += 0 if planner.restart_states is None else horizon
        return 2 * planner.iterations + syncs * each
    if isinstance(planner, GD):
        return 2 * horizon * planner.iterations
    if isinstance(planner, ParallelShooting):
        true = serial_iterations(planner)
        length = -(-horizon // planner.num_segments)
        return 2 * horizon * true + 2 * length * (planner.iterations - true)
    if hasattr(planner, "num_samples"):
        return horizon * planner.iterations
    raise TypeError(f"no depth is known for {type(planner).__name__}.")


def serial_iterations(planner: ParallelShooting) -> int:
    """How many of its iterations are true rollouts."""
    if planner.num_segments == 1:
        return planner.iterations
    first = max(planner.iterations - planner.serial_iterations, 0)
    every = planner.serial_every
    true = sum(i == 0 or bool(every and i % every == 0) for i in range(first))
    return true + planner.iterations - first
