"""Callers who forbid JAX's promotions in their own code can plan all the same."""

import collections.abc
import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import AR1, GD, Colored, White
from tests import matrix
from tests.matrix import (
    ACTIONS,
    GOAL,
    PLANNERS,
    START,
    assert_same,
    every_planner,
    key,
    solve,
)


@contextlib.contextmanager
def strictly() -> collections.abc.Iterator[None]:
    """No promotion of ranks or dtypes."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@every_planner
def test_planners_plan_equally(name: str):
    """The same program is traced, so that the values are the same."""

    def program() -> str:
        return str(jax.make_jaxpr(lambda state: solve(name, state=state))(START))

    expected = program()
    with strictly():
        assert program() == expected


def test_so_do_batches_searches_compiled_plans_and_control_loops():
    planner, one, batch = PLANNERS["GRASP"], matrix.problem(), matrix.batch()

    def everything() -> list:
        begun = grasp_jax.start(batch, key(), planner=planner)
        compiled = grasp_jax.compile_plan(one, key(), planner=planner)
        gd = GD(learning_rate=0.1, iterations=2)
        controller = grasp_jax.MPC(one, gd, replan_every=2)
        return [
            grasp_jax.solve(batch, key(), planner=planner, goal_batch_size=1),
            grasp_jax.read(grasp_jax.advance(begun, 3)),
            compiled(START, GOAL, ACTIONS, key()),
            controller.step(controller.init(key()), START, GOAL),
            grasp_jax.rollout_cost(one, ACTIONS),
            grasp_jax.trajectory(one, ACTIONS),
        ]

    expected = everything()
    with strictly():
        assert_same(everything(), expected)


@pytest.mark.parametrize("noise", [White(), AR1(rho=0.5), Colored(), AR1(action_block=2)])
def test_so_do_noises_of_their_own(noise: Any):
    """Bug: they failed outside of `plan`."""
    with strictly():
        assert noise(key(), jnp.zeros((4, 2), jnp.bfloat16)).dtype == jnp.bfloat16
