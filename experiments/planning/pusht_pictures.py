"""The pictures of the Push-T experiment, drawn from recorded results."""

import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from experiments.environments.pusht.goals import sample_goals
from experiments.environments.pusht.simulator import PushT, success
from experiments.harness import plots
from experiments.harness.log import CEILING, FLOOR
from experiments.harness.summary import success_curves
from experiments.models.pusht_state import model as state_model

Record = dict[str, Any]
_CELL = 192
_LABEL = 18
_HOLD_FRAMES = 15


def draw_all(folder: pathlib.Path, records: list[Record], rows: list[Record]) -> None:
    """Success against horizon, success against time, and a GIF of executed plans."""
    goals = max(row["goals"] for row in rows)
    title = f"Push-T from states, open loop: {goals} goals, 95% intervals"
    plots.success_against_horizon(rows, folder / "success_against_horizon.png", title)
    horizons = sorted({r["horizon"] for r in records})
    middle = horizons[len(horizons) // 2]
    curves = success_curves([r for r in records if r["horizon"] == middle])
    if curves:
        plots.success_against_time(
            curves,
            folder / "success_against_time.png",
            f"Push-T, H = {middle}: goals solved within a planning time",
        )
    executed_gif(folder / "executed_plans.gif", [r for r in records if r["horizon"] == middle])


def executed_gif(path: pathlib.Path, records: list[Record], goals: int = 4) -> None:
    """Executes recorded plans side by side: one row per planner, one column per goal."""
    rates: dict[str, float] = {}
    for name in dict.fromkeys(r["planner"] for r in records):
        if name not in (FLOOR, CEILING):
            rates[name] = float(np.mean([r["success"] for r in records if r["planner"] == name]))
    names = [n for n in rates if n == "GRASP"]
    names += sorted((n for n in rates if not n.startswith("GRASP")), key=lambda n: -rates[n])[:2]
    if not names:
        return
    horizon = records[0]["horizon"]
    shown = sorted({r["goal"] for r in records if "actions" in r})[:goals]
    count = max(r["goal"] for r in records) + 1
    task = sample_goals(count, horizon, records[0]["seed"], records[0]["split"])
    by_key = {(r["planner"], r["goal"]): r for r in records}
    simulator = PushT()
    cells = [[_film(simulator, by_key[n, g], task, n) for g in shown] for n in names]
    frames = [
        np.vstack([np.hstack([film[i] for film in row]) for row in cells])
        for i in range(len(cells[0][0]))
    ]
    plots.save_gif(frames, path, fps=10)


def _film(simulator: PushT, record: Record, task: Any, name: str) -> list[np.ndarray]:
    """The frames of one executed plan, with a label that turns into its outcome at the end."""
    start, goal = task.start[record["goal"]], task.goal[record["goal"]]
    commands = np.clip(state_model.split_actions(np.asarray(record["actions"])), -1, 1)
    simulator.reset_to(start)
    frames = [_labelled(simulator.render(goal, _CELL), f"{name}, goal {record['goal']}", None)]
    for command in commands:
        state = simulator.step(command)
        frames.append(
            _labelled(simulator.render(goal, _CELL), f"{name}, goal {record['goal']}", None)
        )
    reached = bool(success(state, goal))
    last = _labelled(
        simulator.render(goal, _CELL), f"{name}: {'reached' if reached else 'missed'}", reached
    )
    return frames + [last] * _HOLD_FRAMES


def _labelled(frame: np.ndarray, text: str, reached: bool | None) -> np.ndarray:
    """A frame `[size, size, 3]` under a line of text; green, red or black."""
    color = {None: (40, 40, 40), True: (20, 130, 60), False: (190, 40, 40)}[reached]
    image = Image.new("RGB", (frame.shape[1], frame.shape[0] + _LABEL), "white")
    image.paste(Image.fromarray(frame), (0, _LABEL))
    draw = ImageDraw.Draw(image)
    draw.text((4, 3), text, fill=color)
    draw.rectangle((0, _LABEL, frame.shape[1] - 1, frame.shape[0] + _LABEL - 1), outline=color)
    return np.asarray(image)
