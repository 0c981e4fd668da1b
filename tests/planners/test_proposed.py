"""`Proposed`: good proposals help every planner, useless ones change nothing."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, ICEM, MPC, Proposed
from grasp_jax.proposals import FromPolicy
from tests import matrix
from tests.matrix import (
    ACTIONS,
    BOUNDS,
    HORIZON,
    PLANNERS,
    assert_close,
    assert_same,
    every_kind,
    every_slope,
)

GOOD = matrix.solved("GD").actions
USELESS = jnp.stack([jnp.full_like(ACTIONS, x) for x in (jnp.nan, -0.7, -0.4)])


@every_slope
def test_useless_proposals_change_nothing(name: str) -> None:
    alone = grasp_jax.rollout_cost(matrix.problem(), ACTIONS)
    costs = [grasp_jax.rollout_cost(matrix.problem(), x) for x in jnp.clip(USELESS, *BOUNDS)]
    assert np.isnan(costs[0]) and min(costs[1:]) > alone, "they are not useless"
    found = matrix.solve(Proposed(PLANNERS[name], USELESS))
    # Programs differ, so that sums are rounded differently; keys and starts are the same.
    assert_close(found.actions, matrix.solved(name).actions, 1e-4)
    assert_close(found.cost, matrix.solved(name).cost, 1e-5)


@every_kind
def test_a_plan_is_never_worse_than_a_proposal(name: str) -> None:
    found = matrix.solve(Proposed(PLANNERS[name], USELESS.at[-1].set(GOOD)))
    assert found.cost <= matrix.solved("GD").cost * (1 + 1e-6)


def test_a_function_of_the_problem_proposes_for_each_goal() -> None:
    """One step is enough in this world, and the goal says which."""

    def first(problem: grasp_jax.Problem, key: jax.Array) -> jax.Array:
        del key
        return jnp.zeros((1, 4, 2)).at[0, 0].set(problem.goal - problem.state)

    goals = jnp.array([[1.0, 2.0], [-3.0, 0.5]])
    found = grasp_jax.plan_batch(
        lambda s, a: s + a,
        jnp.zeros((2, 2)),
        goals,
        jnp.zeros((4, 2)),
        jax.random.key(0),
        planner=Proposed(GD(learning_rate=0.0, iterations=1), first),
    )
    np.testing.assert_allclose(found.states[:, -1], goals, atol=1e-6)


def test_new_proposals_compile_nothing() -> None:
    planner = PLANNERS["GD"]
    matrix.solve(Proposed(planner, GOOD[None]))
    count = len(matrix.traces)
    matrix.solve(Proposed(planner, 0.5 * GOOD[None]))
    assert len(matrix.traces) == count


def to_the_goal(state: Any, goal: Any) -> jax.Array:
    return 0.5 * (goal - state)


def test_a_policy_proposes_what_it_does_in_the_model() -> None:
    problem = grasp_jax.make_problem(
        lambda s, a: s + a, jnp.zeros(1), jnp.full(1, 8.0), jnp.zeros((4, 1)), bounds=(-3.0, 3.0)
    )
    found = FromPolicy(policy=to_the_goal, num=3, std=0.2)(problem, jax.random.key(0))
    np.testing.assert_allclose(found[0, :, 0], [3.0, 2.5, 1.25, 0.625])
    assert float(jnp.std(found[1:] - found[:1])) > 0.05


def test_samplers_need_fewer_samples_with_a_policy() -> None:
    def plan(planner: Any) -> jax.Array:
        return grasp_jax.plan(
            lambda s, a: s + a,
            jnp.zeros(3),
            jnp.full(3, 8.0),
            jnp.zeros((8, 3)),
            jax.random.key(0),
            planner=planner,
        ).cost

    few = ICEM(num_samples=10, num_elites=3, num_kept=2, iterations=3, std=0.3)
    assert plan(Proposed(few, FromPolicy(policy=to_the_goal))) < 0.05 < plan(few)


def test_a_policy_fills_the_tail_of_a_shifted_plan() -> None:
    problem = grasp_jax.make_problem(
        lambda s, a: s + a, jnp.zeros(1), jnp.full(1, 8.0), jnp.zeros((3, 1))
    )
    controller = MPC(problem, GD(learning_rate=0.0, iterations=1), tail=to_the_goal)
    memory = controller.init(jax.random.key(0))
    assert_same(controller.search(memory, problem)[0].init_actions, jnp.zeros((3, 1)))
    _, memory, _ = controller.step(memory, jnp.zeros(1), jnp.full(1, 8.0))
    # Two rows of the shifted plan stand still, then the policy goes half of the way.
    assert_same(controller.search(memory, problem)[0].init_actions.ravel(), jnp.array([0, 0, 4.0]))
    batch = controller.init_batch(jax.random.split(jax.random.key(0), 2))
    action, _, _ = controller.step_batch(batch, jnp.zeros((2, 1)), jnp.full((2, 1), 8.0))
    assert action.shape == (2, 1)


def test_the_tail_begins_where_the_last_plan_ended() -> None:
    """Bug: with a horizon below `T` it filled rows that are cut."""
    goal, one = jnp.full(1, 9.0), jnp.ones((6, 1))
    problem = grasp_jax.make_problem(lambda s, a: s + a, jnp.zeros(1), goal, one, bounds=(-1, 1))
    controller = MPC(problem, GD(learning_rate=0.0, iterations=1), tail=lambda s, g: jnp.ones(1))
    memory = controller.init(jax.random.key(0))
    _, memory, _ = controller.step(memory, jnp.zeros(1), goal, horizon=4)
    assert memory.num_planned == 3
    assert_same(memory.actions.ravel(), jnp.array([1.0, 1, 1, 0, 0, 0]))
    _, memory, info = controller.step(memory, jnp.zeros(1), goal, horizon=4)
    assert_close(info.cost, 25.0)  # all four rows


@pytest.mark.parametrize(
    ("tail", "error", "words"),
    [
        ("home", TypeError, "MPC.tail must be a policy"),
        (lambda s, g: (g - s)[None], ValueError, "a policy must return an action float32[1]"),
    ],
)
def test_wrong_tails_are_told(tail: Any, error: type, words: str) -> None:
    problem = grasp_jax.make_problem(
        lambda s, a: s + a, jnp.zeros(1), jnp.ones(1), jnp.zeros((3, 1))
    )
    with pytest.raises(error, match=re.escape(words)):
        controller = MPC(problem, GD(learning_rate=0.0, iterations=1), tail=tail)
        controller.step(controller.init(jax.random.key(0)), jnp.zeros(1), jnp.ones(1))


def test_noise_around_a_policy_spans_the_horizon_and_not_its_padding() -> None:
    proposals = FromPolicy(
        policy=lambda s, g: jnp.zeros(1), num=2, std=0.3, noise=grasp_jax.Colored()
    )

    def found(steps: int, horizon: int | None) -> jax.Array:
        problem = grasp_jax.make_problem(
            lambda s, a: s + 0.2 * jnp.tanh(a), jnp.zeros(1), jnp.full(1, 5.0),
            jnp.zeros((steps, 1)), horizon=horizon,
        )  # fmt: skip
        return jax.jit(proposals)(problem, jax.random.key(0))[:, :4]

    assert_close(found(8, 4), found(4, None), 1e-5)


def test_proposals_are_padded_as_the_problem_is() -> None:
    """Bug: on a mesh whose time axis does not divide `T` they had the wrong shape."""
    proposal = jnp.full((1, 5, 1), 0.4)
    planner = Proposed(GD(learning_rate=0.0, iterations=1), proposal)
    problem = grasp_jax.make_problem(
        lambda s, a: s + a, jnp.zeros(1), jnp.full(1, 2.0), jnp.zeros((5, 1)),
        mesh=grasp_jax.sharding.make_mesh(time=2),
    )  # fmt: skip
    assert_close(grasp_jax.solve(problem, jax.random.key(0), planner=planner).actions, proposal[0])


@pytest.mark.parametrize(
    ("proposals", "error", "parts"),
    [
        (jnp.zeros((3, 2)), ValueError, ["[n, T, A] = [n, 4, 2]", "float32[3, 2]"]),
        (jnp.zeros((HORIZON, 2)), ValueError, ["[n, 4, 2]", "passed as actions[None]"]),
        (jnp.zeros((0, HORIZON, 2)), ValueError, ["[n, 4, 2]", "float32[0, 4, 2]"]),
        (jnp.zeros((5, HORIZON, 3)), ValueError, ["[n, 4, 2]", "float32[5, 4, 3]"]),
        ("a policy", TypeError, ["a function of (problem, key)", "got str"]),
        (lambda state: state, ValueError, ["proposals(problem, key)", "TypeError"]),
        (lambda problem, key: problem.init_actions, ValueError, ["passed as actions[None]"]),
    ],
)
def test_wrong_proposals_are_told(proposals: Any, error: type, parts: list[str]) -> None:
    with pytest.raises(error) as caught:
        matrix.solve(Proposed(PLANNERS["GD"], proposals))
    for part in parts:
        assert part in str(caught.value)


def test_a_policy_of_one_state_refuses_a_window() -> None:
    context = grasp_jax.Context.repeat(jnp.zeros(2), 1, 2)
    with pytest.raises(ValueError, match="context of past frames"):
        grasp_jax.plan(
            lambda s, a: s[-1] + a[-1],
            jnp.zeros(2),
            jnp.ones(2),
            jnp.zeros((4, 2)),
            jax.random.key(0),
            planner=Proposed(GD(iterations=1), FromPolicy(policy=to_the_goal)),
            context=context,
        )
