"""The pictures of the ball-navigation experiment, drawn from recorded results and settings."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.ball.planners import planners
from experiments.environments import ball
from experiments.harness import plots
from experiments.harness.log import CEILING, FLOOR, Record
from experiments.planning.runner import OPEN_LOOP, Setting

_ROLL_ALL = jax.jit(jax.vmap(ball.rollout, (None, None, 0)))
_SHOWN = ("CEM-correlated", "GD-restarts", "GRASP-author", "GRASP")


def draw_all(
    folder: pathlib.Path, settings: Sequence[Setting], records: list[Record], rows: list[Record]
) -> None:
    """Success bars, success against effort, plans on the maps, and the GIF."""
    del settings  # the records name their maps
    records = [r for r in records if r["mode"] == OPEN_LOOP]
    rows = [r for r in rows if r["mode"] == OPEN_LOOP]
    success_bars(rows, folder / "success.png")
    for layout in _layouts(records):
        own = [r for r in records if r["environment"] == f"ball_{layout}"]
        curves = effort_curves(own)
        if curves:
            plots.success_against_time(
                curves,
                folder / f"success_against_effort_{layout}.png",
                f"Ball navigation, {layout}: goals solved within an effort",
                "model evaluations per goal, forward and backward",
            )
    plans_on_maps(records, folder / "plans.png")
    if any(r["planner"] == "GRASP" for r in records):
        first = next(r for r in records if r["planner"] == "GRASP")
        virtual_states_gif(folder / "virtual_states.gif", _layouts(records)[0], first["seed"])


def _layouts(records: list[Record]) -> list[str]:
    present = {r["environment"] for r in records}
    return [layout for layout in ball.MAPS if f"ball_{layout}" in present]


def success_bars(rows: list[Record], path: pathlib.Path) -> None:
    """Success of every planner with Wilson intervals, a panel per map."""
    layouts = list(dict.fromkeys(r["environment"] for r in rows))
    figure, axes = plots.plt.subplots(
        1, len(layouts), figsize=(1 + 4.2 * len(layouts), 4.4), layout="constrained", squeeze=False
    )
    for panel, layout in zip(axes[0], layouts, strict=True):
        own = [
            r for r in rows if r["environment"] == layout and r["planner"] not in (FLOOR, CEILING)
        ]
        for y, row in enumerate(reversed(own)):
            share, low, high = (100 * row[k] for k in ("success", "success_low", "success_high"))
            bars = [[max(0, share - low)], [max(0, high - share)]]
            panel.barh(y, share, color=plots.color(row["planner"]), height=0.7)
            panel.errorbar(share, y, xerr=bars, color="black", capsize=3, linewidth=1)
            panel.text(110, y, f"{share:.0f}", va="center", ha="right", fontsize=9)
        for row in rows:
            if row["environment"] == layout and row["planner"] in (FLOOR, CEILING):
                style = "--" if row["planner"] == CEILING else ":"
                label = row["planner"].replace("_", " ")
                panel.axvline(100 * row["success"], color="#555555", linestyle=style, label=label)
        panel.set_yticks(range(len(own)), [r["planner"] for r in reversed(own)])
        goals = own[0]["goals"] if own else 0
        panel.set(xlim=(-2, 111), xlabel=f"success (%) of {goals} goals", title=layout)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    plots.save_figure(figure, path)


def effort_curves(records: list[Record]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each planner, model evaluations `[n]` and the share of goals `[n]` solved by then."""
    curves = {}
    for name in dict.fromkeys(r["planner"] for r in records if "evaluations_to_success" in r):
        group = [r for r in records if r["planner"] == name]
        spent = [r["evaluations_to_success"] for r in group]
        solved = sorted(s for s in spent if s is not None)
        total = group[0]["model_forward"] + group[0]["model_backward"]
        share = np.array([*range(1, len(solved) + 1), len(solved)]) / len(group)
        curves[name] = (np.array([*solved, total]), share)
    return curves


def draw_map(axes: Any, layout: str) -> None:
    """Walls and the arena's frame."""
    for x0, y0, x1, y1 in ball.MAPS[layout].walls:
        axes.plot([x0, x1], [y0, y1], color="#333333", linewidth=4, solid_capstyle="round")
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xticks=[], yticks=[])


def plans_on_maps(records: list[Record], path: pathlib.Path) -> None:
    """Recorded plans of the first tasks: a row per map, a column per planner."""
    layouts = _layouts(records)
    names = [n for n in _SHOWN if any(r["planner"] == n for r in records)]
    if not names:
        return
    figure, axes = plots.plt.subplots(
        len(layouts),
        len(names),
        figsize=(2.9 * len(names), 3.1 * len(layouts)),
        layout="constrained",
        squeeze=False,
    )
    for row, layout in zip(axes, layouts, strict=True):
        for panel, name in zip(row, names, strict=True):
            own = [
                r
                for r in records
                if r["environment"] == f"ball_{layout}" and r["planner"] == name and "actions" in r
            ]
            draw_map(panel, layout)
            _draw_plans(panel, layout, own)
            panel.set_title(f"{name}: {sum(r['success'] for r in own)} of {len(own)}", fontsize=10)
    figure.supxlabel("start ●   goal ★   dashed: the plan does not reach its goal", fontsize=9)
    plots.save_figure(figure, path)


def _draw_plans(axes: Any, layout: str, records: list[Record]) -> None:
    if not records:
        return
    count = max(r["goal"] for r in records) + 1
    starts, goals = ball.sample_tasks(layout, count, records[0]["seed"])
    world = ball.dynamics(layout)
    for record in records:
        index, shade = record["goal"], plots.plt.get_cmap("tab10")(record["goal"] % 10)
        states = ball.rollout(world, jnp.asarray(starts[index]), jnp.asarray(record["actions"]))
        style = "-" if record["success"] else "--"
        axes.plot(*np.asarray(states).T, style, color=shade, linewidth=1.3)
        axes.plot(*starts[index], "o", color=shade, markersize=5)
        axes.plot(*goals[index], "*", color=shade, markersize=9)


def virtual_states_gif(
    path: pathlib.Path,
    layout: str,
    seed: int,
    planner: grasp_jax.Chain | None = None,
    hops: int = 8,
) -> None:
    """A search on one task: all virtual states, and the true rollouts of their actions.

    Args:
      path: The gif file.
      layout: The map.
      seed: Of task and search.
      planner: A population of lifted searches, and then others; the table's `GRASP-GD` by default.
      hops: Iterations shown of the others.
    """
    index = 0
    starts, goals = ball.sample_tasks(layout, index + 1, seed)
    world = ball.dynamics(layout)
    chain: grasp_jax.Chain = planner or planners()["GRASP-GD"]
    lifted = chain.planners[0].iterations
    key = jax.random.fold_in(jax.random.key(seed), index)
    search = grasp_jax.start(
        grasp_jax.make_problem(
            world,
            jnp.asarray(starts[index]),
            jnp.asarray(goals[index]),
            jnp.zeros((ball.HORIZON, 2)),
            bounds=(-1.0, 1.0),
        ),
        key,
        planner=chain,
    )
    frames = []
    for iteration in range(lifted + hops + 1):
        best = grasp_jax.read(search)
        population = search.state.inner.planners[0].inner
        rollouts = np.asarray(_ROLL_ALL(world, jnp.asarray(starts[index]), population.actions))
        virtual = np.asarray(population.states)
        phase = f"lifted iteration {iteration} of {lifted}"
        if iteration >= lifted:
            virtual, rollouts = virtual[:0], rollouts[: (iteration == lifted) * len(rollouts)]
            phase = (
                "after the sync" if iteration == lifted else f"noise and sync {iteration - lifted}"
            )
        frame = _frame(layout, starts[index], goals[index], virtual, rollouts, best, phase)
        frames += [frame] * (3 if iteration <= lifted else 1)
        search = grasp_jax.advance(search, 1)
    plots.save_gif(frames + [frames[-1]] * 8, path, fps=5)


def _frame(
    layout: str,
    start: np.ndarray,
    goal: np.ndarray,
    virtual: np.ndarray,
    rollouts: np.ndarray,
    best: Any,
    phase: str,
) -> np.ndarray:
    figure, (left, right) = plots.plt.subplots(1, 2, figsize=(7.2, 4.0), dpi=80)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=0.84, wspace=0.05)
    for axes in (left, right):
        draw_map(axes, layout)
        axes.plot(*start, "o", color="black", markersize=7, zorder=5)
        axes.plot(*goal, "*", color="#2ca02c", markersize=14, zorder=5)
    for index, states in enumerate(virtual):
        points = np.concatenate([start[None], states, goal[None]])
        shade = plots.plt.get_cmap("tab20")(index % 20)
        left.plot(*points.T, ".-", color=shade, linewidth=0.7, markersize=3, alpha=0.8)
    for index, states in enumerate(rollouts):
        shade = plots.plt.get_cmap("tab20")(index % 20)
        right.plot(*states.T, color=shade, linewidth=0.9, alpha=0.8)
    if not len(virtual):
        left.text(
            0,
            -0.93,
            "(no longer used: noise on the actions and syncs from here)",
            ha="center",
            fontsize=8,
        )
        right.plot(*np.asarray(best.states).T, color=plots.color("GRASP"), linewidth=2.2)
    left.set_title("virtual states (free to cross walls)", fontsize=10)
    right.set_title(f"true rollouts, best cost {float(best.cost):.3f}", fontsize=10)
    figure.suptitle(f"GRASP, GD as sync, {layout}: {phase}", fontsize=11)
    return plots.figure_frame(figure)
