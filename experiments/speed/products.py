r"""The matrix products of LeWM's predictor by themselves, in XLA and in PyTorch, on one core.

    python -m experiments.speed.products --output=experiments/results/swm_timings

Rows are 100 samples of three frames, as in gradient descent beside stable-worldmodel's. Forward is
`x Wᵀ`, backward `y W`, weights stored as PyTorch stores them. GFLOP/s, the best of seven rounds.
Needs the interop extra.
"""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import Record
from experiments.harness.machine import machine, use_cores
from experiments.harness.tables import print_table, write_summary

SHAPES = {
    "q, k, v": (192, 3072),
    "attention out": (1024, 192),
    "MLP up": (192, 2048),
    "MLP down": (2048, 192),
    "AdaLN": (192, 1152),
}
"""Product to inputs and outputs."""
_ROUNDS, _CALLS = 7, 20


def best_seconds(call: Callable[[], Any]) -> float:
    """Of one call, in the best round."""
    call()
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(_CALLS):
            call()
        rounds.append((time.perf_counter() - began) / _CALLS)
    return min(rounds)


def measure(rows: int, inputs: int, outputs: int) -> Record:
    """GFLOP/s of one product, both ways in both libraries."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, w, y = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((rows, inputs), (outputs, inputs), (rows, outputs))
    )
    forward = jax.jit(lambda x, w: jax.lax.dot_general(x, w, (((1,), (1,)), ((), ()))))
    backward = jax.jit(lambda y, w: y @ w)
    ours = [jnp.asarray(v) for v in (x, w, y)]
    theirs = [torch.tensor(v) for v in (x, w, y)]
    calls = {
        "xla_forward": lambda: forward(ours[0], ours[1]).block_until_ready(),
        "torch_forward": lambda: torch.nn.functional.linear(theirs[0], theirs[1]),
        "xla_backward": lambda: backward(ours[2], ours[1]).block_until_ready(),
        "torch_backward": lambda: theirs[2] @ theirs[1],
    }
    work = 2e-9 * rows * inputs * outputs
    return {name: round(work / best_seconds(call), 1) for name, call in calls.items()}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_integer("rows", 300, "Rows of each product.", lower_bound=1)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for `products.csv`.")


def main(argv: list[str]) -> None:
    """Times, prints."""
    begin(argv, keep_programs=False)
    use_cores(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = [
        {"product": name, **measure(flags.FLAGS.rows, *shape), "device": machine()["device"]}
        for name, shape in SHAPES.items()
    ]
    write_summary(pathlib.Path(flags.FLAGS.output) / "products.csv", rows)
    print_table(rows, f"GFLOP/s, {flags.FLAGS.rows} rows")


if __name__ == "__main__":
    define_flags()
    app.run(main)
