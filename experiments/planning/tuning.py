"""What the sweeps over planners' settings share: whom to try, the run, the table."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import app, flags

from experiments.harness import summary
from experiments.harness.log import ResultLog
from experiments.harness.settings import check_settings, describe, fingerprint
from experiments.harness.tables import print_table, write_summary
from experiments.models.checkpoint import locate
from experiments.planning import runner
from experiments.planning.cells import make_cells, run_cells
from experiments.planning.runner import KEY_FIELDS, Setting

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


def run(settings: tuple[Setting, ...], candidates: Candidates, folder: pathlib.Path) -> None:
    """Plans what is missing on tuning goals, prints, writes.

    Args:
      settings: The environments and their models.
      candidates: Whom to try, as far as the flags want them.
      folder: Of results.
    """
    given, first = flags.FLAGS, settings[0]
    chosen = choose(candidates, given.families)
    recorded: dict[str, Any] = {"planners": {n: describe(p) for n, p in chosen.items()}}
    if first.task.success_cost is None:
        recorded |= {"checkpoint": first.checkpoint, "model": fingerprint(locate(first.checkpoint))}
    check_settings(folder, recorded, "tuning_settings.json", results="tuning.jsonl*")
    log = ResultLog(folder / "tuning.jsonl", KEY_FIELDS)
    horizons = [int(h) for h in given.horizons]
    cells = make_cells(
        chosen, horizons, given.goals, 0, log, split="tune", checks=1, settings=settings
    )
    cells = [dataclasses.replace(c, chunk=given.goals) for c in cells]
    title = f"{first.task.title} from {first.task.observation}: settings on tuning goals"
    run_cells(runner.run_cell, cells, log, given.workers, title)
    rows = summary.summarise(sorted(log.records, key=lambda r: (r["horizon"], r["planner"])))
    write_summary(folder / "tuning.csv", rows)
    print_table(rows, title=title)
