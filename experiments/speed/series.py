"""How many model calls of a plan have to follow each other: its depth."""

from typing import Any

from grasp_jax import GD, GRASP, Chain, MultiStart, ParallelShooting


def depth(planner: Any, horizon: int, iterations: int | None = None) -> int:
    """Model steps and derivatives in series, of iterations and of what syncs begin and end with.

    Args:
      planner: A planner of the library; not one parallel in time by Newton sweeps, which vary.
      horizon: `T`.
      iterations: So many of its iterations; all by default (of parts too).
    """
    count = planner.iterations if iterations is None else iterations
    if isinstance(planner, MultiStart):
        return depth(planner.planner, horizon, count)
    if isinstance(planner, Chain):
        return sum(depth(p, horizon) for p in planner.planners)
    if isinstance(planner, GRASP):
        syncs = 0 if planner.sync is None else count // planner.sync_every
        # A rollout at the end of a sync, and one at its start where no iteration makes it.
        around = horizon * (2 - bool(getattr(planner.sync, "evaluates_guess", False)))
        each = 0 if planner.sync is None else depth(planner.sync, horizon) + around
        each += 0 if planner.restart_states is None else horizon
        return 2 * count + syncs * each
    if isinstance(planner, GD):
        return 2 * horizon * count
    if isinstance(planner, ParallelShooting):
        true = serial_iterations(planner, count)
        length = -(-horizon // planner.num_segments)
        return 2 * horizon * true + 2 * length * (count - true)
    if hasattr(planner, "num_samples"):
        return horizon * count
    raise TypeError(f"no depth is known for {type(planner).__name__}.")


def serial_iterations(planner: ParallelShooting, iterations: int) -> int:
    """How many of the first `iterations` are true rollouts."""
    if planner.num_segments == 1:
        return iterations
    ends, every = planner.iterations - planner.serial_iterations, planner.serial_every
    return sum(i == 0 or i >= ends or bool(every and i % every == 0) for i in range(iterations))
