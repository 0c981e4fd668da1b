"""Prints the result tables of the pages from the recorded results.

python -m experiments.tables        # the text between their <!-- table --> marks
"""

from collections.abc import Callable
from functools import partial

from experiments.classics import tables as classics
from experiments.gradients.tables import lifted_gradients, state_gradients
from experiments.harness.tables import (
    goals_solved,
    in_seconds,
    markdown,
    only_one,
    pair_table,
    rate,
    read_summary,
    success_table,
)
from experiments.latent import tables as latent
from experiments.ogbench import tables as ogbench
from experiments.pusht import tables as far
from experiments.speed.tables import (
    compiling,
    depth,
    in_short,
    parallel_gpu,
    plans_gpu,
    pusht_pixels_alone,
    speed_gpu,
    speed_torch,
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

TUNED_LATER = (
    ("GRASP", "CEM-5"),
    ("GRASP", "iCEM-5"),
    ("GRASP", "MPPI-cold"),
    ("GRASP", "GD-Adam-16x50"),
)

WALL_PAIRS = (
    *MAZE_PAIRS,
    *TUNED_LATER,
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

POINTMAZE_LEWM_PAIRS = (
    *MAZE_PAIRS,
    *LEWM_PAIRS[:2],
    ("GRASP-plain", "GD-Adam"),
    ("GRASP-plain", "LatCo"),
    ("Lifted", "Lifted-state-gradient"),
    ("Lifted-dynamics", "Lifted-dynamics-state-gradient"),
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
        solved = goals_solved(name, environment)
        wins = only_one(*(solved[planner, horizon] for planner in ("GRASP", best["planner"])))
        times = [in_seconds(row["plan_seconds"]) for row in (ours, best)]
        lines.append([title, rate(ours), times[0], best["planner"], rate(best), times[1], wins])
    header = ["goals", "GRASP", "s per plan", "best baseline", "", "s per plan"]
    return markdown([*header, "GRASP only : baseline only"], lines)


def pusht_pixels_loop() -> str:
    """The same, replanned at every model step: success and seconds per control step."""
    rows = [r for r in read_summary("pusht_pixels") if r["mode"] == "closed_loop"]
    rows = {row["planner"]: row for row in rows}
    lines = []
    budgets = {"as in the table": "", "a quarter": "-x1/4", "a sixteenth": "-x1/16"}
    for budget, ending in budgets.items():
        pair = [rows[f"{name}{ending}"] for name in ("GRASP", "iCEM")]
        cells = [c for row in pair for c in (rate(row), in_seconds(row["control_seconds"]))]
        lines.append([budget, *cells])
    return markdown(["search", "GRASP", "s per step", "iCEM", "s per step"], lines)


def pusht_pixels_gpu() -> str:
    """The same goals through the model trained on a CPU and through that trained on a GPU."""
    names = {"CPU": "pusht_pixels", "GPU": "pusht_pixels_gpu"}
    lines = []
    horizons = (40, 60, 80)
    for planner in ("GRASP", "iCEM"):
        for trained, name in names.items():
            cells = {
                int(row["horizon"]): row
                for row in read_summary(name)
                if (row["planner"], row["mode"]) == (planner, "open_loop")
            }
            lines.append([planner, trained, *(rate(cells.get(h)) for h in horizons)])
        both = [goals_solved(name) for name in ("pusht_pixels_gpu", "pusht_pixels")]
        wins = [only_one(*(solved.get((planner, h), {}) for solved in both)) for h in horizons]
        lines.append([planner, "GPU only : CPU only", *wins])
    return markdown(["planner", "model trained on", *(f"H = {h}" for h in horizons)], lines)


def ball_navigation() -> str:
    """One row per planner: success on both maps."""
    rows = read_summary("ball_navigation")
    maps = list(dict.fromkeys(row["environment"] for row in rows))
    names = list(dict.fromkeys(row["planner"] for row in rows))
    cells = {(row["planner"], row["environment"]): row for row in rows}
    header = ["planner", *(m.removeprefix("ball_").replace("_", " ") for m in maps)]
    lines = []
    for name in names:
        shown = [rate(cells.get((name, m))) for m in maps]
        lines.append([name.replace("_", " "), *shown])
    return markdown(header, lines)


TABLES: dict[str, Callable[[], str]] = {
    "headlines": headlines,
    "pusht_state": partial(success_table, "pusht_state"),
    "pusht_state_pairs": partial(pair_table, "pusht_state", PAIRS),
    "pusht_pixels": partial(success_table, "pusht_pixels", 100, timed=60),
    "pusht_pixels_loop": pusht_pixels_loop,
    "pusht_pixels_gpu": pusht_pixels_gpu,
    "wall_pixels": partial(success_table, "wall_pixels"),
    "wall_pixels_pairs": partial(pair_table, "wall_pixels", WALL_PAIRS),
    "pointmaze_pixels": partial(success_table, "pointmaze_pixels"),
    "pointmaze_pixels_pairs": partial(pair_table, "pointmaze_pixels", (*MAZE_PAIRS, *TUNED_LATER)),
    "wall_lewm_plans": partial(success_table, "wall_lewm_plans"),
    "wall_lewm_plans_pairs": partial(pair_table, "wall_lewm_plans", MAZE_PAIRS),
    "pointmaze_lewm": partial(success_table, "pointmaze_lewm"),
    "pointmaze_lewm_pairs": partial(pair_table, "pointmaze_lewm", POINTMAZE_LEWM_PAIRS),
    "lifted_gradients": lifted_gradients,
    "wall_lewm": partial(success_table, "wall_lewm", 100),
    "wall_lewm_pairs": partial(pair_table, "wall_lewm", LEWM_PAIRS),
    "state_gradients": state_gradients,
    "latent_gate": latent.gate,
    "latent_limits": latent.limits,
    "latent_axes": latent.axes,
    "latent_code": partial(success_table, "pusht_latent/pusht_code", 200),
    "latent_code_pairs": partial(pair_table, "pusht_latent/pusht_code", latent.PAIRS),
    "latent_loop": latent.loop,
    "latent_motions": latent.motions,
    "latent_untuned": latent.untuned,
    "latent_changed": latent.changed,
    "latent_parts": latent.parts,
    "pusht_pixels_pairs": partial(pair_table, "pusht_pixels", PIXEL_PAIRS),
    "ball_navigation": ball_navigation,
    "classics": classics.success,
    "classics_held_out": partial(classics.success, "classics_held_out"),
    "classics_scaled": partial(classics.success, "classics_scaled"),
    "classics_costs": classics.costs,
    "classics_proposals": classics.proposals,
    "classics_stopping": classics.stopping,
    "classics_textbook": classics.textbook,
    "classics_untuned": classics.untuned,
    "pusht_pixels_alone": pusht_pixels_alone,
    "speed_in_short": in_short,
    "speed_torch": speed_torch,
    "speed_torch_gpu": partial(speed_torch, "benchmark_gpu"),
    "speed_gpu": speed_gpu,
    "compiling": compiling,
    "speed_depth": depth,
    "parallel_gpu": parallel_gpu,
    "plans_gpu": plans_gpu,
    "swm_timings": swm_timings,
    "ogbench_open": ogbench.open_loop,
    "ogbench_open_rows": partial(ogbench.baselines, "open_loop"),
    "ogbench_tuning": ogbench.tuning,
    "ogbench_closed": ogbench.closed_loop,
    "ogbench_closed_rows": partial(ogbench.baselines, "closed_loop"),
    "ogbench_pixels": ogbench.from_frames,
    "ogbench_depth": ogbench.depth,
    "ogbench_widths": ogbench.widths,
    "ogbench_ball": ogbench.ball,
    "pusht_far": far.far,
    "pusht_far_costs": far.far_costs,
}
"""Every table, by the name of its marks in the pages."""


def main() -> None:
    """Prints every table under its name."""
    for name, table in TABLES.items():
        print(f"<!-- table {name} -->\n{table()}\n<!-- end -->\n")


if __name__ == "__main__":
    main()
