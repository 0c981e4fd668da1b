"""What the small LeWM is trained on: segments of every group, frames on disk and on a device."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from experiments.models.lewm import training
from experiments.models.lewm.frames import store
from experiments.models.lewm.model import Config
from experiments.models.lewm.training import Recorded
from experiments.models.sources import WALL
from tests.experiments.models.test_lewm import CONFIG, RECIPE, videos


def test_a_batch_holds_whole_segments_of_every_group_in_its_share() -> None:
    """Trajectories of two lengths; every number tells where it comes from."""

    def group(first: int, count: int, steps: int) -> Recorded:
        name = first + np.arange(count)[:, None]
        clock: Any = 100 * name + np.arange(steps + 1)
        return Recorded(clock[..., None, None, None], np.stack([clock[:, :-1]] * 2, -1))

    groups = [group(0, 30, 15), group(30, 10, 40)]
    recipe = dataclasses.replace(RECIPE, batch=2000)
    batch = training.draw(groups, CONFIG, recipe, 0, 1)
    frames = np.asarray(batch.frames)[..., 0, 0, 0]
    taken = np.asarray(batch.actions).reshape(2000, -1, 2)[..., 0]
    held = training.draw(groups, CONFIG, recipe, 0, 1, training.flatten(groups))
    np.testing.assert_array_equal(held.frames, batch.frames)
    np.testing.assert_array_equal(held.actions, batch.actions)
    name, start = np.divmod(frames[:, 0], 100)
    np.testing.assert_array_equal(frames, frames[:, :1] + 5 * np.arange(4))
    np.testing.assert_array_equal(taken, frames[:, :1] + np.arange(15))
    assert set(name) == set(range(40))
    assert set(start[name < 30]) == {0}
    assert set(start[name >= 30]) == set(range(26))
    assert abs(np.mean(name >= 30) - 0.25) < 0.03
    with pytest.raises(ValueError, match=r"trajectories have \[14\]: lower --steps"):
        training.draw([group(0, 3, 14)], CONFIG, RECIPE, 0, 0)


def test_stored_frames_are_the_drawn_ones_in_little_space(tmp_path: pathlib.Path) -> None:
    states, actions = WALL.trajectories(6, 0)
    path, drawn = tmp_path / "frames.bin", WALL.render(states)
    stored = store(WALL, states, path)
    assert stored.shape == drawn.shape and stored.nbytes == drawn.nbytes
    assert path.stat().st_size < drawn.nbytes / 12
    np.testing.assert_array_equal(np.asarray(stored), drawn)
    np.testing.assert_array_equal(stored[-2:, ::5], drawn[-2:, ::5])
    rows, times = np.array([[4], [0]]), np.array([[0, 5], [50, 3]])
    np.testing.assert_array_equal(stored[1:][rows, times], drawn[1:][rows, times])
    batches = [
        training.draw([Recorded(seen[:5], actions[:5])], Config(), RECIPE, 0, 3)
        for seen in (stored, drawn)
    ]
    np.testing.assert_array_equal(batches[0].frames, batches[1].frames)
    # What is there is read, not drawn again.
    again = store(dataclasses.replace(WALL, render=lambda s: drawn[0, :1]), states, path)
    np.testing.assert_array_equal(again, drawn)


def test_an_accelerator_holds_the_frames_if_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    _, actions, frames = videos()
    groups = [Recorded(frames, actions), Recorded(frames[:2], actions[:2])]
    assert training.on_device(groups) is None
    size = sum(group.frames.nbytes for group in groups)

    class Device:
        def memory_stats(self) -> dict[str, int]:
            return {"bytes_limit": limit}

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    limit = 3 * size - 3
    assert training.on_device(groups) is None
    limit = 3 * size
    held = training.on_device(groups)
    assert held is not None and held.shape == (
        (len(frames) + 2) * frames.shape[1], *frames.shape[2:]
    )  # fmt: skip
