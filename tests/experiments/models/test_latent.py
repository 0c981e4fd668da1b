"""Visual latents: both shapes of them, their losses, training that resumes, files, the study."""

import dataclasses
import functools
import itertools
import json
import pathlib
import time
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from jax.experimental.compilation_cache import compilation_cache

import grasp_jax
from experiments.environments.pusht.goals import sample_goals
from experiments.latent import ahead, imagined, limits, study, tune
from experiments.latent.planners import ablations, table, tuned
from experiments.models import checkpoint, load
from experiments.models.latent import code, compress, losses, report, run, training
from experiments.models.latent.losses import Motion, Recipe
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.networks import rollout
from experiments.models.latent.training import Coded, Videos
from experiments.models.lewm.networks import Dense, Perceptron
from experiments.planning import runner
from experiments.planning.cells import Cell

VECTOR = Config(grid=1, channels=6, widths=(8, 8), blocks=(0, 0), width=8, depth=1, action_std=0.2)
TOKENS = dataclasses.replace(VECTOR, grid=8, channels=4, blocks=(1, 1), width=32)
CONFIGS = pytest.mark.parametrize("config", [VECTOR, TOKENS], ids=["vector", "tokens"])
# Training tokens takes minutes.
TRAINED = pytest.mark.parametrize(
    "config", [VECTOR, pytest.param(TOKENS, marks=pytest.mark.slow)], ids=["vector", "tokens"]
)


@functools.cache
def model_of(config: Config) -> LatentModel:
    """Random, with steering that is not zero; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(lambda: LatentModel.random(jax.random.key(0), config))
    rng = np.random.default_rng(1)

    def drawn(x: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = x.shape[0] ** -0.5 if len(x.shape) == 2 else 0.05
        return scale * rng.standard_normal(x.shape, np.float32)

    units = np.array([[0.0] * config.measured, [1.0] * config.measured], np.float32)
    model = dataclasses.replace(jax.tree.map(drawn, shapes), units=units)
    return jax.device_put(model)


call, encode, decode = map(jax.jit, (LatentModel.__call__, LatentModel.encode, LatentModel.decode))
# Of as many states everywhere, which makes one program.
FOUR = slice(0, 4)


@functools.cache
def frames() -> np.ndarray:
    """The first four of a video."""
    return np.asarray(jax.jit(losses.frames_of)(videos().states[0, FOUR]))


@functools.cache
def latents_of(config: Config) -> np.ndarray:
    return np.asarray(encode(model_of(config), frames()))


@functools.cache
def videos() -> Videos:
    """Three short trajectories in which the agent moves by its actions and the block lies still."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.2, 0.2, (3, 70, 2)).astype(np.float32)
    states = np.zeros((3, 71, 10), np.float32)
    states[..., :2] = 256 + 20 * np.pad(np.cumsum(actions, axis=1), ((0, 0), (1, 0), (0, 0)))
    states[..., 4:6] = [150, 350]
    return Videos(jnp.asarray(states), jnp.asarray(actions), jnp.full((64, 64, 3), 1.0))


@CONFIGS
def test_the_interface_that_planners_take(config: Config) -> None:
    model, latents = model_of(config), latents_of(config)
    assert latents.shape == (4, config.latent)
    assert decode(model, latents).shape == frames().shape
    assert jax.eval_shape(LatentModel.measure, model, latents).shape == (4, 6)
    found = call(model, latents[:2], np.ones((2, 10), np.float32))
    assert found.shape == (config.latent,)
    planned = grasp_jax.plan(
        model,
        latents[0],
        latents[1],
        jnp.zeros((2, 10)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.1, iterations=2),
        bounds=model.bounds,
        objective=model.with_metric("temporal").objective,
        context=grasp_jax.Context(jnp.asarray(latents[2:3]), jnp.zeros((1, 10))),
    )
    assert np.isfinite(planned.cost)


def test_tokens_have_a_mean_square_of_one_also_after_a_step() -> None:
    latents = latents_of(TOKENS)
    after = call(model_of(TOKENS), latents[:2], np.ones((2, 10), np.float32))
    for tokens in (latents[0], after):
        squares = np.mean(np.asarray(tokens).reshape(64, 4) ** 2, axis=-1)
        np.testing.assert_allclose(squares, 1, atol=0.02)


@CONFIGS
def test_a_rollout_is_one_step_after_another(config: Config) -> None:
    model = model_of(config)
    latents = latents_of(config).reshape(2, 2, -1)
    actions = np.random.default_rng(1).standard_normal((2, 3, 10), np.float32)
    found = jax.jit(rollout)(model.predictor, latents, actions)
    first = call(model, latents[0], actions[0, :2])
    second = call(model, np.stack([latents[0, 1], first]), actions[0, 1:])
    np.testing.assert_allclose(found[0], np.stack([first, second]), atol=1e-5)


def test_errors_count_where_a_frame_is_not_the_background() -> None:
    median = jnp.ones((64, 64, 3))
    frames = np.full((1, 64, 64, 3), 255, np.uint8)
    frames[0, 20:24, 20:24] = 0
    spot, elsewhere = np.ones((2, 1, 64, 64, 3), np.float32)
    spot[0, 20:24, 20:24], elsewhere[0, 20:24, 20:24] = 0.5, 0.0
    elsewhere[0, 40:44, 40:44] = 0.5
    missed, extra = (losses.pixel_error(x, frames, median, 0.02) for x in (spot, elsewhere))
    assert missed > 20 * extra > 0


def test_the_distance_in_time_prefers_neighbours() -> None:
    head = model_of(VECTOR).time
    assert head is not None
    one = jax.random.normal(jax.random.key(0), (32, 6))
    near, _ = losses.time_loss(head, one, one)
    far, _ = losses.time_loss(head, one, one[::-1])
    assert near < far


@TRAINED
def test_updates_lower_the_loss_and_a_stage_resumes(
    config: Config, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock by which ten chunks of four updates take the two seconds of a stage, on any machine.
    ticks = itertools.count(0.0, 0.2)
    clock = types.SimpleNamespace(monotonic=lambda: next(ticks), strftime=time.strftime)
    monkeypatch.setattr(run, "time", clock)
    recipe = Recipe(
        batch=4, steps=2 if config.grid == 1 else 0, rate=3e-3, projections=8, bfloat16=False
    )

    def update(state: training.Trained, key: jax.Array, progress: jax.Array) -> Any:
        return training.latent_updates(state, videos(), key, progress, config, recipe, 4)

    # An update takes the state's memory: a new one for each.
    fresh = jax.jit(lambda: training.start(training.fresh(jax.random.key(0), config)))
    _, first = update(fresh(), jax.random.key(5), jnp.float32(0))
    state = run.run_stage(tmp_path, "latent", fresh(), update, 2.0, jax.random.key(1))
    done = int(state.count)
    _, last = update(state, jax.random.key(5), jnp.float32(0.5))
    assert last["reconstruction"] < first["reconstruction"]
    same = run.run_stage(tmp_path, "latent", fresh(), update, 2.0, jax.random.key(1))
    assert int(same.count) == done > 0


@TRAINED
def test_motion_learns_on_frozen_latents(config: Config) -> None:
    model, motion = model_of(config), Motion(2, 8, 3e-3, bfloat16=False)
    latents = training.encode_videos(model, videos().states, False)
    coded = Coded(latents, videos().actions, jnp.median(latents, axis=(0, 1)))
    state = training.start(jax.tree.map(jnp.array, model.predictor))
    rows = []
    for i in range(4):
        key = jax.random.key(i)
        state, parts = training.motion_updates(
            state, coded, key, jnp.float32(0), config, motion, 10
        )
        rows.append(float(parts["motion"]))
    assert rows[-1] < rows[0]


def test_errors_of_a_perfect_probe_are_zero_and_angles_wrap() -> None:
    states = np.zeros((2, 10))
    states[:, :2], states[:, 4:6], states[:, 6] = 100, 200, [3.1, -3.1 + 4 * np.pi]
    np.testing.assert_allclose(report.errors_of(report.targets_of(states), states), 0, atol=1e-3)
    turned = states.copy()
    turned[:, 6] += np.radians(350)
    found = report.errors_of(report.targets_of(states), turned)
    np.testing.assert_allclose(found[:, 2], 10, atol=1e-3)


def test_a_checkpoint_comes_back_with_the_goal_cost_asked_for(tmp_path: pathlib.Path) -> None:
    model = checkpoint.rounded(model_of(TOKENS))
    path = tmp_path / "tokens.safetensors"
    checkpoint.write(path, model, dataclasses.asdict(model.config), half=("",))
    plain, other = load.load_model(path), load.load_model(f"{path}@temporal")
    assert isinstance(plain, LatentModel) and isinstance(other, LatentModel)
    assert (plain.config.metric, other.config.metric) == ("latent", "temporal")
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_code_of_scaled_axes_is_the_same_code_of_vectors() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([4.0, 2.0, 0.5, 0.1, 1e-3, 1e-3], np.float32)
    vectors = rng.standard_normal((400, 6)).astype(np.float32) * spread + 3
    axes = code.axes_of(vectors, 4, 0.01)
    scaled = jnp.asarray((vectors - axes.mean) @ axes.down)
    np.testing.assert_allclose(np.std(scaled, 0), spread[:4] / np.sqrt(spread[:4] ** 2 + 0.01), 0.1)
    np.testing.assert_allclose(scaled @ axes.up + axes.mean, vectors, atol=0.01)
    plain = code.Code.random(jax.random.key(0), 4, 3, 8)
    codes = plain.down(scaled)
    found = code.folded(plain, axes)
    np.testing.assert_allclose(found.down(jnp.asarray(vectors)), codes, atol=1e-4)
    back = plain.up(codes) @ axes.up + axes.mean
    np.testing.assert_allclose(found.up(codes), back, atol=1e-4)


def test_of_codes_that_keep_as_much_the_one_that_changes_less_is_better() -> None:
    def layers(weight: np.ndarray) -> Perceptron:
        return Perceptron([Dense(jnp.asarray(weight, jnp.float32), jnp.zeros(2))])

    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    straight = code.Code(layers(np.eye(2)), layers(np.eye(2)))
    turned = code.Code(layers(turn), layers(turn.T))
    first = np.random.default_rng(0).standard_normal((64, 2))
    pairs = jnp.asarray(np.stack([first, first + np.array([0.3, 0.0])], 1), jnp.float32)
    key = jax.random.key(0)
    mover, actions = code.Mover.random(key, 2, 1, 4, 1), jnp.zeros((64, 1, 1))
    losses_found = [code.code_loss(c, mover, pairs, actions, key, 1.0) for c in (straight, turned)]
    assert losses_found[0][0] < losses_found[1][0] - 0.03
    assert losses_found[0][1][2] < losses_found[1][1][2]


def test_a_code_learns_from_what_its_motion_gets_wrong() -> None:
    key = jax.random.key(0)
    plain, mover = code.Code.random(key, 4, 3, 8), code.Mover.random(key, 3, 2, 8, 2)
    vectors, actions = jax.random.normal(key, (5, 6, 4)), jax.random.normal(key, (5, 5, 2))

    def last(plain: code.Code, mover: code.Mover) -> jax.Array:
        """The error of the last vector alone."""
        return code.code_loss(plain, mover, vectors, actions, key, 0.0)[1][1]

    codes = plain.down(vectors[:, :2])
    codes = codes + code.NOISE * jax.random.normal(key, codes.shape)
    for k in range(4):
        codes = jnp.concatenate([codes, mover(codes[:, -2:], actions[:, k : k + 2])[:, None]], 1)
    want = jnp.mean((plain.up(codes[:, -1]) - vectors[:, -1]) ** 2)
    np.testing.assert_allclose(last(plain, mover), want, rtol=1e-5)
    slopes = jax.grad(last, (0, 1))(plain, mover)
    for part in (slopes[0].down, slopes[0].up, slopes[1].enter, slopes[1].gates, slopes[1].leave):
        assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(part)) > 0


@pytest.mark.slow
def test_a_code_is_learned_in_parts_that_resume(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the command at a size of seconds: it stops, goes on, writes a model that plans."""
    data, start = tmp_path / "data", tmp_path / "start.safetensors"
    data.mkdir()
    states = np.concatenate([np.asarray(videos().states)] * 2)
    actions = np.concatenate([np.asarray(videos().actions)] * 2)
    np.savez(data / "shard_00000.npz", states=states, actions=actions, seed=0)
    checkpoint.write(start, model_of(VECTOR), dataclasses.asdict(VECTOR))
    monkeypatch.setattr(compress, "HELD_OUT", 2)
    monkeypatch.setattr(compress, "CHUNK", 2)
    output = tmp_path / "code.safetensors"
    words = {
        "start": start, "data": data, "trajectories": 6, "code": 3, "axes": 5, "width": 8,
        "depth": 1, "stages": "0:4:4:1e-2,1:4:2:1e-2,3:4:2:1e-2", "probe_updates": 2,
        "goals": 2, "work": tmp_path / "work", "output": output,
    }  # fmt: skip
    with flagsaver.flagsaver():
        if "probe_updates" not in flags.FLAGS:
            compress.define_flags()
        given = [f"--{name}={value}" for name, value in words.items()]
        flags.FLAGS(["compress", *given, "--seconds=0.001"])
        with pytest.raises(SystemExit, match="run the same command"):
            compress.main([])
        assert not output.exists()
        flags.FLAGS(["compress", *given])
        flags.FLAGS["seconds"].value = None
        compress.main([])
    model = load.load_model(output)
    assert isinstance(model, LatentModel) and model.config.latent == 3
    found = json.loads(output.with_suffix(".json").read_text())
    assert [row["goals"] for row in found["goals"]] == [2, 2, 2]
    assert found["curves"]["world"][-1]["update"] == 8
    latents = model.encode(losses.frames_of(videos().states[0, :2]))
    assert latents.shape == (2, 3)
    assert model.decode(latents).shape == (2, 64, 64, 3)
    with pytest.raises(ValueError, match="metric must be latent or kept, got temporal"):
        load.load_model(f"{output}@temporal")


def test_a_picture_shows_what_happens_and_what_the_model_expects() -> None:
    model = model_of(VECTOR)
    record = {"goal": 0, "horizon": 10, "seed": 0, "split": "tune", "actions": np.zeros((2, 10))}
    true, expected = imagined.frames(model, record)
    assert true.shape == expected.shape == (4, 64, 64, 3)
    goals = sample_goals(1, 10, split="tune")
    ends = np.stack([goals.start[0], goals.goal[0]]).astype(np.float32)
    np.testing.assert_array_equal(true[[0, -1]], jax.jit(losses.frames_of)(ends))
    again = decode(model, report.encode_many(model, ends))
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


def test_missing_data_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks 2 of 2 shards.*pusht\.collect"):
        run.wait_for(tmp_path, 600, 0.0)


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


def test_codes_of_no_frame_cost_where_a_plan_is_to_be_kept_near_frames() -> None:
    model = load.load_model("pusht_code@kept")
    assert isinstance(model, LatentModel)
    cost = model.objective.running_cost
    assert cost is not None
    rng, states = np.random.default_rng(0), np.zeros((32, 10), np.float32)
    states[:, :2], states[:, 4:6] = rng.uniform(100, 400, (2, 32, 2))
    states[:, 6] = rng.uniform(-3, 3, 32)
    latents = jnp.asarray(report.encode_many(model, states))
    middles = (latents[:16] + latents[16:]) / 2
    frames, between = (np.mean(jax.vmap(cost)(x, x)) for x in (latents, middles))
    assert 3 * frames < between


def test_every_family_is_tuned_alike() -> None:
    families = tune.candidates()
    assert families.keys() <= table().keys()
    assert {len(settings) for settings in families.values()} == {3}
    described = [repr(p) for settings in families.values() for p in settings.values()]
    assert len(set(described)) == len(described)


@pytest.mark.parametrize("metric", ["scaled", "code"])
def test_the_shipped_vector_takes_goal_costs_found_later(metric: str) -> None:
    model = load.load_model(f"pusht_vector@{metric}")
    assert isinstance(model, LatentModel)
    states = np.zeros((3, 10), np.float32)
    states[:, :2], states[:, 4:6] = 100, 300
    states[1, 4], states[2, 0] = 320, 120  # the block, the agent, 20 px away
    latents = report.encode_many(model, states)
    here, block, agent = (model.objective.terminal_cost(x, latents[0]) for x in latents)
    assert here == 0
    plain = load.load_model("pusht_vector").objective
    costs = [plain.terminal_cost(x, latents[0]) for x in latents[1:]]
    assert block / agent > 2 * costs[0] / costs[1]


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
    for name, planner in {**table(), **ablations()}.items():
        planner.check(problem)
        assert planner.iterations > 0, name
    assert tuned().keys() == table().keys()
    for planner in tuned().values():
        planner.check(problem)
