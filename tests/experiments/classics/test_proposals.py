"""The study of proposals: what a sampler holds is among its samples at every iteration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from experiments.classics.proposals import WAYS, Cell, MixedIn, run_cell
from grasp_jax import CEM, ICEM

# One step that is right, far from what is sampled: whoever holds it finds it at once.
RIGHT = jnp.full((3, 1), 40.0)


@pytest.mark.parametrize(
    "sampler",
    [
        CEM(num_samples=8, num_elites=2, iterations=3, std=0.1),
        ICEM(num_samples=8, num_elites=2, num_kept=2, iterations=3, std=0.1),
    ],
)
def test_what_is_held_is_sampled(sampler: CEM | ICEM) -> None:
    problem = grasp_jax.make_problem(
        lambda s, a: s + a, jnp.zeros(1), jnp.full(1, 120.0), jnp.zeros((3, 1))
    )
    others = jnp.stack([0 * RIGHT, RIGHT])
    found = grasp_jax.solve(problem, jax.random.key(0), planner=MixedIn(sampler, others))
    np.testing.assert_allclose(found.actions, RIGHT, atol=1e-4)
    assert grasp_jax.solve(problem, jax.random.key(0), planner=sampler).cost > 1e4


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_plans(way: str) -> None:
    (records,) = run_cell(Cell("mountain_car", "CEM", way, 2))
    assert [r["success"] for r in records] == [True, True]
