"""The cells of the study: which planners through which latent, at which horizons."""

import dataclasses

from experiments.harness.log import CEILING, FLOOR
from experiments.latent.planners import ablations, table
from experiments.models.latent.model import TEMPORAL
from experiments.planning import tasks

MODELS = ("pusht_vector", "pusht_tokens")
TASK = dataclasses.replace(tasks.PUSHT, checkpoint=MODELS[0])
# What the learned distance in time is tried with.
_OF_TIME = ("CEM", "GD-Adam-x8", "GRASP", "GRASP-sync-only", "GRASP-plain")

Job = tuple[str, str, int]
"""Checkpoint, with its goal cost if it is not the latent distance; planner; horizon."""


def jobs(models: tuple[str, ...] = MODELS) -> list[Job]:
    """All of the study, what matters most first."""
    found: list[Job] = [(m, p, h) for m in models for h in (50, 25) for p in (FLOOR, CEILING)]
    found += [(m, p, 50) for p in table() for m in models]
    found += [(f"{m}@{TEMPORAL}", p, 50) for p in _OF_TIME for m in models]
    found += [(m, p, 50) for p in ablations() for m in models]
    found += [(m, p, 25) for p in table() for m in models]
    return found
