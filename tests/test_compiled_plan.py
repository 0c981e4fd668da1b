"""Plans compiled ahead of time: equal to `plan`, never traced again, clear about what differs."""

import functools

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from tests import matrix
from tests.matrix import ACTIONS, GOAL, GOALS, START, STARTS


@functools.cache
def compiled(name: str = "GD", horizon: int | None = None) -> grasp_jax.CompiledPlan:
    return grasp_jax.compile_plan(
        matrix.problem(horizon=horizon), matrix.key(), planner=matrix.PLANNERS[name]
    )


@pytest.mark.parametrize("name", ["GRASP", "CEM"])
def test_a_compiled_plan_is_the_plan_and_is_never_traced_again(name: str):
    program = compiled(name)
    traced = len(matrix.traces)
    first = program(START, GOAL, ACTIONS, matrix.key())
    other = program(STARTS[1], GOALS[1], 2 * ACTIONS, matrix.key(3))
    weights = jax.tree_util.Partial(matrix.step, 0.5 * matrix.WEIGHTS)
    weaker = program(START, GOAL, ACTIONS, matrix.key(), dynamics=weights)
    assert len(matrix.traces) == traced
    matrix.assert_same(first, matrix.solved(name))
    expected = matrix.solve(
        name, state=STARTS[1], goal=GOALS[1], init_actions=2 * ACTIONS, key=matrix.key(3)
    )
    matrix.assert_same(other, expected)
    matrix.assert_same(weaker, matrix.solve(name, dynamics=weights))


def test_one_program_for_every_horizon():
    program = compiled("GD", len(ACTIONS))
    for horizon in (2, 4):
        found = program(START, GOAL, ACTIONS, matrix.key(), horizon=horizon)
        matrix.assert_same(found, matrix.solve("GD", horizon=horizon))


def test_other_shapes_are_refused_with_both_shapes():
    with pytest.raises(TypeError, match=r"init_actions must be float32\[4, 2\].*float32\[5, 2\]"):
        compiled()(START, GOAL, jnp.zeros((5, 2)), matrix.key())
    with pytest.raises(TypeError, match=r"horizon must be None.*int32"):
        compiled()(START, GOAL, ACTIONS, matrix.key(), horizon=3)


def test_another_kind_of_key_is_named():
    """Bug: the message printed two lines that looked the same."""
    for key in (jax.random.PRNGKey(0), jax.random.key(0, impl="rbg")):
        with pytest.raises(
            TypeError, match=r"key must be key<fry>\[\], .* got (uint32\[2\]|key<rbg>)"
        ):
            compiled()(START, GOAL, ACTIONS, key)


def test_another_dtype_and_another_model_are_named():
    with jax.enable_x64(), pytest.raises(TypeError, match=r"init_actions must be float32.*float64"):
        compiled()(START, GOAL, ACTIONS.astype("float64"), matrix.key())
    with pytest.raises(TypeError, match=r"dynamics must be .*another function"):
        compiled()(START, GOAL, ACTIONS, matrix.key(), dynamics=lambda s, a: s)


def test_a_batch_and_a_mesh_are_refused():
    with pytest.raises(ValueError, match="compile_plan compiles the plan of one goal"):
        grasp_jax.compile_plan(matrix.batch(), matrix.key())
