"""Receding horizon: what is shifted, when plans are made, and that feedback pays."""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, MPC, Context, MPCInfo, MPCState, Status
from tests.jaxprs import count_primitive
from tests.matrix import assert_close, stacked

GUESS, GOAL, KEY = jnp.zeros((6, 2)), jnp.array([1.0, -0.5]), jax.random.key(0)
START = jnp.zeros(2)


def model(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.3 * jnp.tanh(action)


def world(state: jax.Array, action: jax.Array) -> jax.Array:
    """The model does not know the wind."""
    return model(state, action) + jnp.array([-0.05, 0.05])


def problem(**changes: Any) -> grasp_jax.Problem:
    arguments: dict[str, Any] = {
        "dynamics": model,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "bounds": (-2.0, 2.0),
    }
    return grasp_jax.make_problem(**(arguments | changes))


def episode(controller: MPC, steps: int, truth: Any = world) -> tuple[jax.Array, MPCInfo, MPCState]:
    """States `[steps+1, 2]`, what every step said `[steps]`, and the last memory."""
    memory, observation = controller.init(KEY), START
    step = jax.jit(controller.step)
    states, infos = [observation], []
    for _ in range(steps):
        action, memory, info = step(memory, observation, GOAL)
        observation = truth(observation, action)
        states.append(observation)
        infos.append(info)
    return jnp.stack(states), stacked(*infos), memory


CONTROLLER = MPC(problem(), GD(learning_rate=0.3, iterations=40))


def test_feedback_beats_a_plan_followed_blindly():
    blind, _, _ = episode(dataclasses.replace(CONTROLLER, replan_every=6), 6)
    closed, _, _ = episode(dataclasses.replace(CONTROLLER, shrinking_horizon=True), 6)
    assert jnp.linalg.norm(blind[-1] - GOAL) > 0.3
    assert jnp.linalg.norm(closed[-1] - GOAL) < 0.1


def first_plan(horizon: int, target_cost: float | None = None) -> grasp_jax.Plan:
    """What the controller plans at its first step."""
    return grasp_jax.plan(
        model,
        START,
        GOAL,
        GUESS,
        jax.random.fold_in(KEY, 0),
        planner=CONTROLLER.planner,
        bounds=(-2.0, 2.0),
        horizon=horizon,
        target_cost=target_cost,
    )


def test_a_plan_followed_to_its_end_is_the_plan():
    controller = dataclasses.replace(CONTROLLER, replan_every=6)
    found = first_plan(6)
    states, info, _ = episode(controller, 6, truth=model)
    assert jnp.allclose(states, found.states, atol=1e-5)
    # What the plan cost when it was made, at every step that follows it.
    assert jnp.allclose(info.cost, found.cost, atol=1e-5)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_plans_are_made_when_they_are_due(every: int):
    _, info, memory = episode(dataclasses.replace(CONTROLLER, replan_every=every), 6)
    assert (info.planned == (jnp.arange(6) % every == 0)).all()
    assert jnp.isfinite(info.cost).all() and (info.status == Status.OK).all()
    # A cost stands until the next plan.
    changes = jnp.flatnonzero(jnp.diff(info.cost) != 0) + 1
    assert set(changes.tolist()) <= set(range(every, 6, every)) and memory.step == 6


@pytest.mark.parametrize("shrink", [True, False])
def test_a_shrinking_horizon_arrives_in_time(shrink: bool):
    """With a fixed horizon there is always time left, so that a plan may dawdle."""
    objective = grasp_jax.Objective(control_cost=grasp_jax.QuadraticControlCost(1e-3))
    planner = GD(learning_rate=0.1, iterations=150)
    controller = MPC(problem(objective=objective), planner, shrinking_horizon=shrink)
    states, _, _ = episode(controller, 6, truth=model)
    assert (jnp.linalg.norm(states[-1] - GOAL) < 0.05) == shrink


def test_a_horizon_of_the_callers_is_that_of_the_plan():
    controller, memory = CONTROLLER, CONTROLLER.init(KEY)
    for horizon in (2, len(GUESS)):
        found = first_plan(horizon)
        action, after, info = controller.step(memory, START, GOAL, horizon=horizon)
        assert jnp.allclose(action, found.actions[0], atol=1e-6)
        assert jnp.allclose(after.actions[:-1], found.actions[1:], atol=1e-6)
        assert jnp.allclose(info.cost, found.cost, atol=1e-6)
    with pytest.raises(ValueError, match=r"horizon must be in 1\.\.6, got 7"):
        controller.step(memory, START, GOAL, horizon=7)


def test_a_plan_that_is_good_enough_ends_its_search():
    whole = first_plan(6)
    target = float(whole.metrics.cost[20])
    assert target > whole.cost
    controller = dataclasses.replace(CONTROLLER, target_cost=target)
    found, expected = controller.plan(controller.init(KEY), START, GOAL), first_plan(6, target)
    taken = jnp.argmax(whole.metrics.best_cost <= target) + 1
    assert found.metrics.iterations_taken == expected.metrics.iterations_taken == taken < 22
    assert jnp.allclose(found.actions, expected.actions, atol=1e-6)
    # The number is traced: another one compiles nothing, and each episode may have its own.
    step = jax.jit(lambda c: c.step(c.init(KEY), START, GOAL)[2].cost)
    assert jnp.allclose(step(controller), found.cost, atol=1e-6)
    endless = dataclasses.replace(controller, target_cost=-1.0)
    assert jnp.allclose(step(endless), whole.cost, atol=1e-6)
    assert step._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]
    starts, goals = jnp.stack([START, GOAL]), jnp.stack([GOAL, GOAL])
    together = controller.init_batch(jnp.stack([KEY, KEY]))
    costs = controller.step_batch(together, starts, goals)[2].cost
    assert jnp.allclose(costs, jnp.array([found.cost, 0.0]), atol=1e-6)
    with pytest.raises(TypeError, match="target_cost must be one number"):
        dataclasses.replace(CONTROLLER, target_cost="low").step(CONTROLLER.init(KEY), START, GOAL)


def test_a_whole_episode_is_one_scan_and_equals_the_loop():
    controller = MPC(problem(), CEM(num_samples=32, num_elites=4, iterations=5))

    def body(carry: Any, _: None) -> Any:
        memory, observation = carry
        action, memory, info = controller.step(memory, observation, GOAL)
        observation = world(observation, action)
        return (memory, observation), (observation, info)

    first = (controller.init(KEY), START)
    _, (states, info) = jax.jit(lambda c: jax.lax.scan(body, c, length=5))(first)
    expected, expected_info, _ = episode(controller, 5)
    assert jnp.allclose(states, expected[1:], atol=1e-5)
    assert_close(info, expected_info)


def test_episodes_side_by_side_plan_only_when_due():
    controller = dataclasses.replace(CONTROLLER, replan_every=3)
    goals, starts = jnp.stack([GOAL, -GOAL, 0.5 * GOAL]), jnp.tile(START, (3, 1))
    keys = jax.random.split(KEY, 3)
    memory, step = controller.init_batch(keys), jax.jit(controller.step_batch)
    jaxpr = jax.make_jaxpr(controller.step_batch)(memory, starts, goals)
    assert count_primitive(jaxpr, "cond") == 1
    actions, memory, info = step(memory, starts, goals)
    alone, _, one = controller.step(controller.init(keys[1]), START, goals[1])
    assert jnp.allclose(actions[1], alone, atol=1e-6)
    assert_close(jax.tree.map(lambda x: x[1], info), one, 1e-6)
    _, memory, following = step(memory, starts, goals)
    assert not following.planned.any() and memory.step == 2
    assert_close(following.cost, info.cost, 0)


def test_a_sync_stays_a_branch_for_episodes_that_stop_at_a_target():
    """Under a `vmap` of the search it would run at every iteration."""
    planner = GRASP(iterations=4, sync_every=2, sync=GD(learning_rate=0.1, iterations=1))
    controller = dataclasses.replace(CONTROLLER, planner=planner, target_cost=0.0)
    memory = controller.init_batch(jax.random.split(KEY, 3))
    starts, goals = jnp.tile(START, (3, 1)), jnp.tile(GOAL, (3, 1))
    together = jax.make_jaxpr(controller.step_batch)(memory, starts, goals)
    alone = jax.make_jaxpr(controller.step)(controller.init(KEY), START, GOAL)
    assert count_primitive(together, "cond") == count_primitive(alone, "cond") > 1


def test_the_context_is_filled_from_real_frames():
    def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
        return model(states[-1], actions.mean(0))

    context = Context.repeat(START, history_len=2, action_size=2)
    controller = MPC(problem(dynamics=windowed, context=context), GRASP(iterations=4, sync=None))
    state = controller.init(KEY)
    observations, actions = [START], []
    for _ in range(3):
        action, state, _ = controller.step(state, observations[-1], GOAL)
        actions.append(action)
        observations.append(world(observations[-1], action))
    assert state.context is not None
    assert (state.context.states == jnp.stack(observations[1:3])).all()
    assert (state.context.actions == jnp.stack(actions[1:3])).all()


@pytest.mark.parametrize("name", ["replan_every", "min_horizon"])
@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "at least 1, got 0"), (7, "is 7, but .*choose 1..6"), (1.5, "an int")],
)
def test_counts_that_do_not_fit_the_horizon(name: str, value: Any, words: str):
    with pytest.raises((TypeError, ValueError), match=rf"MPC.{name} .*{words}"):
        dataclasses.replace(CONTROLLER, **{name: value})


def test_a_step_outside_jit_compiles_nothing_the_second_time():
    controller = dataclasses.replace(CONTROLLER, replan_every=2, shrinking_horizon=True)
    state, other = controller.init(KEY), -GOAL
    for _ in range(2):
        _, state, _ = controller.step(state, START, GOAL)
    with jax.log_compiles(), warnings.catch_warnings(), capture_compiles() as compiled:
        warnings.simplefilter("ignore")
        for _ in range(4):
            _, state, _ = controller.step(state, START, other)
    assert compiled == []


@contextlib.contextmanager
def capture_compiles() -> Iterator[list[str]]:
    """What JAX compiles meanwhile."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Compiling" in record.getMessage():
                found.append(record.getMessage())

    logger, handler = logging.getLogger("jax"), Handler()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_a_failed_plan_keeps_the_last_finite_cost():
    controller = dataclasses.replace(CONTROLLER, replan_every=2)
    memory = controller.init(KEY)
    for _ in range(2):
        _, memory, good = controller.step(memory, START, GOAL)
        assert good.status == memory.status == Status.OK
    for broken in (jnp.nan, jnp.inf):
        _, after, info = controller.step(memory, START, GOAL * broken)
        assert info.planned and info.status == after.status == Status.FAILED
        assert info.cost == good.cost and jnp.isfinite(after.actions).all()


def test_problems_that_are_no_episode_are_refused():
    rows = {"state": START[None], "goal": GOAL[None]}
    with pytest.raises(ValueError, match=r"MPC\.problem must be of one episode, got a batched"):
        MPC(problem(batched=True, **rows), CONTROLLER.planner)
    with pytest.raises(ValueError, match=r"MPC\.problem has a horizon of its own"):
        MPC(problem(horizon=3), CONTROLLER.planner)
    with pytest.raises(TypeError, match=r"MPC\.problem must be a grasp_jax\.Problem"):
        MPC(model, CONTROLLER.planner)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("every", [1, 2])
def test_the_memory_can_be_donated(every: int):
    """Bug: two leaves shared a buffer, "donate the same buffer twice"."""
    controller = dataclasses.replace(CONTROLLER, replan_every=every)
    step = jax.jit(controller.step, donate_argnums=0)
    expected, _, _ = episode(controller, 3)
    memory, observation = controller.init(KEY), START
    for wanted in expected[1:]:
        action, memory, _ = step(memory, observation, GOAL)
        observation = world(observation, action)
        assert jnp.allclose(observation, wanted, atol=1e-6)


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match=r"key must be a JAX random key, got int"):
        CONTROLLER.init(0)  # pyright: ignore[reportArgumentType]


def test_a_shrinking_plan_is_never_shorter_than_it_is_followed():
    controller = dataclasses.replace(
        CONTROLLER, replan_every=3, problem=problem(bounds=(0.2, 2.0)), shrinking_horizon=True
    )
    memory, observation = controller.init(KEY), START
    step = jax.jit(controller.step)
    for taken in range(12):
        action, memory, _ = step(memory, observation, jnp.full(2, 9.0))
        # Rows behind a plan's length would be the bound.
        assert jnp.all(action > 0.3), taken


@pytest.mark.parametrize("observation", [0.5, {"x": 0.5}], ids=str)
def test_observations_of_python_numbers_are_frames_too(observation: Any):
    """Bug: with a context, "'float' object is not subscriptable"."""

    def windowed(states: Any, actions: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[-1] + 0.1 * actions.sum(), states)

    context = Context.repeat(observation, history_len=2, action_size=2)
    goal = jax.tree.map(lambda x: 2 * x, observation)
    one = problem(dynamics=windowed, state=observation, goal=goal, context=context)
    controller = MPC(one, GD(learning_rate=0.1, iterations=1))
    action, memory, info = controller.step(controller.init(KEY), observation, goal)
    assert action.shape == (2,) and info.status == Status.OK
    assert memory.context is not None
    assert jax.tree.leaves(memory.context.states)[0].tolist() == [0.5, 0.5]


def test_memories_observations_and_goals_of_another_number_of_episodes():
    keys, starts, goals = jax.random.split(KEY, 3), jnp.tile(START, (3, 1)), jnp.tile(GOAL, (3, 1))
    together, alone = CONTROLLER.init_batch(keys), CONTROLLER.init(KEY)
    for observation, goal in ((starts, GOAL), (START, goals), (starts[:2], goals[:2])):
        with pytest.raises(ValueError, match=r"MPC.step_batch: .* must have a leading axis of 3"):
            CONTROLLER.step_batch(together, observation, goal)
    with pytest.raises(ValueError, match="got that of one episode: use step"):
        CONTROLLER.step_batch(alone, starts, goals)
    with pytest.raises(ValueError, match="got that of a batch: use step_batch"):
        CONTROLLER.step(together, starts, goals)
    no_keys: Any = (KEY, 0)
    for wrong in no_keys:
        with pytest.raises((TypeError, ValueError), match="key"):
            CONTROLLER.init_batch(wrong)
    context = Context.repeat(starts[:2], 2, 2)
    with pytest.raises(ValueError, match=r"MPC\.init_batch: context"):
        CONTROLLER.init_batch(keys, context)


def test_a_donated_memory_leaves_the_callers_context_alone():
    windowed = grasp_jax.make_problem(
        lambda s, a: model(s[-1], a.mean(0)), START, GOAL, GUESS,
        context=Context.repeat(START, history_len=2, action_size=2),
    )  # fmt: skip
    controller = MPC(windowed, GD(iterations=2))
    past = jax.tree.map(lambda x: jnp.stack([x] * 2), windowed.context)
    memory = controller.init_batch(jax.random.split(KEY, 2), past)
    jax.tree.map(lambda x: x.delete(), memory.context)
    assert all(not x.is_deleted() for x in jax.tree.leaves(past))
