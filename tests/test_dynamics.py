"""What may be a model: plain functions, and modules of the usual libraries with traced weights."""

import functools
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import grasp_jax
from grasp_jax import GD, GRASP, Plan, PreparedModel
from tests.matrix import assert_close, key

START, GOAL = jnp.array([0.0, 0.2, -0.1]), jnp.array([0.5, -0.5, 0.3])
GUESS = jnp.zeros((4, 2))
PLANNER = GRASP(
    iterations=4, action_rate=0.1, sync=GD(learning_rate=0.1, iterations=2), sync_every=2
)
traces: list[int] = []


def solve(dynamics: Any, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "key": key(),
        "planner": PLANNER,
    }
    return grasp_jax.plan(dynamics, **(arguments | changes))


def inputs(state: jax.Array, action: jax.Array) -> jax.Array:
    traces.append(1)
    return jnp.concatenate([state, action])


class EquinoxModel(eqx.Module):
    layers: list[eqx.nn.Linear]
    activation: Any  # a leaf that is not an array
    name: str = eqx.field(static=True, default="model")
    scale: float = 0.5  # a leaf that is a Python number

    def __init__(self, key: jax.Array):
        a, b = jax.random.split(key)
        self.layers = [eqx.nn.Linear(5, 8, key=a), eqx.nn.Linear(8, 3, key=b)]
        self.activation = jax.nn.silu

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        hidden = self.activation(self.layers[0](inputs(state, action)))
        return state + self.scale * self.layers[1](hidden)


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + nn.Dense(3)(nn.silu(nn.Dense(8)(inputs(state, action))))


LINEN = LinenModel()
APPLY = LINEN.apply


class NnxModel(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(5, 8, rngs=rngs)
        self.second = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + self.second(nnx.silu(self.first(inputs(state, action))))


def linen(seed: int) -> Any:
    parameters = LINEN.init(jax.random.key(seed), START, GUESS[0])
    return jax.tree_util.Partial(APPLY, parameters)


MODELS = {
    "equinox": lambda seed: EquinoxModel(jax.random.key(seed)),
    "linen": linen,
    "nnx": lambda seed: NnxModel(nnx.Rngs(seed)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_modules_plan_like_plain_functions_and_new_weights_do_not_retrace(kind: str):
    model, other = MODELS[kind](0), MODELS[kind](1)
    found = solve(model)
    assert found.status == grasp_jax.Status.OK
    before = len(traces)
    changed = solve(other)
    assert len(traces) == before
    assert jnp.abs(changed.actions - found.actions).max() > 1e-4
    # A closure bakes the weights in: same numbers, another program.
    assert_close(solve(lambda s, a: model(s, a)).actions, found.actions)
    assert len(traces) > before


@pytest.mark.parametrize("kind", MODELS)
def test_modules_as_arguments_of_a_callers_jit(kind: str):
    # Equinox modules with leaves that are not arrays need Equinox's own jit, as everywhere.
    jit = eqx.filter_jit if kind == "equinox" else jax.jit
    model = MODELS[kind](0)
    assert_close(jit(lambda m: solve(m).cost)(model), solve(model).cost)


def test_weights_may_be_closed_over_inside_a_callers_jit():
    @jax.jit
    def cost(weight: jax.Array) -> jax.Array:
        return solve(lambda s, a: s + weight * inputs(s[:1], a)).cost

    weight = jnp.array(0.3)
    expected = solve(lambda s, a: s + 0.3 * inputs(s[:1], a)).cost
    assert_close(cost(weight), expected)
    assert_close(jax.vmap(cost)(weight[None])[0], expected)


def test_weights_can_be_swept_with_vmap():
    models = [MODELS["linen"](seed) for seed in range(2)]
    together = jax.tree.map(lambda *x: jnp.stack(x), *models)
    costs = jax.vmap(lambda m: solve(m).cost)(together)
    assert_close(costs, jnp.stack([solve(m).cost for m in models]))


def test_methods_of_these_names_mean_nothing_where_the_class_does_not_say_so():
    class Model(eqx.Module):
        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return 7 * actions

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + 0.3 * inputs(state[:1], action)

    found = solve(Model())
    expected = solve(lambda s, a: s + 0.3 * inputs(s[:1], a))
    assert_close(found.states, expected.states)


class Prepared(eqx.Module, PreparedModel):
    """A model of two halves."""

    gain: jax.Array

    def prepare_actions(self, actions: jax.Array) -> jax.Array:
        return 2 * actions

    def step_prepared(self, states: Any, prepared: Any, present: Any = None) -> jax.Array:
        return states + self.gain * inputs(states[:1], prepared / 2)


def test_halves_that_do_not_fit_are_refused():
    class Wide(Prepared):
        def step_prepared(self, states: Any, prepared: Any, present: Any = None) -> jax.Array:
            return jnp.concatenate([states, prepared])

    class Broken(Prepared):
        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return actions[:, :, None] @ jnp.ones((3, 3))

    halves = r"(?s)prepare_actions and step_prepared.*They "
    with pytest.raises(ValueError, match=halves + r"returned float32\[5\]"):
        solve(Wide(jnp.ones(())))
    with pytest.raises(ValueError, match=halves + "failed"):
        solve(Broken(jnp.ones(())))


def test_a_bound_method_sees_new_weights_without_a_retrace():
    class Model(nnx.Module):
        def __init__(self):
            self.weights = nnx.Param(jnp.ones(3))

        def predict(self, state: jax.Array, action: jax.Array) -> jax.Array:
            traces.append(1)
            return state + self.weights[...] * jnp.sum(action)

    model, still = Model(), GD(learning_rate=0.0, iterations=1)

    def last(dynamics: Any) -> jax.Array:
        arguments = (START, GOAL, jnp.ones((4, 2)), key())
        return grasp_jax.plan(dynamics, *arguments, planner=still).states[-1]

    assert_close(last(model.predict), START + 8)
    count = len(traces)
    model.weights[...] = 2 * jnp.ones(3)
    assert_close(last(model.predict), START + 16)
    assert_close(last(functools.partial(model.predict)), START + 16)
    assert_close(last(jax.jit(model.predict)), START + 16)
    assert len(traces) == count


def test_a_partial_with_new_weights_does_not_retrace():
    def apply(weights: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
        traces.append(1)
        return state + weights * jnp.sum(action)

    first = solve(functools.partial(apply, jnp.array([1.0, 0.0, 0.0])))
    count = len(traces)
    second = solve(functools.partial(apply, jnp.zeros(3)))
    assert len(traces) == count and first.cost < second.cost


def test_a_method_inside_a_wrapper_sees_new_weights():
    class Model(nnx.Module):
        def __init__(self):
            self.weights = nnx.Param(jnp.ones(3))

        def predict(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + self.weights[...] * jnp.sum(action)

    model = Model()
    wrapped = grasp_jax.world_models.StackedActions(model.predict, 1)
    for gain in (1.0, 2.0):
        model.weights[...] = gain * jnp.ones(3)
        found = solve(
            wrapped, init_actions=jnp.ones((4, 2)), planner=GD(learning_rate=0.0, iterations=1)
        )
        assert_close(found.states[-1], START + 8 * gain)


def test_a_goal_of_integers_where_the_distance_reads_them():
    def to_class(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(state) - state[goal]

    objective = grasp_jax.Objective(terminal_cost=to_class)
    found = solve(EquinoxModel(key()), goal=jnp.asarray(2), objective=objective)
    assert jnp.isclose(found.cost, to_class(found.states[-1], jnp.asarray(2)), rtol=1e-5)
