r"""Tests the claim about brittle state gradients on a learned latent model.

    python -m experiments.gradients --checkpoint=wall_lewm

For goals of the benchmark: descends the lifted objective alone from the straight line, once with
full and once with stopped state gradients, and compares how low it gets with how close the model's
rollout of the same actions gets, and the simulator. Then: norms of the model's derivatives on the
data and where those descents ended, and states that the model maps onto the goal. Writes
`state_gradients.jsonl` (one line per goal), `.csv` (medians) and `.png`; with `--goal_weight=1`, as
GRASP has it by default, files of another name.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import app, flags

from experiments.gradients import brittleness
from experiments.gradients.brittleness import FULL, STOPPED, Case, Descent, Latents
from experiments.harness import plots
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.settings import check_settings, fingerprint
from experiments.harness.tables import wilson_interval
from experiments.models.checkpoint import locate
from experiments.models.load import load_model
from experiments.models.sources import SOURCES
from experiments.planning import runner, tasks
from experiments.planning.tasks import Task

_WAYS = (STOPPED, FULL)
_SETTINGS = ("environment", "horizon", "goal_weight", "goal", "code")
_COLORS = {STOPPED: "#d62728", FULL: "#1f77b4"}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "wall", sorted(tasks.TASKS), "The environment.")
    flags.DEFINE_string("checkpoint", "wall_lewm", "A small LeWM: a shipped one's name, or a file.")
    flags.DEFINE_integer("goals", 100, "Goals.", lower_bound=2)
    flags.DEFINE_integer("horizon", 50, "Environment steps from start to goal.", lower_bound=10)
    flags.DEFINE_integer("iterations", 750, "Of each descent.", lower_bound=15)
    flags.DEFINE_float("goal_weight", 0.0, "Weight of the dense goal term.", lower_bound=0)
    flags.DEFINE_integer("library", 20000, "Frames of training data that stand for the data.")
    flags.DEFINE_string("output", None, "Folder; experiments/results/<checkpoint>.")


def make_cases(model: Latents, task: Task, goals: Any) -> Case:
    """The benchmark's goals [n, ...], all their frames encoded."""
    count, every = len(goals.start), model.frameskip
    states = task.execute(goals.start, goals.actions)[:, ::every]
    latents = runner.encode_states(model, task, states.reshape(-1, states.shape[-1]))
    latents = latents.reshape(count, -1, latents.shape[-1])
    past = every * (model.history - 1)
    before = goals.past_states[:, goals.past_states.shape[1] - past :: every]
    old = runner.encode_states(model, task, before.reshape(-1, before.shape[-1]))
    fields = (
        latents[:, 0],
        latents[:, -1],
        old.reshape(count, -1, latents.shape[-1]),
        model.from_environment(goals.past_actions[:, goals.past_actions.shape[1] - past :]),
        latents,
        model.from_environment(goals.actions),
    )
    return Case(*(jnp.asarray(x, jnp.float32) for x in fields))


def data_latents(model: Latents, task: Task, count: int) -> np.ndarray:
    """Latents [count, D] of random training frames."""
    states, _ = SOURCES[task.name].trajectories(1000, 0)
    flat = states.reshape(-1, states.shape[-1])
    chosen = flat[np.random.default_rng(0).choice(len(flat), min(count, len(flat)), replace=False)]
    return runner.encode_states(model, task, chosen)


def _rounded(value: Any) -> Any:
    return np.round(np.asarray(value, np.float64), 5).tolist()


def measure(
    model: Latents, task: Task, goals: Any, library: np.ndarray, descent: Descent
) -> list[Record]:
    """One record per goal."""
    cases = make_cases(model, task, goals)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(len(goals[0])))
    history = model.history

    def norms(states: Any, actions: Any) -> dict[str, np.ndarray]:
        """Medians over the middle steps [n]."""
        inputs = brittleness.windows(cases, states, history)[:, 1:]
        taken = brittleness.action_windows(cases, actions, history)[:, 1:]
        flat = (x.reshape(-1, *x.shape[2:]) for x in (inputs, taken))
        found = brittleness.jacobians(model, *flat)
        return {k: np.median(np.asarray(v).reshape(inputs.shape[:2]), 1) for k, v in found.items()}

    steps = cases.actions.shape[1]
    shares = jnp.arange(1, steps + 1)[None, :, None] / steps
    line = cases.start[:, None] + shares * (cases.goal - cases.start)[:, None]
    places = {"data": (cases.states[:, 1:], cases.actions), "line": (line, cases.actions)}
    rows: list[Record] = [{"goal": i} for i in range(len(goals[0]))]
    own = np.asarray(brittleness.residual_of(model, cases))
    for way in _WAYS:
        found = brittleness.descend(model, cases, keys, way, descent)
        places[way] = (found.states, found.actions)
        taken = np.asarray(model.to_environment(np.asarray(found.actions)))
        ends = task.execute(goals.start, taken)[:, -1]
        success = task.success(ends, goals.goal)
        claims = task.predicted(np.asarray(model.measure(found.rollout[:, -1])), goals.goal)
        for i, row in enumerate(rows):
            row |= {
                f"{way}_residual": _rounded(found.residual[i]),
                f"{way}_cost": _rounded(found.cost[i]),
                f"{way}_success": bool(success[i]),
                f"{way}_claims": bool(claims[i]),
                **{f"{way}_{k}": v for k, v in task.errors(ends[i], goals.goal[i]).items()},
            }
    off = {
        name: np.median(brittleness.nearest(np.asarray(states)[:, :-1], library), axis=1)
        for name, (states, _) in places.items()
    }
    sizes = {name: norms(*where) for name, where in places.items()}
    for i, row in enumerate(rows):
        row |= {f"{name}_off_data": _rounded(values[i]) for name, values in off.items()}
        for name, found in sizes.items():
            row |= {f"{name}_jacobian_{k}": _rounded(v[i]) for k, v in found.items()}
        row["true_residual"] = _rounded(own[i])
    for row, fake in zip(rows, impostors(model, cases, library), strict=True):
        row |= fake
    return rows


def impostors(model: Latents, cases: Case, library: np.ndarray) -> list[Record]:
    """States that the model maps onto the goal; distances in shares of the true predecessor's."""
    found = brittleness.impostors(model, cases)
    state, start, true = (np.asarray(x) for x in (found.state, cases.start, cases.states[:, -2]))
    whole = np.linalg.norm(true - start, axis=1)
    columns = {
        "impostor_first": found.first,
        "impostor_last": found.last,
        "impostor_moved": np.linalg.norm(state - start, axis=1) / whole,
        "impostor_off_data": brittleness.nearest(state, library),
        "impostor_to_true": np.linalg.norm(state - true, axis=1) / whole,
    }
    return [{k: _rounded(v[i]) for k, v in columns.items()} for i in range(len(state))]


def summarise(rows: list[Record]) -> list[Record]:
    """Medians with quartiles of every number, shares with intervals; pairs of the two ways."""
    found = []
    for name in [k for k in rows[0] if k not in _SETTINGS]:
        values = [row[name] for row in rows]
        if isinstance(values[0], bool):
            low, high = wilson_interval(sum(values), len(values))
            middle = sum(values) / len(values)
        else:
            # Of a curve, its end.
            ends = [v[-1] if isinstance(v, list) else v for v in values]
            low, middle, high = np.quantile(ends, [0.25, 0.5, 0.75])
        found.append({"quantity": name, "value": middle, "low": low, "high": high})
    for field in ("success", "claims"):
        one, two = (np.array([r[f"{way}_{field}"] for r in rows]) for way in _WAYS)
        count = f"{int(np.sum(one & ~two))} : {int(np.sum(two & ~one))}"
        found.append({"quantity": f"{field}: only {STOPPED} : only {FULL}", "value": count})
    for way in _WAYS:
        kinds = {
            # The virtual states fit as well as true ones, and the model's own rollout misses.
            "adversarial": lambda r, w=way: (
                r[f"{w}_residual"][-1] <= r["true_residual"] and not r[f"{w}_claims"]
            ),
            # The model's rollout reaches the goal, and the simulator's does not.
            "exploited": lambda r, w=way: r[f"{w}_claims"] and not r[f"{w}_success"],
        }
        for kind, holds in kinds.items():
            count = sum(map(holds, rows))
            low, high = wilson_interval(count, len(rows))
            share = count / len(rows)
            found.append({"quantity": f"{way}_{kind}", "value": share, "low": low, "high": high})
    return [
        {
            k: round(float(v), 4) if isinstance(v, (float, np.floating)) else v
            for k, v in row.items()
        }
        for row in found
    ]


def draw(rows: list[Record], descent: Descent, title: str, path: pathlib.Path) -> None:
    """Residual and rollout cost over iterations; the end of each descent; derivatives' norms."""
    figure, axes = plots.plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    x = np.linspace(0, descent.iterations, descent.looks + 1)
    for way in _WAYS:
        for field, style in (("residual", "--"), ("cost", "-")):
            low, middle, high = np.quantile(
                [r[f"{way}_{field}"] for r in rows], [0.25, 0.5, 0.75], axis=0
            )
            label = f"{way}: " + ("lifted residual" if field == "residual" else "rollout to goal")
            axes[0].plot(x, middle, style, color=_COLORS[way], label=label)
            axes[0].fill_between(x, low, high, color=_COLORS[way], alpha=0.12)
        ends = [(r[f"{way}_residual"][-1], r[f"{way}_cost"][-1], r[f"{way}_success"]) for r in rows]
        for won, marker in ((True, "o"), (False, "x")):
            chosen = np.array([e[:2] for e in ends if e[2] == won]).reshape(-1, 2)
            label = f"{way}, {'reached' if won else 'missed'} in the simulator ({len(chosen)})"
            axes[1].scatter(*chosen.T, s=18, marker=marker, color=_COLORS[way], label=label)
    true = float(np.median([r["true_residual"] for r in rows]))
    axes[0].axhline(true, color="#555555", linestyle=":", label="residual of the true plan")
    axes[1].axvline(true, color="#555555", linestyle=":")
    axes[0].set(yscale="log", xlabel="iteration", ylabel="squared latent distance")
    axes[0].set_title("Lifted descent alone, from the straight line")
    axes[1].set(xscale="log", yscale="log", xlabel="lifted residual at the end")
    axes[1].set(ylabel="squared distance of the rollout to the goal")
    names = ("data", "line", STOPPED, FULL)
    for offset, (kind, label) in enumerate((("state", "state"), ("action", "action"))):
        values = [[r[f"{n}_jacobian_{kind}"] for r in rows] for n in names]
        quartiles = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
        place = np.arange(len(names)) + 0.36 * offset - 0.18
        error = [quartiles[1] - quartiles[0], quartiles[2] - quartiles[1]]
        axes[2].bar(place, quartiles[1], 0.34, yerr=error, label=f"in the {label}")
    labels = ["data", "line", "stopped,\nat its end", "full,\nat its end"]
    axes[2].set_xticks(range(len(names)), labels)
    axes[2].set(ylabel="spectral norm (median, quartiles)")
    axes[2].set_title("Derivative of the model's prediction")
    for one in axes:
        one.legend(fontsize=7.5, frameon=False)
        one.grid(alpha=0.25)
    figure.suptitle(title)
    plots.save_figure(figure, path)


def main(argv: list[str]) -> None:
    """Measures, prints, draws, writes."""
    begin(argv)
    values = flags.FLAGS
    task, model = tasks.TASKS[values.environment], load_model(values.checkpoint)
    if not isinstance(model, Latents) or model.history == 1:
        raise app.UsageError(
            f"--checkpoint={values.checkpoint} is no learned latent with a window of two frames."
        )
    if values.iterations % Descent.looks:
        raise app.UsageError(f"--iterations must be a multiple of {Descent.looks}.")
    name = pathlib.Path(values.checkpoint).stem
    folder = pathlib.Path(values.output or f"experiments/results/{name}")
    folder.mkdir(parents=True, exist_ok=True)
    descent = Descent(iterations=values.iterations, goal_weight=values.goal_weight)
    stem = "state_gradients" + (f"_goal_{values.goal_weight:g}" if values.goal_weight else "")
    goals = task.goals(values.goals, values.horizon, 0, "report")
    settings = {
        "environment": task.name,
        "goal_weight": values.goal_weight,
        "iterations": values.iterations,
        "library": values.library,
        "model": fingerprint(locate(values.checkpoint)),
    }
    check_settings(folder, settings, f"{stem}_settings.json", results=f"{stem}.jsonl*")
    log = ResultLog(folder / f"{stem}.jsonl", ("horizon", "goal"))
    rows = [log.lookup(horizon=values.horizon, goal=i) for i in range(values.goals)]
    if None in rows:
        library = data_latents(model, task, values.library)
        identity = {"environment": task.name, "horizon": values.horizon}
        identity["goal_weight"] = values.goal_weight
        for row in measure(model, task, goals, library, descent):
            log.append({**identity, **row})
    else:
        print(f"Every result is already in {log.path}; delete it to measure anew.")
    rows = [log.lookup(horizon=values.horizon, goal=i) for i in range(values.goals)]
    rows = [row for row in rows if row is not None]
    table = summarise(rows)
    columns = ["quantity", "value", "low", "high"]
    pd.DataFrame(table, columns=columns, dtype=object).to_csv(folder / f"{stem}.csv", index=False)
    title = (
        f"{task.title}, {name}, H = {values.horizon}, {len(rows)} goals, γ = {values.goal_weight:g}"
    )
    draw(rows, descent, title, folder / f"{stem}.png")
    for row in table:
        interval = f" [{row['low']}, {row['high']}]" if "low" in row else ""
        print(f"{row['quantity']:40}{row['value']}{interval}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
