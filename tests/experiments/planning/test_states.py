"""The Push-T experiment: cells, keys per goal, resuming, worker processes, summary, pictures."""

import csv
import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest

import grasp_jax
from experiments.harness import summary
from experiments.harness.log import CEILING, FLOOR, ResultLog
from experiments.harness.settings import describe
from experiments.planning import cells, pictures, runner, table, tasks
from experiments.planning.cells import Cell
from experiments.planning.runner import KEY_FIELDS, Setting
from experiments.pusht import planners
from tests.experiments.planning.test_pixels import in_this_process

STATES = Setting(tasks.PUSHT_STATE, tasks.PUSHT_STATE.checkpoint)
TINY = grasp_jax.GD(learning_rate=0.1, iterations=4, start_std=0.1)


def cell(name: str, planner: object, horizon: int, goals: int, **more: object) -> Cell:
    options = {"todo": tuple(range(goals)), "seed": 0, "split": "tune", "setting": STATES}
    return Cell(name, planner, horizon, goals, **{**options, **more})


def run(cell: Cell) -> list[dict]:
    return [record for records in runner.run_cell(cell) for record in records]


def test_floor_fails_and_ceiling_succeeds() -> None:
    floor = run(cell(FLOOR, None, 60, 20, split="report"))
    ceiling = run(cell(CEILING, None, 60, 20, split="report"))
    assert sum(r["success"] for r in floor) <= 2
    assert sum(r["success"] for r in ceiling) == 20
    assert sum(r["predicted_success"] for r in ceiling) >= 17


def test_a_goal_has_the_same_plan_in_any_chunk_and_after_a_resume() -> None:
    whole = run(cell("tiny", TINY, 40, 3, checks=2, chunk=3))
    parts = run(cell("tiny", TINY, 40, 3, todo=(1, 2), checks=2, chunk=1))
    for a, b in zip(whole[1:], parts, strict=True):
        assert a["goal"] == b["goal"]
        np.testing.assert_allclose(a["actions"], b["actions"], atol=2e-3)
    assert whole[0]["model_forward"] == 4 * 8
    assert np.any(np.asarray(whole[0]["actions"]) != 0)


def test_horizons_share_one_program_and_keep_their_plans() -> None:
    todo = {50: (1,), 40: (0, 1)}
    parts = [cell("tiny", TINY, h, 2, todo=goals, checks=2) for h, goals in todo.items()]
    alone = run(parts[1])
    floors = [cell(FLOOR, None, h, 2) for h in todo]
    mixed, floor = cells.together([*parts, *floors], chunk=3)
    rested = run(floor)
    assert [(r["horizon"], r["goal"]) for r in rested] == [(40, 0), (40, 1), (50, 0), (50, 1)]
    apart = [r for f in reversed(floors) for r in run(f)]
    np.testing.assert_allclose([r["cost"] for r in rested], [r["cost"] for r in apart])
    records = run(mixed)
    assert [(r["horizon"], r["goal"]) for r in records] == [(40, 0), (40, 1), (50, 1)]
    assert [len(r["actions"]) for r in records] == [8, 8, 10]
    for a, b in zip(records, alone, strict=False):
        np.testing.assert_allclose(a["actions"], b["actions"], atol=2e-3)
        np.testing.assert_allclose(a["cost"], b["cost"], rtol=1e-2, atol=1e-3)


def test_a_time_budget_stops_the_search_early() -> None:
    whole = cell("tiny", TINY, 40, 1, checks=4)
    free, short = run(whole), run(dataclasses.replace(whole, time_budget=1e-9))
    assert short[0]["model_forward"] == free[0]["model_forward"] / 4


def test_killed_runs_resume_and_report(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {FLOOR: None, "tiny": TINY}
    log = ResultLog(tmp_path / "results.jsonl", KEY_FIELDS)
    todo = cells.make_cells(chosen, [40], 2, seed=0, log=log, checks=2, settings=(STATES,))
    cells.run_cells(runner.run_cell, todo, log, workers=1, title="test", compile_fast=True)
    lines = log.path.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    log.path.write_text("".join(lines[:-1]) + lines[-1][:25])

    resumed = ResultLog(log.path, KEY_FIELDS)
    todo = cells.make_cells(chosen, [40], 2, seed=0, log=resumed, checks=2, settings=(STATES,))
    assert [cell.todo for cell in todo] == [(1,)]
    # The first run has started a worker; this one shares the programs of this process.
    monkeypatch.setattr(cells, "run_tasks", in_this_process)
    cells.run_cells(runner.run_cell, todo, resumed, workers=1, title="test", compile_fast=True)
    assert not cells.make_cells(chosen, [40], 2, seed=0, log=resumed, checks=2, settings=(STATES,))

    rows = summary.summarise(resumed.records)
    assert {row["planner"]: row["goals"] for row in rows} == {FLOOR: 2, "tiny": 2}
    pictures.draw_all(tmp_path, (STATES,), resumed.records, rows)
    planned = next(r for r in resumed.records if r["planner"] == "tiny")
    pictures.film_gif(STATES, tmp_path / "first_plan.gif", planned)
    drawn = ("success_against_horizon.png", "success_against_time.png", "executed_plans.gif")
    for name in (*drawn, "first_plan.gif"):
        assert (tmp_path / name).stat().st_size > 1000


def test_a_short_run_leaves_the_summary_of_the_long_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table.flags, "FLAGS", types.SimpleNamespace(pictures=False))
    records = [
        {
            "environment": "pusht",
            "observation": "pixels",
            "mode": mode,
            "planner": "GD",
            "horizon": 40,
            "goal": goal,
            "success": True,
        }
        for mode, goals in (("open_loop", 5), ("closed_loop", 3))
        for goal in range(goals)
    ]
    for mode in ("closed_loop", "open_loop"):
        setting = dataclasses.replace(STATES, replan_every=1 if mode == "closed_loop" else None)
        shown = table.Table(title="", settings=(setting,), planners={}, extra={})
        table.report(shown, tmp_path, records, ["GD"], [40], 2)
        with (tmp_path / "summary.csv").open() as file:
            assert [int(row["goals"]) for row in csv.DictReader(file)] == [5, 3]


def test_every_planner_of_the_table_has_settings_that_can_be_recorded() -> None:
    for planner in planners.of_states().values():
        assert json.loads(json.dumps(describe(planner)))["kind"]


def test_times_are_those_of_the_fastest_chunk() -> None:
    common = {"planner": "p", "horizon": 40, "environment": "e", "observation": "s", "mode": "m"}
    slow = {**common, "goal": 0, "success": True, "seconds": 4.0, "seconds_to_success": 2.0}
    # A plan on the way succeeded, the last one does not: it is not solved, so it has no time.
    fast = {**common, "goal": 1, "success": False, "seconds": 1.0, "seconds_to_success": 0.1}
    row = summary.summarise([slow, fast])[0]
    assert row["plan_seconds"] == 1.0 and row["median_seconds"] == 0.5
    assert row["success"] == 0.5 and row["goals"] == 2
    seconds, share = summary.success_curves([slow, fast])["p"]
    assert seconds.tolist() == [0.5, 1.0] and share.tolist() == [0.5, 0.5]


def test_processes_share_the_goals_and_a_dead_one_is_started_again(tmp_path: pathlib.Path) -> None:
    chosen = {FLOOR: None, "tiny": TINY}

    def process(index: int) -> ResultLog:
        files = sorted(tmp_path.glob("results*.jsonl"))
        log = ResultLog(tmp_path / f"results.{index}.jsonl", KEY_FIELDS, others=files)
        todo = cells.make_cells(
            chosen, [40], 5, 0, log, checks=2, share=(index, 2), settings=(STATES,)
        )
        for part in todo:
            for record in run(part):
                log.append(record)
        return log

    process(0)
    process(1)
    killed = tmp_path / "results.1.jsonl"
    lines = killed.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    killed.write_text("".join(lines[:3]) + lines[3][:40])
    log = process(1)
    assert sorted((r["planner"], r["goal"]) for r in log.records) == sorted(
        (name, goal) for name in chosen for goal in range(5)
    )
    assert summary.summarise(log.records)[0]["goals"] == 5
