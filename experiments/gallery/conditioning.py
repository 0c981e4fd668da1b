r"""How badly conditioned the two problems are, against the horizon `T`.

The serial problem solves `s_T(a) = g` for the actions; its Jacobian is `[A^{T-1}B, ..., AB, B]`.
The lifted problem solves `F(s_t, a_t) - s_{t+1} = 0` for actions and states, `s_0` and `s_T = g`
pinned; its Jacobian has `B` on the diagonal of the actions and `A`, `-I` next to each other for the
states.

For `s' = diag(α) s + β a` both split into scalar problems, whose singular values are known:

    serial, mode α:  σ² = β² (α^{2T} - 1) / (α² - 1), or β² T where |α| = 1: one per mode
    lifted, mode α:  σ² = β² + 1 + α² - 2 α cos(kπ/T),  k = 1..T-1,  and σ² = β²

The second because `J Jᵀ = β² I + D Dᵀ` with the bidiagonal `D` of the states, and `Dᵀ D` is
tridiagonal Toeplitz with `1 + α²` on its diagonal and `-α` beside it (its size is `T-1`; the
eigenvalue that `D Dᵀ` has besides is 0).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.gallery.sources import plots, pusht_model, pusht_start, pusht_step, pusht_tasks

MODES = (1.08, 0.92)
GAIN = 0.3
HORIZONS = (2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 72, 80)
_WORST = 1e8
"""Condition numbers from here on mean: some state cannot be moved at all."""


def serial_jacobian(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """`∂s_T/∂a`, `[n, T·m]`, from the derivatives of the steps.

    Args:
      states: `[T, n, n]`, `∂F/∂s` at each step.
      actions: `[T, n, m]`, `∂F/∂a`.
    """
    columns, product = [], np.eye(states.shape[1])
    for a, b in zip(states[::-1], actions[::-1], strict=True):
        columns.append(product @ b)
        product = product @ a
    return np.concatenate(columns[::-1], axis=1)


def lifted_jacobian(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """`∂r/∂(a, s_1..s_{T-1})`, `[T·n, T·m + (T-1)·n]`; arguments as for `serial_jacobian`."""
    steps, size, width = actions.shape
    found = np.zeros((steps * size, steps * width + (steps - 1) * size))
    for t in range(steps):
        rows, first = slice(t * size, (t + 1) * size), steps * width
        found[rows, t * width : (t + 1) * width] = actions[t]
        if t < steps - 1:
            found[rows, first + t * size : first + (t + 1) * size] = -np.eye(size)
        if t > 0:
            found[rows, first + (t - 1) * size : first + t * size] = states[t]
    return found


def serial_closed(alpha: float, beta: float, steps: int) -> np.ndarray:
    """The one singular value `[1]` of a mode's serial Jacobian."""
    square = alpha**2
    total = steps if square == 1 else (square**steps - 1) / (square - 1)
    return np.array([abs(beta) * np.sqrt(total)])


def lifted_closed(alpha: float, beta: float, steps: int) -> np.ndarray:
    """The `[T]` singular values of a mode's lifted Jacobian."""
    waves = 1 + alpha**2 - 2 * alpha * np.cos(np.pi * np.arange(1, steps) / steps)
    return np.sqrt(beta**2 + np.append(waves, 0.0))


def extremes(jacobian: np.ndarray) -> tuple[float, float]:
    """Largest singular value, and its ratio to the smallest."""
    values = np.linalg.svd(jacobian, compute_uv=False)
    return float(values[0]), float(values[0] / max(values[-1], values[0] / _WORST))


def linear(horizons: tuple[int, ...] = HORIZONS) -> list[dict[str, Any]]:
    """The diagonal system: both Jacobians by singular value decomposition and in closed form."""
    rows = []
    for steps in horizons:
        a = np.repeat(np.diag(MODES)[None], steps, axis=0)
        b = np.repeat(GAIN * np.eye(2)[None], steps, axis=0)
        for name, jacobian, closed in (
            ("serial", serial_jacobian(a, b), serial_closed),
            ("lifted", lifted_jacobian(a, b), lifted_closed),
        ):
            largest, ratio = extremes(jacobian)
            known = np.concatenate([closed(alpha, GAIN, steps) for alpha in MODES])
            rows.append(
                {
                    "system": "diagonal",
                    "jacobian": name,
                    "horizon": steps,
                    "largest": largest,
                    "condition": ratio,
                    "closed_largest": float(known.max()),
                    "closed_condition": float(known.max() / known.min()),
                }
            )
    return rows


def double_integrator(horizons: tuple[int, ...] = HORIZONS) -> list[dict[str, Any]]:
    """One force, two states: actions cannot move every state at once."""
    rows = []
    for steps in horizons:
        a = np.repeat(np.array([[1.0, 0.1], [0.0, 1.0]])[None], steps, axis=0)
        b = np.repeat(np.array([[0.0], [0.1]])[None], steps, axis=0)
        rows += _records("double integrator", a, b)
    return rows


@jax.jit
def _derivatives(model: Any, start: Array, actions: Array) -> tuple[Array, Array]:
    """`∂F/∂s` and `∂F/∂a` along a rollout, `[T, 7, 7]` and `[T, 7, 2]`.

    The angle itself, because no action changes the length of its cosine and sine.
    """

    def angular(state: Array) -> Array:
        return jnp.append(state[:6], jnp.arctan2(state[7], state[6]))

    def follow(state: Array, action: Array) -> Array:
        whole = jnp.concatenate([state[:6], jnp.stack([jnp.cos(state[6]), jnp.sin(state[6])])])
        return angular(pusht_step(model, whole, action))

    def step(state: Array, action: Array) -> tuple[Array, tuple[Array, Array]]:
        return follow(state, action), jax.jacfwd(follow, argnums=(0, 1))(state, action)

    return jax.lax.scan(step, angular(start), actions)[1]


def pusht(count: int = 20, horizons: tuple[int, ...] = HORIZONS) -> list[dict[str, Any]]:
    """Along recorded actions through the learned model of Push-T's states."""
    begin, _, actions = pusht_tasks(count, max(horizons))
    model, rows = pusht_model(), []
    for task in range(count):
        plan = jnp.asarray(actions[task])
        found = _derivatives(model, pusht_start(begin[task]), plan)
        a, b = (np.asarray(x, np.float64) for x in found)
        for steps in horizons:
            for row in _records("Push-T", a[:steps], b[:steps]):
                rows.append({**row, "task": task})
    return rows


def _records(system: str, a: np.ndarray, b: np.ndarray) -> list[dict[str, Any]]:
    found = []
    for name, jacobian in (("serial", serial_jacobian(a, b)), ("lifted", lifted_jacobian(a, b))):
        largest, ratio = extremes(jacobian)
        common = {"system": system, "jacobian": name, "horizon": len(a)}
        found.append({**common, "largest": largest, "condition": ratio})
    return found


def measure() -> list[dict[str, Any]]:
    """All three systems."""
    return [*linear(), *double_integrator(), *pusht()]


_COLORS = {"serial": "#1f77b4", "lifted": "#d62728"}


def draw(rows: list[dict[str, Any]], path: Any) -> None:
    """Condition numbers above, largest singular values below, a column per system."""
    names = list(dict.fromkeys(r["system"] for r in rows))
    figure, axes = plots.plt.subplots(
        2, len(names), figsize=(4.3 * len(names), 6.8), layout="constrained"
    )
    titles = {
        "diagonal": f"s' = diag{MODES} s + {GAIN} a",
        "double integrator": "double integrator, one force",
        "Push-T": "Push-T's learned model, 20 recorded plans",
    }
    for column, system in enumerate(names):
        for panel, field in zip(axes[:, column], ("condition", "largest"), strict=True):
            for name, color in _COLORS.items():
                own = [r for r in rows if r["system"] == system and r["jacobian"] == name]
                _curve(panel, own, field, name, color)
            panel.set_yscale("log")
            panel.grid(alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
        axes[0, column].set_title(titles[system], fontsize=11)
        axes[1, column].set_xlabel("horizon T (steps of the model)")
        axes[0, column].legend(frameon=False, fontsize=9)
    axes[0, 0].set_ylabel("condition number")
    axes[1, 0].set_ylabel("largest singular value")
    figure.suptitle("Conditioning of the serial and of the lifted problem")
    plots.save_figure(figure, path)


def _curve(panel: Any, rows: list[dict[str, Any]], field: str, name: str, color: str) -> None:
    """Medians and quartiles over tasks; a closed form as a line through the markers."""
    horizons = sorted({r["horizon"] for r in rows})
    groups = [[r[field] for r in rows if r["horizon"] == h] for h in horizons]
    low, middle, high = np.array([np.quantile(g, [0.25, 0.5, 0.75]) for g in groups]).T
    closed = f"closed_{field}"
    if closed in rows[0]:
        panel.plot(horizons, [r[closed] for r in rows], color=color, label=f"{name}, closed form")
        panel.plot(horizons, middle, "o", color=color, markersize=4, label=f"{name}, SVD")
        return
    panel.plot(horizons, middle, "o-", color=color, markersize=4, label=name)
    panel.fill_between(horizons, low, high, color=color, alpha=0.15)
