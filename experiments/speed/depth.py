r"""Success and cost against depth: gradients in segments side by side, and `GD` one step at a time.

    python -m experiments.speed.depth --output=experiments/results/benchmark

Depth is what a plan waits for on an accelerator: model steps and their derivatives in series. Work
is all of them. Every cell plans the same goals from zero actions with one search each: Push-T
through its learned state model (H = 60, T = 12) and from frames, two mazes through a LeWM of their
frames (H = 50, T = 10), success by the simulator; and four classical tasks with exact dynamics. The
plan is read every 25 of 300 iterations; segments pay where they beat `GD` at the same depth. Every
row is tried at three rates; the best at the end is shown. Results are written as they finish; the
same command resumes.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.speed.depth_worlds import TASKS, World, make_world
from experiments.speed.series import depth
from grasp_jax import GD, Correction, ParallelShooting

KEY_FIELDS = ("task", "goals", "planner", "rate")
ITERATIONS, EVERY = 300, 25
"""Gradient steps, and after how many the plan is read."""


def ways(horizon: int) -> dict[str, Callable[[float], Any]]:
    """Rows: a name, and how a planner is made of a rate."""
    found: dict[str, Callable[[float], Any]] = {
        "GD": lambda rate: GD(learning_rate=_Annealed(rate), iterations=ITERATIONS)
    }
    for name, segments, correction in (
        ("2 segments", 2, Correction.NONE),
        ("4 segments", 4, Correction.NONE),
        ("T/3 segments", max(horizon // 3, 1), Correction.NONE),
        ("T/3 segments diagonal", max(horizon // 3, 1), Correction.DIAGONAL),
        ("T segments identity", horizon, Correction.IDENTITY),
        ("T segments diagonal", horizon, Correction.DIAGONAL),
    ):
        found[name] = functools.partial(_segments, num_segments=segments, correction=correction)
    return found


def _segments(rate: float, num_segments: int, correction: Correction) -> Any:
    return ParallelShooting(
        learning_rate=rate,
        iterations=ITERATIONS,
        num_segments=num_segments,
        correction=correction,
        serial_iterations=10,
    )


def rates(row: str) -> tuple[float, ...]:
    """Of Adam; those of segments fall as `K^-0.5`, so that they begin higher."""
    return (0.03, 0.1, 0.3) if row == "GD" else (0.1, 0.3, 1.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Annealed:
    """The decay that `ParallelShooting` has by default, for `GD`."""

    rate: float

    def __call__(self, step: jax.Array) -> jax.Array:
        done = jnp.minimum(step / ITERATIONS, 1)
        return self.rate * (0.1 + 0.9 * (1 + jnp.cos(jnp.pi * done)) / 2)


def measure(world: World, planner: Any) -> Record:
    """Plans all goals; reads the plan every so many iterations."""
    began, horizon = time.process_time(), world.init_actions.shape[0]
    problem = grasp_jax.make_problem(
        world.dynamics,
        world.state,
        world.goal,
        world.init_actions,
        bounds=world.bounds,
        objective=world.objective,
        context=world.context,
        batched=True,
    )
    search = grasp_jax.start(problem, jax.random.key(0), planner=planner)
    curves: dict[str, list[float]] = {k: [] for k in ("depth", "success", "mean_cost")}
    for done in range(EVERY, ITERATIONS + 1, EVERY):
        search = grasp_jax.advance(search, EVERY)
        plan = grasp_jax.read(search)
        curves["depth"].append(depth(planner, horizon, done) + horizon)
        curves["success"].append(round(float(np.mean(world.succeeded(plan))), 4))
        curves["mean_cost"].append(round(float(jnp.mean(plan.cost)), 6))
    work = search.metrics
    spent = sum(float(jnp.sum(m.model_evals) + jnp.sum(m.model_vjps)) for m in work)
    return {
        **curves,
        "work": spent / len(jax.tree.leaves(world.state)[0]),
        "seconds": round(time.process_time() - began, 1),
    }


def best(records: list[Record]) -> list[Record]:
    """Of several rates of a row on a task the one that ends with the highest success, then cost."""
    found: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record["task"], record["planner"]
        quality = (-record["success"][-1], record["mean_cost"][-1])
        held = found.get(key)
        if held is None or quality < (-held["success"][-1], held["mean_cost"][-1]):
            found[key] = record
    return list(found.values())


def summarize(records: list[Record]) -> list[Record]:
    """One line per task and row: the end, and the depth at which `GD`'s end was reached."""
    rows, chosen = [], best(records)
    ends = {r["task"]: r for r in chosen if r["planner"] == "GD"}
    for record in chosen:
        end = ends.get(record["task"])
        target = None if end is None else end["success"][-1]
        reached = [
            d
            for d, s in zip(record["depth"], record["success"], strict=True)
            if target is not None and s >= target
        ]
        rows.append(
            {
                "task": record["task"],
                "planner": record["planner"],
                "rate": record["rate"],
                "depth": record["depth"][-1],
                "work": record["work"],
                "success": record["success"][-1],
                "mean_cost": record["mean_cost"][-1],
                "depth_to_success_of_GD": reached[0] if reached else None,
            }
        )
    return rows


def draw(records: list[Record], path: pathlib.Path) -> None:
    """Success against depth, a panel per task; `GD` in black."""
    from experiments.harness.plots import plt, save_figure

    tasks = list(dict.fromkeys(r["task"] for r in records))
    figure, panels = plt.subplots(
        2, len(tasks), figsize=(3.2 * len(tasks) + 0.5, 5.8), layout="constrained", squeeze=False
    )
    names = list(dict.fromkeys(r["planner"] for r in records))
    labels = {}
    for column, task in enumerate(tasks):
        for record in (r for r in records if r["task"] == task):
            name = record["planner"]
            style: dict[str, Any] = {"color": f"C{names.index(name)}", "lw": 1.2}
            style = {"color": "black", "lw": 2.2} if name == "GD" else style
            success = [100 * x for x in record["success"]]
            (labels[name],) = panels[0][column].plot(record["depth"], success, **style)
            panels[1][column].plot(record["depth"], record["mean_cost"], **style)
        panels[0][column].set(title=task, xscale="log", ylim=(-3, 103))
        panels[1][column].set(xscale="log", yscale="log", xlabel="model steps in series")
    panels[0][0].set_ylabel("success, %")
    panels[1][0].set_ylabel("mean cost")
    for axes in panels.flat:
        axes.grid(alpha=0.25)
    figure.legend(
        labels.values(), labels.keys(), loc="outside lower center", frameon=False, fontsize=8,
        ncols=min(2 * len(tasks), 5),
    )  # fmt: skip
    save_figure(figure, path)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("tasks", list(TASKS), f"Of {', '.join(TASKS)}.")
    flags.DEFINE_list("rows", [], "Ways to plan, such as GD; all by default.")
    flags.DEFINE_integer("goals", 32, "Goals per task.", lower_bound=1)
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results and the picture.")


def main(argv: list[str]) -> None:
    """Plans, prints, draws."""
    begin(argv)
    use_cores(flags.FLAGS.cores)
    folder, goals = pathlib.Path(flags.FLAGS.output), flags.FLAGS.goals
    log = ResultLog(folder / "depth.jsonl", KEY_FIELDS)
    with progress(len(flags.FLAGS.tasks), "tasks") as bar:
        for task in flags.FLAGS.tasks:
            if task not in TASKS:
                raise app.UsageError(f"--tasks: no {task!r}; there are {', '.join(TASKS)}.")
            world = make_world(task, goals)
            rows = ways(world.init_actions.shape[0])
            for name in flags.FLAGS.rows or rows:
                if name not in rows:
                    raise app.UsageError(f"--rows: no {name!r}; there are {', '.join(rows)}.")
                for rate in rates(name):
                    cell = {"task": task, "goals": goals, "planner": name, "rate": rate}
                    if not log.done(**cell):
                        log.append({**cell, **measure(world, rows[name](rate)), **machine()})
            bar(latest=task)
    records = [r for r in log.records if r["goals"] == goals]
    write_summary(folder / "depth.csv", summarize(records))
    print_table(summarize(records), "Success against depth")
    draw(best(records), folder / "depth.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
