"""Planning problems with a known solution, whatever the environment."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PAST = 10  # environment steps before the start that a goal remembers


class Goals(NamedTuple):
    """Segments of recorded trajectories: where they start, where they end, what came before.

    Attributes:
        start: [n, S] float64.
        goal: [n, S] float64, where `actions` lead from `start`.
        actions: [n, H, A] float32, the recorded ones.
        past_states: [n, PAST, S] float64, the states before `start`, oldest first.
        past_actions: [n, PAST, A] float32, the actions taken in them.
    """

    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    actions: NDArray[np.float32]
    past_states: NDArray[np.float64]
    past_actions: NDArray[np.float32]


def cut(
    states: NDArray[np.float64],
    actions: NDArray[np.float32],
    begin: NDArray[np.int64],
    horizon: int,
) -> Goals:
    """Segments of `horizon` steps of trajectories, and their past.

    Args:
        states: [n, T + 1, S].
        actions: [n, T, A].
        begin: [n], where each segment begins; at least `PAST`, at most `T - horizon`.
        horizon: Environment steps.
    """
    rows = np.arange(len(states))[:, None]
    before = begin[:, None] + np.arange(-PAST, 0)
    during = begin[:, None] + np.arange(horizon)
    return Goals(
        start=states[rows[:, 0], begin],
        goal=states[rows[:, 0], begin + horizon],
        actions=actions[rows, during],
        past_states=states[rows, before],
        past_actions=actions[rows, before],
    )
