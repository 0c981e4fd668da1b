"""What the sweeps over settings share: whom to try, the run, the table."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import app, flags

from experiments.harness import summary
from experiments.harness.log import ResultLog, print_table, write_summary
from experiments.harness.settings import check_settings, describe, fingerprint
from experiments.harness.workers import Work
from experiments.models.checkpoint import locate
from experiments.planning import runner
from experiments.planning.cells import make_cells, run_cells
from experiments.planning.tasks import Task

Candidates = Mapping[str, Mapping[str, Any]]
"""Family to (label to planner)."""


def define_flags(horizon: int, goals: int) -> None:
    """Defines the flags that sweeps share, with their defaults."""
    flags.DEFINE_integer("goals", goals, "Goals per setting.", lower_bound=1)
    flags.DEFINE_list("horizons", [str(horizon)], "Environment steps.")
    flags.DEFINE_list(
        "families",
        [],
        "Families to sweep, or settings of theirs (in quotes, where they hold a comma); all by "
        "default.",
    )
    flags.DEFINE_integer("workers", 2, "Processes, one core each.", lower_bound=1)


def choose(candidates: Candidates, wanted: list[str]) -> dict[str, Any]:
    """`family: label` to planner, of the families or settings that are wanted; all by default."""
    every = {
        (family, f"{family}: {label}"): planner
        for family, settings in candidates.items()
        for label, planner in settings.items()
    }
    if unknown := sorted(set(wanted) - {name for names in every for name in names}):
        known = ", ".join(candidates)
        raise app.UsageError(f"--families: no {unknown[0]!r}; there are {known}.")
    return {names[1]: p for names, p in every.items() if not wanted or set(wanted) & set(names)}


def run(
    title: str,
    candidates: Candidates,
    work: Work,
    key_fields: tuple[str, ...],
    folder: pathlib.Path,
    recorded: Mapping[str, Any],
    setting: Any = None,
    identity: Mapping[str, Any] | None = None,
) -> None:
    """Plans what is missing on tuning goals, prints, writes.

    Args:
      title: Of the table.
      candidates: Whom to try, as far as the flags want them.
      work: See `run_cells`.
      key_fields: Fields that identify a record.
      folder: Of results.
      recorded: What all results of the folder must share.
      setting: What every cell must know besides.
      identity: The key fields of this run besides planner, horizon and goal.
    """
    given = flags.FLAGS
    chosen = choose(candidates, given.families)
    described = {label: describe(planner) for label, planner in chosen.items()}
    settings = {**recorded, "planners": described}
    check_settings(folder, settings, "tuning_settings.json", results="tuning.jsonl*")
    log = ResultLog(folder / "tuning.jsonl", key_fields)
    cells = make_cells(
        chosen,
        [int(h) for h in given.horizons],
        given.goals,
        0,
        log,
        split="tune",
        checks=1,
        setting=setting,
        identity=dict(identity or {}),
    )
    cells = [dataclasses.replace(c, chunk=given.goals) for c in cells]
    run_cells(work, cells, log, given.workers, f"tuning, {title}")
    rows = summary.summarise(sorted(log.records, key=lambda r: (r["horizon"], r["planner"])))
    write_summary(folder / "tuning.csv", rows)
    print_table(rows, title=f"{title}: sweep on tuning goals")


def run_pixels(task: Task, checkpoint: str, candidates: Candidates, folder: pathlib.Path) -> None:
    """The same through a visual model, open loop."""
    setting = runner.Setting(task, checkpoint)
    run(
        f"{task.title} from pixels",
        candidates,
        runner.run_cell,
        runner.KEY_FIELDS,
        folder,
        {"checkpoint": checkpoint, "model": fingerprint(locate(checkpoint))},
        setting,
        {"mode": setting.mode},
    )
