r"""The main job: plan Push-T through a learned world model, score every plan in the simulator.

    python -m experiments.pusht                        # a few minutes on 2 cores
    python -m experiments.pusht --goals=500 --nocompile_fast \
        --output=experiments/results/pusht_state       # the recorded table: an hour

Prints and writes the table of success, planning time and model evaluations for each planner and
horizon, between the zero-action floor and the ground-truth ceiling; two plots and a GIF. Results
are written as they finish; the same command resumes after a kill. Several machines share a sweep
with --process=0 --processes=4 and so on: each plans its goals, the last one to finish (or any later
run) sums up all of them, and a process that died is started again.
"""

import json
import pathlib
import time
from typing import Any

from absl import app, flags

from experiments import pusht_runner, summary
from experiments.cells import make_cells, run_cells, together
from experiments.pusht_planners import describe, extra, planners
from experiments.pusht_runner import KEY_FIELDS
from experiments.reporting import CEILING, FLOOR, ResultLog, print_table, write_summary


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_list(
        "horizons", ["40", "50", "60", "70", "80"], "Environment steps from start to goal."
    )
    flags.DEFINE_integer("goals", 10, "Goals per planner and horizon.", lower_bound=1)
    flags.DEFINE_list("planners", [], "Names of the table; by default all but those of `extra`.")
    flags.DEFINE_integer("seed", 0, "Seed of goals and keys.")
    flags.DEFINE_enum(
        "timing",
        "batch",
        ["batch", "alone"],
        "What planning seconds mean: a goal's share of a batch, or one planned alone (compiles "
        "every program twice). Both on one core, compilation apart.",
    )
    flags.DEFINE_float(
        "time_budget", None, "Seconds of planning per goal (see --timing); unlimited by default."
    )
    flags.DEFINE_integer("checks", 10, "Reads of a search at fixed intervals, at most.")
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)
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
    flags.DEFINE_string("output", "runs/pusht", "Folder for results and pictures.")
    flags.DEFINE_bool("pictures", True, "Draw the plots and the GIF.")


_COLUMNS = (
    "horizon",
    "planner",
    "goals",
    "success",
    "success_any_time",
    "predicted_success",
    "median_seconds",
    "plan_seconds",
    "model_forward",
    "model_backward",
    "compile_seconds",
)


def check_settings(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """Records the settings of a folder of results, or raises if it holds results of others."""
    path = folder / "settings.json"
    settings = json.loads(json.dumps(settings))
    held = json.loads(path.read_text()) if path.exists() else {"planners": {}}
    held["planners"] = {name: _used(planner) for name, planner in held["planners"].items()}
    settings["planners"] = {name: _used(planner) for name, planner in settings["planners"].items()}
    for name in ("seed", "checks", "time_budget", "timing"):
        if name in held and held[name] != settings[name]:
            raise ValueError(
                f"{folder} holds results with {name}={held[name]}, this run has "
                f"{name}={settings[name]}. Pass another --output, or delete the folder."
            )
    for name, planner in settings["planners"].items():
        if held["planners"].get(name, planner) != planner:
            raise ValueError(
                f"{folder} holds results of {name} with other settings. Pass another --output, "
                "or delete the folder."
            )
    settings["planners"] = {**held["planners"], **settings["planners"]}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n")


def _used(value: Any) -> Any:
    """A planner's description without what is off, so that new fields change nothing."""
    if isinstance(value, dict):
        return {name: _used(v) for name, v in value.items() if v is not None}
    return [_used(v) for v in value] if isinstance(value, list) else value


def main(argv: list[str]) -> None:
    """Plans, scores, prints, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; flags start with --.")
    began = time.perf_counter()
    folder = pathlib.Path(flags.FLAGS.output)
    available = {FLOOR: None, CEILING: None, **planners(), **extra()}
    unknown = [name for name in flags.FLAGS.planners if name not in available]
    if unknown:
        raise app.UsageError(f"--planners: no {unknown[0]!r}; there are {', '.join(available)}.")
    wanted = flags.FLAGS.planners or list(planners())
    chosen = {n: p for n, p in available.items() if n in wanted}
    chosen = {FLOOR: None, CEILING: None, **chosen}
    horizons = [int(h) for h in flags.FLAGS.horizons]
    if any(h < 5 or h % 5 for h in horizons):
        raise app.UsageError(f"--horizons must be multiples of 5 (model steps), got {horizons}.")
    settings = {
        "seed": flags.FLAGS.seed,
        "checks": flags.FLAGS.checks,
        "time_budget": flags.FLAGS.time_budget,
        "timing": flags.FLAGS.timing,
        "planners": {name: describe(planner) for name, planner in chosen.items()},
    }
    check_settings(folder, settings)
    process, processes = flags.FLAGS.process, flags.FLAGS.processes
    if process >= processes:
        raise app.UsageError(f"--process={process} must be below --processes={processes}.")
    mine = "results.jsonl" if processes == 1 else f"results.{process}.jsonl"
    log = ResultLog(folder / mine, KEY_FIELDS, others=sorted(folder.glob("results*.jsonl")))
    cells = make_cells(
        chosen,
        horizons,
        flags.FLAGS.goals,
        flags.FLAGS.seed,
        log,
        checks=flags.FLAGS.checks,
        time_budget=flags.FLAGS.time_budget,
        timing=flags.FLAGS.timing,
        share=(process, processes),
    )
    if cells:
        run_cells(
            pusht_runner.run_cell,
            together(cells) if flags.FLAGS.compile_fast else cells,
            log,
            flags.FLAGS.workers,
            "Push-T, state",
            flags.FLAGS.compile_fast,
        )
    else:
        print(f"Every result is already in {folder}; delete the folder to plan anew.")
    log = ResultLog(folder / mine, KEY_FIELDS, others=sorted(folder.glob("results*.jsonl")))
    report(folder, log, list(available), horizons, flags.FLAGS.goals)
    print(f"Finished in {time.perf_counter() - began:.0f} s. Results and pictures: {folder}")


def report(
    folder: pathlib.Path, log: ResultLog, names: list[str], horizons: list[int], goals: int
) -> None:
    """Writes summary and pictures, and prints the table, from the recorded results alone."""
    records = [
        r
        for r in log.records
        if r["planner"] in names and r["horizon"] in horizons and r["goal"] < goals
    ]
    order = {name: i for i, name in enumerate(names)}
    records.sort(key=lambda r: (r["horizon"], order[r["planner"]], r["goal"]))
    rows = summary.summarise(records)
    write_summary(folder / "summary.csv", rows)
    print_table(
        rows,
        title="Push-T through a learned state model, open loop, scored in the simulator",
        columns=_COLUMNS,
    )
    if flags.FLAGS.pictures:
        from experiments import pusht_pictures

        # A planner that has not planned all goals would be drawn on other goals than its rivals.
        full = [row for row in rows if row["goals"] == goals]
        cells = {(row["planner"], row["horizon"]) for row in full}
        drawn = [r for r in records if (r["planner"], r["horizon"]) in cells]
        pusht_pictures.draw_all(folder, drawn, full)


if __name__ == "__main__":
    define_flags()
    app.run(main)
