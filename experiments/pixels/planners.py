"""The planners of the tables over images.

The settings of the shipped sprite models, of Wall's LeWM that was trained on executed plans and of
PointMaze's are those that `experiments.tune_pixels` chose; those of other models are first guesses.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import optax

from experiments import pusht_planners
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Colored,
    LatCo,
    MultiStart,
)

STACKED = 5
SMOOTH = pusht_planners.RESTART


grasp = functools.partial(
    pusht_planners.grasp,
    starts=4,
    cycles=6,
    lifted=6,
    noise=0.1,
    sync_steps=20,
    start_noise=0.7,
)
"""The same with the defaults of the mazes; states in latent units."""


def sync_only(
    starts: int = 4, cycles: int = 6, sync_steps: int = 20, noise: float = 0.5
) -> MultiStart:
    """The same without lifting (an ablation): noise on the best plan's actions, then the sync."""
    return grasp(starts=starts, cycles=cycles, lifted=0, sync_noise=noise, sync_steps=sync_steps)


def sampled_grasp(
    starts: int = 4, cycles: int = 8, samples: int = 48, elites: int = 6
) -> MultiStart:
    """Push-T's GRASP with a small iCEM as its sync."""
    sync = ICEM(samples, elites, 3, 5, std=0.3, noise=Colored(1.0, stacked=STACKED))
    return _alter(pusht_planners.grasp(noise=0.08, starts=starts, cycles=cycles), sync=sync)


def wide_grasp() -> MultiStart:
    """Push-T's GRASP for an accelerator: a fifth of its steps in series, eight times its work."""
    sync = ICEM(100, 10, 5, 10, std=0.3, noise=Colored(1.0, stacked=STACKED))
    return _alter(pusht_planners.grasp(noise=0.08, starts=8, cycles=4, exchange=1), sync=sync)


def sampled_maze_grasp(
    starts: int = 2, cycles: int = 4, samples: int = 40, iterations: int = 5
) -> MultiStart:
    """A maze's GRASP with a small iCEM as its sync."""
    sync = ICEM(samples, 5, 3, iterations, std=0.3, noise=Colored(2.0, stacked=STACKED))
    full = grasp(starts=starts, cycles=cycles, noise=0.3, sync_noise=None)
    return _alter(full, sync=sync)


def table(task: str, checkpoint: str = "") -> dict[str, Any]:
    """Name to planner for an environment and a model, in the order of the tables.

    The settings of the shipped `<task>_pixels`, `wall_lewm_plans` and `pointmaze_lewm` are those
    that `experiments.tune_pixels` chose.
    Push-T's sweep began at those of its state table, in the units of frames: there 1 is 100 px,
    here 256 px. Other models of Wall and PointMaze get first guesses.
    """
    if task == "pusht":
        return {
            **pusht_planners.planners(),
            "CEM": CEM(std=1.0),
            "GD-SGD": GD(6.5, 500, optax.sgd),
            "LatCo": LatCo(0.02, 1000, multiplier=10.0),
            "GRASP-plain": dataclasses.replace(GRASP.author(), sync=GD(0.1, 30)),
            "GRASP": pusht_planners.grasp(noise=0.08, starts=16, cycles=4, exchange=1),
        }
    tuned = {
        "wall_pixels": wall,
        "wall_lewm_plans": wall_lewm,
        "pointmaze_pixels": pointmaze,
        "pointmaze_lewm": pointmaze_lewm,
    }
    return tuned.get(pathlib.Path(checkpoint).stem, first_guesses)()


def wall() -> dict[str, Any]:
    """Tuned on Wall's sprite model at H = 50."""
    return {
        "CEM": CEM(100, 10, 15, std=1.0, noise=SMOOTH),
        "iCEM": ICEM(100, 10, 5, 15, std=0.5, noise=Colored(2.0, stacked=STACKED)),
        "MPPI": MPPI(100, 15, std=0.5, temperature=0.03, noise=SMOOTH),
        "GD-Adam": GD(0.03, 200),
        "GD-Adam-x8": MultiStart(GD(0.1, 100), 8, 2.0, SMOOTH),
        "LatCo": LatCo(0.2, 400, multiplier=1.0),
        "GRASP-plain": dataclasses.replace(GRASP.author(), iterations=300, sync=GD(0.3, 30)),
        "GRASP": grasp(starts=32, cycles=3, sync_steps=10, exchange=1),
    }


def wall_lewm() -> dict[str, Any]:
    """Tuned on Wall's LeWM that was trained on executed plans, at H = 50."""
    return {
        "CEM": CEM(100, 10, 15, std=0.5, noise=SMOOTH),
        "iCEM": ICEM(100, 10, 5, 15, std=0.5, noise=Colored(1.0, stacked=STACKED)),
        "MPPI": MPPI(100, 15, std=0.5, temperature=0.03, noise=SMOOTH),
        "GD-Adam": GD(0.1, 200),
        "GD-Adam-x8": MultiStart(GD(0.1, 100), 8, 0.5, SMOOTH),
        "LatCo": LatCo(0.2, 400, multiplier=1.0),
        "GRASP-plain": dataclasses.replace(GRASP.author(), iterations=300, sync=GD(0.1, 30)),
        "GRASP": grasp(noise=0.3, exchange=1),
    }


def pointmaze() -> dict[str, Any]:
    """Tuned on PointMaze's sprite model at H = 50."""
    return {
        "CEM": CEM(100, 10, 15, std=1.0),
        "iCEM": ICEM(100, 10, 5, 15, std=0.5, noise=Colored(2.0, stacked=STACKED)),
        "MPPI": MPPI(100, 15, std=1.0, temperature=0.03, noise=SMOOTH),
        "GD-Adam": GD(0.03, 200),
        "GD-Adam-x8": MultiStart(GD(0.1, 100), 8, 0.5, SMOOTH),
        "LatCo": LatCo(0.2, 400, multiplier=1.0),
        "GRASP-plain": dataclasses.replace(GRASP.author(), iterations=300, sync=GD(0.1, 30)),
        "GRASP": grasp(starts=8, cycles=3, exchange=1),
    }


def pointmaze_lewm() -> dict[str, Any]:
    """Tuned on PointMaze's LeWM at H = 50."""
    return {
        "CEM": CEM(100, 10, 15, std=2.0, noise=SMOOTH),
        "iCEM": ICEM(100, 10, 5, 15, std=1.0, noise=Colored(2.0, stacked=STACKED)),
        "MPPI": MPPI(100, 15, std=1.0, temperature=0.03, noise=SMOOTH),
        "GD-Adam": GD(0.3, 200),
        "GD-Adam-x8": MultiStart(GD(0.3, 100), 8, 0.5, SMOOTH),
        "LatCo": LatCo(0.1, 400, multiplier=1.0),
        "GRASP-plain": dataclasses.replace(GRASP.author(), iterations=300, sync=GD(0.3, 30)),
        "GRASP": grasp(noise=0.3, exchange=1),
    }


def first_guesses() -> dict[str, Any]:
    """For mazes, before any tuning."""
    return {
        "CEM": CEM(100, 10, 15, std=1.0),
        "iCEM": ICEM(100, 10, 5, 15, std=1.0, noise=Colored(1.0, stacked=STACKED)),
        "MPPI": MPPI(100, 15, std=0.7, temperature=0.1, noise=SMOOTH),
        "GD-Adam": GD(0.1, 200),
        "GD-Adam-x8": MultiStart(GD(0.1, 100), 8, 0.7, SMOOTH),
        "LatCo": LatCo(0.05, 400, multiplier=10.0),
        "GRASP-author": GRASP.author(),
        "GRASP": grasp(),
    }


def extra(task: str, checkpoint: str = "") -> dict[str, Any]:
    """More planners, run where they are named: GRASP without one of its parts, short searches,
    other budgets, baselines that were tuned later.
    """
    # The same random numbers in the same places as GRASP: what differs is the part left out.
    known, author = table(task, checkpoint), GRASP.author()
    full = known["GRASP"]
    frozen = {"state_rate": 0.0, "action_rate": 0.0}
    found = {
        "GRASP-state-gradient": _alter(full, stop_state_gradient=False),
        "GRASP-sync-only": _alter(full, **frozen),
        "GRASP-author-state-gradient": dataclasses.replace(author, stop_state_gradient=False),
        "GRASP-author-sync-only": dataclasses.replace(author, **frozen),
    }
    if "GRASP-plain" in known:
        found["GD-Adam-long"] = pusht_planners.long_descent(known)
    if task == "wall":
        less = grasp(starts=16, cycles=4, sync_steps=10, exchange=1)
        double = dataclasses.replace(wall()["iCEM"], samples=200, elites=20)
        more = {"GRASP-iCEM": sampled_maze_grasp(), "GRASP-x2/3": less, "iCEM-x2": double}
        return {**found, **more, **tuned_later(checkpoint, cem_std=1.0)}
    if task == "pointmaze":
        return {
            **found,
            **lifted_alone(),
            **tuned_later(checkpoint, cem_std=1.5),
        }
    more = {
        "CEM-15": CEM(300, 15, std=1.5),
        "iCEM-15": ICEM(300, 15, std=1.5, noise=Colored(1.0, stacked=STACKED)),
        "GD-Adam-16x150": pusht_planners.extra()["GD-Adam-16x150"],
        "GRASP-author": author,
        "GRASP-iCEM": sampled_grasp(),
        "GRASP-wide": wide_grasp(),
    }
    return {**found, **more, **short_searches()}


def tuned_later(checkpoint: str, cem_std: float) -> dict[str, Any]:
    """The baselines of a maze's sprite model, as a sweep on as many goals as GRASP's chose them."""
    if not pathlib.Path(checkpoint).stem.endswith("_pixels"):
        return {}
    return {
        "CEM-5": CEM(100, 5, 15, std=cem_std, noise=SMOOTH),
        "iCEM-5": ICEM(100, 5, 3, 15, std=1.0, noise=Colored(2.0, stacked=STACKED)),
        "MPPI-cold": MPPI(100, 15, std=1.0, temperature=0.01, noise=SMOOTH),
        "GD-Adam-16x50": MultiStart(GD(0.1, 50), 16, 0.5, SMOOTH),
    }


def lifted_alone() -> dict[str, Any]:
    """The lifted descent without a sync: with and without the goal term and full gradients."""
    with_goal = dataclasses.replace(GRASP.author(), iterations=300, action_rate=0.1, sync=None)
    dynamics = dataclasses.replace(with_goal, goal_weight=0.0)
    return {
        "Lifted": with_goal,
        "Lifted-state-gradient": dataclasses.replace(with_goal, stop_state_gradient=False),
        "Lifted-dynamics": dynamics,
        "Lifted-dynamics-state-gradient": dataclasses.replace(dynamics, stop_state_gradient=False),
    }


def short_searches() -> dict[str, Any]:
    """Push-T's GRASP and iCEM at a fraction of their budgets, for control loops."""
    icem = pusht_planners.planners()["iCEM"]

    def fewer(samples: int, iterations: int) -> ICEM:
        return dataclasses.replace(
            icem, samples=samples, elites=samples // 10, iterations=iterations
        )

    return {
        "GRASP-x1/4": pusht_planners.grasp(noise=0.08, starts=8, cycles=2),
        "GRASP-x1/16": pusht_planners.grasp(noise=0.08, starts=4, cycles=1),
        "iCEM-x1/4": fewer(150, 15),
        "iCEM-x1/16": fewer(80, 7),
    }


def _alter(full: MultiStart, **changes: Any) -> MultiStart:
    """The same starts of a planner with other fields."""
    assert isinstance(full.planner, GRASP)
    return dataclasses.replace(full, planner=dataclasses.replace(full.planner, **changes))
