"""The pictures of a planning experiment, drawn from recorded results."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from experiments.environments.goals import Goals
from experiments.harness import plots
from experiments.harness.log import CEILING, FLOOR, Record
from experiments.harness.summary import success_curves
from experiments.planning.runner import OPEN_LOOP, Setting
from experiments.planning.tasks import PIXELS

_CELL = 192
_LABEL = 18
_HOLD_FRAMES = 12
_GREEN, _RED, _BLACK = (20, 130, 60), (190, 40, 40), (40, 40, 40)


def draw_all(
    folder: pathlib.Path, settings: Sequence[Setting], records: list[Record], rows: list[Record]
) -> None:
    """Success against horizon, success against time, and a GIF of executed plans.

    Args:
        folder: Where the pictures go.
        settings: One: the environment and its model.
        records: Records of cells that planned all goals.
        rows: Their summary.
    """
    (setting,) = settings
    records = [r for r in records if r["mode"] == OPEN_LOOP]
    rows = [r for r in rows if r["mode"] == OPEN_LOOP]
    if not records:
        return
    goals, task = max(row["goals"] for row in rows), setting.task
    name = f"{task.title} from {'pixels' if task.observation == PIXELS else 'states'}"
    title = f"{name}, open loop: {goals} goals, 95% intervals"
    plots.success_against_horizon(rows, folder / "success_against_horizon.png", title)
    horizons = sorted({r["horizon"] for r in records})
    # From pixels planners differ most at the longest, from states they fail there.
    shown = horizons[-1 if task.observation == PIXELS else len(horizons) // 2]
    records = [r for r in records if r["horizon"] == shown]
    curves = success_curves(records)
    if curves:
        title = f"{name}, H = {shown}: goals solved within a planning time"
        plots.success_against_time(curves, folder / "success_against_time.png", title)
    executed_gif(setting, folder / "executed_plans.gif", records)


def executed_gif(
    setting: Setting, path: pathlib.Path, records: list[Record], goals: int = 4
) -> None:
    """Executed plans, one row per planner, one column per goal; beside the goals' frames."""
    names = _shown_planners(records)
    shown = sorted({r["goal"] for r in records if "actions" in r})[:goals]
    if not names or not shown:
        return
    first = records[0]
    problems = setting.task.goals(max(shown) + 1, first["horizon"], first["seed"], first["split"])
    by_key = {(r["planner"], r["goal"]): r for r in records}
    film = functools.partial(_film, setting, problems)
    rows = [[film(by_key[name, goal]) for goal in shown] for name in names]
    if setting.task.show is None:
        rows.insert(0, [_goal_film(setting, problems, g, len(rows[0][0])) for g in shown])
    frames = [
        np.vstack([np.hstack([cell[i] for cell in row]) for row in rows])
        for i in range(len(rows[0][0]))
    ]
    plots.save_gif(frames, path, fps=10)


def film_gif(setting: Setting, path: pathlib.Path, record: Record) -> None:
    """One executed plan, beside its goal's frame where that is not drawn in."""
    goal = record["goal"]
    problems = setting.task.goals(goal + 1, record["horizon"], record["seed"], record["split"])
    films = [_film(setting, problems, record)]
    if setting.task.show is None:
        films.insert(0, _goal_film(setting, problems, goal, len(films[0])))
    plots.save_gif([np.hstack(frames) for frames in zip(*films, strict=True)], path, fps=10)


def _shown_planners(records: list[Record]) -> list[str]:
    """GRASP and the two best others that recorded their plans."""
    rates = {
        name: float(np.mean([r["success"] for r in records if r["planner"] == name]))
        for name in dict.fromkeys(r["planner"] for r in records)
        if name not in (FLOOR, CEILING)
    }
    names = [n for n in rates if n == "GRASP"]
    return names + sorted((n for n in rates if "GRASP" not in n), key=lambda n: -rates[n])[:2]


def _goal_film(setting: Setting, goals: Goals, goal: int, length: int) -> list[np.ndarray]:
    frame = setting.task.render(goals.goal[goal])
    return [_labelled(frame, f"goal {goal}", _BLACK)] * length


def _film(setting: Setting, goals: Goals, record: Record) -> list[np.ndarray]:
    """The frames of one executed plan, with a label that turns into its outcome at the end."""
    goal, name, task = record["goal"], record["planner"], setting.task
    commands = np.asarray(setting.model.to_environment(np.asarray(record["actions"])))
    states = task.execute(goals.start[goal][None], commands[None])[0]
    drawn = task.render(states) if task.show is None else task.show(states, goals.goal[goal])
    frames = [_labelled(frame, f"{name}, goal {goal}", _BLACK) for frame in drawn]
    reached = bool(task.success(states[-1], goals.goal[goal]))
    text, color = (f"{name}: reached", _GREEN) if reached else (f"{name}: missed", _RED)
    return frames + [_labelled(drawn[-1], text, color)] * _HOLD_FRAMES


def _labelled(frame: np.ndarray, text: str, color: tuple[int, int, int]) -> np.ndarray:
    """A frame `[size, size, 3]`, enlarged, under a line of text."""
    image = Image.new("RGB", (_CELL, _CELL + _LABEL), "white")
    image.paste(
        Image.fromarray(frame).resize((_CELL, _CELL), Image.Resampling.NEAREST), (0, _LABEL)
    )
    draw = ImageDraw.Draw(image)
    draw.text((4, 3), text, fill=color)
    draw.rectangle((0, _LABEL, _CELL - 1, _CELL + _LABEL - 1), outline=color)
    return np.asarray(image)
