"""A path as a cost: the clock, the written sum, windows."""

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from grasp_jax import GD, GRASP, GivenPath, make_problem
from grasp_jax.rollout import rollout_cost
from grasp_jax.tracking import tracking_objective

PATH = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
ACTIONS = jnp.asarray(np.random.default_rng(1).normal(size=(6, 2)), jnp.float32)


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.5 * jnp.sin(action)


def test_the_cost_is_the_sum_of_distances_to_the_path():
    problem = make_problem(move, jnp.zeros(2), PATH, ACTIONS, objective=tracking_objective(0.3))
    state, total = jnp.zeros(2), 0.0
    for t in range(6):
        state = move(state, ACTIONS[t])
        total += 0.3 * jnp.sum((state - PATH[t]) ** 2)
    total += jnp.sum((state - PATH[-1]) ** 2)
    np.testing.assert_allclose(rollout_cost(problem, ACTIONS), total, rtol=1e-5)


def test_past_the_end_of_the_path_is_its_last_row():
    problem = make_problem(move, jnp.zeros(2), PATH[:2], ACTIONS, objective=tracking_objective(1.0))
    longer = jnp.concatenate([PATH[:2], jnp.broadcast_to(PATH[1], (4, 2))])
    other = make_problem(move, jnp.zeros(2), longer, ACTIONS, objective=tracking_objective(1.0))
    np.testing.assert_allclose(
        rollout_cost(problem, ACTIONS), rollout_cost(other, ACTIONS), rtol=1e-6
    )


def test_gradients_and_lifted_planners_follow_the_path():
    way = jnp.cumsum(jnp.full((6, 2), 0.3).at[3:, 0].set(-0.3), 0)

    def gap(planner: grasp_jax.Planner) -> jax.Array:
        plan = grasp_jax.plan(
            move,
            jnp.zeros(2),
            way,
            jnp.zeros((6, 2)),
            jax.random.key(0),
            planner=planner,
            objective=tracking_objective(),
        )
        return jnp.abs(plan.states[1:] - way).max()

    assert gap(GD(learning_rate=0.1, iterations=150)) < 0.02
    given = GivenPath(way[:-1])
    lifted = GRASP(
        iterations=150,
        state_rate=0.0,
        action_rate=0.1,
        goal_weight=0.0,
        state_std=None,
        init_states=given,
        sync=None,
    )
    assert gap(lifted) < 0.02
