"""Push-T evaluation goals, drawn from the data's policies on random streams of their own."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.environments.goals import PAST, Goals
from experiments.environments.pusht.block import sample_start
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.policies import (
    REPORT_STREAM,
    TUNE_STREAM,
    make_policy,
    run_policy,
)
from experiments.environments.pusht.simulator import STATE_SIZE

_STREAMS = {"tune": TUNE_STREAM, "report": REPORT_STREAM}
_TRAJECTORY_STEPS = 120


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
        Starts, goals and the recorded actions, exactly representable in float32, and what came
        before: the trajectory's first state and zero actions where it begins later, which is what
        the simulator would show, because the agent begins at rest.
    """
    simulator = FastPushT()
    start, goal = np.empty((count, STATE_SIZE)), np.empty((count, STATE_SIZE))
    actions = np.empty((count, horizon, 2), np.float32)
    past_states = np.empty((count, PAST, STATE_SIZE))
    past_actions = np.zeros((count, PAST, 2), np.float32)
    for index in range(count):
        rng = np.random.default_rng((seed, _STREAMS[split], horizon, index))
        prefix = int(rng.integers(0, max(_TRAJECTORY_STEPS - horizon, 0) + 1))
        simulator.reset_to(sample_start(rng))
        policy = make_policy(rng, prefix + horizon)
        states, taken = run_policy(simulator, policy, prefix)
        past_states[index], past_actions[index] = _past(states, taken)
        # Restoring here drops the solver's hidden contact cache, so that replaying the actions
        # from the start reproduces the goal exactly.
        simulator.reset_to(states[-1].astype(np.float32))
        start[index] = states[-1].astype(np.float32)
        states, actions[index] = run_policy(simulator, policy, horizon)
        goal[index] = states[-1]
    return Goals(start, goal, actions, past_states, past_actions)


def _past(
    states: NDArray[np.float64], actions: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The last PAST states before the end of states [n + 1, ...], and the actions in them."""
    missing = max(PAST - len(actions), 0)
    first = np.repeat(states[:1], missing, axis=0)
    still = np.zeros((missing, 2), np.float32)
    kept = slice(max(len(actions) - PAST, 0), len(actions))
    return np.concatenate([first, states[kept]]), np.concatenate([still, actions[kept]])
