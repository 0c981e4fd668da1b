"""The tables on state gradients, which `experiments.tables` prints with the others."""

import pandas as pd

from experiments.harness.log import Record, read_results
from experiments.harness.tables import RESULTS, markdown

_WAYS = {"stopped": "", "full": "-state-gradient"}


def lifted_gradients() -> str:
    """PointMaze's LeWM, lifted descents without a sync: plans believed in, and those that hold."""
    records = [
        r for r in read_results(RESULTS / "pointmaze_lewm") if r["planner"].startswith("Lifted")
    ]
    horizons = sorted({r["horizon"] for r in records})
    lines = []
    for objective, name in (("dynamics", "Lifted-dynamics"), ("dynamics and goal", "Lifted")):
        for way, ending in _WAYS.items():
            own = [r for r in records if r["planner"] == name + ending]
            cells = [c for h in horizons for c in _claims([r for r in own if r["horizon"] == h])]
            lines.append([objective, way, *cells])
    header = [x for h in horizons for x in (f"H = {h}: believed in", "hold", "false claims")]
    return markdown(["objective", "state gradient", *header], lines)


def _claims(records: list[Record]) -> list[str]:
    """Believed in and held, in % of the plans; false, in % of those believed in."""
    believed = [r for r in records if r["predicted_success"]]
    held = sum(r["success"] for r in believed)
    shares = (
        len(believed) / len(records),
        held / len(records),
        (len(believed) - held) / max(1, len(believed)),
    )
    return [f"{100 * share:.0f}" for share in shares]


def state_gradients() -> str:
    """Wall's LeWM, the lifted descent alone: medians of squared latent distances, % of goals."""
    lines = []
    for objective, ending in (("dynamics and goal", "_goal_1"), ("dynamics", "")):
        path = RESULTS / "wall_lewm" / f"state_gradients{ending}.csv"
        table = pd.read_csv(path, dtype=str)
        found = dict(zip(table["quantity"], table["value"], strict=True))
        for way in _WAYS:
            distances = [f"{float(found[f'{way}_{k}']):.3g}" for k in ("residual", "cost")]
            shares = [f"{way}_{k}" for k in ("claims", "success", "exploited", "adversarial")]
            cells = [f"{100 * float(found[name]):.0f}" for name in shares]
            lines.append([objective, way, *distances, *cells])
    header = ["objective", "state gradient", "lifted residual", "rollout to the goal"]
    header += ["believed in", "solved", "false claims", "adversarial"]
    return markdown(header, lines)
