"""Random actions for training data: each trajectory draws how correlated its steps are."""

import numpy as np
from numpy.typing import NDArray

TRAINING_STREAM, REPORT_STREAM, TUNE_STREAM = 0, 1, 2
"""Parts of a seed: data, reported goals and tuning goals never share random numbers."""

STREAMS = {"tune": TUNE_STREAM, "report": REPORT_STREAM}


def correlated_actions(
    rng: np.random.Generator, count: int, steps: int, scale: float = 0.8
) -> NDArray[np.float32]:
    """Actions `[count, steps, 2]` in [-1, 1], float32.

    An autoregressive process per trajectory, clipped; its correlation from step to step is uniform
    in [0, 1). White noise alone hardly ever holds an action for the length of a model step, which
    is what a planner asks for.
    """
    correlation = rng.uniform(0, 1, (count, 1))
    noise = rng.standard_normal((steps, count, 2))
    value, rows = rng.standard_normal((count, 2)), []
    for step in range(steps):
        value = correlation * value + np.sqrt(1 - correlation**2) * noise[step]
        rows.append(scale * value)
    return np.clip(np.stack(rows, axis=1), -1, 1).astype(np.float32)
