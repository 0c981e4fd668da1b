"""Replanning at a fixed rate: deadlines kept, plans as the synchronous loop makes them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import GD, MPC, RealTimeMPC, RealTimeState
from tests.matrix import assert_close, assert_same, key

T = 6
GOAL = jnp.ones(2)
DESCENT = GD(learning_rate=0.1, iterations=40)


def world(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.3 * jnp.tanh(action)


PROBLEM = grasp_jax.make_problem(world, jnp.zeros(2), GOAL, jnp.zeros((T, 2)))


class Clock:
    """A clock on which every reading takes a tenth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


def make(**changes: Any) -> tuple[RealTimeMPC, RealTimeState]:
    mpc = MPC(PROBLEM, DESCENT, shrinking_horizon=changes.pop("shrinking_horizon", False))
    controller = RealTimeMPC(mpc, **({"clock": Clock(), "chunk": 10} | changes))
    return controller, controller.init(key())


def test_with_all_the_time_it_plans_what_the_synchronous_controller_plans_one_step_later():
    controller, memory = make(shrinking_horizon=True)
    state = jnp.zeros(2)
    action, memory = controller.act(memory, state)
    memory, info = controller.think(memory, state, GOAL, action, deadline=1e9)
    assert info.iterations == DESCENT.iterations
    assert info.replaced
    later = world(state, action)
    begun = dataclasses.replace(controller.mpc.init(key()), step=jnp.asarray(1, jnp.int32))
    assert_same(memory.mpc.actions, controller.mpc.plan(begun, later, GOAL).actions)


def test_it_stops_before_the_deadline_and_knows_how_long_a_piece_takes():
    controller, memory = make()
    memory = controller.warm_up(memory, jnp.zeros(2), GOAL, pieces=2)
    assert memory.piece == pytest.approx(0.1)
    clock = controller.clock
    for room, least in ((0.2, 0), (1.6, 1), (2.4, 2)):
        action, after = controller.act(memory, jnp.zeros(2))
        deadline = clock() + room
        _, info = controller.think(after, jnp.zeros(2), GOAL, action, deadline)
        assert info.late < 1e-9
        assert info.iterations // controller.chunk >= least
        assert info.replaced == (info.iterations > 0)


def test_without_time_the_old_plan_goes_on():
    controller, memory = make()
    plan = jnp.arange(2.0 * T).reshape(T, 2)
    memory = dataclasses.replace(memory, mpc=dataclasses.replace(memory.mpc, actions=plan))
    for step in range(3):
        action, memory = controller.act(memory, jnp.zeros(2))
        assert_same(action, plan[step])
        memory, info = controller.think(memory, jnp.zeros(2), GOAL, action, deadline=-1.0)
        assert not info.replaced
        assert info.late > 0


def test_a_slow_piece_does_not_end_thinking_for_good():
    controller, memory = make()
    memory = controller.warm_up(memory, jnp.zeros(2), GOAL, pieces=2)
    memory, iterations = dataclasses.replace(memory, piece=5.0), []
    for _ in range(12):
        action, memory = controller.act(memory, jnp.zeros(2))
        deadline = controller.clock() + 2.0
        memory, info = controller.think(memory, jnp.zeros(2), GOAL, action, deadline)
        iterations.append(info.iterations)
    assert iterations[0] == 0
    assert iterations[-1] > 0


def test_a_failed_plan_is_not_adopted():
    broken = grasp_jax.make_problem(
        lambda s, a: s + jnp.where(jnp.abs(a) < 9, jnp.nan, a), jnp.zeros(2), GOAL, jnp.ones((T, 2))
    )
    controller = RealTimeMPC(MPC(broken, DESCENT), clock=Clock())
    action, memory = controller.act(controller.init(key()), jnp.zeros(2))
    after, info = controller.think(memory, jnp.zeros(2), GOAL, action, deadline=1e9)
    assert not info.replaced
    assert_same(after.mpc.actions, memory.mpc.actions)


def test_the_context_follows_the_real_frames():
    context = grasp_jax.Context(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    problem = grasp_jax.make_problem(
        lambda s, a: s[-1] + 0.3 * a[-1] + 0.1 * s[0],
        jnp.zeros(2),
        GOAL,
        jnp.zeros((T, 2)),
        context=context,
    )
    controller = RealTimeMPC(MPC(problem, DESCENT), clock=Clock())
    memory = controller.init(key())
    state = jnp.array([0.4, 0.6])
    action, memory = controller.act(memory, state)
    assert memory.mpc.context is not None
    assert_same(memory.mpc.context.states, state[None])
    after, info = controller.think(memory, state, GOAL, action, deadline=1e9)
    assert info.replaced
    # Planned from where the model, with the past of then, says that the action led.
    later = problem.dynamics(jnp.stack([jnp.zeros(2), state]), jnp.stack([jnp.zeros(2), action]))
    found = controller.mpc.plan(memory.mpc, later, GOAL)
    assert_close(after.mpc.actions, found.actions)


@pytest.mark.parametrize(
    ("mpc", "changes", "error", "message"),
    [
        (DESCENT, {}, TypeError, "RealTimeMPC.mpc must be an MPC, got GD"),
        (MPC(PROBLEM, DESCENT), {"chunk": 41}, ValueError, "RealTimeMPC.chunk is 41"),
        (MPC(PROBLEM, DESCENT, replan_every=2), {}, ValueError, "MPC.replan_every is 2"),
        (MPC(PROBLEM, DESCENT, target_cost=0.1), {}, ValueError, "MPC.target_cost is given"),
    ],
)
def test_settings_that_cannot_work_are_refused(mpc: Any, changes: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        RealTimeMPC(mpc, **changes)


def test_it_never_acts_outside_the_bounds():
    """Before a plan the guess is at hand, behind a plan's end there are zeros."""
    problem = grasp_jax.make_problem(
        world, jnp.zeros(2), GOAL, jnp.full((2, 2), 5.0), bounds=(0.5, 1.0)
    )
    controller = RealTimeMPC(MPC(problem, DESCENT), clock=Clock(), chunk=10)
    memory, taken = controller.init(key()), []
    for _ in range(3):
        action, memory = controller.act(memory, jnp.zeros(2))
        taken.append(action)
    assert_same(jnp.stack(taken), jnp.array([[1.0, 1.0], [1.0, 1.0], [0.5, 0.5]]))
