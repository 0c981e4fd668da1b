"""Settings beside results, so that a resumed run never mixes two kinds of them."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from experiments.harness.files import write_text
from experiments.harness.log import LOGS

RENAMED: dict[str, str] = {
    "Correlated": "AR1",
    "Line": "StraightLine",
    "LatCoGN": "LatCoGaussNewton",
    "Sawtooth": "_Sawtooth",
    "samples": "num_samples",
    "elites": "num_elites",
    "kept": "num_kept",
    "starts": "num_starts",
    "exchange_every": "resample_every",
    "multiplier_rate": "dual_rate",
    "multiplier_every": "dual_every",
    "path": "init_states",
    "restart": "restart_states",
    "time_chunk": "time_batch_size",
    "recompute": "remat",
    "parallel": "parallel_in_time",
    "state_noise": "state_std",
    "action_noise": "action_std",
    "start_noise": "start_std",
    "sync_noise_shape": "sync_noise",
    "stacked": "action_block",
    "correlation": "rho",
    "GRASP.sync_noise": "sync_std",
    "Line.noise": "std",
    "BrownianBridge.scale": "std",
    "ViaPoints.count": "num_points",
    "ViaPoints.scale": "std",
    "Rollout.noise": "std",
    "Rollout.shape": "noise",
    "Sawtooth.first": "init_value",
    "Sawtooth.last": "end_value",
}
"""Old name to new: of the fields, kinds and functions in descriptions that were recorded before the
library renamed them. A name that stands for several things is written `Kind.field`."""


def check_settings(
    folder: pathlib.Path,
    settings: dict[str, Any],
    file: str = "settings.json",
    results: str = LOGS,
    flag: str = "--output",
) -> None:
    """Records the settings of a folder of results, or raises if it holds results of others.

    Args:
      folder: Made if it is not there.
      settings: Plain data; under `planners`, if any, name to description: more may join later.
      file: Name of the file that records them.
      results: Pattern of the files that they describe.
      flag: The flag that names the folder.

    Raises:
      ValueError: the folder holds results of another setting or planner, the message names it; or
        results without a record of their settings.
    """
    path, way_out = folder / file, f"Pass another {flag}, or delete the folder."
    if not path.exists() and any(folder.glob(results)):
        raise ValueError(f"{folder} holds results, but no {file} that says of what. {way_out}")
    settings = json.loads(json.dumps({"planners": {}, **settings}))
    held = json.loads(path.read_text()) if path.exists() else {"planners": {}}
    for described in (held, settings):
        described["planners"] = {n: in_use(planner) for n, planner in described["planners"].items()}
    for name in settings:
        if name != "planners" and name in held and held[name] != settings[name]:
            raise ValueError(
                f"{folder} holds results with {name}={held[name]}, this run has "
                f"{name}={settings[name]}. {way_out}"
            )
    for name, planner in settings["planners"].items():
        if held["planners"].get(name, planner) != planner:
            raise ValueError(f"{folder} holds results of {name} with other settings. {way_out}")
    settings["planners"] = {**held["planners"], **settings["planners"]}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**held, **settings}, indent=1) + "\n")


def describe(value: Any) -> Any:
    """A planner's settings as plain data, to record beside results and to compare with them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (tuple, list)):
        return [describe(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", repr(value))


def in_use(described: Any) -> Any:
    """A planner's description in today's names, without what is off.

    So neither new fields nor the names in `RENAMED` make recorded settings differ.
    """
    if isinstance(described, dict):
        if _only_syncs(described):
            return _hops(described)
        kind = described.get("kind", "")
        found = {
            _new_name(kind, k, v): in_use(v)
            for k, v in described.items()
            if v is not None and v is not False
        }
        if kind == "Chain" and not found.get("fallbacks"):
            found = {k: v for k, v in found.items() if k not in ("fallbacks", "good_enough")}
        return _without_idle_blocks(found)
    if isinstance(described, list):
        return [in_use(v) for v in described]
    return RENAMED.get(described, described) if isinstance(described, str) else described


def _without_idle_blocks(found: dict[str, Any]) -> dict[str, Any]:
    """A planner without blocks of one action where they mean nothing: they were once the default.

    That is in noise on states, and where no deviation is given.
    """
    if found.get("kind") not in ("GRASP", "Rollout", "GD", "MultiStart"):
        return found
    for field, deviation in (("noise", "start_std"), ("sync_noise", "sync_std")):
        noise = found.get(field)
        if isinstance(noise, dict) and deviation not in found:
            kept = {k: v for k, v in noise.items() if (k, v) != ("action_block", 1)}
            found = {**found, field: kept}
    return found


def _new_name(kind: str, field: str, value: Any) -> str:
    # A process keeps the name that a deviation had before.
    if isinstance(value, dict) and field in ("noise", "sync_noise"):
        return field
    return RENAMED.get(f"{kind}.{field}", RENAMED.get(field, field))


def _only_syncs(described: dict[str, Any]) -> bool:
    """Whether it is a GRASP that lifted nothing: what `Hops` is now."""
    rates = (described.get("state_rate"), described.get("action_rate"))
    every = described.get("sync_every")
    return described.get("kind") == "GRASP" and rates == (0.0, 0.0) and every == 1


def _hops(described: dict[str, Any]) -> dict[str, Any]:
    return in_use(
        {
            "kind": "Hops",
            "planner": described["sync"],
            "iterations": described["iterations"],
            "std": described.get("sync_noise"),
            "noise": described["sync_noise_shape"],
        }
    )


def fingerprint(*parts: np.ndarray | pathlib.Path) -> str:
    """A short name of the content of arrays and files, to tell runs on other data apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, pathlib.Path) else part.tobytes())
    return digest.hexdigest()[:12]
