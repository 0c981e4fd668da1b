"""`Constrained` under the transforms that every planner stands; what it finds is in test_costs."""

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, Constrained, Objective
from tests.matrix import assert_close, assert_same

HALFWAY = Objective(constraint=lambda s, g: s - 0.5 * g)
STARTS, GOALS = jnp.zeros((2, 2)), jnp.array([[0.5, 1.0], [2.0, -1.0]])
GUESS = jnp.zeros((5, 2))
DESCENT = Constrained(GD(learning_rate=0.1, iterations=10), iterations=3)
LIFTED = Constrained(
    GRASP(iterations=6, sync=GD(learning_rate=0.1, iterations=4), sync_every=3), iterations=3
)


def move(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.5 * jnp.tanh(action)


def problem(goal: int) -> grasp_jax.Problem:
    return grasp_jax.make_problem(
        move, STARTS[goal], GOALS[goal], GUESS, bounds=(-1.0, 1.0), objective=HALFWAY
    )


@pytest.mark.parametrize("planner", [DESCENT, LIFTED], ids=["GD", "GRASP"])
def test_a_batch_is_a_loop_and_pieces_are_a_whole(planner: Constrained):
    together = grasp_jax.plan_batch(
        move, STARTS, GOALS, GUESS, jax.random.key(0), planner=planner, bounds=(-1.0, 1.0),
        objective=HALFWAY,
    )  # fmt: skip
    key = jax.random.fold_in(jax.random.key(0), 1)
    alone = grasp_jax.solve(problem(1), key, planner=planner)
    guess = grasp_jax.rollout_cost(problem(1), GUESS)
    assert alone.cost < 0.9 * guess, "it found nothing, so that nothing is compared"
    assert_close(together.actions[1], alone.actions, 1e-5)
    assert_close(together.violation[1], alone.violation, 1e-5)
    search = grasp_jax.start(problem(1), key, planner=planner)
    pieces = grasp_jax.read(grasp_jax.advance(grasp_jax.advance(search, 1), 2))
    assert_close(pieces.actions, alone.actions, 1e-6)
    assert_same(grasp_jax.solve(problem(1), key, planner=planner).actions, alone.actions)


def test_a_float32_world_under_x64():
    with jax.enable_x64():
        start, goal, guess = (jnp.asarray(x, jnp.float32) for x in (STARTS[0], GOALS[0], GUESS))
        found = grasp_jax.plan(
            move, start, goal, guess, jax.random.key(0), planner=DESCENT, objective=HALFWAY
        )
    assert found.actions.dtype == jnp.float32 and found.violation < 0.1
