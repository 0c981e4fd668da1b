"""Planning from pixels: bounds, keys per goal, padding, closed loop, resuming, pictures."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tqdm import tqdm

import grasp_jax
from experiments.environments.goals import PAST
from experiments.harness import summary
from experiments.harness.log import CEILING, FLOOR, Record, ResultLog
from experiments.harness.workers import Work
from experiments.models import plans
from experiments.planning import cells, collect, pictures, runner, tasks
from experiments.planning.cells import Cell

TINY = grasp_jax.GD(learning_rate=0.1, iterations=4, start_std=0.1)
WALL = runner.Setting(tasks.WALL, "wall_pixels")
MAZE = runner.Setting(tasks.POINTMAZE, "pointmaze_pixels")


def run(cell: Cell) -> list[Record]:
    return [record for records in runner.run_cell(cell) for record in records]


def in_this_process(work: Work, tasks: list[Cell], *_: object) -> Iterator[Any]:
    """In place of workers, which test_states starts: the tests here share compiled programs."""
    for task in tasks:
        yield from work(task)


def cell(name: str, planner: object, horizon: int, goals: int, setting: runner.Setting) -> Cell:
    todo = tuple(range(goals))
    return Cell(name, planner, horizon, goals, todo, 0, "tune", checks=2, setting=setting)


@pytest.mark.parametrize("setting", [WALL, MAZE], ids=["wall", "pointmaze"])
def test_recorded_actions_reach_the_goal_and_the_model_agrees(setting: runner.Setting) -> None:
    ceiling = run(cell(CEILING, None, 10, 20, setting))
    floor = run(cell(FLOOR, None, 10, 20, setting))
    assert all(r["success"] for r in ceiling)
    assert sum(r["predicted_success"] for r in ceiling) >= 18
    assert sum(r["success"] for r in floor) <= 10
    assert np.mean([r["cost"] for r in ceiling]) < 0.2 * np.mean([r["cost"] for r in floor])


@pytest.mark.parametrize("setting", [WALL, MAZE], ids=["wall", "pointmaze"])
def test_frames_are_encoded_to_where_things_are(setting: runner.Setting) -> None:
    model, task = setting.model, setting.task
    goals = runner.goals_of(task, 10, 20, 0, "tune")
    latents = jnp.asarray(runner.encode_states(model, task, goals.goal))
    measured = np.asarray(model.measure(latents))
    assert task.predicted(measured, goals.goal).all()
    actions = model.from_environment(goals.actions)
    np.testing.assert_allclose(model.to_environment(actions), goals.actions, atol=1e-6)


def test_a_goal_has_the_same_plan_in_any_chunk_and_padded_to_a_longer_horizon() -> None:
    whole = run(dataclasses.replace(cell("tiny", TINY, 10, 3, WALL), chunk=2))
    parts = run(dataclasses.replace(cell("tiny", TINY, 10, 3, WALL), todo=(1, 2), chunk=1))
    both = [cell("tiny", TINY, h, 3, WALL) for h in (10, 20)]
    padded = run(cells.together(both, chunk=6)[0])
    assert [(r["horizon"], r["goal"]) for r in padded] == [
        (h, g) for h in (10, 20) for g in range(3)
    ]
    for a, b, c in zip(whole[1:], parts, padded[1:], strict=False):
        assert a["goal"] == b["goal"] == c["goal"]
        np.testing.assert_allclose(a["actions"], b["actions"], atol=2e-3)
        np.testing.assert_allclose(a["actions"], c["actions"], atol=2e-3)
    assert np.any(np.asarray(whole[0]["actions"]) != 0)


def test_the_closed_loop_plans_at_every_step_and_reaches_most_goals() -> None:
    planner = grasp_jax.GD(learning_rate=0.1, iterations=15)
    closed = run(cell("GD", planner, 10, 8, dataclasses.replace(MAZE, replan_every=1)))
    assert {r["mode"] for r in closed} == {"closed_loop"}
    assert all(r["control_steps"] == 2 and r["replan_every"] == 1 for r in closed)
    assert sum(r["success"] for r in closed) >= 5


def test_killed_runs_resume_and_report(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "run_tasks", in_this_process)
    log = ResultLog(tmp_path / "results.jsonl", runner.KEY_FIELDS)

    def missing(log: ResultLog) -> list[Cell]:
        found = {FLOOR: None, "GRASP": TINY}
        return cells.make_cells(found, [10], 2, 0, log, "tune", checks=2, settings=(WALL,))

    cells.run_cells(runner.run_cell, missing(log), log, 1, "test", compile_fast=True)
    lines = log.path.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    log.path.write_text("".join(lines[:-1]) + lines[-1][:25])
    resumed = ResultLog(log.path, runner.KEY_FIELDS)
    assert [c.todo for c in missing(resumed)] == [(1,)]
    cells.run_cells(runner.run_cell, missing(resumed), resumed, 1, "test", compile_fast=True)
    assert not missing(resumed)
    rows = summary.summarise(resumed.records)
    assert {row["planner"]: row["goals"] for row in rows} == {FLOOR: 2, "GRASP": 2}
    pictures.draw_all(tmp_path, (WALL,), resumed.records, rows)
    for name in ("success_against_horizon.png", "success_against_time.png", "executed_plans.gif"):
        assert (tmp_path / name).stat().st_size > 1000


def test_plans_are_executed_from_their_past_and_a_killed_collection_goes_on(
    tmp_path: pathlib.Path,
) -> None:
    planned = dataclasses.replace(cell("GD", TINY, 10, 3, WALL), chunk=2)
    with tqdm(disable=True) as bar:
        collect.collect(planned, tmp_path, bar)
        first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert set(first) == {"plans_000000.npz", "plans_000002.npz"}
        (tmp_path / "plans_000002.npz").unlink()
        (tmp_path / ".plans_000002.1.tmp.npz").write_bytes(first["plans_000002.npz"][:100])
        collect.collect(planned, tmp_path, bar)
    with pytest.raises(FileNotFoundError, match=r"holds plans, but no settings\.json"):
        plans.read_plans(tmp_path, "wall")
    (tmp_path / "settings.json").write_text('{"environment": "wall", "goals": 3}')
    states, actions = plans.read_plans(tmp_path, "wall")
    goals = runner.goals_of(tasks.WALL, 3, 10, 0, "tune")
    assert states.shape == (3, PAST + 11, 2) and actions.shape == (3, PAST + 10, 2)
    assert abs(actions).max() <= 1 and abs(actions[:, PAST:]).max() > 0.01
    np.testing.assert_array_equal(states[:, PAST], goals.start.astype(np.float32))
    np.testing.assert_array_equal(actions[:, :PAST], goals.past_actions)
    np.testing.assert_allclose(
        states[:, PAST:], tasks.WALL.execute(goals.start, actions[:, PAST:]), atol=1e-5
    )
    with pytest.raises(FileNotFoundError, match="holds no plans: run"):
        plans.read_plans(tmp_path / "none", "wall")
    with pytest.raises(ValueError, match="holds plans of wall, wanted are those of pusht"):
        plans.read_plans(tmp_path, "pusht")
    (tmp_path / "settings.json").write_text('{"environment": "wall", "goals": 4}')
    with pytest.raises(ValueError, match="holds plans for 3 of 4 goals"):
        plans.read_plans(tmp_path, "wall")
