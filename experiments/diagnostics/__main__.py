"""Looks into a visual world model: does it predict, is its distance a guide, what does GRASP do?

    python -m experiments.diagnostics --environment=pusht

Writes to experiments/results/<environment>_pixels: open-loop errors against environment steps
(`open_loop.png`), the model's imagination of recorded actions beside the true frames
(`rollouts.png`), the latent distance to the goal along trajectories that reach it
(`distance_to_goal.png`), GRASP's virtual states over its iterations, drawn, above the rollout of
its actions (`virtual_states.png`, `virtual_states.gif`), and the figures (`diagnostics.json`).
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont

import grasp_jax
from experiments.harness import plots
from experiments.harness.flags import begin
from experiments.mazes import planners as maze_planners
from experiments.models.sources import SOURCES
from experiments.models.sprites.model import VisualModel
from experiments.models.sprites.training import rollout
from experiments.planning import runner, tasks
from experiments.planning.tasks import Task
from experiments.pusht import planners as pusht_planners

_SHOWN = 8  # frames in a strip
_SCALE = 2
_MARGIN = 100
_UNITS = {"pusht": "px of 512", "wall": "px of 65", "pointmaze": "m"}


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_enum("environment", "pusht", sorted(tasks.TASKS), "Which model.")
    flags.DEFINE_integer("goals", 100, "Held-out segments to measure on.", lower_bound=4)
    flags.DEFINE_integer("horizon", 60, "Environment steps of a segment.", lower_bound=10)
    flags.DEFINE_string("checkpoint", None, "Its checkpoint; the task's own by default.")
    flags.DEFINE_string("output", None, "Folder; experiments/results/<environment>_pixels.")


class Segments:
    """Recorded segments as the simulator and the model see them, leaves `[n, ...]`."""

    def __init__(self, task: Task, model: VisualModel, count: int, horizon: int):
        goals = task.goals(count, horizon, 0, "tune")
        self.states = task.execute(goals.start, goals.actions)
        every = model.frameskip
        before = runner.encode_states(model, task, goals.past_states[:, -every])
        flat = self.states.reshape(-1, self.states.shape[-1])
        self.latents = runner.encode_states(model, task, flat).reshape(count, horizon + 1, -1)
        self.before = np.asarray(before)
        signs = np.asarray(model.config.action_signs, np.float32)
        past = goals.past_actions[:, -every:]
        self.actions = np.concatenate([past, goals.actions], axis=1) * signs
        first = np.stack([self.before, self.latents[:, 0]], axis=1)
        self.imagined = np.asarray(
            jax.jit(jax.vmap(lambda f, a: rollout(model.scene, model.dynamics, f, a, every)))(
                jnp.asarray(first), jnp.asarray(self.actions)
            )
        )


def drawn(model: VisualModel, latents: Any) -> np.ndarray:
    """Frames `[n, S, S, 3]` uint8 of latents `[n, L]`."""
    frames = jax.vmap(model.scene.render)(jnp.asarray(latents))
    return np.asarray(jnp.round(255 * jnp.clip(frames, 0, 1)).astype(jnp.uint8))


def strip(frames: np.ndarray) -> np.ndarray:
    """Some of the frames `[n, S, S, 3]` side by side, with a line between them."""
    chosen = frames[np.linspace(0, len(frames) - 1, _SHOWN).round().astype(int)]
    bordered = np.pad(chosen, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=90)
    return np.concatenate(list(bordered), axis=1)


def enlarge(picture: np.ndarray) -> np.ndarray:
    """The picture, `_SCALE` times as large."""
    return picture.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture, enlarged, with a text on its left."""
    picture = enlarge(picture)
    image = Image.new("RGB", (_MARGIN + picture.shape[1], picture.shape[0]), "white")
    image.paste(Image.fromarray(picture), (_MARGIN, 0))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(image).text((4, picture.shape[0] // 2 - 16), text, (40, 40, 40), font)
    return np.asarray(image)


def open_loop_errors(
    task: Task, model: VisualModel, segments: Segments, folder: pathlib.Path
) -> dict[str, Any]:
    """Distances of the imagined positions from the true ones, by environment step."""
    seen = np.asarray(model.measure(jnp.asarray(segments.imagined)))
    error = np.abs(seen - SOURCES[task.name].measured(segments.states[:, 1:]))
    pairs = error.reshape(*error.shape[:2], -1, 2)[:, :, : 2 if error.shape[-1] > 2 else 1]
    distance = np.linalg.norm(pairs, axis=-1)
    names = ("driven object", "pushed object")[: distance.shape[-1]]
    figure, axes = plots.new_axes()
    steps = np.arange(1, distance.shape[1] + 1)
    for index, name in enumerate(names):
        low, middle, high = np.quantile(distance[..., index], [0.1, 0.5, 0.9], axis=0)
        line = axes.plot(steps, middle, label=f"{name}: median")[0]
        axes.fill_between(steps, low, high, alpha=0.2, color=line.get_color(), label="10–90%")
    axes.set(xlabel="environment steps imagined", ylabel=f"position error ({_UNITS[task.name]})")
    axes.set_title(f"Open-loop prediction from one frame and its past, {len(distance)} segments")
    axes.legend(frameon=False)
    plots.save_figure(figure, folder / "open_loop.png")
    last = {n: round(float(np.median(distance[:, -1, i])), 4) for i, n in enumerate(names)}
    return {"median_position_error_at_the_end": last}


def distance_to_goal(segments: Segments, folder: pathlib.Path) -> dict[str, Any]:
    """Whether the latent distance falls along trajectories that reach the goal."""
    gaps = np.linalg.norm(segments.latents - segments.latents[:, -1:], axis=-1)
    share = gaps / np.maximum(gaps[:, :1], 1e-6)
    figure, axes = plots.new_axes()
    axes.plot(share[:20].T, color="#999999", linewidth=0.7, alpha=0.7)
    axes.plot([], [], color="#999999", linewidth=0.7, label="20 of them")
    axes.plot(np.median(share, axis=0), color="#d62728", label=f"median of {len(share)}")
    axes.set(xlabel="environment steps", ylabel="latent distance to the goal (1 at the start)")
    axes.set_title("Latent distance to the goal along recorded trajectories that reach it")
    axes.set_ylim(0, min(5, 1.05 * share[:20].max()))
    axes.legend(frameon=False)
    plots.save_figure(figure, folder / "distance_to_goal.png")
    rises = np.mean(np.diff(gaps, axis=1) > 1e-3)
    beyond = np.mean(share.max(axis=1) > 1.05)
    return {
        "share_of_steps_away_from_the_goal": round(float(rises), 4),
        "share_of_trajectories_that_first_leave_it": round(float(beyond), 4),
    }


def rollouts(task: Task, model: VisualModel, segments: Segments, folder: pathlib.Path) -> None:
    """True frames above imagined ones, for a few segments."""
    rows = []
    for i in range(3):
        rows.append(labelled(strip(task.render(segments.states[i])), "simulator"))
        imagined = np.concatenate([segments.latents[i, :1], segments.imagined[i]])
        rows.append(labelled(strip(drawn(model, imagined)), "model"))
    Image.fromarray(np.concatenate(rows)).save(folder / "rollouts.png")


def virtual_states(
    task: Task, model: VisualModel, segments: Segments, folder: pathlib.Path, goal: int = 0
) -> None:
    """The virtual states of the table's GRASP, drawn, each above the rollout of its actions.

    Those of the search that is ahead, after each of its iterations.
    """
    every, start = model.frameskip, segments.latents[goal, 0]
    end, planner = segments.latents[goal, -1], _grasp(task)
    signs = np.asarray(model.config.action_signs, np.float32)
    past = model.from_environment(segments.actions[goal : goal + 1, :every] * signs)[0]
    search = grasp_jax.start(
        grasp_jax.make_problem(
            model,
            jnp.asarray(start),
            jnp.asarray(end),
            jnp.zeros((segments.states.shape[1] // every, model.action_size)),
            bounds=model.bounds,
            context=grasp_jax.Context(jnp.asarray(segments.before[goal][None]), jnp.asarray(past)),
        ),
        jax.random.key(0),
        planner=planner,
    )
    film = []
    for iteration in range(1, planner.iterations + 1):
        search = grasp_jax.advance(search, 1)
        found = grasp_jax.read(search)
        virtual = np.concatenate([start[None], np.asarray(found.virtual_states), end[None]])
        rows = {
            f"iteration {iteration}\nvirtual states": virtual,
            f"rollout\ncost {float(found.cost):.4f}": np.asarray(found.states),
        }
        film.append(
            np.concatenate([labelled(strip(drawn(model, z)), text) for text, z in rows.items()])
        )
    plots.save_gif(film, folder / "virtual_states.gif", fps=2)
    # Early on most happens.
    chosen = np.unique(np.geomspace(1, len(film), 4).round().astype(int)) - 1
    Image.fromarray(np.concatenate([film[i] for i in chosen])).save(folder / "virtual_states.png")


def _grasp(task: Task) -> Any:
    """The GRASP of the environment's table."""
    if task.name == "pusht":
        return pusht_planners.of_pixels()["GRASP"]
    return maze_planners.planners(task.checkpoint)["GRASP"]


def main(argv: list[str]) -> None:
    """Measures, draws, writes."""
    begin(argv)
    task = tasks.TASKS[flags.FLAGS.environment]
    folder = pathlib.Path(flags.FLAGS.output or f"experiments/results/{task.name}_pixels")
    folder.mkdir(parents=True, exist_ok=True)
    if flags.FLAGS.checkpoint and not flags.FLAGS.output:
        raise app.UsageError("--checkpoint: pass an --output, too; the default is the task's own.")
    model = runner.model_of(task, flags.FLAGS.checkpoint or task.checkpoint)
    if not isinstance(model, VisualModel):
        raise app.UsageError("--checkpoint: only models of sprites can be drawn and probed so.")
    segments = Segments(task, model, flags.FLAGS.goals, flags.FLAGS.horizon)
    seen = np.asarray(model.measure(jnp.asarray(segments.imagined[:, -1])))
    figures = {
        "environment": task.name,
        "checkpoint": flags.FLAGS.checkpoint or task.checkpoint,
        "segments": flags.FLAGS.goals,
        "horizon": flags.FLAGS.horizon,
        **open_loop_errors(task, model, segments, folder),
        **distance_to_goal(segments, folder),
        "agrees_that_true_actions_succeed": round(
            float(np.mean(task.predicted(seen, segments.states[:, -1]))), 4
        ),
    }
    virtual_states(task, model, segments, folder)
    rollouts(task, model, segments, folder)
    (folder / "diagnostics.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    define_flags()
    app.run(main)
