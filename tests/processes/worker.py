"""One of several processes that plan one batch together; run by `test_processes.py`."""

import os
import pathlib
import sys
from typing import Any


def main(index: int, count: int, port: int, output: pathlib.Path) -> None:
    """Plans 4 goals on a mesh over all processes and saves the rows this process holds."""
    # Set before JAX is imported; the parent's flags simulate more devices than are wanted here.
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import jax
    import numpy as np

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", count, index)
    import grasp_jax
    from grasp_jax import sharding
    from tests import matrix

    mesh = sharding.make_mesh(goals=2, time=2)
    plan = grasp_jax.plan_batch(
        jax.tree_util.Partial(matrix.step, sharding.replicate(mesh, matrix.WEIGHTS)),
        sharding.split_goals(mesh, matrix.stacked(*matrix.STARTS, matrix.START)),
        sharding.split_goals(mesh, matrix.stacked(*matrix.GOALS, matrix.GOAL)),
        sharding.replicate(mesh, matrix.ACTIONS),
        sharding.replicate(mesh, matrix.key()),
        planner=matrix.PLANNERS["GRASP"],
        bounds=matrix.BOUNDS,
        objective=matrix.OBJECTIVE,
        horizon=sharding.split_goals(mesh, matrix.HORIZONS),
        mesh=mesh,
    )
    shards = [(s.index, np.asarray(s.data)) for s in plan.actions.addressable_shards]
    goals, steps = [np.array([[i[d].start, i[d].stop] for i, _ in shards]) for d in (0, 1)]
    rows: dict[str, Any] = {f"rows{n}": x for n, (_, x) in enumerate(shards)}
    np.savez(output, goals=goals, steps=steps, **rows)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]))
