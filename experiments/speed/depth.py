r"""Success and cost against depth: gradients in segments side by side, and `GD` one step at a time.

    python -m experiments.speed.depth --output=experiments/results/benchmark

Depth is what a plan waits for on an accelerator: model steps and their derivatives in series. Work
is all of them. Every cell plans the same goals from zero actions with one search each: Push-T
through its learned state model (H = 60, T = 12; success by the simulator), and four classical
tasks with exact dynamics. `GD` at fewer iterations is the reference: segments pay where they beat
it at the same depth. Results are written as they finish; the same command resumes.
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
from experiments.classics.tasks import all_tasks
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.goals import sample_goals
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state.model import load_model
from experiments.speed.series import depth

import grasp_jax
from experiments.environments.pusht import simulator
from grasp_jax import GD, Correction, ParallelShooting

KEY_FIELDS = ("task", "goals", "planner", "iterations")
CLASSICS = ("pendulum", "cart_pole", "mountain_car", "unicycle")
_HORIZON = 60
_COLUMNS = (
    "task", "planner", "iterations", "depth", "work", "success", "mean_cost", "median_cost",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class World:
    """A task as this study asks for it.

    Attributes:
      dynamics: The planner's model.
      state: Starts, leaves `[B, ...]`.
      goal: Goals, leaves `[B, ...]`.
      init_actions: `[T, A]`.
      bounds: `(low, high)`.
      objective: The cost.
      succeeded: A plan of all goals to `[B]` bool.
      rate: `GD`'s rate on this task.
    """

    dynamics: Any
    state: Any
    goal: Any
    init_actions: jax.Array
    bounds: Any
    objective: grasp_jax.Objective | None
    succeeded: Callable[[grasp_jax.Plan], np.ndarray]
    rate: float


def pusht(num_goals: int) -> World:
    """Push-T from states, goals that are 60 environment steps away."""
    goals = sample_goals(num_goals, _HORIZON, 0, "report")

    def succeeded(plan: grasp_jax.Plan) -> np.ndarray:
        commands = np.clip(coordinates.split_actions(np.asarray(plan.actions)), -1, 1)
        world = FastPushT()
        ends = [world.execute(s, a)[-1] for s, a in zip(goals.start, commands, strict=True)]
        return np.asarray(simulator.success(np.stack(ends), goals.goal))

    bound = 1 / coordinates.ACTION_STD
    return World(
        load_model(),
        jnp.asarray(coordinates.encode(goals.start), jnp.float32),
        jnp.asarray(coordinates.encode(goals.goal), jnp.float32),
        jnp.zeros((_HORIZON // coordinates.FRAMESKIP, coordinates.ACTION_SIZE)),
        (-bound, bound),
        grasp_jax.Objective(terminal_cost=coordinates.goal_distance),
        succeeded,
        0.05,
    )


def classic(name: str, num_goals: int) -> World:
    """One of the classical tasks; `GD` in units of half the action range."""
    task = all_tasks()[name]
    state, goal = task.sample_batch(num_goals, 0)
    return World(
        task.dynamics,
        state,
        goal,
        task.init_actions,
        task.bounds,
        task.objective,
        lambda plan: np.asarray(jax.vmap(task.success)(plan.states, goal)),
        0.1,
    )


def ways(horizon: int) -> dict[str, Callable[[float, int], Any]]:
    """Rows: a name, and how a planner is made of a rate and a number of iterations."""
    found: dict[str, Callable[[float, int], Any]] = {
        "GD": lambda rate, n: GD(learning_rate=_annealed(rate, n), iterations=n)
    }
    counts = sorted({2, 4, horizon // 3, horizon})
    for k in counts:
        for correction in Correction:
            name = f"K={k}" if k < horizon else "K=T"
            name += "" if correction is Correction.NONE else f", {correction.value}"
            found[name] = functools.partial(_segments, num_segments=k, correction=correction)
    return found


def _segments(rate: float, iterations: int, num_segments: int, correction: Correction) -> Any:
    return ParallelShooting(
        learning_rate=rate,
        iterations=iterations,
        num_segments=num_segments,
        correction=correction,
        serial_iterations=max(iterations // 20, 2),
    )


def _annealed(rate: float, iterations: int) -> Callable[[jax.Array], jax.Array]:
    """The decay that `ParallelShooting` has by default, for `GD`."""

    def schedule(step: jax.Array) -> jax.Array:
        done = jnp.minimum(step / iterations, 1)
        return rate * (0.1 + 0.9 * (1 + jnp.cos(jnp.pi * done)) / 2)

    return schedule


def measure(world: World, planner: Any) -> Record:
    """Plans all goals."""
    began = time.process_time()
    plan = grasp_jax.plan_batch(
        world.dynamics,
        world.state,
        world.goal,
        world.init_actions,
        jax.random.key(0),
        planner=planner,
        bounds=world.bounds,
        objective=world.objective,
    )
    jax.block_until_ready(plan.cost)
    work = plan.metrics.model_evals + plan.metrics.model_vjps
    return {
        "depth": depth(planner, world.init_actions.shape[0]),
        "work": float(jnp.mean(jnp.sum(work, -1))),
        "success": float(np.mean(world.succeeded(plan))),
        "mean_cost": float(jnp.mean(plan.cost)),
        "median_cost": float(jnp.median(plan.cost)),
        "broken": int(jnp.sum(plan.status != grasp_jax.Status.OK)),
        "cpu_seconds": time.process_time() - began,
    }


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
        for name in names:
            rows = [r for r in records if r["task"] == task and r["planner"] == name]
            rows.sort(key=lambda r: r["depth"])
            for axes, field in zip(panels[:, column], ("success", "mean_cost"), strict=True):
                style = {"color": "black", "lw": 2} if name == "GD" else {"lw": 1.2}
                scale = 100 if field == "success" else 1
                (line,) = axes.plot(
                    [r["depth"] for r in rows], [scale * r[field] for r in rows], "o-", ms=4,
                    **({"color": f"C{names.index(name) % 10}"} | style),
                )  # fmt: skip
                labels[name] = line
        panels[0][column].set(title=task, xscale="log", ylim=(-3, 103))
        panels[1][column].set(xscale="log", yscale="log", xlabel="model steps in series")
    panels[0][0].set_ylabel("success, %")
    panels[1][0].set_ylabel("mean cost")
    for axes in panels.flat:
        axes.grid(alpha=0.25)
    figure.legend(
        labels.values(), labels.keys(), loc="outside lower center", ncols=5, frameon=False,
        fontsize=8,
    )  # fmt: skip
    save_figure(figure, path)


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("tasks", ["pusht", *CLASSICS], "Of pusht and the classical tasks.")
    flags.DEFINE_list("rows", [], "Ways to plan, such as GD and K=4; all by default.")
    flags.DEFINE_list("iterations", ["50", "100", "300"], "Gradient steps.")
    flags.DEFINE_integer("goals", 32, "Goals per task.", lower_bound=1)
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results and the picture.")


def main(argv: list[str]) -> None:
    """Plans, prints, draws."""
    begin(argv)
    use_cores(flags.FLAGS.cores)
    folder, goals = pathlib.Path(flags.FLAGS.output), flags.FLAGS.goals
    log = ResultLog(folder / "depth.jsonl", KEY_FIELDS)
    counts = [int(n) for n in flags.FLAGS.iterations]
    with progress(len(flags.FLAGS.tasks), "tasks") as bar:
        for task in flags.FLAGS.tasks:
            world = pusht(goals) if task == "pusht" else classic(task, goals)
            rows = ways(world.init_actions.shape[0])
            for name in flags.FLAGS.rows or rows:
                if name not in rows:
                    raise app.UsageError(f"--rows: no {name!r}; there are {', '.join(rows)}.")
                for n in counts:
                    cell = {"task": task, "goals": goals, "planner": name, "iterations": n}
                    if not log.done(**cell):
                        found = measure(world, rows[name](world.rate, n))
                        log.append({**cell, **found, **machine()})
            bar(latest=task)
    records = [r for r in log.records if r["goals"] == goals]
    write_summary(folder / "depth.csv", [{c: r[c] for c in _COLUMNS} for r in records])
    print_table(records, "Success against depth", _COLUMNS)
    draw(records, folder / "depth.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
