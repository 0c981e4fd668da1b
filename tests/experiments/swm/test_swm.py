"""The stable-worldmodel binaries' own parts; the package itself is exercised by running them."""

import numpy as np
import pytest

from experiments.speed import swm_cases
from experiments.swm import __main__ as swm


def test_times_are_extended_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(swm_cases.time, "perf_counter", lambda: clock[0])

    def run(iterations: int) -> None:
        clock[0] += 2 + 3 * iterations

    found = swm_cases.extended(run, 1, 4, 30)
    assert found == {"seconds": pytest.approx(2 + 3 * 30), "measured": "1 and 4 of 30"}


def test_scalers_are_z_scores_and_back() -> None:
    rows = np.random.default_rng(0).normal([1, -2], [3, 0.5], (100, 2))
    scaler = swm.Scaler.fit(np.concatenate([rows, [[np.nan, 0]]]))
    scores = scaler.transform(rows)
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scores.std(0), 1, rtol=1e-5)
    np.testing.assert_allclose(scaler.inverse_transform(scores), rows, rtol=1e-6)


def test_recordings_are_cut_with_channels_first() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)
    frames = np.arange(5 * 4 * 6 * 3).reshape(5, 4, 6, 3)
    episode = {"pixels": frames, "state": np.arange(5)[:, None]}
    data = swm.Recording([episode, episode])
    (chunk,) = data.load_chunk([1], [2], [4])
    np.testing.assert_array_equal(chunk["pixels"], np.moveaxis(frames[2:4], -1, 1))
    np.testing.assert_array_equal(chunk["state"][:, 0], [2, 3])
    assert data.column_names == ["pixels", "state"]
