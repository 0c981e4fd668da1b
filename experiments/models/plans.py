"""Executed plans as training data, which `experiments.<study>.collect` writes."""

import json
import pathlib

import numpy as np
from numpy.typing import NDArray

_STUDY = {"pusht": "pusht", "wall": "mazes", "pointmaze": "mazes"}


def read_plans(
    folder: pathlib.Path | str, environment: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What `collect` has written: states [n, N + 1, S] and environment actions [n, N, A].

    Raises:
        FileNotFoundError: the folder holds no plans, or no record of what they are.
        ValueError: it holds plans of another environment, or for a part of its goals.
    """
    files = sorted(pathlib.Path(folder).glob("plans_*.npz"))
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no plans: run `python -m experiments.{_STUDY[environment]}.collect "
            f"--output={folder}`."
        )
    shards = [np.load(file) for file in files]
    states, actions = (np.concatenate([s[key] for s in shards]) for key in ("states", "actions"))
    path = pathlib.Path(folder) / "settings.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds plans, but no settings.json: collect them anew.")
    settings = json.loads(path.read_text())
    if settings["environment"] != environment:
        raise ValueError(
            f"{folder} holds plans of {settings['environment']}, wanted are those of {environment}."
        )
    wanted = settings["goals"]
    if len(states) != wanted:
        raise ValueError(
            f"{folder} holds plans for {len(states)} of {wanted} goals: finish "
            f"`python -m experiments.{_STUDY[environment]}.collect` first."
        )
    return states, actions
