"""Models in two halves, frames that are not there, and wrappers of both."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import grasp_jax
from grasp_jax import GD, Context, world_models
from grasp_jax.prepared import PreparedModel

T, A = 4, 2
START, GOAL = jnp.array([0.1, -0.2]), jnp.array([0.7, 0.4])
GUESS = jnp.linspace(-0.3, 0.5, T * A).reshape(T, A)
PLANNERS = [
    GD(learning_rate=0.1, iterations=3),
    grasp_jax.GRASP(
        iterations=4, action_rate=0.05, sync=GD(learning_rate=0.1, iterations=2), sync_every=2
    ),
    grasp_jax.CEM(num_samples=8, num_elites=3, iterations=2),
    grasp_jax.LatCo(iterations=4, evaluate_every=2),
]
every_planner = pytest.mark.parametrize("planner", PLANNERS, ids=lambda p: type(p).__name__)


def encode(actions: jax.Array) -> jax.Array:
    return jnp.tanh(1.5 * actions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pushed(PreparedModel):
    """The last frame moved by an encoded action, and drawn to the mean of the frames there are."""

    gain: jax.Array

    def prepare_actions(self, actions: jax.Array) -> jax.Array:
        assert actions.ndim == 2
        return encode(actions)

    def step_prepared(
        self, states: jax.Array, prepared: jax.Array, present: jax.Array | None = None
    ) -> jax.Array:
        if states.ndim == 1:
            return states + self.gain * prepared
        mask = jnp.ones(len(states), bool) if present is None else present
        mean = jnp.sum(jnp.where(mask[:, None], states, 0), 0) / jnp.sum(mask)
        return 0.9 * states[-1] + 0.1 * mean + self.gain * prepared[-1]


MODEL = Pushed(jnp.array(0.4))


def plain(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.4 * encode(action)


def masked(states: jax.Array, actions: jax.Array, present: jax.Array) -> jax.Array:
    assert present.shape == (3,) and present.dtype == bool
    return MODEL(states, actions, present)


def solve(dynamics: Any, planner: Any = PLANNERS[0], **changes: Any) -> grasp_jax.Plan:
    given: dict[str, Any] = {
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "key": jax.random.key(0),
    }
    return grasp_jax.plan(dynamics, **(given | changes), planner=planner)


@every_planner
def test_a_model_in_two_halves_plans_as_one_in_one(planner: Any):
    found, expected = solve(MODEL, planner), solve(plain, planner)
    np.testing.assert_allclose(found.actions, expected.actions, atol=1e-6)
    np.testing.assert_allclose(found.states, expected.states, atol=1e-6)


def test_a_call_is_made_of_the_halves():
    np.testing.assert_array_equal(MODEL(START, GUESS[0]), plain(START, GUESS[0]))
    window = jnp.stack([START, GOAL, START])
    by_halves = MODEL.step_prepared(window, MODEL.prepare_actions(GUESS[:3]))
    np.testing.assert_array_equal(MODEL(window, GUESS[:3]), by_halves)


def test_any_base_will_do():
    class Equinox(eqx.Module, PreparedModel):
        gain: jax.Array
        prepare_actions = Pushed.prepare_actions
        step_prepared = Pushed.step_prepared

    class Flax(nnx.Module, PreparedModel):
        def __init__(self) -> None:
            self.gain = nnx.Param(jnp.array(0.4))

        prepare_actions = Pushed.prepare_actions
        step_prepared = Pushed.step_prepared

    for model in (Equinox(jnp.array(0.4)), Flax()):
        np.testing.assert_allclose(solve(model).actions, solve(plain).actions, atol=1e-6)


def test_an_override_of_the_call_is_refused():
    with pytest.raises(TypeError, match=r"Damped .* defines __call__, which planners bypass"):

        class Damped(Pushed):
            def __call__(self, *x: Any) -> jax.Array:
                return 0.5 * super().__call__(*x)

    class Caller:
        def __call__(self, *x: Any) -> jax.Array:
            return x[0]

    with pytest.raises(TypeError, match=r"Mixed .* defines __call__"):

        class Mixed(Caller, Pushed):
            pass


def test_half_a_model_cannot_be_made():
    class Half(PreparedModel):
        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return actions

    with pytest.raises(TypeError, match=r"abstract.*step_prepared"):
        Half()  # pyright: ignore[reportAbstractUsage]


WRAPPERS = {
    "repeat": lambda m: world_models.ActionRepeat(m, 3),
    "stacked": lambda m: world_models.StackedActions(m, 2),
    "mean": lambda m: world_models.MeanEnsemble(jax.tree.map(lambda x: jnp.stack([x, 2 * x]), m)),
    "mixed": world_models.mixed_precision,
    "nested": lambda m: world_models.mixed_precision(world_models.StackedActions(m, 2)),
}
PLAIN = jax.tree_util.Partial(lambda gain, s, a: s + gain * encode(a), jnp.array(0.4))


@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrapped_halves_plan_as_wrapped_wholes(kind: str):
    guess = jnp.tile(GUESS, 2) if kind in ("stacked", "nested") else GUESS
    tolerance = 0.02 if kind in ("mixed", "nested") else 1e-6
    found, expected = (solve(WRAPPERS[kind](m), init_actions=guess) for m in (MODEL, PLAIN))
    np.testing.assert_allclose(found.actions, expected.actions, atol=tolerance)
    assert (
        found.cost
        < solve(WRAPPERS[kind](MODEL), GD(learning_rate=0.0, iterations=1), init_actions=guess).cost
    )


@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrappers_encode_all_actions_of_a_plan_side_by_side(kind: str):
    seen = []

    class Watched(eqx.Module, PreparedModel):
        gain: jax.Array
        step_prepared = Pushed.step_prepared

        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            seen.append(actions.shape)
            return encode(actions)

    guess = jnp.tile(GUESS, 2) if kind in ("stacked", "nested") else GUESS
    solve(WRAPPERS[kind](Watched(jnp.array(0.4))), init_actions=guess)
    longest = T * 2 if kind in ("stacked", "nested") else T
    assert set(seen) == {(longest, A)}


def members_of(model: Any) -> Any:
    return jax.tree.map(lambda x: jnp.stack([x, 2 * x, 3 * x]), model)


@pytest.mark.parametrize("windows", [False, True])
def test_an_ensemble_of_halves_moves_each_member_alone(windows: bool):
    # As many frames as members: their axes could be taken for each other.
    model = world_models.WorstCaseEnsemble(members_of(MODEL))
    start = model.replicate(START, 3) + jnp.arange(3.0)[:, None]
    past = jnp.stack([start, start + 1, start])[:2], GUESS[:2]
    present = jnp.array([False, True])
    found = solve(
        model,
        state=start,
        objective=grasp_jax.Objective(world_models.worst_case()),
        context=Context(*past, present) if windows else None,
    )
    for m in range(3):
        one = jax.tree.map(lambda x, m=m: x[m], members_of(MODEL))
        context = Context(past[0][:, m], past[1], present) if windows else None
        alone = solve(
            one,
            GD(learning_rate=0.0, iterations=1),
            state=start[m],
            init_actions=found.actions,
            context=context,
        )
        np.testing.assert_allclose(found.states[:, m], alone.states, rtol=1e-5, atol=1e-6)
    mean = world_models.MeanEnsemble(members_of(MODEL))
    window = jnp.stack([START, GOAL, START])
    three = mean(window, GUESS[:3], jnp.array([False, True, True]))
    each = [
        Pushed(0.4 * g)(window, GUESS[:3], jnp.array([False, True, True]))
        for g in jnp.array([1.0, 2.0, 3.0])
    ]
    np.testing.assert_allclose(three, sum(each) / 3, rtol=1e-5)


def rollout(actions: jax.Array, context: Context) -> jax.Array:
    """The states of a plan, one call after the other."""
    assert context.present is not None
    states, taken, there = [*context.states, START], [*context.actions], [*context.present]
    for action in actions:
        taken.append(action)
        there.append(True)
        present = jnp.stack([jnp.asarray(x) for x in there[-3:]])
        states.append(masked(jnp.stack(states[-3:]), jnp.stack(taken[-3:]), present))
    return jnp.stack(states[2:])


PAST = Context(jnp.array([[9.0, -9.0], [0.3, 0.3]]), GUESS[:2], jnp.array([False, True]))


@every_planner
@pytest.mark.parametrize("dynamics", [MODEL, masked], ids=["halves", "whole"])
def test_frames_that_are_not_there_are_told_to_the_model(dynamics: Any, planner: Any):
    found = solve(dynamics, planner, context=PAST)
    np.testing.assert_allclose(found.states, rollout(found.actions, PAST), atol=1e-5)
    other = dataclasses.replace(PAST, states=PAST.states.at[0].set(-5.0))
    again = solve(dynamics, planner, context=other)
    np.testing.assert_allclose(again.actions, found.actions, atol=1e-6)
    everything = solve(
        dynamics, planner, context=dataclasses.replace(PAST, present=jnp.ones(2, bool))
    )
    assert jnp.abs(everything.states - found.states).max() > 1e-3


def test_a_batch_has_a_mask_for_each_goal():
    masks = jnp.array([[False, True], [True, True]])
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), (START, GOAL, PAST))
    context = dataclasses.replace(stacked[2], present=masks)
    found = grasp_jax.plan_batch(
        MODEL,
        stacked[0],
        stacked[1],
        GUESS,
        jax.random.key(0),
        planner=GD(learning_rate=0.1, iterations=3),
        context=context,
    )
    for i, mask in enumerate(masks):
        one = solve(MODEL, context=dataclasses.replace(PAST, present=mask))
        np.testing.assert_allclose(found.actions[i], one.actions, atol=1e-6)


def test_control_fills_the_window_with_real_frames():
    empty = Context(jnp.zeros((2, 2)), jnp.zeros((2, A)), jnp.zeros(2, bool))
    problem = grasp_jax.make_problem(masked, START, GOAL, GUESS, context=empty)
    controller = grasp_jax.MPC(problem, GD(learning_rate=0.1, iterations=2))
    memory = controller.init(jax.random.key(0))
    for expected in ([False, True], [True, True], [True, True]):
        _, memory, info = controller.step(memory, START, GOAL)
        assert memory.context is not None and jnp.isfinite(info.cost)
        np.testing.assert_array_equal(memory.context.present, expected)


@pytest.mark.parametrize(
    ("dynamics", "present", "message"),
    [
        (MODEL, jnp.ones(3, bool), r"context\.present must be bool\[2\], .*got bool\[3\]"),
        (MODEL, jnp.ones(2), r"context\.present must be bool\[2\], .*got float32\[2\]"),
        (
            lambda s, a: s[-1],
            PAST.present,
            r"context.present as its third argument, failed: TypeError",
        ),
    ],
)
def test_masks_that_do_not_fit(dynamics: Any, present: jax.Array, message: str):
    with pytest.raises(ValueError, match=message):
        solve(dynamics, context=dataclasses.replace(PAST, present=present))
