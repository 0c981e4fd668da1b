"""Settings beside results: fingerprints, tuning, names of other versions."""

import json
import pathlib

import numpy as np
import pytest
from absl import app

import grasp_jax
from experiments.harness import settings
from experiments.harness.settings import check_settings, describe, fingerprint, in_use
from experiments.planning import tuning
from grasp_jax import GD, GRASP, Chain


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
    candidates = {
        "GD": {"slow": GD(learning_rate=0.1), "fast": GD(learning_rate=1.0)},
        "GRASP": {"plain, short": GRASP()},
    }
    assert set(tuning.choose(candidates, [])) == {"GD: slow", "GD: fast", "GRASP: plain, short"}
    assert set(tuning.choose(candidates, ["GD"])) == {"GD: slow", "GD: fast"}
    chosen = tuning.choose(candidates, ["GD: fast", "GRASP: plain, short"])
    assert set(chosen) == {"GD: fast", "GRASP: plain, short"}
    with pytest.raises(app.UsageError, match="no 'CEM'; there are GD, GRASP"):
        tuning.choose(candidates, ["CEM"])


def test_results_of_other_settings_are_not_mixed(tmp_path: pathlib.Path) -> None:
    described = {
        "seed": 0,
        "checks": 10,
        "planners": {"GD": describe(grasp_jax.GD(learning_rate=0.1))},
    }
    check_settings(tmp_path, described)
    check_settings(tmp_path, {**described, "planners": {"CEM": describe(grasp_jax.CEM())}})
    # A field that is new since the results were recorded, and off.
    path = tmp_path / "settings.json"
    held = json.loads(path.read_text())
    del held["planners"]["GD"]["noise"]
    path.write_text(json.dumps(held))
    with pytest.raises(ValueError, match="GD with other settings"):
        check_settings(tmp_path, described)
    held["planners"]["GD"] = {**described["planners"]["GD"], "start_noise": None}
    path.write_text(json.dumps(held))
    check_settings(tmp_path, described)
    with pytest.raises(ValueError, match="GD with other settings"):
        check_settings(
            tmp_path, {**described, "planners": {"GD": describe(grasp_jax.GD(learning_rate=0.2))}}
        )
    with pytest.raises(ValueError, match="seed=0, this run has seed=1"):
        check_settings(tmp_path, {**described, "seed": 1})
    data = tmp_path / "data"
    check_settings(data, {"trajectories": 10})
    check_settings(data, {"trajectories": 10})
    with pytest.raises(ValueError, match="trajectories=10, this run has trajectories=20"):
        check_settings(data, {"trajectories": 20})


def test_recorded_settings_in_old_names_are_the_same_settings(monkeypatch):
    renamed = {"recompute": "remat", "CEM.samples": "num_samples", "Correlated": "AR1"}
    monkeypatch.setattr(settings, "RENAMED", renamed)
    old = {"kind": "CEM", "samples": 3, "noise": {"kind": "Correlated", "recompute": True}}
    new = {"kind": "CEM", "num_samples": 3, "noise": {"kind": "AR1", "remat": True}}
    assert in_use(old) == in_use(new) == new
    assert in_use({"kind": "Other", "samples": 3}) == {"kind": "Other", "samples": 3}


def test_a_block_of_one_action_is_what_none_is_only_where_it_means_nothing():
    old, new = {"kind": "AR1", "rho": 0.9, "action_block": 1}, {"kind": "AR1", "rho": 0.9}
    for kept in ({"kind": "Rollout", "std": 0.1}, {"kind": "MultiStart"}, {"kind": "GRASP"}):
        assert in_use({**kept, "noise": old}) == in_use({**kept, "noise": new})
    drawn = {"kind": "MultiStart", "start_std": 0.5}
    assert in_use({**drawn, "noise": old}) != in_use({**drawn, "noise": new})
    synced = {"kind": "GRASP", "sync_std": 0.3}
    assert in_use({**synced, "sync_noise": old}) != in_use({**synced, "sync_noise": new})
    assert in_use({"kind": "GRASP", "sync_noise": old}) == in_use(
        {"kind": "GRASP", "sync_noise": new}
    )


def test_a_chain_without_fallbacks_is_what_it_was_before_there_were_any():
    new = in_use(describe(Chain(GRASP(), GD())))
    assert "good_enough" not in new and "fallbacks" not in new
    assert in_use(describe(Chain(GRASP(), GD(), fallbacks=(1,))))["good_enough"] == 1e-3
