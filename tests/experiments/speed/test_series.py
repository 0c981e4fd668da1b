"""The depth of a plan against the model calls that the planners themselves count."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from experiments.speed.series import depth
from grasp_jax import GD, GRASP, ICEM, Hops, MultiStart, ParallelShooting, Rollout

T = 6


def counted(planner: Any) -> float:
    """Model evaluations and derivatives of a plan's iterations."""
    metrics = grasp_jax.plan(
        lambda s, a: s + 0.1 * a,
        jnp.zeros(2),
        jnp.ones(2),
        jnp.zeros((T, 2)),
        jax.random.key(0),
        planner=planner,
    ).metrics
    return float(jnp.sum(metrics.model_evals) + jnp.sum(metrics.model_vjps))


def test_what_runs_one_step_after_the_other_is_as_deep_as_its_work():
    descent = GD(iterations=5)
    assert depth(descent, T) == counted(descent)
    assert depth(MultiStart(descent, num_starts=3), T) == counted(descent)
    one = ParallelShooting(iterations=5, num_segments=1)
    assert depth(one, T) == counted(descent)


@pytest.mark.parametrize("sync", [GD(iterations=3), GD(iterations=3, start_std=0.1)])
@pytest.mark.parametrize("restart", [None, Rollout()])
def test_lifted_terms_count_as_one_step(sync: Any, restart: Any):
    planner = GRASP(iterations=8, sync=sync, sync_every=4, restart_states=restart)
    lifted = 2 * planner.iterations
    assert depth(planner, T) == counted(planner) - T * lifted + lifted


def test_samples_side_by_side_count_as_one():
    assert depth(ICEM(num_samples=50, iterations=4), T) == 4 * T


def test_segments_divide_what_is_no_true_rollout():
    planner = ParallelShooting(iterations=20, num_segments=3, serial_every=8, serial_iterations=2)
    true = 1 + 2 + 2  # the first, the 8th and 16th, the last two
    assert depth(planner, T) == 2 * T * true + 2 * 2 * (20 - true)
    assert depth(planner, T, 8) == 2 * T + 2 * 2 * 7


def test_other_planners_are_refused():
    with pytest.raises(TypeError, match="no depth is known for Hops"):
        depth(Hops(planner=GD()), T)
