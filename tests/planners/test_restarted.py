"""`restarted_grasp`: that it is put together as it says, and what it is for."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import AR1, CEM, GD, GRASP, Hops, MultiStart, restarted_grasp


def wall(state, action):
    """A step that a wall at x = 0 with a gap above y = 1 stops."""
    moved = state + 0.3 * jnp.tanh(action)
    push = jnp.exp(-jnp.square(moved[0] / 0.2)) * jax.nn.sigmoid(8 * (1.0 - moved[1]))
    return moved - jnp.array([0.35, 0.0]) * push


def test_cycles_and_resampling_count_lifted_iterations():
    planner = restarted_grasp(num_starts=6, num_cycles=5, num_lifted=3, resample_every=2)
    assert (planner.num_starts, planner.iterations, planner.resample_every) == (6, 15, 6)
    assert isinstance(planner.planner, GRASP) and planner.planner.sync_every == 3
    assert restarted_grasp(resample_every=None).resample_every is None


WRONG = {"num_starts": 0, "num_cycles": 2.5, "num_lifted": 0, "resample_every": -1}


@pytest.mark.parametrize("name", WRONG)
def test_a_count_that_cannot_work_is_named(name):
    with pytest.raises((TypeError, ValueError), match=f"restarted_grasp: {name} must"):
        restarted_grasp(**{name: WRONG[name]})


def test_it_finds_the_gap_that_one_search_with_the_same_sync_does_not():
    def cost(planner):
        start, goal = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
        guess, key = jnp.zeros((20, 2)), jax.random.key(0)
        return grasp_jax.plan(wall, start, goal, guess, key, planner=planner).cost

    sync = GD(learning_rate=0.1, iterations=30)
    one = GRASP(iterations=400, sync=sync)
    assert cost(restarted_grasp(num_starts=8, num_cycles=8, sync=sync)) < 0.01 < cost(one)


def test_parts_of_a_state_have_noises_of_their_own():
    def model(state, action):
        v = state["v"] + 0.1 * action
        return {"x": state["x"] + 10 * v, "v": v}

    start, goal = {"x": jnp.zeros(2), "v": jnp.zeros(2)}, {"x": jnp.ones(2), "v": jnp.zeros(2)}
    planner = restarted_grasp(
        num_starts=2,
        num_cycles=2,
        state_std={"x": 0.5, "v": 0.0},
        sync=GD(learning_rate=0.02, iterations=40),
    )
    found = grasp_jax.plan(
        model, start, goal, jnp.zeros((8, 2)), jax.random.key(0), planner=planner
    )
    off = jax.tree.map(
        lambda virtual, rollout: jnp.abs(virtual - rollout[1:-1]).max(),
        found.virtual_states,
        found.states,
    )
    assert off["v"] < 1e-5 < 0.1 < off["x"]
    assert found.cost < 0.1


def test_hops_alone_find_the_gap_too():
    sync = GD(learning_rate=0.1, iterations=30)
    hops = Hops(planner=sync, iterations=8, std=0.5, noise=AR1(rho=0.9))
    planner = MultiStart(hops, num_starts=8, start_std=0.5, noise=AR1(rho=0.9), resample_every=1)
    start, goal = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
    found = grasp_jax.plan(
        wall, start, goal, jnp.zeros((20, 2)), jax.random.key(0), planner=planner
    )
    assert found.cost < 0.01
    # Per round: the planner's steps and its last rollout.
    assert found.metrics.model_evals.sum() == 8 * 20 * 8 * (30 + 1)


@pytest.mark.parametrize(
    "name", ["state_std", "action_std", "start_std", "state_rate", "action_rate"]
)
def test_a_negative_number_is_told_by_the_name_that_the_user_set(name: str):
    """Bug: the message named `Rollout.noise`, or nothing was said and the plan went on."""
    wrong: dict[str, Any] = {name: -1.0}
    with pytest.raises(ValueError, match=f"restarted_grasp: {name} must be at least 0 and finite"):
        restarted_grasp(**wrong)


def test_a_planner_that_needs_no_derivative_takes_none():
    """Bug: noise and a sampler failed on models without a derivative, where CEM alone worked."""

    def dynamics(state: jax.Array, action: jax.Array) -> jax.Array:
        moved = jax.lax.while_loop(
            lambda carry: carry[0] < 3, lambda c: (c[0] + 1, c[1] + 0.1 * action), (0, state)
        )
        return moved[1]

    sampler = CEM(num_samples=32, num_elites=4, iterations=3)
    planner = MultiStart(Hops(planner=sampler, iterations=3), num_starts=2, start_std=0.3)
    arguments = (dynamics, jnp.zeros(2), jnp.ones(2), jnp.zeros((6, 2)), jax.random.key(0))
    found = grasp_jax.plan(*arguments, planner=planner)
    assert found.status == grasp_jax.Status.OK and found.cost < 0.5
