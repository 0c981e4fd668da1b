"""Wrappers: each equals the loop it stands for, and plans."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import world_models
from grasp_jax.prepared import training_action_std


def one_step(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.tanh(state + 0.3 * action)


def linear(gain: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
    return state + gain * action


MEMBERS = jax.tree_util.Partial(linear, jnp.array([0.05, 0.1, 0.15]))


def test_action_repeat_equals_a_loop() -> None:
    state, action = jnp.array([0.1, -0.2]), jnp.array([0.5, 0.7])
    expected = state
    for _ in range(4):
        expected = one_step(expected, action)
    found = world_models.ActionRepeat(one_step, 4)(state, action)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_stacked_actions_equal_a_loop_first_action_first() -> None:
    state, actions = jnp.array([0.1, -0.2]), jnp.arange(6.0).reshape(3, 2) / 5
    expected = state
    for action in actions:
        expected = one_step(expected, action)
    found = world_models.StackedActions(one_step, 3)(state, actions.reshape(-1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_stacked_actions_of_a_wrong_size_say_so() -> None:
    with pytest.raises(ValueError, match="action of size 7 cannot hold 3"):
        world_models.StackedActions(one_step, 3)(jnp.zeros(2), jnp.zeros(7))


@pytest.mark.parametrize("wrapper", [world_models.ActionRepeat, world_models.StackedActions])
@pytest.mark.parametrize("count", [0, 2.5, True])
def test_counts_must_be_positive_ints(wrapper: type, count: object) -> None:
    with pytest.raises(ValueError, match="positive int"):
        wrapper(one_step, count)


def test_mean_ensemble_is_the_mean_of_its_members() -> None:
    state, action = jnp.ones(2), jnp.array([1.0, -1.0])
    found = world_models.MeanEnsemble(MEMBERS)(state, action)
    np.testing.assert_allclose(found, state + 0.1 * action, rtol=1e-6)


def test_worst_case_planning_hedges_between_members() -> None:
    model = world_models.WorstCaseEnsemble(MEMBERS)
    plan = grasp_jax.plan(
        model,
        model.replicate(jnp.zeros(2), 3),
        jnp.ones(2),
        jnp.zeros((4, 2)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.05, iterations=400),
        objective=grasp_jax.Objective(world_models.worst_case()),
    )
    # Members reach gain·Σa; the least worst case puts 0.05·Σa and 0.15·Σa equally far from 1.
    np.testing.assert_allclose(plan.actions.sum(axis=0), 10.0, rtol=0.02)
    np.testing.assert_allclose(plan.cost, 2 * 0.5**2, rtol=0.05)


def test_disagreement_is_the_variance_of_the_members() -> None:
    model = world_models.DisagreementEnsemble(MEMBERS)
    found = model(world_models.certain(jnp.ones(2)), jnp.array([1.0, -2.0]))
    np.testing.assert_allclose(found.state, [1.1, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.disagreement, np.var([0.05, 0.1, 0.15]) * 5, rtol=1e-5)


@pytest.mark.parametrize(
    "planner",
    [
        grasp_jax.GD(learning_rate=0.05, iterations=150),
        grasp_jax.LatCo(iterations=400),
        grasp_jax.GRASP(
            iterations=40, sync_every=20, sync=grasp_jax.GD(learning_rate=0.05, iterations=60)
        ),
        grasp_jax.ICEM(num_samples=100, num_elites=10, iterations=15, std=1.0),
    ],
    ids=["GD", "LatCo", "GRASP", "ICEM"],
)
def test_a_cautious_plan_keeps_to_what_all_members_know(planner: Any) -> None:
    """The second action does the same as the first, but the members disagree on it."""

    def two_ways(gain: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + 0.1 * action[:1] + gain * action[1:]

    model = world_models.DisagreementEnsemble(
        jax.tree_util.Partial(two_ways, jnp.array([0.05, 0.15]))
    )

    def share(weight: float) -> jax.Array:
        objective = world_models.cautious(grasp_jax.Objective(), weight)
        found = grasp_jax.plan(
            model,
            world_models.certain(jnp.zeros(1)),
            world_models.certain(jnp.ones(1)),
            jnp.zeros((5, 2)),
            jax.random.key(0),
            planner=planner,
            objective=objective,
        )
        np.testing.assert_allclose(found.states.state[-1], 1.0, atol=0.15)
        return jnp.sum(jnp.square(found.actions[:, 1])) / jnp.sum(jnp.square(found.actions))

    cautious, bold = share(100.0), share(0.0)
    assert cautious < 0.1 and cautious < 0.4 * bold


def test_every_member_of_an_ensemble_reads_its_own_window() -> None:
    def newest(gain: jax.Array, states: jax.Array, actions: jax.Array) -> jax.Array:
        return states[-1] + gain * actions[-1]

    # As many frames as members: their axes could be taken for each other.
    members, start = jax.tree_util.Partial(newest, MEMBERS.args[0]), jnp.zeros((3, 2))
    model = world_models.WorstCaseEnsemble(members)
    found = grasp_jax.plan(
        model,
        start,
        jnp.ones(2),
        jnp.ones((4, 2)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.0, iterations=1),
        objective=grasp_jax.Objective(world_models.worst_case()),
        context=grasp_jax.Context.repeat(start, 2, 2),
    )
    gains = np.array([0.05, 0.1, 0.15])
    np.testing.assert_allclose(found.states[-1], 4 * gains[:, None] * np.ones(2), rtol=1e-5)


def test_wrapped_models_do_not_retrace_for_new_weights() -> None:
    traces = []

    def counted(gain: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
        traces.append(1)
        return state + gain * action

    def cost(gain: float) -> jax.Array:
        model = world_models.StackedActions(jax.tree_util.Partial(counted, jnp.asarray(gain)), 2)
        return grasp_jax.plan(
            model,
            jnp.zeros(1),
            jnp.ones(1),
            jnp.zeros((3, 2)),
            jax.random.key(0),
            planner=grasp_jax.GD(learning_rate=0.1, iterations=3),
        ).cost

    first = cost(0.1)
    after = len(traces)
    second = cost(0.2)
    assert len(traces) == after
    assert first != second


@pytest.mark.parametrize("wrapper", [world_models.ActionRepeat, world_models.StackedActions])
def test_wrappers_of_one_step_refuse_windows(wrapper: Any) -> None:
    with pytest.raises(ValueError, match="is called on a window of actions"):
        grasp_jax.plan(
            wrapper(one_step, 2),
            jnp.zeros(2),
            jnp.ones(2),
            jnp.zeros((3, 4)),
            jax.random.key(0),
            planner=grasp_jax.GD(learning_rate=0.1, iterations=2),
            context=grasp_jax.Context.repeat(jnp.zeros(2), 2, 4),
        )


def test_a_worst_case_has_one_goal() -> None:
    states = world_models.WorstCaseEnsemble.replicate(jnp.zeros(2), 3)
    with pytest.raises(ValueError, match="Pass one goal"):
        world_models.worst_case()(states, states)


def test_wrappers_and_units_compare_field_by_field() -> None:
    made = [
        lambda x: world_models.Normalization(x * jnp.ones(2), np.ones(2)),
        lambda x: world_models.PatchDistance(x * jnp.ones(())),
        lambda x: world_models.MeanEnsemble(jax.tree_util.Partial(linear, x * jnp.ones(2))),
        lambda x: world_models.StackedActions(jax.tree_util.Partial(linear, x * jnp.ones(2)), 2),
    ]
    for make in made:
        assert make(1.0) == make(1.0) and make(1.0) != make(2.0)


@jax.tree_util.register_pytree_node_class
class Knowing:
    """A model that knows the deviation `[2]` of its training actions."""

    def __init__(self, training_action_std: Any):
        self.training_action_std = training_action_std

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + action

    def tree_flatten(self) -> tuple[Any, None]:
        return (self.training_action_std,), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Any) -> "Knowing":
        return cls(*leaves)


def test_wrappers_hand_on_the_unit_of_the_training_actions() -> None:
    model = Knowing(jnp.array([0.5, 2.0]))
    members = jax.tree.map(lambda *x: jnp.stack(x), model, Knowing(jnp.array([1.5, 4.0])))
    for wrapped, expected in (
        (world_models.ActionRepeat(model, 2), [0.5, 2.0]),
        (world_models.StackedActions(model, 2), [0.5, 2.0, 0.5, 2.0]),
        (world_models.mixed_precision(model), [0.5, 2.0]),
        (world_models.MeanEnsemble(members), [1.0, 3.0]),
    ):
        np.testing.assert_allclose(training_action_std(wrapped), expected)
    for wrapped in (world_models.ActionRepeat(one_step, 2), world_models.MeanEnsemble(MEMBERS)):
        assert training_action_std(wrapped) is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_worst_case_of_the_nearest_goal(count: int) -> None:
    """Two goals and two members look alike, and are not."""
    states, goals = jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.tile(jnp.array([1.0, 0.0]), (count, 1))
    assert world_models.worst_case(grasp_jax.AnyGoal())(states, goals) == 1.0


def test_a_goal_that_nobody_reads_is_certain() -> None:
    assert world_models.certain(None).disagreement == 0
