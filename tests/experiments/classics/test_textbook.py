"""The textbook solver's equations are the task's."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.classics import textbook
from experiments.classics.tasks import all_tasks

casadi: Any = pytest.importorskip("casadi")


@pytest.mark.parametrize("name", list(textbook.WORLDS))
def test_its_equations_and_costs_are_the_tasks(name: str) -> None:
    task = all_tasks()[name]
    state, goal = (np.asarray(x[0]) for x in task.sample_batch(1, seed=0))
    state, action = state + 0.3, np.array([1.7], np.float32)
    step, cost = textbook.WORLDS[name]
    following = np.asarray(step(task.dynamics, casadi.DM(state), casadi.DM(action))).ravel()
    expected = np.asarray(task.dynamics(jnp.asarray(state), jnp.asarray(action)))
    np.testing.assert_allclose(following, expected, rtol=1e-5)
    assert task.objective is not None
    np.testing.assert_allclose(
        float(cost(casadi.DM(state), goal)),
        float(task.objective.terminal_cost(jnp.asarray(state), jnp.asarray(goal))),
        rtol=1e-5,
    )
