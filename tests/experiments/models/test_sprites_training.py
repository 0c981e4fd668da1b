"""Training of visual models: segments, snapshots, several devices."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import app

from experiments.models.load import load_model
from experiments.models.runs import Stage, TrainingRun, make_optimizer
from experiments.models.sources import SOURCES, Source
from experiments.models.sprites import train as train_sprites
from experiments.models.sprites import training
from experiments.models.sprites.dynamics import fit_drive
from experiments.models.sprites.encoder import encode, random_latents, split_over_devices
from experiments.models.sprites.model import VisualModel
from experiments.models.sprites.training import TrainState
from tests.experiments.models.test_sprites import EVERY, draw, latent, small_model


def test_a_resumed_run_forgets_the_lines_after_its_snapshot(tmp_path: pathlib.Path) -> None:
    run = TrainingRun(tmp_path / "new", "weights")
    state, done = run.resume({"a": jnp.zeros(2)}, 10)
    assert done == 0 and (state["a"] == 0).all()
    run.record(5, {"loss": 3.0})
    run.save({"a": jnp.ones(2)}, 5)
    run.record(10, {"loss": 2.0})

    again = TrainingRun(tmp_path / "new", "weights")
    with again.curve.open("a") as file:
        file.write('{"update": 15, "lo')  # a kill during the write
    state, done = again.resume({"a": jnp.zeros(2)}, 10)
    assert done == 5 and (state["a"] == 1).all()
    again.record(10, {"loss": 2.5})
    rows = [json.loads(line) for line in again.curve.read_text().splitlines()]
    assert [(row["update"], row["loss"]) for row in rows] == [(5, 3.0), (10, 2.5)]
    assert rows[1]["seconds"] >= rows[0]["seconds"]
    with pytest.raises(ValueError, match="has seen 5 updates, more than the 4 asked for"):
        again.resume({"a": jnp.zeros(2)}, 4)


def test_segments_stay_inside_trajectories_of_several_lengths() -> None:
    model, rng = small_model(), np.random.default_rng(0)

    def walks(count: int, steps: int) -> training.Data:
        path = np.cumsum(0.02 * rng.normal(size=(count, steps + 1, 6)), axis=1)
        return training.Data(path, rng.normal(size=(count, steps, 2)))

    short, long = walks(2, 9), walks(1, 12)
    data = training.join([short, long])
    assert data.latents.shape == (3, 13, 6) and data.actions.shape == (3, 12, 2)
    np.testing.assert_array_equal(
        np.asarray(data.latents)[:2, 10:], short.latents[:, -1:].repeat(3, 1)
    )
    np.testing.assert_array_equal(np.asarray(data.actions)[2], long.actions[0])
    stage = Stage(2, 4, 50, 1e-3)
    for found in training.segment_starts(model.scene, data, stage, EVERY):
        row, time = np.divmod(np.asarray(found), 13)
        assert set(zip(row.tolist(), time.tolist(), strict=True)) <= {
            *((r, EVERY) for r in (0, 1, 2)),
            *((2, t) for t in (4, 5, 6)),
        }
    assert {(0, 3), (1, 3), (2, 6)} <= set(zip(row.tolist(), time.tolist(), strict=True))


def test_training_learns_and_resumes(tmp_path: pathlib.Path) -> None:
    model = small_model()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.3, 0.3, (6, 15, 2)).astype(np.float32)
    path = np.cumsum(np.pad(0.3 * actions, ((0, 0), (1, 0), (0, 0))), axis=1)
    rest = np.broadcast_to(np.asarray(latent(0.0, 0.8, 0.0, 0.0, 0.0))[:4], (6, 16, 4))
    data = training.Data(np.concatenate([rest, path], axis=-1).astype(np.float32), actions)
    # A batch that 8 devices do not divide: dealt to them, it would take a program more.
    stages = (Stage(1, 6, 100, 1e-3),)
    learn = functools.partial(
        train_sprites.learn_dynamics,
        model.scene,
        data,
        fit_drive(np.asarray(data.latents), np.asarray(data.actions), EVERY),
        width=8,
        every=EVERY,
        seed=0,
    )
    whole = learn(stages, work=_folder(tmp_path / "whole"))
    # A snapshot after the first half, as a killed run leaves it.
    half = _folder(tmp_path / "half")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(train_sprites, "SNAPSHOT_CHUNKS", 1)
        patch.setattr(TrainingRun, "save", _dying(TrainingRun.save))
        with pytest.raises(KeyboardInterrupt):
            learn(stages, work=half)
    resumed = learn(stages, work=half)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), resumed, whole)
    with pytest.raises(ValueError, match="belongs to a run with other flags"):
        TrainingRun(half, "dynamics").resume({"one": jnp.zeros(3)}, 100)


def _folder(path: pathlib.Path) -> pathlib.Path:
    path.mkdir()
    return path


def _dying(write):
    def once(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    return once


def _drawn_source() -> Source:
    """Push-T's source, whose frames show the small model's scene in poses, its "states"."""
    scene = small_model().scene

    def render(states: np.ndarray) -> np.ndarray:
        drawn = np.stack([draw(scene, pose) for pose in states.reshape(-1, states.shape[-1])])
        frames = np.round(255 * np.clip(drawn, 0, 1)).astype(np.uint8)
        return frames.reshape(*states.shape[:-1], 32, 32, 3)

    return dataclasses.replace(SOURCES["pusht"], render=render)


def test_executed_plans_of_several_folders_are_joined(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source = small_model(), _drawn_source()
    draw_poses = jax.jit(random_latents, static_argnums=2)
    poses = np.asarray(draw_poses(model.scene, jax.random.key(0), 13))

    def guesses(model: VisualModel, frames: jax.Array, batch: int) -> jax.Array:
        """Without refinement: latents are not what is tested here."""
        assert frames.dtype == jnp.uint8 and batch > 0
        return jax.vmap(lambda x: encode(model.scene, model.encoder, x / 255, 0))(frames)

    monkeypatch.setattr(VisualModel, "encode", guesses)
    parts = {"short": poses[:8].reshape(2, 4, -1), "long": poses[8:].reshape(1, 5, -1)}
    for name, states in parts.items():
        (tmp_path / name).mkdir()
        actions = np.full((len(states), states.shape[1] - 1, 2), len(name), np.float32)
        np.savez(tmp_path / name / "plans_000000.npz", states=states, actions=actions)
        about = {"environment": "pusht", "goals": len(states)}
        (tmp_path / name / "settings.json").write_text(json.dumps(about))
    folders = [str(tmp_path / name) for name in parts]
    found = train_sprites.executed_plans(source, model, folders, tmp_path / "work")
    assert [part.latents.shape for part in found] == [(2, 4, 6), (1, 5, 6)]
    joined = training.join(found)
    assert joined.lengths is not None and list(joined.lengths) == [3, 3, 4]
    np.testing.assert_array_equal(np.asarray(joined.actions)[:, 0, 0], [5, 5, 4])
    with pytest.raises(ValueError, match="holds results with content="):
        train_sprites.executed_plans(source, model, folders[:1], tmp_path / "work")


def test_latents_do_not_depend_on_how_many_frames_are_encoded_side_by_side(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An encoder whose guesses are near: from afar, refinement may grow rounding errors.
    model, source, pose = small_model(), _drawn_source(), latent(0.1, -0.2, 0.4, -0.5, 0.5)
    last = model.encoder.weights[-1]
    model = eqx.tree_at(
        lambda m: (m.encoder.weights[-1], m.encoder.biases[-1]), model, (0.1 * last, pose)
    )
    near = 0.05 * np.random.default_rng(0).standard_normal((5, 3, 6))
    states = (np.asarray(pose) + near).astype(np.float32)
    monkeypatch.setattr(train_sprites, "SHARD", 3)
    one_by_one = train_sprites.encode_all(source, model, states, tmp_path / "one")
    # Six frames side by side in place of three, and three for the last of a shard.
    monkeypatch.setattr(train_sprites, "_ON_A_CPU", (2, train_sprites._ON_A_CPU[1]))
    together = train_sprites.encode_all(source, model, states, tmp_path / "many")
    assert one_by_one.shape == states.shape
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)
    assert np.abs(one_by_one - one_by_one[0]).max() > 0.1
    # Kept shards are not encoded again.
    render_nothing = dataclasses.replace(source, render=None)
    again = train_sprites.encode_all(render_nothing, model, states, tmp_path / "many")
    np.testing.assert_array_equal(again, together)


def test_sprites_come_from_a_checkpoint_of_the_same_environment() -> None:
    scene, encoder = train_sprites.known_sprites("pusht_pixels", SOURCES["pusht"])
    held = load_model("pusht_pixels")
    assert isinstance(held, VisualModel)
    jax.tree.map(np.testing.assert_array_equal, (scene, encoder), (held.scene, held.encoder))
    for other in ("wall_pixels", "wall_lewm"):
        with pytest.raises(app.UsageError, match=f"--sprites_of: {other} is no model of pusht"):
            train_sprites.known_sprites(other, SOURCES["pusht"])


def test_a_batch_is_split_over_all_devices_where_they_divide_it() -> None:
    assert jax.device_count() == 8
    whole = jnp.arange(16.0)
    shared = jax.jit(split_over_devices)(whole)
    assert {s.data.shape for s in shared.addressable_shards} == {(2,)}
    assert (shared == whole).all()
    assert len(jax.jit(split_over_devices)(whole[:15]).addressable_shards) == 1


def test_data_parallel_training_is_training() -> None:
    model, rng = small_model(), np.random.default_rng(0)
    path = np.cumsum(0.02 * rng.normal(size=(4, 13, model.scene.latent_size)), axis=1)
    data = training.Data(jnp.asarray(path, jnp.float32), jnp.asarray(rng.normal(size=(4, 12, 2))))
    stage = Stage(2, 16, 50, 1e-3)
    starts = training.segment_starts(model.scene, data, stage, EVERY)
    optimizer = make_optimizer((stage,))

    weights: Any = model.dynamics
    state = TrainState(weights, weights, jax.jit(optimizer.init)(weights))
    dealt: list[bool] = []

    def one_chunk(split: Any) -> Any:
        def dealing(batch: jax.Array) -> jax.Array:
            dealt.append(split is split_over_devices)
            return split(batch)

        # Another function each time, which is traced anew.
        settings = {"optimizer": optimizer, "stage": stage, "every": EVERY}
        plain: Any = training.train_chunk
        chunk = jax.jit(functools.partial(plain.__wrapped__, **settings))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "split_over_devices", dealing)
            return chunk(state, model.scene, data, starts, jax.random.key(0), np.int32(0))[1]

    spread, alone = one_chunk(split_over_devices), one_chunk(lambda batch: batch)
    assert True in dealt and False in dealt
    np.testing.assert_allclose(spread, alone, rtol=1e-3)
