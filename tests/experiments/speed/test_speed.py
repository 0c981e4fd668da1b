"""The benchmark: what it counts is what the planners spend, and its records resume and sum up."""

import csv
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from absl import app, flags
from absl.testing import flagsaver

import grasp_jax
from experiments.speed import __main__ as speed
from experiments.speed import models, newton, pictures, sync, timing
from grasp_jax.rollout import rollout_cost

SETTING = models.make_workload("mlp:4", 2)
GRASP = grasp_jax.GRASP(
    iterations=6, sync_every=3, sync=grasp_jax.GD(learning_rate=0.1, iterations=2)
)


def test_parts_spend_what_the_whole_plan_spends() -> None:
    bare = timing.roofline(SETTING, 5, 2)
    found = timing.measure(SETTING, 5, GRASP, bare, 1, 2, 60.0)
    plan = grasp_jax.plan_batch(
        SETTING.model, SETTING.start, SETTING.goal, np.zeros((5, 10), np.float32),
        jax.random.key(0), planner=GRASP,
    )  # fmt: skip
    spent = plan.metrics
    # A sync also evaluates its last actions.
    assert found["model_forward"] + 2 * 5 == spent.model_evals[0].sum()
    assert found["model_backward"] == spent.model_vjps[0].sum()
    assert found["plan_measured"] and found["plan_seconds"] > 0 and found["ratio"] > 0
    assert found["serial_depth"] == 6 * 2 + 2 * 2 * 5 * 2


def test_the_roofline_calls_the_model_once_per_term() -> None:
    calls = []

    def counting(state: jax.Array, action: jax.Array) -> jax.Array:
        jax.debug.callback(lambda _: calls.append(1), action)
        return state + action[:4]

    workload = models.Workload(counting, SETTING.start, SETTING.goal, None, None, 4)
    thunk = timing.roofline(workload, 3, 5)["forward"]
    calls.clear()
    jax.block_until_ready(thunk())
    jax.effects_barrier()
    assert len(calls) == 2 * 3 * 5


def test_a_model_in_bfloat16_costs_nearly_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    # As wide as LeWM, but of two layers: its random weights alone would take seconds.
    encoder = grasp_jax.world_models.ViTConfig(depth=1, image=28, pos_grid=2)
    config = grasp_jax.world_models.LeWMConfig(depth=2, encoder=encoder)
    random = grasp_jax.world_models.LeWM.random
    monkeypatch.setattr(grasp_jax.world_models.LeWM, "random", lambda key: random(key, config))
    exact, rounded = (models.make_workload(name, 1) for name in ("lewm", "lewm:bfloat16"))
    assert rounded.model is not exact.model
    assert rounded.state_size == 192
    with pytest.raises(ValueError, match="only `lewm` and `lewm:bfloat16`"):
        models.make_workload("lewm:bf16", 1)
    actions = jax.random.normal(jax.random.key(0), (1, 10))
    costs = [
        float(jax.jit(rollout_cost)(workload.problem(1), actions)) for workload in (exact, rounded)
    ]
    assert 0 < abs(costs[1] / costs[0] - 1) < 0.02


def test_pictures_name_devices_where_there_are_several() -> None:
    one, other = {"device": "gpu: NVIDIA H200"}, {"device": "cpu: Intel(R) Xeon(R) Processor"}
    assert pictures._devices([one, one]) == {one["device"]: ""}
    labels = pictures._devices([one, other])
    assert labels == {one["device"]: ", H200", other["device"]: ", Intel(R)"}


def test_medians_alternate_and_take_the_middle() -> None:
    order: list[str] = []
    found = timing.medians({n: lambda n=n: order.append(n) for n in "ab"}, 3)
    assert order == ["a", "b"] * 4
    assert set(found) == {"a", "b"} and min(found.values()) >= 0


def test_a_reachable_goal_costs_nothing_under_its_actions_and_something_under_none() -> None:
    encoder = grasp_jax.world_models.ViTConfig(
        width=32, depth=1, heads=1, hidden=32, image=28, pos_grid=2
    )
    config = grasp_jax.world_models.LeWMConfig(
        latent=32, depth=1, heads=1, hidden=32, encoder=encoder
    )
    model = grasp_jax.world_models.LeWM.random(jax.random.key(0), config)
    row = sync.Row(grasp_jax.GD(learning_rate=0.1, iterations=4), 2, sync.Plain)
    seconds, costs = sync.follow(model, 3, 0, row, -1.0, float("inf"))
    assert len(seconds) == len(costs) == 3 and costs[0] > costs[-1] > 0
    assert costs == sorted(costs, reverse=True) and seconds == sorted(seconds)
    stopped, _ = sync.follow(model, 3, 0, row, costs[1], float("inf"))
    assert len(stopped) == 2


def test_times_sooner_is_against_plain_and_only_where_its_cost_was_reached() -> None:
    common = {"seed": 0, "horizon": 5, "device": "cpu", "cores": 1}
    records = [
        {**common, "row": "plain", "seconds": [0.0, 8.0], "costs": [9.0, 2.0]},
        {**common, "row": "fast", "seconds": [0.0, 2.0], "costs": [9.0, 1.0]},
        {**common, "row": "poor", "seconds": [0.0, 8.0], "costs": [9.0, 3.0]},
    ]
    found = [r["times_sooner"] for r in sync.summarise(records)]
    assert found == [1.0, 4.0, None]


def test_both_ways_to_a_gradient_are_timed_and_agree() -> None:
    found = newton.measure(4, 16, 1)
    assert found["serial_ms"] > 0 and found["parallel_ms"] > 0
    assert 1 <= found["sweeps"] <= 6 and not found["then_serially"]
    assert found["gradient_error"] < 1e-4


@pytest.fixture
def _parsed_flags() -> Iterator[None]:
    """The binary's flags for one test: those of other binaries have the same names."""
    before = set(flags.FLAGS)
    speed.define_flags()
    flags.FLAGS(["benchmark"])
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


@pytest.mark.usefixtures("_parsed_flags")
def test_the_binary_writes_what_it_measures_and_resumes(tmp_path: pathlib.Path) -> None:
    with flagsaver.flagsaver(
        models=["mlp:4"], horizons=["3"], goals=["1", "2"], planners=["GRASP"], repeats=1,
        loops=1, cores=0, whole_plans=False, output=str(tmp_path),
    ):  # fmt: skip
        speed.main(["benchmark"])
        lines = (tmp_path / "results.jsonl").read_text().splitlines()
        speed.main(["benchmark"])
    assert (tmp_path / "results.jsonl").read_text().splitlines() == lines
    records = [json.loads(line) for line in lines]
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["ratio"]) for r in rows] == pytest.approx([r["ratio"] for r in records])
    assert [r["goals"] for r in rows] == ["1", "2"]
    assert (tmp_path / "ratio_against_horizon.png").stat().st_size > 1000
    assert (tmp_path / "throughput_against_goals.png").stat().st_size > 1000


@pytest.mark.usefixtures("_parsed_flags")
def test_compiling_alone_fills_the_cache_and_times_nothing(tmp_path: pathlib.Path) -> None:
    with flagsaver.flagsaver(compile_only=True, output=str(tmp_path)), pytest.raises(
        app.UsageError, match="JAX_COMPILATION_CACHE_DIR"
    ):  # fmt: skip
        speed.main(["benchmark"])
    cache = tmp_path / "cache"
    chosen = "--compile_only --models=mlp:4 --horizons=3 --goals=1 --planners=GD --nowhole_plans"
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "experiments.speed", f"--output={tmp_path}", "--cores=0"]
    subprocess.run([*command, *chosen.split()], check=True, env=environment)
    assert len(list(cache.glob("jit_advance*"))) > 0
    assert not (tmp_path / "results.jsonl").exists()


@pytest.mark.usefixtures("_parsed_flags")
def test_memory_is_measured_without_the_bare_model_and_bounded(tmp_path: pathlib.Path) -> None:
    with flagsaver.flagsaver(
        models=["mlp:4"], horizons=["3"], goals=["1"], planners=["GRASP"], repeats=1, loops=1,
        cores=0, whole_plans=False, bare_model=False, time_chunk=1, output=str(tmp_path),
    ):  # fmt: skip
        speed.main(["benchmark"])
    record = json.loads((tmp_path / "results.jsonl").read_text())
    assert "ratio" not in record and "forward_ms" not in record
    assert record["process_peak_mb"] > 0
    assert record["model_forward"] == record["model_backward"] == 750 * 3 + 150 * 3
