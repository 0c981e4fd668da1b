"""The loss that a planner descends, around a plan that solves the task: serial and lifted.

Through the learned model of Push-T's states, one environment step at a time, `T` of them. The goal
is where the model's own rollout of recorded actions ends, so that both losses are zero there. The
plane is spanned by two random directions of all actions, of one standard deviation each per entry.

    serial   ||s_T(a) - g||²            through the rollout of T steps
    lifted   Σ_t ||F(s_t, a_t) - s_{t+1}||²    the states held where the true plan has them
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.gallery.sources import plots, pusht_model, pusht_start, pusht_step, pusht_tasks

HORIZONS = (8, 20, 40, 80)
REACH = 0.3
"""Standard deviation of the actions' change at the picture's edge; recorded actions have 0.2."""
POINTS = 61


def losses(model: Any, start: Array, actions: Array, changes: Array) -> tuple[Array, Array]:
    """Both losses of changed plans, divided by the number of their terms' steps.

    Args:
      model: Push-T's.
      start: `[8]`.
      actions: `[T, 2]`, the plan that solves the task.
      changes: `[n, T, 2]`, added to it.

    Returns:
      Serial and lifted, `[n]` each.
    """

    def step(state: Array, action: Array) -> tuple[Array, Array]:
        following = pusht_step(model, state, action)
        return following, following

    final, states = jax.lax.scan(step, start, actions)
    before = jnp.concatenate([start[None], states[:-1]])

    def one(change: Array) -> tuple[Array, Array]:
        reached, _ = jax.lax.scan(step, start, actions + change)
        moved = jax.vmap(lambda s, a: pusht_step(model, s, a))(before, actions + change)
        return jnp.sum((reached - final) ** 2), jnp.sum((moved - states) ** 2)

    return jax.lax.map(one, changes, batch_size=256)


def plane(key: Array, steps: int, points: int = POINTS) -> Array:
    """Changes `[points, points, T, 2]` along two random directions, the middle one zero."""
    directions = jax.random.normal(key, (2, steps, 2))
    scale = jnp.linspace(-REACH, REACH, points)
    first, second = jnp.meshgrid(scale, scale, indexing="ij")
    return first[..., None, None] * directions[0] + second[..., None, None] * directions[1]


def dents(values: np.ndarray) -> int:
    """Local minima inside a grid `[n, n]`: places below all of their eight neighbours."""
    middle, count = values[1:-1, 1:-1], values.shape[0]
    around = [
        values[1 + i : count - 1 + i, 1 + j : count - 1 + j]
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        if (i, j) != (0, 0)
    ]
    return int(np.sum(np.all([middle < other for other in around], axis=0)))


def measure(count: int = 4, horizons: tuple[int, ...] = HORIZONS) -> list[dict[str, Any]]:
    """One record per horizon and task: local minima and largest second difference of both."""
    model = pusht_model()
    begin, _, actions = pusht_tasks(count, max(horizons))
    evaluate = jax.jit(losses)
    rows = []
    for steps in horizons:
        for task in range(count):
            changes = plane(jax.random.fold_in(jax.random.key(7), task), steps)
            flat = changes.reshape(-1, steps, 2)
            plan = jnp.asarray(actions[task, :steps])
            found = evaluate(model, pusht_start(begin[task]), plan, flat)
            serial, lifted = (np.asarray(x, np.float64).reshape(POINTS, POINTS) for x in found)
            row: dict[str, Any] = {"horizon": steps, "task": task}
            for name, values in (("serial", serial), ("lifted", lifted)):
                row[f"{name}_minima"] = dents(values)
                row[f"{name}_curvature"] = float(_curvature(values))
                row[name] = values
            rows.append(row)
    return rows


def _curvature(values: np.ndarray) -> float:
    """The largest second derivative along the first direction."""
    width = 2 * REACH / (len(values) - 1)
    return np.abs(np.diff(values, 2, axis=0)).max() / width**2


def draw(rows: list[dict[str, Any]], path: Any) -> None:
    """Both landscapes of the first task, a column per horizon."""
    shown = [r for r in rows if r["task"] == 0]
    count = len({r["task"] for r in rows})
    figure, axes = plots.plt.subplots(
        2, len(shown), figsize=(3.1 * len(shown) + 0.6, 6.4), layout="constrained", squeeze=False
    )
    picture: Any = None
    for column, row in enumerate(shown):
        for panel, name in zip(axes[:, column], ("serial", "lifted"), strict=True):
            levels = row[name] / row[name].max()
            picture = panel.imshow(
                np.log10(np.maximum(levels, 1e-3)),
                extent=(-REACH, REACH, -REACH, REACH),
                origin="lower",
                cmap="viridis",
                vmin=-3,
                vmax=0,
            )
            panel.plot(0, 0, "*", color="white", markersize=10, markeredgecolor="black")
            minima = [r[f"{name}_minima"] for r in rows if r["horizon"] == row["horizon"]]
            title = f"{name}, T = {row['horizon']}\nlocal minima: {_listed(minima)}"
            panel.set_title(title, fontsize=10)
            panel.set_xticks([])
            panel.set_yticks([])
    figure.colorbar(picture, ax=axes, shrink=0.6, label="log10 of loss / its largest")
    figure.suptitle(
        "Push-T's learned model: loss around a plan that solves the task (★), actions changed "
        "along two random directions.\nLifted: virtual states held on the true way. Local minima: "
        f"of {count} tasks, the first drawn"
    )
    plots.save_figure(figure, path)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records without their grids."""
    return [{k: v for k, v in row.items() if not isinstance(v, np.ndarray)} for row in rows]
