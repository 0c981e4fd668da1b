"""What the planning binaries share: flags, settings of a folder of results, the run, the report."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags

from experiments.harness import summary
from experiments.harness.log import (
    CEILING,
    FLOOR,
    LOGS,
    Record,
    ResultLog,
    print_table,
    write_summary,
)
from experiments.harness.settings import check_settings, describe
from experiments.harness.workers import Work
from experiments.planning.cells import make_cells, run_cells, together

_COLUMNS = (
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
class Sweep:
    """A table to fill.

    Attributes:
      title: Above the table, and beside the progress bar.
      planners: Name to planner, those of the table; in the table's order.
      extra: More planners, run only where `--planners` names them.
      work: Plans and scores one cell, see `run_cells`.
      key_fields: Fields that identify a record.
      draw: `(folder, records, rows)` draws the pictures.
      setting: What every cell must know besides.
      identity: The key fields of this run besides planner, horizon and goal.
      recorded: Settings that all results of a folder must share, besides those of the flags.
      bounds: Whether to run the floor and the ceiling.
      pad: Whether a short run may plan all horizons of a planner in one program.
    """

    title: str
    planners: Mapping[str, Any]
    extra: Mapping[str, Any]
    work: Work
    key_fields: tuple[str, ...]
    draw: Callable[[pathlib.Path, list[Record], list[Record]], None]
    setting: Any = None
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recorded: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    bounds: bool = True
    pad: bool = True


def define_flags(horizons: Sequence[int], goals: int, output: str) -> None:
    """Defines the flags of a planning binary, with its defaults."""
    flags.DEFINE_list(
        "horizons", [str(h) for h in horizons], "Environment steps from start to goal."
    )
    flags.DEFINE_integer("goals", goals, "Goals per planner and horizon.", lower_bound=1)
    flags.DEFINE_list("planners", [], "Names of the table; by default all but those of `extra`.")
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
        "checks", 10, "Reads of a search at fixed intervals, at most.", lower_bound=1
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


def run(sweep: Sweep) -> None:
    """Plans what is missing, scores, prints, draws, as the flags say."""
    began = time.perf_counter()
    folder = pathlib.Path(flags.FLAGS.output)
    available = {FLOOR: None, CEILING: None, **sweep.planners, **sweep.extra}
    chosen = _chosen(sweep, available)
    horizons = [int(h) for h in flags.FLAGS.horizons]
    if any(h < 5 or h % 5 for h in horizons):
        raise app.UsageError(f"--horizons must be multiples of 5 (model steps), got {horizons}.")
    # Closed-loop rows may use other settings under the same name.
    prefix = "".join(f"{value} " for value in sweep.identity.values() if value != "open_loop")
    settings = {
        "seed": flags.FLAGS.seed,
        "checks": flags.FLAGS.checks,
        "time_budget": flags.FLAGS.time_budget,
        "timing": flags.FLAGS.timing,
        **sweep.recorded,
        "planners": {prefix + name: describe(planner) for name, planner in chosen.items()},
    }
    check_settings(folder, settings)
    _plan(sweep, folder, chosen, horizons)
    log = _open_log(sweep, folder)
    report(sweep, folder, log.records, list(available), horizons, flags.FLAGS.goals)
    print(f"Finished in {time.perf_counter() - began:.0f} s. Results and pictures: {folder}")


def _chosen(sweep: Sweep, available: dict[str, Any]) -> dict[str, Any]:
    unknown = [name for name in flags.FLAGS.planners if name not in available]
    if unknown:
        raise app.UsageError(f"--planners: no {unknown[0]!r}; there are {', '.join(available)}.")
    wanted = [
        *(flags.FLAGS.planners or sweep.planners),
        *((FLOOR, CEILING) if sweep.bounds else ()),
    ]
    return {n: p for n, p in available.items() if n in wanted}


def _open_log(sweep: Sweep, folder: pathlib.Path) -> ResultLog:
    process, processes = flags.FLAGS.process, flags.FLAGS.processes
    if process >= processes:
        raise app.UsageError(f"--process={process} must be below --processes={processes}.")
    mine = "results.jsonl" if processes == 1 else f"results.{process}.jsonl"
    return ResultLog(folder / mine, sweep.key_fields, others=sorted(folder.glob(LOGS)))


def _plan(sweep: Sweep, folder: pathlib.Path, chosen: dict[str, Any], horizons: list[int]) -> None:
    log = _open_log(sweep, folder)
    cells = make_cells(
        chosen,
        horizons,
        flags.FLAGS.goals,
        flags.FLAGS.seed,
        log,
        checks=flags.FLAGS.checks,
        time_budget=flags.FLAGS.time_budget,
        timing=flags.FLAGS.timing,
        share=(flags.FLAGS.process, flags.FLAGS.processes),
        setting=sweep.setting,
        identity=dict(sweep.identity),
    )
    if not cells:
        print(f"Every result is already in {folder}; delete the folder to plan anew.")
        return
    fast = flags.FLAGS.compile_fast
    cells = together(cells) if fast and sweep.pad else cells
    workers = flags.FLAGS.workers
    first_core = flags.FLAGS.process * workers
    run_cells(sweep.work, cells, log, workers, sweep.title, fast, first_core)


def report(
    sweep: Sweep,
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
    mode = sweep.identity.get("mode")
    known = [r for r in records if r["planner"] in names]
    order = {name: i for i, name in enumerate(names)}
    known.sort(
        key=lambda r: (r["mode"] != "open_loop", r["horizon"], order[r["planner"]], r["goal"])
    )
    write_summary(folder / "summary.csv", summary.summarise(known))
    known = [r for r in known if r["goal"] < goals and mode in (None, r["mode"])]
    rows = summary.summarise(known)
    shown = [row for row in rows if row["horizon"] in horizons]
    print_table(shown, title=sweep.title, columns=_filled(shown))
    if flags.FLAGS.pictures:
        # A planner that has not planned all goals would be drawn on other goals than its rivals.
        full = [row for row in shown if row["goals"] == goals]
        # Variants that this run did not name would hide the table's planners.
        wanted = {*sweep.planners, *flags.FLAGS.planners, FLOOR, CEILING}
        full = [row for row in full if row["planner"] in wanted]
        cells = {(row["mode"], row["planner"], row["horizon"]) for row in full}
        drawn = [r for r in known if (r["mode"], r["planner"], r["horizon"]) in cells]
        sweep.draw(folder, drawn, full)


def _filled(rows: list[Record]) -> list[str]:
    """The columns that are worth printing."""
    modes = {row["mode"] for row in rows}
    hidden = {"mode"} if len(modes) < 2 else set()
    return [c for c in _COLUMNS if c not in hidden and any(row.get(c) is not None for row in rows)]
