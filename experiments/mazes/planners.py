"""The planners of the mazes' tables.

The settings of the shipped sprite models, of Wall's LeWM that was trained on executed plans and of
PointMaze's are those that `experiments.mazes.tune` chose; those of other models are first guesses.
"""

import dataclasses
import functools
import pathlib
from typing import Any

from experiments.planning import planners as shared
from experiments.planning.planners import SMOOTH, STACKED, ablations, alter
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Colored, LatCo, MultiStart

grasp = functools.partial(
    shared.grasp, starts=4, cycles=6, lifted=6, noise=0.1, sync_steps=20, start_noise=0.7
)
"""The same with the defaults of the mazes; states in latent units."""


def sync_only(
    starts: int = 4, cycles: int = 6, sync_steps: int = 20, noise: float = 0.5
) -> MultiStart:
    """The same without lifting (an ablation): noise on the best plan's actions, then the sync."""
    return grasp(starts=starts, cycles=cycles, lifted=0, sync_noise=noise, sync_steps=sync_steps)


def sampled_grasp(
    starts: int = 2, cycles: int = 4, samples: int = 40, iterations: int = 5
) -> MultiStart:
    """A maze's GRASP with a small iCEM as its sync."""
    sync = ICEM(
        num_samples=samples,
        num_elites=5,
        num_kept=3,
        iterations=iterations,
        std=0.3,
        noise=Colored(exponent=2.0, action_block=STACKED),
    )
    full = grasp(starts=starts, cycles=cycles, noise=0.3, sync_noise=None)
    return alter(full, sync=sync)


def planners(checkpoint: str) -> dict[str, Any]:
    """Name to planner for a model, in the order of the tables."""
    tuned = {
        "wall_pixels": wall,
        "wall_lewm_plans": wall_lewm,
        "pointmaze_pixels": pointmaze,
        "pointmaze_lewm": pointmaze_lewm,
    }
    return tuned.get(pathlib.Path(checkpoint).stem, first_guesses)()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a sweep chose for the baselines of one model.

    Attributes:
        cem_std: CEM's deviation; on white noise with `cem_white`.
        icem_std: iCEM's deviation, on noise of `icem_exponent`.
        mppi_std: MPPI's deviation, and `temperature`.
        gd_rate: Adam's rate from zero actions.
        starts_rate: Adam's rate from eight starts, `starts_std` apart.
        latco_rate: LatCo's rate, and its first `multiplier`.
        sync_rate: The sync's rate in GRASP with the author's other settings.
    """

    cem_std: float
    cem_white: bool = False
    icem_std: float = 0.5
    icem_exponent: float = 2.0
    mppi_std: float = 1.0
    temperature: float = 0.03
    gd_rate: float = 0.1
    starts_rate: float = 0.1
    starts_std: float = 0.5
    latco_rate: float = 0.2
    multiplier: float = 1.0
    sync_rate: float = 0.1

    def baselines(self) -> dict[str, Any]:
        """Name to planner, in the order of the tables."""
        cem = CEM(num_samples=100, num_elites=10, iterations=15, std=self.cem_std)
        return {
            "CEM": cem if self.cem_white else dataclasses.replace(cem, noise=SMOOTH),
            "iCEM": icem(self.icem_std, self.icem_exponent),
            "MPPI": MPPI(
                num_samples=100,
                iterations=15,
                std=self.mppi_std,
                temperature=self.temperature,
                noise=SMOOTH,
            ),
            "GD-Adam": GD(learning_rate=self.gd_rate, iterations=200),
            "GD-Adam-x8": MultiStart(
                GD(learning_rate=self.starts_rate, iterations=100),
                num_starts=8,
                start_std=self.starts_std,
                noise=SMOOTH,
            ),
            "LatCo": LatCo(
                learning_rate=self.latco_rate, iterations=400, multiplier=self.multiplier
            ),
        }

    def table(self, full: MultiStart) -> dict[str, Any]:
        """The baselines, GRASP with the author's settings but for its sync, and `full`."""
        sync = GD(learning_rate=self.sync_rate, iterations=30)
        plain = dataclasses.replace(GRASP(), iterations=300, sync=sync)
        return {**self.baselines(), "GRASP-plain": plain, "GRASP": full}


def icem(std: float, exponent: float, elites: int = 10, kept: int = 5) -> ICEM:
    """One iCEM on the mazes' budget."""
    return ICEM(
        num_samples=100,
        num_elites=elites,
        num_kept=kept,
        iterations=15,
        std=std,
        noise=Colored(exponent=exponent, action_block=STACKED),
    )


def wall() -> dict[str, Any]:
    """Tuned on Wall's sprite model at H = 50."""
    tuned = Tuned(cem_std=1.0, mppi_std=0.5, gd_rate=0.03, starts_std=2.0, sync_rate=0.3)
    return tuned.table(grasp(starts=32, cycles=3, sync_steps=10, exchange=1))


def wall_lewm() -> dict[str, Any]:
    """Tuned on Wall's LeWM that was trained on executed plans, at H = 50."""
    tuned = Tuned(cem_std=0.5, icem_exponent=1.0, mppi_std=0.5)
    return tuned.table(grasp(noise=0.3, exchange=1))


def pointmaze() -> dict[str, Any]:
    """Tuned on PointMaze's sprite model at H = 50."""
    tuned = Tuned(cem_std=1.0, cem_white=True, gd_rate=0.03)
    return tuned.table(grasp(starts=8, cycles=3, exchange=1))


def pointmaze_lewm() -> dict[str, Any]:
    """Tuned on PointMaze's LeWM at H = 50."""
    tuned = Tuned(
        cem_std=2.0, icem_std=1.0, gd_rate=0.3, starts_rate=0.3, latco_rate=0.1, sync_rate=0.3
    )
    return tuned.table(grasp(noise=0.3, exchange=1))


def first_guesses() -> dict[str, Any]:
    """For mazes, before any tuning."""
    guess = Tuned(
        cem_std=1.0,
        cem_white=True,
        icem_std=1.0,
        icem_exponent=1.0,
        mppi_std=0.7,
        temperature=0.1,
        starts_std=0.7,
        latco_rate=0.05,
        multiplier=10.0,
    )
    return {**guess.baselines(), "GRASP-author": GRASP(), "GRASP": grasp()}


def extra(environment: str, checkpoint: str) -> dict[str, Any]:
    """More planners, run where they are named: GRASP without one of its parts, short searches,
    other budgets, baselines that were tuned later.
    """
    found = {**ablations(planners(checkpoint)), **shared.untuned()}
    if environment == "pointmaze":
        return {**found, **lifted_alone(), **tuned_later(checkpoint, cem_std=1.5)}
    return {
        **found,
        "GRASP-iCEM": sampled_grasp(),
        "GRASP-x2/3": grasp(starts=16, cycles=4, sync_steps=10, exchange=1),
        "iCEM-x2": dataclasses.replace(wall()["iCEM"], num_samples=200, num_elites=20),
        **tuned_later(checkpoint, cem_std=1.0),
    }


def tuned_later(checkpoint: str, cem_std: float) -> dict[str, Any]:
    """The baselines of a maze's sprite model, as a sweep on as many goals as GRASP's chose them."""
    if not pathlib.Path(checkpoint).stem.endswith("_pixels"):
        return {}
    return {
        "CEM-5": CEM(num_samples=100, num_elites=5, iterations=15, std=cem_std, noise=SMOOTH),
        "iCEM-5": icem(1.0, 2.0, elites=5, kept=3),
        "MPPI-cold": MPPI(num_samples=100, iterations=15, std=1.0, temperature=0.01, noise=SMOOTH),
        "GD-Adam-16x50": MultiStart(
            GD(learning_rate=0.1, iterations=50), num_starts=16, start_std=0.5, noise=SMOOTH
        ),
    }


def lifted_alone() -> dict[str, Any]:
    """The lifted descent without a sync: with and without the goal term and full gradients."""
    with_goal = dataclasses.replace(GRASP(), iterations=300, action_rate=0.1, sync=None)
    dynamics = dataclasses.replace(with_goal, goal_weight=0.0)
    return {
        "Lifted": with_goal,
        "Lifted-state-gradient": dataclasses.replace(with_goal, stop_state_gradient=False),
        "Lifted-dynamics": dynamics,
        "Lifted-dynamics-state-gradient": dataclasses.replace(dynamics, stop_state_gradient=False),
    }
