"""The cells of the study: which planners through which latent, at which horizons."""

import functools
import pathlib

from experiments import sweeps
from experiments.latent.planners import ablations, table
from experiments.models.latent.model import LATENT, TEMPORAL
from experiments.pixels import pictures, runner, tasks
from experiments.pixels.checkpoint import locate
from experiments.reporting import CEILING, FLOOR
from experiments.settings import fingerprint

TASK = tasks.PUSHT
FOLDER = pathlib.Path("experiments/results/pusht_latent")
MODELS = ("pusht_vector", "pusht_tokens")
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


def sweep(name: str, replan_every: int | None = None, budget: float = 1.0) -> sweeps.Sweep:
    """The table of a model.

    Args:
        name: of a shipped checkpoint, or a path; with its goal cost.
        replan_every: see `runner.Setting`.
        budget: see `runner.Setting`.
    """
    setting = runner.Setting(TASK, name, replan_every, budget)
    closed = setting.mode == runner.CLOSED_LOOP
    return sweeps.Sweep(
        title=f"Push-T through {name}, {setting.mode.replace('_', ' ')}",
        planners=table(),
        extra=ablations(),
        work=runner.run_cell,
        key_fields=runner.KEY_FIELDS,
        draw=functools.partial(pictures.draw_all, TASK, name),
        setting=setting,
        identity={"mode": setting.mode},
        recorded={
            "goal_cost": name.partition("@")[2] or LATENT,
            "model": fingerprint(locate(name.partition("@")[0])),
            **({"replan_every": replan_every} if closed else {}),
        },
        bounds=not closed,
        pad=not closed,
    )
