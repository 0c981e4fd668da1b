"""Point mazes from frames: eyes that learn by odometry, frames on disk, worlds that are seen."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.environments.ogbench_data import Recording
from experiments.environments.ogbench_frames import SIZE
from experiments.ogbench import eyes, frames, worlds


def drawn(positions: np.ndarray) -> np.ndarray:
    """Frames `[n, 64, 64, 3]`: a soft red dot at pixels `[n, 2]` on a floor of many colors."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    floor = np.stack([3 * rows, 3 * columns, 0 * rows + 128], axis=-1).astype(np.float32)
    x, y = positions[:, 0, None, None], positions[:, 1, None, None]
    share = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2)[..., None]
    return (floor * (1 - share) + share * np.array([250, 10, 10])).astype(np.uint8)


def pairs(count: int) -> tuple[eyes.Pairs, np.ndarray]:
    """A unit is two pixels, `y` points up; the third of the steps is held back by a wall."""
    rng = np.random.default_rng(0)
    before = rng.uniform(8, 56, (count, 2))
    moves = rng.uniform(-1, 1, (count, 2))
    passed = moves * np.where(rng.random((count, 1)) < 1 / 3, [[0.0, 1.0]], 1.0)
    after = before + 2 * passed * [1, -1]
    return eyes.Pairs(drawn(before), drawn(after), moves.astype(np.float32)), before


def test_eyes_come_back_as_they_were(tmp_path: pathlib.Path) -> None:
    seen, _ = pairs(8)
    found = eyes.init(seen.before, jax.random.key(0))
    eyes.save(tmp_path / "eyes.safetensors", found)
    again = eyes.load(tmp_path / "eyes.safetensors")
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors_do_not_count_what_an_affine_map_explains() -> None:
    states = np.random.default_rng(0).uniform(0, 50, (40, 2))
    turned = states @ np.array([[0.0, 2.0], [-1.0, 0.1]]) + [3.0, -7.0]
    np.testing.assert_allclose(frames.errors_of(turned, states), 0, atol=1e-9)
    turned[3] += 1.0
    assert frames.errors_of(turned, states)[3] > 0.3


def test_frames_of_a_recording_that_nobody_saw_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run experiments\.ogbench\.frames"):
        frames.latents(tmp_path, "giant", "stitch")


def test_frames_are_drawn_once_and_anew_where_their_states_are_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Pencil:
        def __init__(self, maze: str) -> None:
            assert maze == "giant"

        def draw(self, states: np.ndarray) -> np.ndarray:
            asked.append(len(states))
            return drawn(states)

    monkeypatch.setattr(frames, "Camera", Pencil)
    monkeypatch.setattr(frames, "SHARD", 3)
    states = np.random.default_rng(0).uniform(8, 56, (7, 2))
    found = frames.draw(tmp_path, "giant", "stitch", states)
    np.testing.assert_array_equal(found, drawn(states))
    assert asked == [3, 3, 1]
    np.testing.assert_array_equal(frames.draw(tmp_path, "giant", "stitch", states), found)
    assert asked == [3, 3, 1]
    states[4] += 1.0
    np.testing.assert_array_equal(frames.draw(tmp_path, "giant", "stitch", states), drawn(states))
    assert asked == [3, 3, 1, 3]


def test_pieces_are_the_beginnings_of_many_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    whole = Recording(rng.normal(size=(4, 1001, 2)), rng.normal(size=(4, 1000, 2)))
    monkeypatch.setattr(frames.collect, "load", lambda *_: whole)
    some = frames.thinned(pathlib.Path(), "giant", "navigate", 1200)
    assert some.states.shape == (4, 61, 2) and some.actions.shape == (4, 60, 2)
    np.testing.assert_array_equal(some.states[:, 1], whole.states[:, 5])
    np.testing.assert_allclose(some.actions[:, 1], whole.actions[:, 5:10].mean(1))
    assert frames.thinned(pathlib.Path(), "giant", "navigate", 400).states.shape == (2, 41, 2)


def test_a_world_is_seen_as_frames_and_read_by_its_eyes() -> None:
    class Pencil:
        draw = staticmethod(drawn)

    seen, places = pairs(40)
    looking = eyes.init(seen.before, jax.random.key(0))
    sharp = {"second": jnp.zeros(eyes.CHANNELS), "gain": jnp.array(40.0), "units": jnp.eye(2)}
    looking = dataclasses.replace(looking, weights=looking.weights | sharp)
    parts: Any = {"env": None, "index": None, "model": None}
    world = worlds.World("giant", "stitch", camera=Pencil(), eyes=looking, **parts)  # pyright: ignore[reportArgumentType]
    shown = world.observe(places)
    assert shown.shape == (40, SIZE, SIZE, 3) and world.observation == "pixels"
    read = np.asarray(world.encode(shown))
    assert np.median(frames.errors_of(read, places)) < 1.0  # pixels
    plain = worlds.World("giant", "stitch", **parts)
    np.testing.assert_array_equal(plain.encode(plain.observe(places)), places.astype(np.float32))
    assert plain.observation == "state"


@pytest.mark.slow
def test_odometry_teaches_eyes_where_the_point_is() -> None:
    seen, places = pairs(2000)
    found = eyes.fit(seen, updates=400, batch=32, seed=0)
    latents = np.asarray(eyes.encode(found, jnp.asarray(seen.before[:500])))
    assert np.median(frames.errors_of(latents, places[:500])) < 0.3  # pixels
    # In the units of the actions.
    scale = np.linalg.lstsq(np.c_[places[:500], np.ones(500)], latents)[0][:2]
    np.testing.assert_allclose(scale, [[0.5, 0], [0, -0.5]], atol=0.05)
