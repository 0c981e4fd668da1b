r"""A sweep of the planners of the study, on other goals than the table's.

    python -m experiments.latent.tune --goals=32 --checkpoint=pusht_code

Every family gets three settings, and every setting the same goals. The best are `tuned` in
`experiments.latent.planners`; through the vector nothing is tuned yet.
"""

import dataclasses
import pathlib
from typing import Any

from absl import app, flags

from experiments.harness.flags import begin
from experiments.latent import planners, study
from experiments.planning import tuning
from experiments.planning.planners import SMOOTH, grasp
from experiments.planning.runner import Setting
from grasp_jax import CEM, GD, GRASP, MPPI, LatCo, MultiStart


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    tuning.define_flags(horizon=50, goals=16)
    flags.DEFINE_string("checkpoint", study.TASK.checkpoint, "The model.")
    flags.DEFINE_string("output", "runs/latent/results/tuning", "Folder.")


def candidates() -> dict[str, dict[str, Any]]:
    """Family to (label to planner)."""
    icem = planners.table()["iCEM"]
    restarts = planners.table()["GD-Adam-x8"]
    rates = (0.03, 0.1, 0.3)
    spread = ((1.0, 30), (1.5, 30), (1.5, 15))
    return {
        "CEM": {f"std={s}, {e} elites": CEM(std=s, num_elites=e) for s, e in spread},
        "iCEM": {
            f"std={s}, {e} elites": dataclasses.replace(icem, std=s, num_elites=e)
            for s, e in spread
        },
        "MPPI": {
            f"std={s}, temperature={t}": MPPI(std=s, temperature=t, noise=SMOOTH)
            for s, t in ((0.5, 0.03), (0.5, 0.1), (1.0, 0.03))
        },
        "GD-Adam": {f"rate={r}": GD(learning_rate=r, iterations=500) for r in rates},
        "GD-Adam-x8": {
            f"rate={r}": dataclasses.replace(restarts, planner=GD(learning_rate=r, iterations=300))
            for r in rates
        },
        "LatCo": {
            f"rate={r}, multiplier={m:g}": LatCo(learning_rate=r, iterations=1000, multiplier=m)
            for r, m in ((0.02, 10.0), (0.05, 1.0), (0.05, 10.0))
        },
        "GRASP-plain": {
            f"sync rate={r}": dataclasses.replace(GRASP(), sync=GD(learning_rate=r, iterations=30))
            for r in rates
        },
        "GRASP-sync-only": {
            f"noise={n}, sync rate={r}": _sync_only(n, r)
            for n, r in ((0.5, 0.03), (0.5, 0.1), (0.5, 0.3))
        },
        "GRASP": {
            f"noise={n}, sync rate={r}": grasp(noise=n, sync_rate=r, exchange=1)
            for n, r in ((0.3, 0.03), (0.3, 0.1), (0.3, 0.3))
        },
    }


def _sync_only(noise: float, rate: float) -> MultiStart:
    return grasp(lifted=0, sync_noise=noise, sync_rate=rate, exchange=1)


def main(argv: list[str]) -> None:
    """Sweeps, prints, writes."""
    begin(argv)
    values = flags.FLAGS
    setting = Setting(study.TASK, values.checkpoint)
    tuning.run((setting,), candidates(), pathlib.Path(values.output))


if __name__ == "__main__":
    define_flags()
    app.run(main)
