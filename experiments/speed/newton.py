r"""A gradient of the rollout cost, serially and parallel in time, timed side by side.

    python -m experiments.speed.newton --output=experiments/results/benchmark

The benchmark's MLP, one plan, in full float32 precision: the actions have moved by 0.05 since the
rollout that the parallel one starts from. On one core of a CPU, or on whatever device JAX finds.
Results are written as they finish; the same command resumes.
"""

import pathlib

import jax
import jax.numpy as jnp
from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table
from experiments.speed import models
from experiments.speed.timing import medians
from grasp_jax import _tree
from grasp_jax.newton import parallel_gradient
from grasp_jax.rollout import rollout_cost, trajectory

KEY_FIELDS = ("device", "state_size", "horizon")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("sizes", ["4", "32"], "Numbers per state.")
    flags.DEFINE_list("horizons", ["64", "256", "1024"], "T, model steps.")
    flags.DEFINE_integer("repeats", 7, "Interleaved repeats; medians are reported.", lower_bound=1)
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for `parallel.jsonl`.")


def measure(size: int, horizon: int, repeats: int) -> Record:
    """Milliseconds of both, the sweeps, and how far the gradients are apart."""
    problem = models.make_workload(f"mlp:{size}", 1).problem(horizon)
    before, change = (
        jax.random.normal(jax.random.key(seed), problem.init_actions.shape) for seed in (2, 3)
    )
    actions = 0.3 * before + 0.05 * change
    guess = _tree.take(jax.jit(trajectory)(problem, 0.3 * before), slice(1, None))
    serially = jax.jit(lambda p, a: jax.value_and_grad(lambda a: rollout_cost(p, a))(a))
    side_by_side = jax.jit(parallel_gradient)
    spent = medians(
        {
            "serial": lambda: serially(problem, actions),
            "parallel": lambda: side_by_side(problem, actions, guess),
        },
        repeats,
    )
    (_, gradient), found = serially(problem, actions), side_by_side(problem, actions, guess)
    apart = jnp.linalg.norm(found.found.gradient - gradient) / jnp.linalg.norm(gradient)
    sweeps = (int(found.model_vjps) // horizon - 1) // size - 1
    return {
        **{f"{name}_ms": 1e3 * seconds for name, seconds in spent.items()},
        "sweeps": sweeps,
        "then_serially": int(found.model_evals) // horizon - 2 > sweeps,
        "gradient_error": float(apart),
    }


def main(argv: list[str]) -> None:
    """Times what the log does not hold yet, prints the table."""
    begin(argv, keep_programs=False)
    use_cores(flags.FLAGS.cores)
    computer = machine()
    log = ResultLog(pathlib.Path(flags.FLAGS.output) / "parallel.jsonl", KEY_FIELDS)
    cells = [
        {"state_size": int(size), "horizon": int(horizon)}
        for size in flags.FLAGS.sizes
        for horizon in flags.FLAGS.horizons
    ]
    cells = [c for c in cells if not log.done(device=computer["device"], **c)]
    with progress(len(cells), "gradients") as bar, jax.default_matmul_precision("highest"):
        for cell in cells:
            found = measure(cell["state_size"], cell["horizon"], flags.FLAGS.repeats)
            log.append({**cell, **found, **computer})
            bar(latest=str(cell))
    print_table(log.records, "A gradient of the rollout cost, milliseconds")


if __name__ == "__main__":
    define_flags()
    app.run(main)
