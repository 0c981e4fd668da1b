"""Settings beside results: fingerprints, sweeps."""

import numpy as np
import pytest
from absl import app

from experiments.harness.settings import check_settings, describe, fingerprint, in_use
from experiments.planning import tuning
from grasp_jax import GD, GRASP


def test_a_fingerprint_changes_with_the_content_alone(tmp_path):
    one, other = np.arange(6.0), np.arange(6.0)
    assert fingerprint(one) == fingerprint(other)
    other[3] = -1
    assert fingerprint(one) != fingerprint(other)
    file = tmp_path / "weights"
    file.write_bytes(one.tobytes())
    assert fingerprint(file) == fingerprint(one)


def test_fields_that_are_off_are_no_part_of_a_description():
    assert in_use({"kind": "GD", "rate": 0.1, "noise": None, "recompute": False}) == {
        "kind": "GD",
        "rate": 0.1,
    }
    assert in_use(describe(GRASP()))["sync"]["iterations"] == 10


def test_a_folder_whose_results_nobody_described_is_refused(tmp_path):
    check_settings(tmp_path, {"seed": 0})
    (tmp_path / "results.jsonl").touch()
    check_settings(tmp_path, {"seed": 0})
    with pytest.raises(ValueError, match=r"seed=0, this run has seed=1. Pass another --work"):
        check_settings(tmp_path, {"seed": 1}, flag="--work")
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"holds results, but no settings.json that says of what"):
        check_settings(tmp_path, {"seed": 0})


def test_families_and_settings_are_chosen_by_name():
    candidates = {"GD": {"slow": GD(0.1), "fast": GD(1.0)}, "GRASP": {"plain, short": GRASP()}}
    assert set(tuning.choose(candidates, [])) == {"GD: slow", "GD: fast", "GRASP: plain, short"}
    assert set(tuning.choose(candidates, ["GD"])) == {"GD: slow", "GD: fast"}
    chosen = tuning.choose(candidates, ["GD: fast", "GRASP: plain, short"])
    assert set(chosen) == {"GD: fast", "GRASP: plain, short"}
    with pytest.raises(app.UsageError, match="no 'CEM'; there are GD, GRASP"):
        tuning.choose(candidates, ["CEM"])
