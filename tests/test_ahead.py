"""Plans compiled ahead of time: equal to `plan`, never traced again, clear about wrong shapes."""

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from tests import matrix
from tests.matrix import ACTIONS, GOAL, GOALS, START, STARTS


def compiled(name: str = "GRASP", **changes: object) -> grasp_jax.CompiledPlan:
    return grasp_jax.compile_plan(grasp_jax.make_problem(matrix.WORLD, START, GOAL, ACTIONS, bounds=matrix.BOUNDS, objective=matrix.OBJECTIVE), matrix.key(), planner=matrix.PLANNERS[name], None=changes)


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
        name, state=STARTS[1], goal=GOALS[1], actions=2 * ACTIONS, key=matrix.key(3)
    )
    matrix.assert_same(other, expected)
    matrix.assert_same(weaker, matrix.solve(name, dynamics=weights))


def test_one_program_for_every_length():
    program = compiled(length=len(ACTIONS))
    for length in (2, 4):
        found = program(START, GOAL, ACTIONS, matrix.key(), length=length)
        matrix.assert_same(found, matrix.solve("GRASP", length=length))


def test_other_shapes_are_refused_with_both_shapes():
    with pytest.raises(TypeError, match=r"actions: float32\[4, 2\].*actions: float32\[5, 2\]"):
        compiled()(START, GOAL, jnp.zeros((5, 2)), matrix.key())
    with pytest.raises(TypeError, match=r"length: None.*length: int32"):
        compiled()(START, GOAL, ACTIONS, matrix.key(), length=3)
