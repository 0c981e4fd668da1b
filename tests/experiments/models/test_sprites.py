"""Visual world models: frames, sprites, encoder, motion, checkpoints."""

import dataclasses
import functools
import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from experiments.environments.pusht import frames as pusht_frames
from experiments.environments.pusht import simulator as pusht
from experiments.environments.pusht.block import sample_start
from experiments.models.load import load_model
from experiments.models.sprites.discover import discover
from experiments.models.sprites.dynamics import Dynamics, fit_drive, waves
from experiments.models.sprites.encoder import encode, random_latents, refine
from experiments.models.sprites.model import Config, VisualModel, blank, save_model
from experiments.models.sprites.scene import Kind, Scene, pixel_centres

KINDS = (Kind(blobs=5, extent=0.35, turns=True), Kind(blobs=2, extent=0.1, turns=False))
EVERY = 3


@functools.cache
def small_model() -> VisualModel:
    """A dark bar that turns and a blue disc on a white ground; untrained networks.

    One program: eager, every shape of the networks would be a program of its own.
    """

    @jax.jit
    def make() -> VisualModel:
        model = blank(Config(KINDS, size=32, frameskip=EVERY, measured=2, width=8))
        bar, disc = model.scene.sprites
        along = jnp.stack([jnp.linspace(-0.3, 0.15, 5), jnp.zeros(5)], axis=-1)
        bar = eqx.tree_at(lambda s: (s.centres, s.colour), bar, (along, jnp.array([0.2, 0.3, 0.3])))
        disc = eqx.tree_at(lambda s: s.colour, disc, jnp.array([0.1, 0.2, 0.9]))
        scene = Scene(jnp.ones((32, 32, 3)), (bar, disc))
        return eqx.tree_at(lambda m: m.scene, model, scene)

    return make()


def latent(x: float, y: float, angle: float, u: float, v: float) -> jax.Array:
    places = np.array([[x, y], [u, v]], np.float32)
    return _joined(
        small_model().scene, places, np.array([np.cos(angle), np.sin(angle)], np.float32)
    )


@jax.jit
def _joined(scene: Scene, places: jax.Array, direction: jax.Array) -> jax.Array:
    return scene.join([(places[0], direction), (places[1], jnp.array([1.0, 0.0]))])


draw = jax.jit(Scene.render)


def test_pusht_frames_are_gym_pushts_without_its_goal() -> None:
    simulator, rng = pusht.PushT(), np.random.default_rng(0)
    far = np.full(pusht.STATE_SIZE, -1000.0)
    states = np.stack([sample_start(rng) for _ in range(12)])
    real = []
    for state in states:
        simulator.reset_to(state)
        picture = simulator.render(goal=far, size=512).astype(np.float64)
        real.append(picture.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3)))
    error = np.abs(np.stack(real) - pusht_frames.render(states))
    # Where they differ is the one pixel of an outline: gym-pusht rounds shapes to whole pixels.
    assert error.mean() < 0.6
    assert np.quantile(error, 0.999) < 25


def test_a_scene_moves_with_its_latent() -> None:
    scene = small_model().scene
    pixel = 2 / scene.size
    here = np.asarray(draw(scene, latent(0.1, -0.2, 0.4, -0.5, 0.5)))
    there = np.asarray(draw(scene, latent(0.1 + pixel, -0.2, 0.4, -0.5 + pixel, 0.5)))
    np.testing.assert_allclose(there[:, 1:], here[:, :-1], atol=1e-5)
    upright = np.asarray(draw(scene, latent(0.0, 0.0, 0.0, 0.9, 0.9)))
    turned = np.asarray(draw(scene, latent(0.0, 0.0, np.pi / 2, 0.9, 0.9)))
    middle = slice(4, 28)
    quarter = np.rot90(upright[middle, middle], -1)
    np.testing.assert_allclose(turned[middle, middle], quarter, atol=1e-4)


def test_the_distance_of_latents_is_the_displacement_of_points() -> None:
    scene = small_model().scene
    a, b = latent(0.1, 0.2, 0.3, 0.4, 0.5), latent(-0.2, 0.1, 1.5, 0.3, 0.7)
    points, shares = map(np.asarray, scene.sprites[0].shape())
    poses = [tuple(map(np.asarray, scene.split(z)[0])) for z in (a, b)]
    a, b = np.asarray(a), np.asarray(b)
    total = 0.0
    for share, point in zip(shares, points, strict=True):
        moved = []
        for position, (c, s) in poses:
            moved.append(
                position + np.array([c * point[0] - s * point[1], s * point[0] + c * point[1]])
            )
        total += share * np.sum((moved[0] - moved[1]) ** 2)
    total += np.sum((a[-2:] - b[-2:]) ** 2)
    np.testing.assert_allclose(np.sum((a - b) ** 2), total, rtol=1e-4)


def test_refining_finds_the_latent_and_never_gets_worse() -> None:
    scene = small_model().scene
    truth = latent(0.1, -0.2, 0.4, -0.5, 0.5)
    frame = draw(scene, truth)
    guess = latent(0.15, -0.17, 0.6, -0.47, 0.46)
    refined = jax.jit(functools.partial(refine, steps=8))
    found = refined(scene, frame, guess)
    np.testing.assert_allclose(found, truth, atol=2e-3)
    lost = latent(-0.8, 0.8, 2.0, 0.9, -0.9)
    before = np.sum((draw(scene, lost) - frame) ** 2)
    assert np.sum((draw(scene, refined(scene, frame, lost)) - frame) ** 2) <= before


def test_encoding_is_the_same_alone_and_in_a_batch() -> None:
    model = small_model()
    latents = jax.jit(random_latents, static_argnums=2)(model.scene, jax.random.key(1), 4)
    drawn = [draw(model.scene, latent) for latent in np.asarray(latents)]
    frames = np.round(255 * np.stack(drawn)).astype(np.uint8)
    # Two batches of two.
    together = jax.jit(VisualModel.encode, static_argnames="batch")(model, frames, batch=2)
    alone = jax.jit(encode)(model.scene, model.encoder, frames[3].astype(np.float32) / 255)
    assert together.shape == (4, model.scene.latent_size)
    np.testing.assert_allclose(together[3], alone, atol=1e-3)


def test_sprites_are_discovered_in_frames_without_labels() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.7, 0.7, (24, 2))
    grid = np.asarray(pixel_centres(32))
    gaps = (grid - places[:, :1])[:, None, :] ** 2 + (grid - places[:, 1:])[:, :, None] ** 2
    inside = (gaps < 0.15**2)[..., None]
    ground = np.linspace(0.5, 1.0, 32)[:, None, None] * np.ones((32, 32, 3))
    frames = np.where(inside, np.array([0.8, 0.1, 0.1]), ground)
    found = discover(jnp.asarray(frames, jnp.float32), (Kind(2, 0.2, False),), jax.random.key(0))
    offset = np.asarray(found.latents()) - places
    np.testing.assert_allclose(
        offset, np.broadcast_to(offset.mean(axis=0), offset.shape), atol=0.02
    )
    np.testing.assert_allclose(found.scene.sprites[0].colour, [0.8, 0.1, 0.1], atol=0.1)


def random_window() -> tuple[jax.Array, jax.Array]:
    states = np.stack([latent(0.1, 0.0, 0.3, 0.25, 0.2), latent(0.1, 0.0, 0.3, 0.2, 0.15)])
    actions = 0.2 * np.random.default_rng(3).standard_normal((2, 2 * EVERY), np.float32)
    return jax.device_put(states), jax.device_put(actions)


def test_a_step_depends_on_no_later_action_and_far_objects_rest() -> None:
    # What `fit_drive` returns has zeros where actions come later.
    drive = np.where(np.arange(1 + 2 * EVERY) > EVERY + 1 + np.arange(EVERY)[:, None], 0, 0.05)
    drive = jax.device_put(drive.astype(np.float32))
    model = eqx.tree_at(lambda m: m.dynamics.drive, small_model(), drive)
    states, actions = map(np.asarray, random_window())
    steps, call = jax.jit(VisualModel.steps), jax.jit(VisualModel.__call__)
    found = np.asarray(steps(model, states, actions))
    changed = actions.copy()
    changed[1, -2:] += 1.0
    later = np.asarray(steps(model, states, changed))
    np.testing.assert_array_equal(found[:-1], later[:-1])
    assert np.abs(found[-1] - later[-1]).max() > 1e-3
    np.testing.assert_allclose(call(model, states, actions), found[-1])
    far = np.stack([latent(-0.6, -0.6, 0.3, 0.7, 0.7)] * 2)
    np.testing.assert_allclose(call(model, far, actions)[:4], far[1][:4], atol=1e-6)


def test_steps_are_the_same_eager_jitted_and_mapped() -> None:
    model = small_model()
    states, actions = random_window()
    alone = model(states, actions)
    call = jax.jit(VisualModel.__call__)
    np.testing.assert_allclose(call(model, states, actions), alone, atol=1e-6)
    several = np.stack([states, np.asarray(states) + 0.1]), np.stack([actions] * 2)
    mapped = jax.jit(jax.vmap(VisualModel.__call__, (None, 0, 0)))(model, *several)
    np.testing.assert_allclose(mapped[0], alone, atol=1e-6)
    gradient = np.asarray(jax.jit(jax.grad(lambda a: jnp.sum(model(states, a) ** 2)))(actions))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_the_drive_of_linear_motion_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(8, 20, 2))
    states = np.zeros((8, 21, 4))  # position, velocity
    states[:, 0] = rng.normal(size=(8, 4))
    for t in range(20):
        velocity = 0.7 * states[:, t, 2:] + 0.1 * actions[:, t]
        states[:, t + 1] = np.concatenate([states[:, t, :2] + velocity, velocity], axis=1)
    drive = fit_drive(states[..., :2], actions, EVERY)
    start = 9
    last = states[:, start, :2] - states[:, start - EVERY, :2]
    window = actions[:, start - EVERY : start + EVERY]
    inputs = np.concatenate([last[:, None], window], axis=1)
    steps = np.einsum("ki,nia->nka", drive, inputs)
    np.testing.assert_allclose(
        steps, np.diff(states[:, start : start + EVERY + 1, :2], axis=1), atol=1e-9
    )


def test_waves_are_sines_and_cosines_of_every_octave() -> None:
    place = jnp.array([0.3, -0.8])
    phases = (jnp.pi * 2.0 ** jnp.arange(6) * place[:, None]).reshape(-1)
    expected = jnp.concatenate([jnp.sin(phases), jnp.cos(phases)])
    np.testing.assert_allclose(waves(place, 6), expected, atol=1e-5)
    assert waves(place, 0).shape == (0,)


@functools.partial(jax.jit, static_argnums=0)
def driven_disc(octaves: int, drive: jax.Array) -> tuple[Scene, Dynamics]:
    """A scene of one object, and its random motion around `drive`."""
    kind = Kind(blobs=2, extent=0.1, turns=False, octaves=octaves)
    scene = blank(Config((kind,), size=32)).scene
    return scene, Dynamics.random(jax.random.key(0), scene, drive, 8)


moves = jax.jit(Dynamics.steps)


def test_scenery_stops_a_driven_object_dead() -> None:
    drive = np.zeros((EVERY, 1 + 2 * EVERY), np.float32)
    drive[:, 1 + EVERY] = 0.1
    scene, motion = driven_disc(2, drive)
    last = len(motion.correction.biases) - 1
    states, actions = jnp.zeros((2, 2)), jnp.ones((2, EVERY, 2))
    moved = moves(motion, scene, states, actions)[-1]
    assert (jnp.abs(moved) > 0.05).all()
    stopped = eqx.tree_at(
        lambda d: (d.correction.weights[last], d.correction.biases[last]),
        motion,
        (jnp.zeros((8, 3)), jnp.array([0.0, 0.0, -3.0])),
    )
    assert (jnp.abs(moves(stopped, scene, states, actions)) < 1e-10).all()


def test_what_is_driven_stays_in_the_picture_and_comes_back_at_once() -> None:
    drive = np.eye(EVERY, 1 + 2 * EVERY, k=1 + EVERY, dtype=np.float32) * 0.2
    scene, motion = driven_disc(0, drive)
    motion = eqx.tree_at(
        lambda d: d.correction, motion, jax.tree.map(jnp.zeros_like, motion.correction)
    )
    states = jnp.full((2, 2), 0.9)
    out = jnp.array([1.0, 1.0, -1.0])[:, None] * jnp.ones(2)
    found = moves(motion, scene, states, jnp.stack([0 * out, out]))
    np.testing.assert_allclose(found, jnp.array([1.0, 1.0, 0.8])[:, None] * jnp.ones(2), atol=1e-6)


def test_planning_actions_and_environment_actions() -> None:
    config = Config(KINDS[1:], 32, EVERY, action_std=0.5, measured=2, width=8)
    model = jax.eval_shape(lambda: blank(config))
    planned = np.linspace(-1, 1, 4 * 6).reshape(4, 6)
    environment = model.to_environment(planned)
    assert environment.shape == (12, 2)
    np.testing.assert_allclose(environment[1], 0.5 * planned[0, 2:4], rtol=1e-6)
    np.testing.assert_allclose(model.from_environment(environment), planned, rtol=1e-5)
    assert np.abs(model.to_environment(10 * planned)).max() == 1
    assert model.bounds == (-2.0, 2.0)


def test_a_model_survives_saving(tmp_path: pathlib.Path) -> None:
    model = small_model()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.config == model.config
    rounded = jax.tree.map(lambda x: x.astype(jnp.float16).astype(jnp.float32), model.encoder)
    expected = eqx.tree_at(lambda m: m.encoder, model, rounded)
    jax.tree.map(np.testing.assert_array_equal, loaded, expected)
    stored = {k: v.dtype == np.float16 for k, v in load_file(path).items()}
    assert stored == {k: k.startswith("encoder.") for k in stored} and any(stored.values())
    with pytest.raises(FileNotFoundError, match="no model at"):
        load_model(tmp_path / "other.safetensors")
    save_file(load_file(path), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="no config among its metadata"):
        load_model(tmp_path / "bare.safetensors")
    save_file(
        {k: v for k, v in load_file(path).items() if k != "probe"},
        path,
        metadata={"config": json.dumps(dataclasses.asdict(model.config))},
    )
    with pytest.raises(ValueError, match="probe: None, expected"):
        load_model(path)
