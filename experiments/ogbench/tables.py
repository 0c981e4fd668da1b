"""The tables of the point mazes, for `experiments.tables`."""

import functools
import json
import pathlib

import numpy as np

from experiments.harness.log import Record, read_results
from experiments.harness.tables import RESULTS, markdown, share
from experiments.ogbench.train import CHECKPOINTS

FOLDER, PIXELS = RESULTS / "ogbench_states", RESULTS / "ogbench_pixels"
OURS = "GRASP-graph"
STEP_SECONDS = 0.1
"""Simulated seconds of an environment step."""


@functools.cache
def _cells(mode: str, folder: pathlib.Path = FOLDER) -> dict[tuple[str, str], list[Record]]:
    """(maze, planner) to records, each episode once."""
    cells: dict[tuple[str, str], dict[tuple[int, int], Record]] = {}
    for record in read_results(folder):
        if record["mode"] == mode:
            name = record["environment"].removeprefix("pointmaze-"), record["planner"]
            cells.setdefault(name, {})[record["seed"], record["goal"]] = record
    return {name: list(found.values()) for name, found in sorted(cells.items())}


def solved(records: list[Record], counted: bool = False) -> str:
    """Success in % with its interval, and of how many; empty without records."""
    if not records:
        return ""
    found = share(sum(r["success"] for r in records), len(records))
    return f"{found} of {len(records)}" if counted else found


def _mean(records: list[Record], field: str) -> float:
    return float(np.mean([r[field] for r in records]))


def open_loop() -> str:
    """Ours on every maze: success, the fastest chunk's seconds per plan, steps of the drives."""
    lines = []
    for (maze, planner), records in _cells("open_loop").items():
        if planner == OURS:
            seconds = min(r["seconds"] for r in records)
            steps = _mean([r for r in records if r["success"]], "steps")
            lines.append([maze, solved(records, True), f"{seconds:.3f}", f"{steps:.0f}"])
    return markdown(["maze", OURS, "s per plan", "steps driven"], lines)


def from_frames() -> str:
    """From pixels: success in both modes, what the eyes miss a position by, seconds of planning."""
    cells = {mode: _cells(mode, PIXELS) for mode in ("open_loop", "closed_loop")}
    lines = []
    for maze, planner in cells["open_loop"]:
        found = [cells[mode].get((maze, planner), []) for mode in cells]
        path = CHECKPOINTS / f"{maze.replace('-', '_')}_pixels_eyes.json"
        facts = json.loads(path.read_text())
        error = f"{facts['position_error_median']:.2f}, {facts['position_error_99']:.2f}"
        seconds = [f"{min(r['seconds'] for r in x):.3f}" if x else "" for x in found]
        lines.append([maze, *(solved(x, True) for x in found), error, *seconds])
    header = ["maze", "open loop", "closed loop", "eyes off by (median, 99%)"]
    return markdown([*header, "s per plan, open", "s per episode, closed"], lines)


def baselines(mode: str) -> str:
    """Every row on the mazes that more than ours were run on, and its seconds on the last one."""
    cells = _cells(mode)
    mazes = list(dict.fromkeys(m for m, planner in cells if planner != OURS))
    names = sorted({planner for maze, planner in cells if maze in mazes}, key=_order)
    lines = []
    for name in names:
        own = [cells.get((maze, name), []) for maze in mazes]
        timed = [min(r["seconds"] for r in records) for records in own if records]
        shown = [solved(_paired(records), True) for records in own]
        lines.append([name, *shown, f"{max(timed):.3f}"])
    unit = "plan" if mode == "open_loop" else "episode, the fastest"
    return markdown(["planner", *mazes, f"s per {unit}"], lines)


def tuning() -> str:
    """Settings of the planners that see the way in their cost, on tuning episodes of one maze."""
    records = [json.loads(line) for line in (FOLDER / "tuning.jsonl").read_text().splitlines()]
    lines = []
    for family in dict.fromkeys(r["planner"].rsplit("-", 1)[0] for r in records):
        own = [r for r in records if r["planner"].rsplit("-", 1)[0] == family]
        settings = {name: [r for r in own if r["planner"] == name] for name in _names(own)}
        best = max(sum(r["success"] for r in rows) for rows in settings.values())
        ends = min(float(np.median([r["distance"] for r in rows])) for rows in settings.values())
        seconds = min(r["seconds"] for r in own)
        episodes = len(own) // len(settings)
        cells = [str(len(settings)), f"{best} of {episodes}", f"{ends:.1f}", f"{seconds:.2f}"]
        lines.append([family, *cells])
    header = ["planner", "settings", "best of them solved", "ends from the goal", "s per plan"]
    return markdown(header, lines)


def _names(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(r["planner"] for r in records))


def _paired(records: list[Record]) -> list[Record]:
    """The ten episodes of a task and the seed that every row of `baselines` was run on."""
    return [r for r in records if r["seed"] == 0 and r["goal"] % 1000 < 10]


def _order(name: str) -> tuple[bool, bool, str]:
    """GRASP first, then those with a path, then the flat ones."""
    return not name.startswith("GRASP"), "-" not in name, name


def closed_loop() -> str:
    """Ours on every maze: success, planning seconds of an episode, its simulated seconds."""
    lines = []
    for (maze, planner), records in _cells("closed_loop").items():
        if planner == OURS:
            spent, steps = _mean(records, "seconds"), _mean(records, "steps")
            share = 100 * spent / (STEP_SECONDS * steps)
            cells = [f"{spent:.2f}", f"{STEP_SECONDS * steps:.0f}", f"{share:.1f}%"]
            lines.append([maze, solved(records, True), *cells])
    header = ["maze", OURS, "s of planning per episode", "simulated s", "share"]
    return markdown(header, lines)


DEPTH_ROWS = {
    "lifted": "lifted fit, 30 iterations",
    "segments": "fit, then 30 of segments of ten",
    "GD": "serial gradients, 300 iterations of Adam",
    "CEM": "CEM 300 x 30",
    "CEM-smooth": "CEM 300 x 30, smooth noise",
}


@functools.cache
def _depth(study: str) -> list[Record]:
    lines = (FOLDER / "depth.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["study"] == study]


def depth() -> str:
    """One search over T steps: ways solved at each T, mean seconds at the longest."""
    records = _depth("length")
    lengths = sorted({r["horizon"] for r in records})
    lines = []
    for name, title in DEPTH_ROWS.items():
        own = [[r for r in records if (r["planner"], r["horizon"]) == (name, t)] for t in lengths]
        cells = [f"{sum(r['success'] for r in rows)}/{len(rows)}" for rows in own]
        lines.append([title, *cells, f"{_mean(own[-1], 'seconds'):.3f}"])
    header = ["planner", *(f"T = {t}" for t in lengths), f"s at {lengths[-1]}"]
    return markdown(header, lines)


def widths() -> str:
    """Segments alone: ways solved, end of the rollout to the goal, seconds, at each width."""
    records = _depth("width")
    lines = []
    for noise in sorted({r["path_noise"] for r in records}):
        for width in sorted({r["width"] for r in records}):
            rows = [r for r in records if (r["path_noise"], r["width"]) == (noise, width)]
            if rows:
                done = f"{sum(r['success'] for r in rows)}/{len(rows)}"
                miss, seconds = _mean(rows, "model_miss"), _mean(rows, "seconds")
                lines.append([str(noise), str(width), done, f"{miss:.2f}", f"{seconds:.3f}"])
    return markdown(["states off by", "width", "solved", "rollout to goal", "s"], lines)


def ball() -> str:
    """The traps of the ball world: success and seconds per plan on both maps."""
    records = [json.loads(line) for line in (FOLDER / "ball.jsonl").read_text().splitlines()]
    maps = sorted({r["environment"] for r in records}, reverse=True)
    lines = []
    for name in dict.fromkeys(r["planner"] for r in records):
        own = [[r for r in records if (r["planner"], r["environment"]) == (name, m)] for m in maps]
        cells = [c for rows in own for c in (solved(rows, True), _fastest(rows))]
        lines.append([name, *cells])
    titles = [m.removeprefix("ball-").replace("_", " ") for m in maps]
    return markdown(["planner", *(c for title in titles for c in (title, "s"))], lines)


def _fastest(rows: list[Record]) -> str:
    return f"{float(np.median([r['seconds'] for r in rows])):.3f}" if rows else ""
