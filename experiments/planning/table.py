"""What the planning commands share: flags, settings of a folder of results, the run, the report."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags

from experiments.harness import summary
from experiments.harness.log import CEILING, FLOOR, LOGS, Record, ResultLog
from experiments.harness.settings import check_settings, describe, fingerprint
from experiments.harness.tables import print_table, write_summary
from experiments.models.checkpoint import locate
from experiments.planning import pictures, runner
from experiments.planning.cells import make_cells, run_cells, together
from experiments.planning.runner import CLOSED_LOOP, KEY_FIELDS, Setting
from experiments.planning.tasks import Task

Draw = Callable[[pathlib.Path, Sequence[Setting], list[Record], list[Record]], None]
"""`(folder, settings, records, rows)` draws the pictures."""

_SHORT = 10
"""Goals planned side by side in short runs."""

_COLUMNS = (
    "environment",
    "mode",
    "horizon",
    "planner",
    "goals",
    "success",
    "success_any_time",
    "predicted_success",
    "median_seconds",
    "plan_seconds",
    "control_seconds",
    "model_forward",
    "model_backward",
    "compile_seconds",
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table to fill.

    Attributes:
      title: Above the table, and beside the progress.
      settings: The environments and their models, how their goals are planned.
      planners: Name to planner, those of the table; in the table's order.
      extra: More planners, run only where `--planners` names them.
      default: The names that run where `--planners` names none; all of the table if empty.
      draw: Draws the pictures.
    """

    title: str
    settings: tuple[Setting, ...]
    planners: Mapping[str, Any]
    extra: Mapping[str, Any]
    default: tuple[str, ...] = ()
    draw: Draw = pictures.draw_all

    @property
    def mode(self) -> str:
        """`open_loop` or `closed_loop`, the same of all settings."""
        return self.settings[0].mode


def define_flags(
    horizons: Sequence[int], goals: int, output: str, checkpoint: bool = True, checks: int = 10
) -> None:
    """Defines the flags of a planning command, with its defaults.

    Args:
      horizons: Environment steps.
      goals: Per planner and horizon.
      output: Folder.
      checkpoint: Whether models are files.
      checks: Reads of a search.
    """
    if checkpoint:
        flags.DEFINE_string(
            "checkpoint",
            None,
            "The model: a shipped one's name, or a file; by default the environment's own.",
        )
    flags.DEFINE_integer(
        "replan_every",
        None,
        "Close the loop: plan anew from what is seen now every so many model steps. By default "
        "plans are executed blindly.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "budget", 1.0, "Closed loop: time to act, in multiples of the horizon.", lower_bound=0.1
    )
    flags.DEFINE_list(
        "horizons", [str(h) for h in horizons], "Environment steps from start to goal."
    )
    flags.DEFINE_integer("goals", goals, "Goals per planner and horizon.", lower_bound=1)
    flags.DEFINE_list("planners", [], "Rows of the table, or more; `all` for the whole table.")
    flags.DEFINE_integer("seed", 0, "Seed of goals and keys.")
    flags.DEFINE_enum(
        "timing",
        "batch",
        ["batch", "alone"],
        "What planning seconds mean: a goal's share of a batch, or one planned alone (compiles "
        "every program twice). Both on one core, or an accelerator, compilation apart.",
    )
    flags.DEFINE_float(
        "time_budget", None, "Seconds of planning per goal (see --timing); unlimited by default."
    )
    flags.DEFINE_integer(
        "checks", checks, "Reads of a search at fixed intervals, at most.", lower_bound=1
    )
    flags.DEFINE_integer(
        "workers", 2, "Processes, one core each; an accelerator gets one.", lower_bound=1
    )
    flags.DEFINE_integer(
        "process", 0, "Which of --processes this is, on one machine or several.", lower_bound=0
    )
    flags.DEFINE_integer(
        "processes",
        1,
        "Independent runs that share the goals of a sweep and, as a file system, --output.",
        lower_bound=1,
    )
    flags.DEFINE_bool(
        "compile_fast",
        True,
        "Compile faster and run slower, one program per planner for all horizons, padded to the "
        "longest, whose planning time they share. Right for few goals, wrong for hundreds.",
    )
    flags.DEFINE_string("output", output, "Folder for results and pictures.")
    flags.DEFINE_bool("pictures", True, "Draw the plots and the GIF.")


def make_table(
    task: Task,
    planners: Mapping[str, Any],
    extra: Mapping[str, Any],
    default: tuple[str, ...] = (),
) -> Table:
    """The table of one environment, as the flags say: which model, open or closed loop."""
    values = flags.FLAGS
    checkpoint = values.checkpoint or task.checkpoint
    setting = Setting(task, checkpoint, values.replan_every, values.budget)
    closed = setting.mode == CLOSED_LOOP
    how = f"replanned every {setting.replan_every} model steps" if closed else "open loop"
    seen = "pixels" if task.observation == "pixels" else "states"
    title = f"{task.title} from {seen}, {how}, scored in the simulator"
    return Table(title, (setting,), planners, extra, default)


def run(table: Table) -> None:
    """Plans what is missing, scores, prints, draws, as the flags say."""
    began, values = time.perf_counter(), flags.FLAGS
    folder = pathlib.Path(values.output)
    available = {FLOOR: None, CEILING: None, **table.planners, **table.extra}
    chosen = _chosen(table, available)
    horizons = [int(h) for h in values.horizons]
    every = table.settings[0].task.frameskip
    if any(h < every or h % every for h in horizons):
        raise app.UsageError(f"--horizons must be multiples of {every}, got {horizons}.")
    # Closed-loop rows may use other settings under the same name.
    prefix = f"{CLOSED_LOOP} " if table.mode == CLOSED_LOOP else ""
    check_settings(
        folder,
        {
            **{name: values[name].value for name in ("seed", "checks", "time_budget", "timing")},
            **_models(table.settings),
            "planners": {prefix + name: describe(planner) for name, planner in chosen.items()},
        },
    )
    _plan(table, folder, chosen, horizons)
    log = _open_log(folder)
    report(table, folder, log.records, list(available), horizons, values.goals)
    drawn = sorted(p.name for p in folder.iterdir() if p.suffix in (".png", ".gif"))
    print(f"Finished in {time.perf_counter() - began:.0f} s. Table: {folder / 'summary.csv'}")
    print(f"Pictures in {folder}: {', '.join(drawn)}", flush=True)


def _models(settings: Sequence[Setting]) -> Record:
    """What all results of a folder must share besides the flags: the model, and the loop."""
    first = settings[0]
    found: Record = {}
    if first.task.success_cost is None:
        model = fingerprint(locate(first.checkpoint))
        found = {"checkpoint": first.checkpoint, "model": model}
    if first.mode == CLOSED_LOOP:
        found |= {"replan_every": first.replan_every, "budget": first.budget}
    return found


def _chosen(table: Table, available: dict[str, Any]) -> dict[str, Any]:
    named = flags.FLAGS.planners
    wanted = set(table.planners if named == ["all"] else named or table.default or table.planners)
    if unknown := sorted(wanted - set(available)):
        raise app.UsageError(f"--planners: no {unknown[0]!r}; there are {', '.join(available)}.")
    wanted |= {FLOOR, CEILING} if table.mode != CLOSED_LOOP else set()
    return {n: p for n, p in available.items() if n in wanted}


def _open_log(folder: pathlib.Path) -> ResultLog:
    process, processes = flags.FLAGS.process, flags.FLAGS.processes
    if process >= processes:
        raise app.UsageError(f"--process={process} must be below --processes={processes}.")
    mine = "results.jsonl" if processes == 1 else f"results.{process}.jsonl"
    return ResultLog(folder / mine, KEY_FIELDS, others=sorted(folder.glob(LOGS)))


def _plan(table: Table, folder: pathlib.Path, chosen: dict[str, Any], horizons: list[int]) -> None:
    log, values = _open_log(folder), flags.FLAGS
    # The default's order, which begins with what to see first.
    order = {name: i for i, name in enumerate(table.default)}
    chosen = dict(sorted(chosen.items(), key=lambda item: order.get(item[0], len(order))))
    cells = make_cells(
        chosen,
        horizons,
        values.goals,
        values.seed,
        log,
        checks=values.checks,
        time_budget=values.time_budget,
        timing=values.timing,
        share=(values.process, values.processes),
        settings=table.settings,
    )
    if not cells:
        print(f"Every result is already in {folder}; delete the folder to plan anew.")
        return
    fast = values.compile_fast
    cells = together(cells, _SHORT) if fast and table.mode != CLOSED_LOOP else cells
    first_core = values.process * values.workers
    shows = fast and values.pictures and table.draw is pictures.draw_all
    look = functools.partial(_show_first, table.settings[0], folder) if shows else None
    print(f"{table.title}: compiling and planning; a line for every batch of goals follows.")
    run_cells(runner.run_cell, cells, log, values.workers, table.title, fast, first_core, look)


def _show_first(setting: Setting, folder: pathlib.Path, records: list[Record]) -> None:
    """Draws the first plan of a folder, long before all are there."""
    path, first = folder / "first_plan.gif", records[0]
    if "actions" in first and not path.exists():
        pictures.film_gif(setting, path, first)
        print(f"First plan, {first['planner']}, H = {first['horizon']}: {path}", flush=True)


def report(
    table: Table,
    folder: pathlib.Path,
    records: list[Record],
    names: list[str],
    horizons: list[int],
    goals: int,
) -> None:
    """Writes summary and pictures, and prints the table, from the recorded results alone.

    The summary holds all of the folder, the table and the pictures the first `goals` goals of this
    run's mode.
    """
    known = [r for r in records if r["planner"] in names]
    order = {name: i for i, name in enumerate(names)}
    places = {setting.task.name: i for i, setting in enumerate(table.settings)}
    known.sort(
        key=lambda r: (
            places.get(r["environment"], len(places)),
            r["mode"] == CLOSED_LOOP,
            r["horizon"],
            order[r["planner"]],
            r["goal"],
        )
    )
    write_summary(folder / "summary.csv", summary.summarise(known))
    known = [r for r in known if r["goal"] < goals and r["mode"] == table.mode]
    rows = summary.summarise(known)
    shown = [row for row in rows if row["horizon"] in horizons]
    print_table(shown, title=table.title, columns=_filled(shown))
    if flags.FLAGS.pictures:
        # A planner that has not planned all goals would be drawn on other goals than its rivals.
        full = [row for row in shown if row["goals"] == goals]
        # Variants that this run did not name would hide the table's planners.
        wanted = {*table.planners, *flags.FLAGS.planners, FLOOR, CEILING}
        full = [row for row in full if row["planner"] in wanted]
        cells = {tuple(row[k] for k in summary.CELL) for row in full}
        drawn = [r for r in known if tuple(r[k] for k in summary.CELL) in cells]
        table.draw(folder, table.settings, drawn, full)


def _filled(rows: list[Record]) -> list[str]:
    """The columns that are worth printing."""
    modes = {row["mode"] for row in rows}
    hidden = {"mode"} if len(modes) < 2 else set()
    hidden |= {"environment"} if len({row["environment"] for row in rows}) < 2 else set()
    return [c for c in _COLUMNS if c not in hidden and any(row.get(c) is not None for row in rows)]
