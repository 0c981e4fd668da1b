"""Visual latents: both shapes of them, their losses, training that resumes, files."""

import dataclasses
import functools
import itertools
import pathlib
import time
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from experiments.models import checkpoint, load
from experiments.models.latent import losses, report, run, training
from experiments.models.latent.losses import Motion, Recipe
from experiments.models.latent.model import Config, LatentModel
from experiments.models.latent.networks import rollout
from experiments.models.latent.training import Coded
from tests.experiments.models.latents import TOKENS, VECTOR, model_of, videos

CONFIGS = pytest.mark.parametrize("config", [VECTOR, TOKENS], ids=["vector", "tokens"])
# Training tokens takes minutes.
TRAINED = pytest.mark.parametrize(
    "config", [VECTOR, pytest.param(TOKENS, marks=pytest.mark.slow)], ids=["vector", "tokens"]
)


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


def test_missing_data_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"lacks 2 of 2 shards.*pusht\.collect"):
        run.wait_for(tmp_path, 600, 0.0)


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
