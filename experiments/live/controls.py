"""What can be set on the page, and how it is checked.

Numbers are traced, or steer the loop around the search: turning them compiles nothing. Choices
change the structure of the planner: each is compiled at its first use.
"""

import dataclasses
from typing import Any

PLANNERS = {
    "GRASP": "several searches restarted from noise after every sync",
    "GRASP-author": "the paper author's settings: one search from the straight line",
    "GRASP-graph": "actions fitted to the shortest recorded way, then gradients",
    "GD": "Adam through the serial rollout",
    "CEM": "cross-entropy method",
    "iCEM": "CEM with coloured noise and kept elites",
    "MPPI": "cost-weighted average of samples",
}
SYNCS = {
    "gradients": "Adam through the serial rollout",
    "samples": "a small iCEM",
    "none": "lifted iterations alone",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the page's controls say.

    Attributes:
      planner: A key of `PLANNERS`.
      sync: A key of `SYNCS`; only GRASP has a sync.
      effort: Updates of the page per plan, each some iterations of the search.
      horizon: Model steps that the first plan looks ahead.
      state_std: Standard deviation on virtual states, in the units of model states.
      action_std: Standard deviation on actions, in the units of planning actions.
      rate: Adam's, of the sync or of GD.
      follow: Model steps from plan to plan.
    """

    planner: str = "GRASP"
    sync: str = "gradients"
    effort: int = 16
    horizon: int = 12
    state_std: float = 0.1
    action_std: float = 0.3
    rate: float = 0.1
    follow: int = 1


@dataclasses.dataclass(frozen=True)
class Number:
    """A slider.

    Attributes:
      label: What it is called.
      low: Its lower end.
      high: Its upper end.
      about: What it does.
      whole: Whether its marks are whole numbers.
      logarithmic: Whether equal ways on it are equal factors.
    """

    label: str
    low: float
    high: float
    about: str
    whole: bool = False
    logarithmic: bool = False


def ranges(max_horizon: int) -> dict[str, Number]:
    """The sliders of a world whose plans look at most `max_horizon` model steps ahead."""
    ahead = f"model steps that a plan looks ahead, at most {max_horizon}"
    return {
        "effort": Number("effort", 1, 80, "updates of this page per plan", whole=True),
        "horizon": Number("horizon", min(2, max_horizon), max_horizon, ahead, whole=True),
        "follow": Number("follow", 1, max_horizon, "model steps taken of each plan", whole=True),
        "state_std": Number("state noise", 0, 1, "standard deviation on virtual states"),
        "action_std": Number("action noise", 0, 3, "standard deviation on actions"),
        "rate": Number("rate", 0.001, 1, "of Adam, in the sync or in GD", logarithmic=True),
    }


CHOICES = {"planner": PLANNERS, "sync": SYNCS}


def parse(found: Any, before: Settings, max_horizon: int) -> Settings:
    """Settings changed by what a page sent.

    Args:
      found: A dictionary of some fields of `Settings`.
      before: The others.
      max_horizon: The world's.

    Raises:
      ValueError: A field is unknown, or its value cannot be.
    """
    if not isinstance(found, dict):
        raise ValueError(f"settings must be an object of names and values, got {found!r:.80}.")
    numbers = ranges(max_horizon)
    changes: dict[str, Any] = {}
    for name, value in found.items():
        if name in CHOICES:
            changes[name] = _chosen(name, value)
        elif name in numbers:
            changes[name] = _number(name, value, numbers[name])
        else:
            known = ", ".join([*CHOICES, *numbers])
            raise ValueError(f"there is no setting {name!r:.40}; known are {known}.")
    return dataclasses.replace(before, **changes)


def _chosen(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in CHOICES[name]:
        raise ValueError(
            f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r:.40}. Choose another."
        )
    return value


def _number(name: str, value: Any, allowed: Number) -> float | int:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not allowed.low <= value <= allowed.high:
        raise ValueError(
            f"{name} must be a number from {allowed.low:g} to {allowed.high:g}, got {value!r:.40}."
        )
    return round(value) if allowed.whole else float(value)


def describe(max_horizon: int) -> dict[str, Any]:
    """The controls, for the page to build."""
    sliders = {k: dataclasses.asdict(v) for k, v in ranges(max_horizon).items()}
    return {"numbers": sliders, "choices": CHOICES}
