"""States that never occur, from which a learned model predicts the goal in one step.

A LeWM of Wall's frames (`experiments.models.lewm`). From the latent of the start, Adam descends
`||F(s, a) - g||²` over the state alone, with the action that was recorded last; the true state from
which that action leads to the goal is known. What is found lies nowhere near it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gallery.sources import plots, tasks
from experiments.gradients.__main__ import data_latents, make_cases
from experiments.gradients.brittleness import Case, impostors, nearest
from experiments.models.lewm.model import SmallLeWM
from experiments.models.load import load_model

CHECKPOINT = "wall_lewm"
HORIZON = 50


class Found(NamedTuple):
    """What is drawn.

    Attributes:
      rows: One record per goal.
      frames: `[n, 5, S, S, 3]` in [0, 1]: the start; the state that was found, decoded; what the
        model predicts from it, decoded; the goal; the true state before the goal.
    """

    rows: list[dict[str, Any]]
    frames: np.ndarray


def measure(count: int = 24, library_size: int = 4000) -> Found:
    """Impostors of `count` goals and how far they lie from the data's latents."""
    model, task = load_model(CHECKPOINT), tasks.WALL
    assert isinstance(model, SmallLeWM)
    goals = task.goals(count, HORIZON, 0, "tune")
    cases = make_cases(model, task, goals)
    library = data_latents(model, task, library_size)
    found = impostors(model, cases)
    state, start, goal = (np.asarray(x) for x in (found.state, cases.start, cases.goal))
    true = np.asarray(cases.states[:, -2])
    whole = np.linalg.norm(true - start, axis=1)
    columns = {
        "gap_at_start": np.asarray(found.first),
        "gap_at_end": np.asarray(found.last),
        "gap_at_true_state": _gaps(model, cases, cases.states[:, -2]),
        "to_true_state": np.linalg.norm(state - true, axis=1) / whole,
        "off_data": nearest(state, library),
        "true_off_data": nearest(true, library),
    }
    rows = [
        {"goal": i, **{k: round(float(v[i]), 5) for k, v in columns.items()}} for i in range(count)
    ]
    latents = np.stack([start, state, _predicted(model, cases, found.state), goal, true], axis=1)
    return Found(rows, _decode(model, latents))


def _window(model: SmallLeWM, case: Case) -> jax.Array:
    """The last recorded actions, as many as the model's window has."""
    return jnp.concatenate([case.past_actions, case.actions])[-model.history :]


def _predicted(model: SmallLeWM, cases: Case, states: Any) -> np.ndarray:
    """The model's next latents `[n, D]` from states `[n, D]` under the last actions."""

    def one(case: Case, state: jax.Array) -> jax.Array:
        return model(jnp.concatenate([case.past, state[None]]), _window(model, case))

    return np.asarray(jax.jit(jax.vmap(one))(cases, jnp.asarray(states)))


def _gaps(model: SmallLeWM, cases: Case, states: Any) -> np.ndarray:
    return np.sum((_predicted(model, cases, states) - np.asarray(cases.goal)) ** 2, axis=1)


def _decode(model: SmallLeWM, latents: np.ndarray) -> np.ndarray:
    flat = jnp.asarray(latents.reshape(-1, latents.shape[-1]))
    frames = np.asarray(jax.jit(jax.vmap(model.decoder))(flat))
    return np.clip(frames.reshape(*latents.shape[:2], *frames.shape[1:]), 0, 1)


def draw(found: Found, path: Any, shown: int = 4) -> None:
    """Decoded states of some goals, and how far impostors lie from the data."""
    titles = ("start", "found state", "predicted from it", "goal", "true state\nbefore the goal")
    figure = plots.plt.figure(figsize=(13, 1.75 * shown + 0.7), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left, right = halves
    axes: Any = left.subplots(shown, len(titles), squeeze=False)
    for row, frames in zip(axes, found.frames[:shown], strict=True):
        for panel, frame in zip(row, frames, strict=True):
            panel.imshow(frame, interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    panels: Any = right.subplots(2, 1)
    upper, lower = panels
    columns = {k: np.array([r[k] for r in found.rows]) for k in found.rows[0]}
    _dots(
        upper,
        [columns["gap_at_start"], columns["gap_at_true_state"], columns["gap_at_end"]],
        ["start", "true state", "found state"],
        "||F(s, a) - g||²",
    )
    _dots(
        lower,
        [columns["true_off_data"], columns["off_data"]],
        ["true state", "found state"],
        "distance to the nearest\nlatent of the data",
    )
    right.suptitle(f"{len(found.rows)} goals", fontsize=11)
    left.suptitle("Latents of Wall's LeWM, decoded", fontsize=11)
    plots.save_figure(figure, path)


def _dots(axes: Any, groups: list[np.ndarray], names: list[str], label: str) -> None:
    rng = np.random.default_rng(0)
    for index, (group, name) in enumerate(zip(groups, names, strict=True)):
        color = "#d62728" if name == "found state" else "#5c6678"
        axes.plot(group, index + rng.uniform(-0.18, 0.18, len(group)), "o", color=color, alpha=0.6)
        axes.plot([np.median(group)] * 2, [index - 0.3, index + 0.3], color="black", linewidth=2)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=label, xscale="log")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
