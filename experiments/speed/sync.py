r"""How soon a whole GRASP plan reaches a cost: with the sync as it was, and with what speeds it up.

    python -m experiments.speed.sync --seeds=1,2 --output=experiments/results/benchmark

LeWM's predictor with random weights, windows of 3 frames, T = 60, one core. Each seed has its own
weights, and a goal that random actions reach from the start, so that cost 0 is possible. `plain` is
the author's GRASP with a model that encodes actions inside the rollout; it runs to its end. Every
other row runs until it is as good as `plain` at its end, or has taken as long. The true float32
model scores all rows, also those that plan in bfloat16. Compilation is apart. Results are written
as they finish, and the same command resumes.
"""

import dataclasses
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

import grasp_jax
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.machine import machine, use_cores
from experiments.harness.progress import progress
from experiments.harness.tables import print_table, write_summary
from experiments.speed import models
from grasp_jax import GD, GRASP, ParallelShooting, programs
from grasp_jax.rollout import rollout_cost
from grasp_jax.world_models import LeWM, mixed_precision

KEY_FIELDS = ("seed", "horizon", "row")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Plain:
    """A model without prepared actions: everything is computed at every step of a rollout.

    Attributes:
      model: The model.
    """

    model: LeWM

    def __call__(
        self, states: jax.Array, actions: jax.Array, present: jax.Array | None = None
    ) -> jax.Array:
        """`[h, D]`, `[h, A]` and which frames are there, `[h]` bool, to `[D]`."""
        return self.model(states, actions, present)


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to plan.

    Attributes:
      planner: The planner.
      every: Iterations between two looks at the best cost.
      wrap: What is done to the model first.
    """

    planner: Any
    every: int
    wrap: Any = None


def rows() -> dict[str, Row]:
    """The ways that are compared."""
    fast = GRASP(iterations=250, sync_every=10, sync=GD(learning_rate=0.2, iterations=10))
    long = GRASP(iterations=200, sync_every=40, sync=GD(learning_rate=0.2, iterations=60))
    segments = ParallelShooting(
        learning_rate=1.0, iterations=220, num_segments=20, serial_iterations=5
    )
    return {
        "plain": Row(GRASP(), 50, Plain),
        "prepared actions": Row(GRASP(), 50),
        "rate 0.2": Row(GRASP(sync=GD(learning_rate=0.2, iterations=10)), 50),
        "rate 0.2 every 10": Row(fast, 10),
        "rate 0.2 20 steps every 20": Row(
            GRASP(iterations=500, sync_every=20, sync=GD(learning_rate=0.2, iterations=20)), 20
        ),
        "rate 0.2 60 steps every 40": Row(long, 40),
        "rate 0.2 60 steps every 40 in bfloat16": Row(long, 40, mixed_precision),
        "GD alone at rate 0.2": Row(GD(learning_rate=0.2, iterations=150), 10),
        "20 segments at rate 1": Row(segments, 220),  # a tenth of plain's model steps in series
    }


_LABELS = {
    "plain": "author's settings, actions encoded at every step",
    "prepared actions": "author's settings",
}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list("seeds", ["1"], "Random weights and goals; one of each per seed.")
    flags.DEFINE_integer("horizon", 60, "T, model steps.", lower_bound=2)
    flags.DEFINE_list("rows", list(rows()), "What to compare; `plain` always comes first.")
    flags.DEFINE_integer("cores", 1, "CPU cores to use; 0 for all.", lower_bound=0)
    flags.DEFINE_string("output", "runs/benchmark", "Folder for results and the picture.")


def follow(
    model: LeWM, horizon: int, seed: int, row: Row, target: float, limit: float
) -> tuple[list[float], list[float]]:
    """Plans until `target` or `limit` seconds; returns seconds and best true costs so far.

    Args:
      model: The true model.
      horizon: `T`.
      seed: Of the goal and of the planner's key.
      row: How to plan.
      target: Cost to stop at.
      limit: Seconds to stop at.
    """
    start, goal = models.reachable(model, horizon, seed)
    planned = model if row.wrap is None else row.wrap(model)
    context, actions = model.empty_context(), jnp.zeros((horizon, models.ACTION_SIZE))
    search = grasp_jax.start(
        grasp_jax.make_problem(planned, start, goal, actions, context=context),
        jax.random.key(seed),
        planner=row.planner,
    )
    problem = grasp_jax.make_problem(model, start, goal, actions, context=context)
    score = jax.jit(rollout_cost).lower(problem, actions).compile()
    program = programs.advance.lower(search, iterations=row.every).compile()
    seconds, costs, spent = [0.0], [float(score(problem, actions))], 0.0
    for _ in range(row.planner.iterations // row.every):
        began = time.perf_counter()
        leaves, _ = programs.advance.flatten(search)
        state, _ = jax.block_until_ready(program(leaves))
        spent += time.perf_counter() - began
        search = dataclasses.replace(search, state=state)
        seconds.append(spent)
        costs.append(min(costs[-1], float(score(problem, state.best_actions))))
        if costs[-1] <= target or spent >= limit:
            break
    return seconds, costs


def summarise(records: list[Record]) -> list[Record]:
    """Per row: seconds to the cost that `plain` ends with, and how many times sooner."""
    plain = {(r["seed"], r["horizon"]): r for r in records if r["row"] == "plain"}
    found = []
    for record in records:
        against = plain[record["seed"], record["horizon"]]
        end = against["costs"][-1]
        # A run goes on after its best plan.
        total = _seconds_until(against, end)
        needed = _seconds_until(record, end)
        found.append(
            {
                "row": record["row"],
                "seed": record["seed"],
                "horizon": record["horizon"],
                "cost_at_start": record["costs"][0],
                "cost_at_end": record["costs"][-1],
                "seconds": record["seconds"][-1],
                "reached": needed is not None,
                "times_sooner": total / needed if total and needed else None,
                "device": record["device"],
                "cores": record["cores"],
            }
        )
    return found


def _seconds_until(record: Record, cost: float) -> float | None:
    """Seconds of the first look at a plan of this cost or less."""
    looks = zip(record["seconds"], record["costs"], strict=True)
    return next((seconds for seconds, found in looks if found <= cost), None)


def draw(records: list[Record], path: pathlib.Path) -> None:
    """Best cost against seconds, a panel per seed."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator

    from experiments.harness.plots import plt, save_figure

    seeds = sorted({r["seed"] for r in records})
    figure, panels = plt.subplots(
        1, len(seeds), figsize=(4.2 * len(seeds) + 1, 4), layout="constrained", squeeze=False
    )
    names = [n for n in rows() if any(r["row"] == n for r in records)]
    for axes, seed in zip(panels[0], seeds, strict=True):
        for record in records:
            if record["seed"] == seed:
                axes.plot(
                    record["seconds"],
                    record["costs"],
                    color=f"C{names.index(record['row'])}",
                    label=record["row"],
                )
        axes.set(xlabel="seconds, one core", yscale="log")
        axes.set_title(f"LeWM's size, random weights, seed {seed}", fontsize=10)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(alpha=0.25)
    panels[0][0].set_ylabel("cost of the best rollout")
    handles = [Line2D([], [], color=f"C{i}", label=_LABELS.get(n, n)) for i, n in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    save_figure(figure, path)


def main(argv: list[str]) -> None:
    """Plans, prints, draws."""
    begin(argv, keep_programs=False)
    unknown = [n for n in flags.FLAGS.rows if n not in rows()]
    if unknown:
        raise app.UsageError(f"--rows: no {unknown[0]!r}; there are {', '.join(rows())}.")
    use_cores(flags.FLAGS.cores)
    folder, horizon = pathlib.Path(flags.FLAGS.output), flags.FLAGS.horizon
    log = ResultLog(folder / "sync.jsonl", KEY_FIELDS)
    names = list(dict.fromkeys(["plain", *flags.FLAGS.rows]))
    seeds = [int(s) for s in flags.FLAGS.seeds]
    with progress(len(names) * len(seeds), "sync") as bar:
        for seed in seeds:
            model = LeWM.random(jax.random.key(seed))
            target, limit = -1.0, float("inf")
            for name in names:
                cell = {"seed": seed, "horizon": horizon, "row": name}
                if not log.done(**cell):
                    seconds, costs = follow(model, horizon, seed, rows()[name], target, limit)
                    log.append({**cell, "seconds": seconds, "costs": costs, **machine()})
                if name == "plain":
                    plain = log.lookup(**cell) or {}
                    target, limit = plain["costs"][-1], plain["seconds"][-1]
                bar(latest=f"{name}, seed {seed}")
    table = summarise(log.records)
    write_summary(folder / "sync.csv", table)
    print_table(table, f"Seconds until the cost that plain ends with, T = {horizon}")
    draw([r for r in log.records if r["horizon"] == horizon], folder / "sync.png")


if __name__ == "__main__":
    define_flags()
    app.run(main)
