"""`portfolio`: the default of `plan`, in any units, with one number."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import portfolio


def problem(unit: float, push: float) -> grasp_jax.Problem:
    return grasp_jax.make_problem(
        lambda s, a: s + 0.2 * unit * jnp.tanh(a / push),
        jnp.zeros(2),
        jnp.array([1.0, -0.5]) * unit,
        jnp.zeros((8, 2)),
        bounds=(-push, push),
    )


def test_it_is_what_plan_does_without_a_planner() -> None:
    search = grasp_jax.start(problem(1.0, 1.0), jax.random.key(0))
    assert search.planner == portfolio()


def test_effort_multiplies_every_part() -> None:
    assert portfolio(effort=3).iterations == 3 * portfolio().iterations


def test_an_action_counts_in_what_the_caller_says() -> None:
    scaled = portfolio(action_scale=0.2)
    assert scaled.action_scale == 0.2 and scaled.planner == portfolio().planner
    assert portfolio(state_scale=5.0).state_scale == 5.0


@pytest.mark.parametrize(("effort", "error"), [(0, ValueError), (1.5, TypeError)])
def test_effort_is_a_count(effort: Any, error: type) -> None:
    with pytest.raises(error, match="portfolio: effort must be"):
        portfolio(effort=effort)


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "push"), [(1.0, 1.0), (500.0, 0.05), (1e-3, 15.0)])
def test_it_needs_to_know_no_units(unit: float, push: float) -> None:
    found = grasp_jax.solve(problem(unit, push), jax.random.key(0))
    assert float(jnp.linalg.norm(found.states[-1] - found.states[0])) > 1.1 * unit
    assert float(found.cost) < 1e-6 * unit**2
