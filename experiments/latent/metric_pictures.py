"""How far a goal cost in a latent guides, drawn: against displacements, and as goals reached."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from experiments.harness import plots
from experiments.harness.log import Record
from experiments.harness.tables import wilson_interval

_MOVES = ("agent", "block")
_COLORS = {"agent": "#1f77b4", "block": "#d62728"}
_STYLES = ("-", "--", ":", "-.")


def moved(states: NDArray[Any], what: str, pixels: float) -> NDArray[Any]:
    """Planning states [n, 8] with one object moved along x, towards the middle."""
    column = {"agent": 0, "block": 2}[what]
    found = states.copy()
    inward = np.where(states[:, column] < 2.56, 1.0, -1.0)
    found[:, column] += inward * pixels / 100
    return found


def curve(cost: Any, states: NDArray[Any], what: str, pixels: NDArray[Any]) -> NDArray[Any]:
    """The mean cost [len(pixels)] between states and themselves with one object displaced."""
    both = jax.jit(lambda s, g: jax.lax.map(lambda x: cost(*x), (s, g), batch_size=16))
    goal = jnp.asarray(states, jnp.float32)
    rows = [both(jnp.asarray(moved(states, what, p), jnp.float32), goal) for p in pixels]
    return np.array([float(np.mean(row)) for row in rows])


def draw(
    path: pathlib.Path, costs: dict[str, Any], states: NDArray[Any], records: list[Record]
) -> dict[str, Any]:
    """Both panels; returns the curves.

    Args:
        path: the PNG.
        costs: name to goal cost between planning states.
        states: [n, 8], where the objects are moved from.
        records: of `metric_limit`.
    """
    pixels = np.array([0, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 200])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.9))
    found: dict[str, Any] = {"pixels": pixels.tolist()}
    for (name, cost), style in zip(costs.items(), _STYLES, strict=False):
        for what in _MOVES:
            values = curve(cost, states, what, pixels)
            share = values / values.max()
            found[f"{name}/{what}"] = np.round(share, 4).tolist()
            left.plot(pixels, share, style, color=_COLORS[what], label=f"{what}, {name}")
    left.set_xlabel("displacement, px of 512")
    left.set_ylabel("goal cost, share of its largest")
    left.legend(fontsize=7)
    names = list(dict.fromkeys(r["cost"] for r in records))
    for i, name in enumerate(names):
        wins = [r["success"] for r in records if r["cost"] == name]
        low, high = wilson_interval(sum(wins), len(wins))
        middle = np.mean(wins)
        error = [[100 * (middle - low)], [100 * (high - middle)]]
        right.bar(i, 100 * middle, color=plots.color("CEM"), yerr=error, capsize=4)
        right.text(i, 2, f"{sum(wins)}/{len(wins)}", ha="center", fontsize=8, color="white")
    right.set_xticks(range(len(names)), names)
    right.set_ylabel("goals reached, %, 95% interval")
    horizon = records[0]["horizon"] if records else ""
    right.set_title(f"CEM, H = {horizon}, dynamics of the state model", fontsize=9)
    left.set_title("the cost of one object out of place", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return found
