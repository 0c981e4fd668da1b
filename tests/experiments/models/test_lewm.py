"""The small LeWM: SIGReg, networks, interface, training that resumes  checkpoints."""

import dataclasses
import functools
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import grasp_jax
from experiments.models import checkpoint
from experiments.models.lewm import networks, report, training
from experiments.models.lewm import train as train_lewm
from experiments.models.lewm.model import Config, SmallLeWM
from experiments.models.lewm.sigreg import epps_pulley, knots, sigreg
from experiments.models.lewm.training import Batch, Recipe, Recorded
from experiments.models.load import load_model
from experiments.models.sources import WALL
from experiments.planning import tasks

CONFIG = Config(latent=12, size=32, frameskip=5, encoder_width=16, width=16, depth=1)
RECIPE = Recipe(updates=6, batch=4, steps=2, projections=8, inverse=0.1, reconstruction=0.1)
DEALT = dataclasses.replace(RECIPE, batch=8)


@functools.cache
def small_model() -> SmallLeWM:
    """Random, with steering that is not zero; drawn by NumPy, which compiles nothing."""
    shapes = eqx.filter_eval_shape(SmallLeWM.random, jax.random.key(0), CONFIG)
    rng = np.random.default_rng(1)

    def drawn(x: jax.ShapeDtypeStruct) -> jax.Array:
        scale = 1.2 * x.shape[0] ** -0.5 if len(x.shape) == 2 else 0.05
        return jax.device_put(scale * rng.standard_normal(x.shape, np.float32))

    model = jax.tree.map(drawn, shapes)
    units, pixels = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32), model.decoder.patch.weight
    return eqx.tree_at(
        lambda m: (m.units, m.decoder.patch.weight), model, (jax.device_put(units), 0.1 * pixels)
    )


@functools.cache
def fresh_networks() -> training.Networks:
    """As a training begins."""
    return training.start(jax.random.key(0), CONFIG, RECIPE).networks


@functools.partial(jax.jit, static_argnames="recipe")
def slope(networks: training.Networks, batch: Batch, recipe: Recipe) -> Any:
    """The loss's gradient and its parts."""
    return jax.grad(training.loss, has_aux=True)(networks, batch, jax.random.key(1), recipe)


def drawn_batch(seed: int, update: int) -> Batch:
    """Of eight segments, on the first device."""
    _, actions, frames = videos()
    batch = training.draw([Recorded(frames, actions)], CONFIG, DEALT, seed, update)
    return Batch(*map(jax.device_put, batch))


@functools.cache
def videos() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, actions and frames of a few short trajectories."""
    states, actions = WALL.trajectories(6, 0)
    states, actions = states[:, :26], actions[:, :25]
    return states, actions, WALL.render(states)[:, :, ::2, ::2]


def test_the_statistic_of_normal_samples_has_its_expectation_whatever_their_number() -> None:
    t, weights = knots()
    expected = float(np.sum(weights * (1 - np.exp(-(t**2)))))
    for count in (8, 64, 512):
        samples = jax.random.normal(jax.random.key(count), (count, 1000))
        found = epps_pulley(samples)
        error = float(jnp.std(found)) / 1000**0.5
        assert abs(float(jnp.mean(found)) - expected) < 5 * error


def test_the_statistic_of_one_point_is_its_closed_form() -> None:
    t, weights = knots()
    target = np.exp(-(t**2) / 2)
    for place in (0.0, 1.7):
        gap = (np.cos(t * place) - target) ** 2 + np.sin(t * place) ** 2
        found = epps_pulley(jnp.full((50, 3), place))
        np.testing.assert_allclose(found, 50 * np.sum(weights * gap), rtol=1e-4)
    # The trapezoid rule is close to the integral of exp(-t²/2) (1 - exp(-t²/2))².
    integral = np.sqrt(2 * np.pi) * (1 - 2 / np.sqrt(2) + 1 / np.sqrt(3))
    np.testing.assert_allclose(np.sum(weights * (1 - target) ** 2), integral, rtol=0.03)


def test_sigreg_tells_normal_latents_from_others_and_ignores_rotations() -> None:
    key = jax.random.key(0)
    normal = jax.random.normal(key, (400, 16))
    base = sigreg(normal, key)
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (16, 16)))[0]
    assert base < 2
    assert abs(sigreg(normal @ turn, key) - base) < 0.5
    for other in (0 * normal, 0.5 * normal, 2 * normal, normal + 1, jnp.sign(normal[:, :1])):
        others = jnp.broadcast_to(other, normal.shape)
        assert sigreg(others, key) > 10 * base
    # Along windows every moment is compared by itself.
    windows = jnp.stack([normal, normal[::-1], 3 * normal], axis=1)
    each = [sigreg(windows[:, i], key) for i in range(3)]
    np.testing.assert_allclose(sigreg(windows, key), np.mean(each), rtol=1e-4)


def test_sigreg_drives_a_collapsed_cloud_apart() -> None:
    latents = 0.05 * jax.random.normal(jax.random.key(0), (64, 4)) + 0.5

    @jax.jit
    def step(z: jax.Array, key: jax.Array) -> jax.Array:
        return z - 0.1 * jax.grad(sigreg)(z, key, 16)

    for i in range(300):
        latents = step(latents, jax.random.key(i))
    np.testing.assert_allclose(np.cov(latents.T), np.eye(4), atol=0.35)
    np.testing.assert_allclose(np.mean(latents, axis=0), 0, atol=0.2)


def test_patches_are_merged_and_split() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    merged = networks.merge(x, 4)
    assert merged.shape == (2, 2, 2, 48)
    np.testing.assert_array_equal(merged[1, 0, 1].reshape(4, 4, 3), x[1, :4, 4:])
    np.testing.assert_array_equal(networks.split(merged, 4), x)


def test_the_predictor_reads_all_of_its_window_and_its_rollout_is_its_steps() -> None:
    model, (_, actions, frames) = small_model(), videos()
    latents = training.encode(model, jnp.asarray(frames[0, ::5]))
    taken = jnp.asarray(model.from_environment(actions[0]))
    step = jax.jit(model.__call__)
    found = jax.jit(training.rollout)(model.predictor, latents[:2], taken)
    one = step(latents[:2], taken[:2])
    two = step(jnp.stack([latents[1], one]), taken[1:3])
    np.testing.assert_allclose(found[:2], jnp.stack([one, two]), rtol=1e-5, atol=1e-6)
    for slopes in jax.jit(jax.jacobian(model, argnums=(0, 1)))(latents[:2], taken[:2]):
        assert jnp.all(jnp.max(jnp.abs(slopes), axis=(0, 2)) > 1e-4)


def test_planning_through_it_finds_actions_that_reach_a_latent() -> None:
    model, (_, actions, frames) = small_model(), videos()
    latents = training.encode(model, jnp.asarray(frames[0, ::5]))
    taken = jnp.asarray(model.from_environment(actions[0]))
    np.testing.assert_allclose(model.to_environment(taken), actions[0], atol=1e-6)
    goal = training.rollout(model.predictor, latents[:2], taken[:4])[-1]
    context = grasp_jax.Context(latents[:1], taken[:1])
    plan = grasp_jax.plan(
        model,
        latents[1],
        goal,
        jnp.zeros((3, model.action_size)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.1, iterations=60),
        bounds=model.bounds,
        objective=model.objective,
        context=context,
    )
    assert plan.cost < 0.1 * jnp.sum((latents[1] - goal) ** 2) + 1e-3


def test_killed_training_resumes_to_the_same_weights(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, actions, frames = videos()

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = train_lewm.train([Recorded(frames, actions)], CONFIG, RECIPE, 0, whole, 2)
    with pytest.raises(KeyboardInterrupt):
        # The snapshot of update 4 is there, the fifth is lost.
        stopped: Any = _Killed(frames, 5)
        train_lewm.train([Recorded(stopped, actions)], CONFIG, RECIPE, 0, killed, 2)
    resumed = train_lewm.train([Recorded(frames, actions)], CONFIG, RECIPE, 0, killed, 2)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    other = dataclasses.replace(CONFIG, width=8)
    # The shapes of a fresh state are all that the refusal looks at.
    monkeypatch.setattr(training, "start", functools.partial(eqx.filter_eval_shape, training.start))
    with pytest.raises(ValueError, match="other flags"):
        train_lewm.train([Recorded(frames, actions)], other, RECIPE, 0, whole)


class _Killed:
    """Frames whose reading is interrupted after some batches."""

    def __init__(self, frames: np.ndarray, batches: int):
        self.frames, self.left, self.shape = frames, batches, frames.shape
        self.dtype = frames.dtype

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.frames[index]


def test_every_loss_has_a_gradient_and_batches_may_be_dealt_to_devices() -> None:
    batch, same = drawn_batch(0, 3), drawn_batch(0, 3)
    np.testing.assert_array_equal(batch.frames, same.frames)
    assert batch.frames.shape == (8, 4, 32, 32, 3)
    nets = fresh_networks()
    alone, _ = slope(nets, batch, DEALT)
    dealt: Any = training.spread(batch)
    assert len(dealt.frames.sharding.device_set) == jax.device_count()
    together, _ = slope(nets, dealt, DEALT)
    for part in (alone.model.encoder, alone.model.predictor, alone.model.decoder, alone.inverse):
        assert max(np.abs(x).max() for x in jax.tree.leaves(part)) > 0
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_bfloat16_computes_in_half_precision_on_weights_that_stay_whole() -> None:
    batch, networks = drawn_batch(0, 0), fresh_networks()

    def whole(recipe: Recipe) -> np.ndarray:
        leaves = jax.tree.leaves(slope(networks, batch, recipe))
        assert all(x.dtype == jnp.float32 for x in leaves)
        return np.concatenate([np.ravel(x) for x in leaves])

    half = dataclasses.replace(DEALT, bfloat16=True)
    exact, rounded = whole(DEALT), whole(half)
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.05
    run = functools.partial(training.loss, recipe=half)
    text = str(jax.make_jaxpr(run)(networks, batch, jax.random.key(1)))
    products = [line for line in text.splitlines() if "dot_general" in line]
    # SIGReg's projections and its integral alone are products of whole precision.
    assert sum("bf16" in line for line in products) > 10
    assert sum("f32" in line.split(" = ")[0] and "bf16" not in line for line in products) == 2


def test_the_actions_of_a_batch_lead_from_frame_to_frame() -> None:
    states, actions, _ = videos()
    config = dataclasses.replace(CONFIG, action_std=float(actions.std()))
    # States in place of frames: what is drawn can be checked.
    batch = training.draw([Recorded(states, actions)], config, RECIPE, 0, 0)
    model: Any = eqx.filter_eval_shape(SmallLeWM.random, jax.random.key(0), config)
    taken = model.to_environment(batch.actions)
    reached = tasks.WALL.execute(np.asarray(batch.frames[:, 0]), taken)[:, ::5]
    np.testing.assert_allclose(reached, batch.frames, atol=1e-3)


def test_heads_are_fitted_to_frozen_latents() -> None:
    states, _, frames = videos()
    model: Any = small_model()
    seen = report.sample(model, frames, WALL.measured(states), 100, 0)
    np.testing.assert_allclose(
        seen.latents[7], jax.jit(type(model).encode)(model, seen.frames)[7], atol=1e-4
    )
    # As if the encoder had learned the position.
    place = (seen.measured - seen.measured.mean(0)) / seen.measured.std(0)
    turn = np.random.default_rng(0).standard_normal((2, 12))
    seen = report.Sample(seen.frames, seen.measured, (place @ turn).astype(np.float32))
    fitted: Any = report.with_heads(model, seen, 60)
    for a, b in zip(jax.tree.leaves(fitted.encoder), jax.tree.leaves(model.encoder), strict=True):
        np.testing.assert_array_equal(a, b)
    errors = np.abs(np.asarray(fitted.measure(seen.latents)) - seen.measured)
    assert np.mean(errors) < 0.3 * np.mean(seen.measured.std(0))
    drawn = np.asarray(fitted.decode(seen.latents), np.float64)
    blank = np.asarray(model.decode(seen.latents), np.float64)
    assert np.mean((drawn - seen.frames) ** 2) < 0.5 * np.mean((blank - seen.frames) ** 2)


def test_a_checkpoint_is_loaded_again_and_bad_ones_are_refused(tmp_path: pathlib.Path) -> None:
    model, path = small_model(), tmp_path / "m.safetensors"
    checkpoint.write(path, model, dataclasses.asdict(CONFIG), half=("",))
    loaded = load_model(path)
    assert isinstance(loaded, SmallLeWM) and loaded.config == CONFIG
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(loaded), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    with pytest.raises(FileNotFoundError, match="no model at"):
        load_model("nothing_lewm")
    arrays = load_file(path)
    save_file(arrays, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="no config"):
        load_model(tmp_path / "bare.safetensors")
    other = dataclasses.asdict(dataclasses.replace(CONFIG, latent=13))
    checkpoint.write(path, model, other)
    with pytest.raises(ValueError, match=r"predictor\.leave\.bias: \(12,\), expected \(13,\)"):
        load_model(path)
