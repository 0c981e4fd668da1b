"""The same weights planned by textbook PyTorch, timed in the same run as ours (`--compare=torch`).

LeWM's predictor, one plan, one thread each, or one GPU with TF32 products for both. Windows of 1
frame in the lifted phase and 3 in the sync are the author's; ours reads the same window in both,
and is timed at both sizes.
"""

import dataclasses
import os
import pathlib

import jax
import numpy as np

from experiments.harness.log import Record, ResultLog
from experiments.harness.progress import progress
from experiments.harness.tables import print_table
from experiments.speed import models
from experiments.speed.timing import Thunk, medians, searching
from grasp_jax import GD, GRASP

_LOOPS = 3
KEY_FIELDS = ("device", "horizon", "frames")


def _torch_thunks(workload: models.Workload, horizon: int, frames: int) -> dict[str, Thunk]:
    """Loop over `T`, batched over `T`, and one step of the sync."""
    import torch  # pyright: ignore[reportMissingImports]

    from experiments.speed import textbook

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu:
        torch.set_default_device("cuda")
        torch.set_float32_matmul_precision("high")  # as JAX does by default
    config = workload.model.config
    model = textbook.predictor(workload.model.weights, config.depth, config.heads)
    start, goal = (torch.tensor(np.asarray(x[0])) for x in (workload.start, workload.goal))
    settings = textbook.Settings(lifted_frames=frames, sync_frames=frames)
    actions = torch.zeros(horizon, models.ACTION_SIZE)
    search = textbook.begin(start, goal, actions, settings)
    moved = actions.clone().requires_grad_()
    adam = torch.optim.Adam([moved], lr=settings.sync_rate)
    forms = {"torch_loop": textbook.loop_loss, "torch_batched": textbook.batched_loss}
    thunks: dict[str, Thunk] = {
        name: lambda loss=loss: textbook.lifted_iteration(
            model, search, start, goal, settings, loss
        )
        for name, loss in forms.items()
    }
    thunks["torch_sync_step"] = lambda: textbook.sync_step(
        model, moved, adam, start, goal, settings
    )
    return {name: _finished(thunk) for name, thunk in thunks.items()} if on_gpu else thunks


def _finished(thunk: Thunk) -> Thunk:
    """The same, waiting for PyTorch's GPU."""
    import torch  # pyright: ignore[reportMissingImports]

    def run() -> None:
        thunk()
        torch.cuda.synchronize()

    return run


def measure(horizon: int, frames: int, repeats: int) -> Record:
    """Milliseconds of the three forms in PyTorch and of ours, one core, one plan."""
    workload = models.make_workload("lewm", 1)
    context = None
    if frames > 1:
        context = jax.tree.map(lambda x: x[None], workload.model.empty_context(frames - 1))
    workload = dataclasses.replace(workload, context=context)
    lifted, _ = searching(workload, horizon, GRASP(sync=None), _LOOPS)
    sync, _ = searching(workload, horizon, GD(learning_rate=0.05, iterations=10), _LOOPS)
    thunks = _torch_thunks(workload, horizon, frames)
    spent = medians({**thunks, "lifted": lifted, "sync_step": sync}, repeats)
    found = {f"{name}_ms": 1e3 * s for name, s in spent.items()}
    for name in ("lifted_ms", "sync_step_ms"):
        found[name] /= _LOOPS
    return {
        **found,
        "loop_over_ours": found["torch_loop_ms"] / found["lifted_ms"],
        "batched_over_ours": found["torch_batched_ms"] / found["lifted_ms"],
        "sync_over_ours": found["torch_sync_step_ms"] / found["sync_step_ms"],
    }


def compare(folder: pathlib.Path, horizons: list[int], repeats: int, computer: Record) -> None:
    """Times every horizon with windows of 1 and 3 frames, prints the table."""
    log = ResultLog(folder / "torch.jsonl", KEY_FIELDS)
    cells = [{"horizon": t, "frames": h} for t in horizons for h in (1, 3)]
    cells = [c for c in cells if not log.done(device=computer["device"], **c)]
    with progress(len(cells), "PyTorch") as bar:
        for cell in cells:
            log.append({**cell, **measure(**cell, repeats=repeats), **computer})
            bar(latest=str(cell))
    columns = [k for k in log.records[-1] if k not in computer or k == "jax"]
    print_table(log.records, "LeWM's predictor, one plan, milliseconds", columns)
