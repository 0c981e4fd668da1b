"""Push-T evaluation goals, drawn from the data's policies on random streams of their own."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.environments.pusht import STATE_SIZE
from experiments.environments.pusht_block import sample_start
from experiments.environments.pusht_fast import FastPushT
from experiments.environments.pusht_policies import (
    REPORT_STREAM,
    TUNE_STREAM,
    make_policy,
    run_policy,
)

_STREAMS = {"tune": TUNE_STREAM, "report": REPORT_STREAM}
_TRAJECTORY_STEPS = 120


class Goals(NamedTuple):
    """Planning problems with a known solution.

    Attributes:
        start: [n, STATE_SIZE] float64, exactly representable in float32.
        goal: [n, STATE_SIZE] float64, where `actions` lead from `start`.
        actions: [n, horizon, 2] float32, relative actions.
    """

    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    actions: NDArray[np.float32]


def sample_goals(
    count: int, horizon: int, seed: int = 0, split: Literal["tune", "report"] = "report"
) -> Goals:
    """Draws segments of held-out trajectories; nothing is filtered.

    Goal i depends on (seed, split, horizon, i) only, so fewer goals are a prefix of more.

    Args:
        count: number of goals.
        horizon: environment steps from start to goal.
        seed: seed of the benchmark.
        split: settings are chosen on "tune" and figures come from "report"; they share no
            trajectory with each other or with the training data of any seed.

    Returns:
        Starts, goals and the recorded actions.
    """
    simulator = FastPushT()
    start, goal = np.empty((count, STATE_SIZE)), np.empty((count, STATE_SIZE))
    actions = np.empty((count, horizon, 2), np.float32)
    for index in range(count):
        rng = np.random.default_rng((seed, _STREAMS[split], horizon, index))
        prefix = int(rng.integers(0, max(_TRAJECTORY_STEPS - horizon, 0) + 1))
        simulator.reset_to(sample_start(rng))
        policy = make_policy(rng, prefix + horizon)
        states, _ = run_policy(simulator, policy, prefix)
        # Restoring here drops the solver's hidden contact cache, so that replaying the actions
        # from the start reproduces the goal exactly.
        simulator.reset_to(states[-1].astype(np.float32))
        start[index] = states[-1].astype(np.float32)
        states, actions[index] = run_policy(simulator, policy, horizon)
        goal[index] = states[-1]
    return Goals(start, goal, actions)
