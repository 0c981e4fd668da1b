"""What may be a model: plain functions, and modules of the usual libraries with traced weights."""

from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import grasp_jax
from grasp_jax import GD, GRASP, Plan
from tests.matrix import assert_close, key

START, GOAL = jnp.array([0.0, 0.2, -0.1]), jnp.array([0.5, -0.5, 0.3])
GUESS = jnp.zeros((4, 2))
PLANNER = GRASP(4, action_rate=0.1, sync=GD(0.1, 2), sync_every=2)
traces: list[int] = []


def solve(dynamics: Any, **changes: Any) -> Plan:
    arguments = {"state": START, "goal": GOAL, "actions": GUESS, "key": key()}
    return grasp_jax.plan(dynamics, **(arguments | changes), planner=PLANNER)


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


def test_half_of_the_prepared_interface_means_something_else():
    class Model(eqx.Module):
        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return 7 * actions

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + 0.3 * inputs(state[:1], action)

    found = solve(Model())
    expected = solve(lambda s, a: s + 0.3 * inputs(s[:1], a))
    assert_close(found.states, expected.states)
