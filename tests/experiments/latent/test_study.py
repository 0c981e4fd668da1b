"""The study of visual latents: its rows, programs compiled ahead, pictures, limits."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import grasp_jax
from experiments.environments.pusht.goals import sample_goals
from experiments.latent import ahead, imagined, limits, study, tune
from experiments.latent.planners import ablations, table, tuned
from experiments.models import checkpoint, load
from experiments.models.latent import losses, report
from experiments.models.latent.model import LatentModel
from experiments.planning import runner
from experiments.planning.cells import Cell
from tests.experiments.models.latents import VECTOR, model_of


def test_a_picture_shows_what_happens_and_what_the_model_expects() -> None:
    model = model_of(VECTOR)
    record = {"goal": 0, "horizon": 10, "seed": 0, "split": "tune", "actions": np.zeros((2, 10))}
    true, expected = imagined.frames(model, record)
    assert true.shape == expected.shape == (4, 64, 64, 3)
    goals = sample_goals(1, 10, split="tune")
    ends = np.stack([goals.start[0], goals.goal[0]]).astype(np.float32)
    np.testing.assert_array_equal(true[[0, -1]], jax.jit(losses.frames_of)(ends))
    again = jax.jit(LatentModel.decode)(model, report.encode_many(model, ends))
    np.testing.assert_array_equal(expected[[0, -1]], again)


@pytest.mark.slow
def test_the_vector_sees_enough_to_act_on_and_its_first_axes_do_not(
    tmp_path: pathlib.Path,
) -> None:
    model = load.load_model("pusht_vector")
    assert isinstance(model, LatentModel)
    found = limits.encoder_limit(model, sample_goals(20, 25, split="tune"))
    assert found["reached"] >= 0.8
    rows = limits.axes_limit(model, 4, 0.1, tmp_path / "axes.safetensors")
    few, full = (rows[i]["errors"]["block"]["median"] for i in (0, -1))
    assert few > 20 > 8 > full


@pytest.mark.slow
def test_planning_finds_the_programs_compiled_ahead(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal of the accelerator's run: random weights, then others, through one cache."""
    paths = {name: tmp_path / name / "a.safetensors" for name in ("shapes", "models")}
    for factor, path in enumerate(paths.values(), 1):
        path.parent.mkdir()
        model = jax.tree.map(lambda x, k=factor: k * x, model_of(VECTOR))
        checkpoint.write(path, model, dataclasses.asdict(VECTOR))
    planner = grasp_jax.GRASP(iterations=4, sync_every=2, sync=grasp_jax.GD(iterations=2))
    shapes, cell = (
        Cell(
            "a", planner, 10, 2, (0, 1), 0, "tune", 2, 2, setting=runner.Setting(study.TASK, str(p))
        )
        for p in paths.values()
    )
    cache = tmp_path / "cache"
    settings = {
        "jax_compilation_cache_dir": str(cache),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    monkeypatch.setattr(ahead, "_CHECKS", 2)
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        ahead.compile_cell(shapes)
        search = ("jit_advance*", "jit_read*")
        compiled = [path for kind in search for path in cache.glob(kind)]
        assert len(compiled) >= 2
        ahead.plan_cell(cell, tmp_path / "results", 0)
        assert {path for kind in search for path in cache.glob(kind)} == set(compiled)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    rows = (tmp_path / "results" / "a" / "results.0.jsonl").read_text().splitlines()
    assert [json.loads(row)["goal"] for row in rows] == [0, 1]


def test_every_family_is_tuned_alike() -> None:
    families = tune.candidates()
    assert families.keys() <= table().keys()
    assert {len(settings) for settings in families.values()} == {3}
    described = [repr(p) for settings in families.values() for p in settings.values()]
    assert len(set(described)) == len(described)


def test_processes_share_all_jobs_of_the_study_once() -> None:
    jobs = study.jobs()
    assert len(set(jobs)) == len(jobs)
    known = {*table(), *ablations(), "zero_action", "ground_truth"}
    assert {planner for _, planner, _ in jobs} <= known
    cells = [c for i in range(5) for c in ahead.cells_of(i, 5, 2, [], pathlib.Path("x"))]
    assert len(cells) == len(jobs)
    assert ahead.in_folder(pathlib.Path("x"), "a@temporal") == "x/a.safetensors@temporal"


def test_every_row_of_the_study_can_be_planned_with() -> None:
    problem = grasp_jax.make_problem(
        lambda s, a: s + 0.1 * a, jnp.zeros(10), jnp.ones(10), jnp.zeros((10, 10))
    )
    assert tuned().keys() == table().keys()
    for planner in (*table().values(), *tuned().values(), *ablations().values()):
        planner.check(problem)  # raises where a setting does not fit
