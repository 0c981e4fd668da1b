r"""Executes plans made through a visual world model, as training data for the next one.

Planners go where a model errs in their favour, which the data of other policies hardly shows.
Families of planners take equal shares of the goals, so that the next model favours none of them.
The goals are drawn like tuning goals, at a seed that no sweep and no table uses. Kept: the states
to draw frames from, ten steps before each start included, and the actions. Every chunk is written
as it is done: the same command continues after a kill, and another one is refused.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags
from numpy.typing import NDArray
from tqdm import tqdm

import grasp_jax
from experiments.harness.files import replacing
from experiments.harness.settings import check_settings, describe, fingerprint
from experiments.models.checkpoint import locate
from experiments.planning import runner
from experiments.planning.cells import Cell
from experiments.planning.tasks import Task


def define_flags(
    horizon: int, planners: Sequence[str] = ("GRASP", "iCEM", "GD-Adam-x8", "MPPI")
) -> None:
    """Defines the flags that collecting shares, with their defaults."""
    flags.DEFINE_string("checkpoint", None, "The visual model; the environment's own by default.")
    flags.DEFINE_integer("goals", 800, "Goals, shared by the planners.", lower_bound=1)
    flags.DEFINE_integer("horizon", horizon, "Environment steps from start to goal.", lower_bound=5)
    flags.DEFINE_list("planners", list(planners), "Who plans.")
    flags.DEFINE_integer(
        "seed", 777, "Seed of goals and searches; 0 is that of the tables.", lower_bound=1
    )
    flags.DEFINE_integer("chunk", 50, "Goals planned side by side.", lower_bound=1)
    flags.DEFINE_string("output", None, "Folder; data/<environment>_plans by default.")


def execute_plans(cell: Cell, numbers: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Plans and executes some goals: states [n, N + 1, S], actions [n, N, A], success [n]."""
    task, model = cell.setting.task, cell.setting.model
    goals = runner.goals_of(task, cell.goals, cell.horizon, cell.seed, cell.split)
    # Filled up to whole chunks, so that one program serves all.
    rows = numbers[np.arange(cell.chunk) % len(numbers)]
    search = grasp_jax.advance(runner.begin_search(cell, rows), cell.planner.iterations)
    plans = grasp_jax.read(search).actions[: len(numbers)]
    actions = np.clip(model.to_environment(plans), -1, 1)
    states = task.execute(goals.start[numbers], actions)
    before, taken = goals.past_states[numbers], goals.past_actions[numbers]
    return {
        "states": np.concatenate([before, states], axis=1).astype(np.float32),
        "actions": np.concatenate([taken, actions], axis=1).astype(np.float32),
        "success": task.success(states[:, -1], goals.goal[numbers]),
    }


def collect(cell: Cell, folder: pathlib.Path, bar: Any) -> None:
    """Writes the chunks of a cell's `todo` that are not there yet."""
    for low in range(0, len(cell.todo), cell.chunk):
        numbers = np.asarray(cell.todo[low : low + cell.chunk])
        path = folder / f"plans_{numbers[0]:06d}.npz"
        if not path.exists():
            found = execute_plans(cell, numbers)
            bar.set_postfix(planner=cell.name, solved=f"{found['success'].mean():.0%}")
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, **found)
        bar.update(len(numbers))


def run(task: Task, chosen: Mapping[str, Any]) -> None:
    """Plans, executes, writes, as the flags say.

    Args:
      task: The environment.
      chosen: Name to planner, the table of its own model.
    """
    values = flags.FLAGS
    goals, checkpoint = values.goals, values.checkpoint or task.checkpoint
    if unknown := sorted(set(values.planners) - set(chosen)):
        raise app.UsageError(f"--planners: unknown {unknown}; known are {sorted(chosen)}.")
    folder = pathlib.Path(values.output or f"data/{task.name}_plans")
    settings = {
        "environment": task.name,
        **{name: values[name].value for name in ("goals", "horizon", "seed", "chunk")},
        "checkpoint": checkpoint,
        "model": fingerprint(locate(checkpoint)),
        "shares": values.planners,
        "planners": {name: describe(chosen[name]) for name in values.planners},
    }
    check_settings(folder, settings, results="plans_*.npz")
    shares = np.array_split(np.arange(goals), len(values.planners))
    with tqdm(total=goals, desc="plans", unit="goal") as bar:
        for name, share in zip(values.planners, shares, strict=True):
            cell = Cell(
                name,
                chosen[name],
                values.horizon,
                goals,
                tuple(int(i) for i in share),
                values.seed,
                "tune",
                chunk=values.chunk,
                setting=runner.Setting(task, checkpoint),
            )
            collect(cell, folder, bar)
