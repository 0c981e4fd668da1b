"""Compiles the study's programs before there is a model, then plans: one of several processes.

    python -m experiments.latent.ahead --process=0 --processes=14 --models=runs/latent/models \
        --output=runs/latent/results

On an accelerator compilation takes longer than planning, and needs no weights. Each process
compiles its cells for a random model of the right shapes until the folder `--models` holds a file
`ready`, then plans with the checkpoints in it. Programs pass from one to the other through JAX's
persistent cache. `experiments.latent.pipeline` starts these beside the training.
"""

import contextlib
import dataclasses
import fcntl
import functools
import pathlib
import time
from collections.abc import Iterator

import jax
from absl import app, flags

from experiments.harness.flags import begin
from experiments.harness.log import ResultLog
from experiments.harness.settings import check_settings, describe, fingerprint
from experiments.latent import study
from experiments.latent.planners import ablations, table
from experiments.models import checkpoint
from experiments.models.latent.model import LatentModel
from experiments.models.latent.recipes import ACTION_STD, CONFIGS
from experiments.planning import runner, searches
from experiments.planning.cells import Cell
from grasp_jax import programs

READY = "ready"
_CHECKS = 5


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_integer("process", 0, "Which of --processes this is.", lower_bound=0)
    flags.DEFINE_integer("processes", 1, "They share the cells.", lower_bound=1)
    flags.DEFINE_string("models", None, "Folder of the checkpoints.", required=True)
    flags.DEFINE_string("output", None, "Folder of folders of results.", required=True)
    flags.DEFINE_string("cache", "/tmp/grasp_jax_programs", "JAX's persistent cache.")
    flags.DEFINE_integer("goals", 100, "Goals per cell.", lower_bound=1)
    flags.DEFINE_list("only", [], "Planners to keep; all by default.")


def write_random(folder: pathlib.Path) -> None:
    """Checkpoints of the shapes of those that are still to come."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in study.MODELS:
        config = CONFIGS[name.removeprefix("pusht_")]
        config = dataclasses.replace(config, action_std=ACTION_STD)
        model = LatentModel.random(jax.random.key(0), config)
        path = folder / f"{name}.safetensors"
        checkpoint.write(path, model, dataclasses.asdict(config), half=("",))


def in_folder(folder: pathlib.Path, name: str) -> str:
    """The path of a checkpoint, with its goal cost."""
    plain, metric = checkpoint.split(name)
    return f"{folder / plain}.safetensors" + (f"@{metric}" if metric else "")


def compile_cell(cell: Cell) -> None:
    """Fills the cache with a cell's programs; a search is begun, and never run."""
    if cell.planner is None:
        list(runner.run_cell(cell))
        return
    search = runner.begin_search(cell, searches.padded(cell, cell.todo[: cell.chunk]))
    search = dataclasses.replace(search, metrics=())
    every, _ = searches._reads(cell)
    programs.advance.lower(search, iterations=every).compile()
    programs.read.lower(search).compile()


def cells_of(
    process: int, processes: int, goals: int, only: list[str], models: pathlib.Path
) -> list[Cell]:
    """This process's share, through the checkpoints of a folder."""
    known = {**table(), **ablations()}
    wanted = [job for job in study.jobs() if not only or job[1] in only]
    return [
        Cell(
            planner,
            known.get(planner),
            horizon,
            goals,
            tuple(range(goals)),
            seed=0,
            split="report",
            checks=_CHECKS,
            chunk=goals,
            setting=runner.Setting(study.TASK, in_folder(models, name)),
        )
        for name, planner, horizon in wanted[process::processes]
    ]


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Only one of the processes at a time is in here: they share a file of settings."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def plan_cell(cell: Cell, output: pathlib.Path, process: int) -> None:
    """Plans and logs a cell, unless its results are there."""
    path, metric = checkpoint.split(cell.setting.checkpoint)
    folder = output / "_".join([pathlib.Path(path).stem, *([metric] if metric else [])])
    model = fingerprint(checkpoint.locate(path))
    settings = {"seed": 0, "checks": _CHECKS, "time_budget": None, "timing": "batch"}
    described = {cell.name: describe(cell.planner)}
    with _alone(folder):
        check_settings(folder, {**settings, "model": model, "planners": described})
    mine = folder / f"results.{process}.jsonl"
    log = ResultLog(mine, runner.KEY_FIELDS, sorted(folder.glob("results*")))
    place = {
        "environment": study.TASK.name,
        "mode": runner.OPEN_LOOP,
        "planner": cell.name,
        "horizon": cell.horizon,
    }
    if all(log.done(**place, goal=goal) for goal in cell.todo):
        return
    began, wins = time.monotonic(), 0
    for records in runner.run_cell(cell):
        for record in records:
            log.append(record)
            wins += record["success"]
    spent = time.monotonic() - began
    print(
        f"{folder.name} {cell.name} H={cell.horizon}: {wins} of {cell.goals}, {spent:.1f} s",
        flush=True,
    )


def main(argv: list[str]) -> None:
    """Compiles, waits, plans."""
    begin(argv)
    values = flags.FLAGS
    jax.config.update("jax_compilation_cache_dir", values.cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    folder = pathlib.Path(values.models)
    share = functools.partial(cells_of, values.process, values.processes, values.goals, values.only)
    shapes = folder / f"shapes_{values.process}"
    write_random(shapes)
    for cell in share(shapes):
        if (folder / READY).exists():
            break
        began = time.monotonic()
        compile_cell(cell)
        spent = time.monotonic() - began
        print(f"compiled {cell.name} H={cell.horizon} in {spent:.1f} s", flush=True)
    while not (folder / READY).exists():
        time.sleep(0.2)
    for cell in share(folder):
        plan_cell(cell, pathlib.Path(values.output), values.process)


if __name__ == "__main__":
    define_flags()
    app.run(main)
