"""Callers who let JAX watch for NaN, infinity and unwanted transfers can plan all the same."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, MPC, Status
from tests import matrix
from tests.matrix import ACTIONS, GOAL, PLANNERS, START, every_kind, key


def glide(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.3 * jnp.tanh(action)


TINY = glide, jnp.zeros(2), jnp.ones(2), jnp.full((3, 2), 0.1)


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Every NaN and every infinity that a program returns is an error."""
    with jax.debug_nans(True), jax.debug_infs(True):
        yield


def test_what_is_watched_for_is_found():
    with watching(), pytest.raises(FloatingPointError):
        jax.jit(lambda x: 1 / x)(jnp.zeros(()))


@every_kind
def test_a_healthy_plan_has_neither_nan_nor_infinity(name: str):
    """Bugs: NaN stood for "not there"; arrays as bounds were rounded towards infinity."""
    with watching():
        assert matrix.solve(name).status == Status.OK


def test_neither_has_a_search_in_pieces_nor_a_control_loop():
    with watching():
        problem = grasp_jax.make_problem(*TINY)
        search = grasp_jax.start(problem, key(), planner=PLANNERS["GD"])
        assert grasp_jax.read(grasp_jax.advance(search, 2)).status == Status.OK
        controller = MPC(problem, PLANNERS["GD"], replan_every=2, shrinking_horizon=True)
        memory, step = controller.init(key()), jax.jit(controller.step)
        for _ in range(3):
            _, memory, info = step(memory, jnp.zeros(2), jnp.ones(2))
            assert info.status == Status.OK


def test_frames_that_are_not_there_are_masked_not_broken():
    def windowed(states: jax.Array, actions: jax.Array, present: jax.Array) -> jax.Array:
        return glide(jnp.where(present[:, None], states, 0)[-1], actions[-1])

    past = grasp_jax.Context(jnp.zeros((2, 2)), jnp.zeros((2, 2)), jnp.array([False, True]))
    problem = grasp_jax.make_problem(windowed, *TINY[1:], context=past)
    with watching():
        assert grasp_jax.solve(problem, key(), planner=PLANNERS["GD"]).status == Status.OK


def test_nothing_moves_between_host_and_device_unasked():
    """Bug: plans, compiled plans and control steps moved scalars on every call."""
    planner = PLANNERS["GRASP"]
    problem = matrix.problem()
    compiled = grasp_jax.compile_plan(problem, key(), planner=planner)
    controller = MPC(problem, GD(learning_rate=0.1, iterations=2), replan_every=2)
    step, one = jax.jit(controller.step), key()
    low_high = grasp_jax.make_problem(matrix.WORLD, START, GOAL, ACTIONS, bounds=(-0.7, 0.7))

    def everything(memory: grasp_jax.MPCState) -> grasp_jax.MPCState:
        grasp_jax.plan(matrix.WORLD, START, GOAL, ACTIONS, one, planner=planner, bounds=(-0.7, 0.7))
        grasp_jax.solve(problem, one, planner=planner)
        grasp_jax.rollout_cost(low_high, ACTIONS)
        compiled(START, GOAL, ACTIONS, one)
        search = grasp_jax.advance(grasp_jax.start(problem, one, planner=planner), 3)
        grasp_jax.read(grasp_jax.advance(search, 3))
        return step(memory, START, GOAL)[1]

    memory = everything(controller.init(one))
    with jax.transfer_guard("disallow"):
        for _ in range(2):
            memory = everything(memory)
