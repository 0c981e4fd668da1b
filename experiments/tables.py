"""Prints the result tables of README.md and experiments/README.md from the recorded results.

python -m experiments.tables        # the text between their <!-- table --> marks
"""

import functools

from scipy.stats import binomtest

from experiments.reporting import read_results
from experiments.tables_gradients import lifted_gradients, state_gradients
from experiments.tables_speed import (
    RESULTS,
    markdown,
    parallel_gpu,
    pusht_pixels_alone,
    read_summary,
    speed_gpu,
    speed_torch,
    speed_torch_gpu,
    swm_timings,
)

PAIRS = (
    ("GRASP", "GD-Adam-x8"),
    ("GRASP", "GD-Adam-16x150"),
    ("GRASP", "iCEM"),
    ("GRASP", "iCEM-15"),
    ("GRASP", "CEM"),
    ("GRASP", "CEM-15"),
    ("GRASP", "MPPI"),
    ("GRASP", "GD-Adam-exchange"),
    ("GRASP", "GRASP-no-exchange"),
    ("GRASP", "GRASP-sync-only"),
    ("GRASP-plain", "GD-Adam-long"),
    ("GRASP-x2", "GD-Adam-x16"),
    ("GRASP-x2", "iCEM-x2"),
    ("GRASP-x2", "GRASP-sync-only-x2"),
)

PIXEL_PAIRS = (
    ("GRASP", "iCEM"),
    ("GRASP", "iCEM-15"),
    ("GRASP", "GD-Adam-x8"),
    ("GRASP", "GD-Adam-16x150"),
    ("GRASP", "CEM"),
    ("GRASP", "CEM-15"),
    ("GRASP", "MPPI"),
    ("GRASP", "GRASP-sync-only"),
    ("GRASP-plain", "GD-Adam-long"),
    ("GRASP-plain", "GD-Adam"),
    ("GRASP-plain", "LatCo"),
)

MAZE_PAIRS = (
    ("GRASP", "iCEM"),
    ("GRASP", "MPPI"),
    ("GRASP", "CEM"),
    ("GRASP", "GD-Adam-x8"),
)

POINTMAZE_PAIRS = (
    *MAZE_PAIRS,
    ("GRASP", "CEM-5"),
    ("GRASP", "iCEM-5"),
    ("GRASP", "MPPI-cold"),
    ("GRASP", "GD-Adam-16x50"),
)

WALL_PAIRS = (
    *MAZE_PAIRS,
    ("GRASP", "CEM-5"),
    ("GRASP", "iCEM-5"),
    ("GRASP", "iCEM-x2"),
    ("GRASP-x2/3", "iCEM"),
    ("GRASP", "GRASP-iCEM"),
)

# Not variants of GRASP, and not those with a budget of their own.
BASELINES = ("CEM", "CEM-5", "CEM-15", "CEM-correlated", "iCEM", "iCEM-5", "iCEM-15", "LatCo")
BASELINES += ("MPPI", "MPPI-cold", "GD-Adam-16x50")
BASELINES += ("GD", "GD-restarts", "GD-SGD", "GD-Adam", "GD-Adam-x8", "GD-Adam-16x150")
BASELINES += ("GD-Adam-exchange",)

HEADLINES = (
    ("Push-T, states, H = 40", "pusht_state", "pusht", 40),
    ("Push-T, states, H = 80", "pusht_state", "pusht", 80),
    ("Push-T, pixels, H = 40", "pusht_pixels", "pusht", 40),
    ("Push-T, pixels, H = 80", "pusht_pixels", "pusht", 80),
    ("PointMaze, pixels, H = 50", "pointmaze_pixels", "pointmaze", 50),
    ("Wall, pixels, H = 50", "wall_pixels", "wall", 50),
    ("Wall, LeWM's latents, H = 50", "wall_lewm_plans", "wall", 50),
    ("PointMaze, LeWM's latents, H = 50", "pointmaze_lewm", "pointmaze", 50),
    ("ball, U trap, T = 60, MPPI as the sync", "ball_navigation", "ball_u_trap", 60),
    ("ball, two rooms, T = 60, MPPI as the sync", "ball_navigation", "ball_two_rooms", 60),
)

LEWM_PAIRS = (
    ("GRASP", "GRASP-state-gradient"),
    ("GRASP", "GRASP-sync-only"),
    ("GRASP-author", "GRASP-author-state-gradient"),
    ("GRASP-author", "GRASP-author-sync-only"),
    ("GRASP", "LatCo"),
    ("GRASP", "GD-Adam-x8"),
    ("GRASP", "iCEM"),
)


def headlines() -> str:
    """GRASP beside the best baseline of a table, and the goals that only one of them solves."""
    lines = []
    for title, name, environment, horizon in HEADLINES:
        cells = {
            row["planner"]: row
            for row in read_summary(name)
            if row["mode"] == "open_loop"
            and (row["environment"], row["horizon"]) == (environment, str(horizon))
        }
        ours = cells["GRASP"]
        best = max((cells[b] for b in BASELINES if b in cells), key=lambda r: float(r["success"]))
        solved = _solved(name, environment)
        wins = _wins(*(solved[planner, horizon] for planner in ("GRASP", best["planner"])))
        times = [_seconds(row["plan_seconds"]) for row in (ours, best)]
        lines.append([title, _rate(ours), times[0], best["planner"], _rate(best), times[1], wins])
    header = ["goals", "GRASP", "s per plan", "best baseline", "", "s per plan"]
    return markdown([*header, "GRASP only : baseline only"], lines)


def pusht_state() -> str:
    """Push-T through the state model."""
    return _success("pusht_state")


def pusht_pixels() -> str:
    """Push-T through the visual model."""
    return _success("pusht_pixels", 100, timed=60)


def pusht_pixels_loop() -> str:
    """The same, replanned at every model step: success and seconds per control step."""
    rows = [r for r in read_summary("pusht_pixels") if r["mode"] == "closed_loop"]
    rows = {row["planner"]: row for row in rows}
    lines = []
    budgets = {"as in the table": "", "a quarter": "-x1/4", "a sixteenth": "-x1/16"}
    for budget, ending in budgets.items():
        pair = [rows[f"{name}{ending}"] for name in ("GRASP", "iCEM")]
        cells = [c for row in pair for c in (_rate(row), _seconds(row["control_seconds"]))]
        lines.append([budget, *cells])
    return markdown(["search", "GRASP", "s per step", "iCEM", "s per step"], lines)


def wall_pixels() -> str:
    """Wall through its visual model."""
    return _success("wall_pixels")


def pointmaze_pixels() -> str:
    """PointMaze through its visual model."""
    return _success("pointmaze_pixels")


def wall_lewm() -> str:
    """Wall through the small LeWM, 128 numbers."""
    return _success("wall_lewm", 100)


def wall_lewm_plans() -> str:
    """Wall through a small LeWM that was trained on executed plans, too."""
    return _success("wall_lewm_plans")


def pointmaze_lewm() -> str:
    """PointMaze through a small LeWM."""
    return _success("pointmaze_lewm")


def _success(name: str, goals: int | None = None, timed: int | None = None) -> str:
    """One row per planner: success in the simulator, open loop, with its 95% interval.

    Cells with fewer goals than `goals`, or by default than the others, are left to `summary.csv`.
    Seconds are those at the horizon `timed`, by default the middle one.
    """
    rows = [row for row in read_summary(name) if row["mode"] == "open_loop"]
    fewest = goals or max(int(row["goals"]) for row in rows)
    rows = [row for row in rows if int(row["goals"]) >= fewest]
    horizons = sorted({int(row["horizon"]) for row in rows})
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], int(row["horizon"])): row for row in rows}
    header = ["planner", *(f"H = {h}" for h in horizons), "s to success", "s per plan"]
    timed = timed or horizons[len(horizons) // 2]
    lines = []
    for planner in names:
        shown = [_rate(cells.get((planner, h))) for h in horizons]
        row = cells.get((planner, timed), {})
        times = [_seconds(row.get("median_seconds")), _seconds(row.get("plan_seconds"))]
        lines.append([planner.replace("_", " "), *shown, *times])
    return markdown(header, lines)


def pusht_state_pairs() -> str:
    """Goals that only the first, and only the second planner solves, of all that both had."""
    return _pairs("pusht_state", PAIRS)


def pusht_pixels_pairs() -> str:
    """The same, for Push-T from pixels, open loop."""
    return _pairs("pusht_pixels", PIXEL_PAIRS)


def wall_pixels_pairs() -> str:
    """The same, for Wall."""
    return _pairs("wall_pixels", WALL_PAIRS)


def pointmaze_pixels_pairs() -> str:
    """The same, for PointMaze."""
    return _pairs("pointmaze_pixels", POINTMAZE_PAIRS)


def wall_lewm_pairs() -> str:
    """The same, for GRASP with and without its parts through the small LeWM."""
    return _pairs("wall_lewm", LEWM_PAIRS)


def wall_lewm_plans_pairs() -> str:
    """The same, through the small LeWM that was trained on executed plans."""
    return _pairs("wall_lewm_plans", MAZE_PAIRS)


def pointmaze_lewm_pairs() -> str:
    """The same for PointMaze, with what a part of GRASP is worth."""
    more = (
        ("GRASP-plain", "GD-Adam"),
        ("GRASP-plain", "LatCo"),
        ("Lifted", "Lifted-state-gradient"),
        ("Lifted-dynamics", "Lifted-dynamics-state-gradient"),
    )
    return _pairs("pointmaze_lewm", (*MAZE_PAIRS, *LEWM_PAIRS[:2], *more))


def _pairs(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    solved = _solved(name)
    horizons = sorted({horizon for _, horizon in solved})
    header = ["planners", *(f"H = {h}" for h in horizons)]
    lines = []
    for first, second in pairs:
        cells = [_wins(solved.get((first, h), {}), solved.get((second, h), {})) for h in horizons]
        lines.append([f"{first} : {second}", *cells])
    return markdown(header, lines)


@functools.cache  # megabytes, and several tables read the same
def _solved(name: str, environment: str | None = None) -> dict[tuple[str, int], dict[int, bool]]:
    """(planner, horizon) to goal to success, open loop."""
    solved: dict[tuple[str, int], dict[int, bool]] = {}
    for record in read_results(RESULTS / name):
        if record.get("mode", "open_loop") == "open_loop" and (
            environment is None or record["environment"] == environment
        ):
            cell = solved.setdefault((record["planner"], record["horizon"]), {})
            cell[record["goal"]] = record["success"]
    return solved


def ball_navigation() -> str:
    """One row per planner: success on both maps."""
    rows = read_summary("ball_navigation")
    maps = list(dict.fromkeys(row["environment"] for row in rows))
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], row["environment"]): row for row in rows}
    header = ["planner", *(m.removeprefix("ball_").replace("_", " ") for m in maps)]
    lines = []
    for name in names:
        shown = [_rate(cells.get((name, m))) for m in maps]
        lines.append([name.replace("_", " "), *shown])
    return markdown(header, lines)


def _wins(first: dict[int, bool], second: dict[int, bool]) -> str:
    """Goals that only the first, and only the second solves, with the p of a sign test."""
    goals = first.keys() & second.keys()
    wins = sum(first[g] and not second[g] for g in goals)
    losses = sum(second[g] and not first[g] for g in goals)
    if not goals:
        return ""
    p = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    shown = f"p = {p:.2f}" if p >= 0.01 else f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    return f"{wins} : {losses} of {len(goals)}, {shown}"


def _rate(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    rate, low, high = (100 * float(row[k]) for k in ("success", "success_low", "success_high"))
    return f"{rate:.1f} [{low:.0f}–{high:.0f}]"


def _seconds(value: str | None) -> str:
    return f"{float(value):.3f}" if value else ""


def main() -> None:
    """Prints every table under its name."""
    for table in (
        headlines,
        pusht_state,
        pusht_state_pairs,
        pusht_pixels,
        pusht_pixels_loop,
        wall_pixels,
        wall_pixels_pairs,
        pointmaze_pixels,
        pointmaze_pixels_pairs,
        wall_lewm_plans,
        wall_lewm_plans_pairs,
        pointmaze_lewm,
        pointmaze_lewm_pairs,
        lifted_gradients,
        wall_lewm,
        wall_lewm_pairs,
        state_gradients,
        pusht_pixels_pairs,
        ball_navigation,
        pusht_pixels_alone,
        speed_torch,
        speed_torch_gpu,
        speed_gpu,
        parallel_gpu,
        swm_timings,
    ):
        print(f"<!-- table {table.__name__} -->\n{table()}\n<!-- end -->\n")


if __name__ == "__main__":
    main()
