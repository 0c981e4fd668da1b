"""The tables of Push-T's far goals, for `experiments.tables`."""

import functools
import statistics

from experiments.harness.log import Record, read_results
from experiments.harness.tables import RESULTS, markdown, only_one, share

OURS, BASELINE = "GRASP-iCEM", "iCEM"


@functools.cache
def _cells() -> dict[str, dict[int, list[Record]]]:
    """Planner to offset to records."""
    cells: dict[str, dict[int, list[Record]]] = {}
    for record in read_results(RESULTS / "pusht_far"):
        cells.setdefault(record["planner"], {}).setdefault(record["horizon"], []).append(record)
    return cells


def far() -> str:
    """Success when an episode ends, per offset; in brackets behind it, at any time."""
    offsets = sorted({offset for found in _cells().values() for offset in found})
    lines = [
        [name, *(_success(found.get(offset, [])) for offset in offsets)]
        for name, found in _cells().items()
    ]
    pairs = [only_one(_solved(OURS, o), _solved(BASELINE, o)) for o in offsets]
    lines.append([f"only {OURS} : only {BASELINE}", *pairs])
    return markdown(["planner", *(f"{offset} steps" for offset in offsets)], lines)


def far_costs() -> str:
    """What an episode costs, per offset: environment steps and seconds of planning."""
    offsets = sorted({offset for found in _cells().values() for offset in found})
    lines = []
    for name, found in _cells().items():
        every = [r["control_seconds"] for rows in found.values() for r in rows]
        costs = [
            f"{_mean(rows, 'steps'):.0f} steps, {_mean(rows, 'seconds'):.1f} s" if rows else ""
            for rows in (found.get(offset, []) for offset in offsets)
        ]
        lines.append([name, *costs, f"{statistics.median(every):.2f}"])
    header = ["planner", *(f"{offset} steps" for offset in offsets)]
    return markdown([*header, "s per control step"], lines)


def _success(records: list[Record]) -> str:
    if not records:
        return ""
    ever = sum(r["success_any_time"] for r in records) / len(records)
    return f"{share(sum(r['success'] for r in records), len(records))} ({100 * ever:.0f})"


def _solved(name: str, offset: int) -> dict[int, bool]:
    return {r["goal"]: r["success"] for r in _cells().get(name, {}).get(offset, [])}


def _mean(records: list[Record], field: str) -> float:
    return statistics.fmean(r[field] for r in records)
