"""Weights that JAX cannot see are refused, or, where nobody can see them, documented.

Bug: an array deeper than one level changed, and the program went on with the old value.
"""

import collections
import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, Objective, Problem, Status, make_problem

ARGUMENTS = jnp.zeros(3), jnp.ones(3), jnp.zeros((4, 2))
PLANNER = GD(learning_rate=0.1, iterations=2)


class Plain:
    """Holds what it is given, and is no pytree."""

    def __init__(self, weights: Any):
        self.weights = weights

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + jnp.sum(action)

    def predict(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return self(state, action)


class Slots:
    """As `Plain`, in a slot."""

    __slots__ = ("weights",)

    def __init__(self, weights: Any):
        self.weights = weights

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + jnp.sum(action)


class OnTheClass:
    """As `Plain`, shared by all instances."""

    weights = np.ones(3)

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + jnp.sum(action)


HIDDEN = {
    "in an attribute": (Plain(jnp.ones(3)), "Plain.weights is"),
    "of NumPy": (Plain(np.ones(3)), "Plain.weights is"),
    "one number of NumPy": (Plain(np.float32(3)), "Plain.weights is"),
    "behind a bound method": (Plain(np.ones(3)).__call__, "Plain.weights is"),
    "behind a method of a wrapped object": (Plain(Plain(np.ones(3))).predict, "weights.weights is"),
    "in a container": (Plain({"w": [jnp.ones(3)]}), "Plain.weights is"),
    "one object deeper": (Plain(Plain(jnp.ones(3))), "Plain.weights.weights is"),
    "three objects deeper": (Plain(Plain(Plain(Plain(jnp.ones(3))))), "weights.weights.weights"),
    "in a namespace": (Plain(types.SimpleNamespace(w=jnp.ones(3))), "Plain.weights.w is"),
    "in an object in a list": (Plain([Plain(jnp.ones(3))]), "Plain.weights.weights is"),
    "in an object in a deque": (Plain(collections.deque([jnp.ones(3)])), "Plain.weights"),
    "in a slot": (Slots(jnp.ones(3)), "Slots.weights is"),
    "in a slot of an attribute": (Plain(Slots(jnp.ones(3))), "Plain.weights.weights is"),
    "on the class": (OnTheClass(), "OnTheClass.weights is"),
    "on the class of an attribute": (Plain(OnTheClass()), "Plain.weights.weights is"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_weights_that_jax_cannot_see_are_refused(case: str):
    model, where = HIDDEN[case]
    with pytest.raises(TypeError, match=r"dynamics: .*is an array, or.*Partial") as caught:
        make_problem(model, *ARGUMENTS)
    assert where in str(caught.value)
    with pytest.raises(TypeError, match=r"objective: .*is an array, or"):
        make_problem(linear, *ARGUMENTS, objective=Objective(terminal_cost=model))


def linear(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + jnp.sum(action)


class Circle:
    """Holds itself, and no array."""

    def __init__(self):
        self.me, self.words, self.function = self, {"a": ["b", 0.1]}, jnp.tanh

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return linear(state, action)


@pytest.mark.parametrize("model", [Circle(), Plain(0.1), Plain([Plain("x"), {1, 2}])])
def test_objects_without_arrays_are_models(model: Any):
    found = jax.eval_shape(lambda: grasp_jax.plan(model, *ARGUMENTS, jax.random.key(0)))
    assert found.actions.shape == (4, 2)


def probe(weight: jax.Array, state: jax.Array, goal: jax.Array) -> jax.Array:
    return jnp.sum(weight * (state - goal) ** 2)


def test_weights_of_a_partial_objective_are_seen():
    def cost(weight: float) -> jax.Array:
        objective = Objective(functools.partial(probe, jnp.asarray(weight)))
        problem = make_problem(linear, *ARGUMENTS, objective=objective)
        return grasp_jax.rollout_cost(problem, ARGUMENTS[2])

    assert (cost(1.0), cost(3.0)) == (3.0, 9.0)


SHARED = {"gain": jnp.ones(())}


def test_closures_and_globals_are_compiled_in_as_the_documentation_says():
    """What JAX itself cannot see: `plan`'s docstring says that a later change goes unnoticed."""
    weights = [jnp.ones(())]

    def closed(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + weights[0] * jnp.sum(action)

    def of_the_module(state: jax.Array, action: jax.Array) -> jax.Array:
        return state + SHARED["gain"] * jnp.sum(action)

    actions = jnp.ones((4, 2))
    for model, change in (
        (closed, lambda: weights.__setitem__(0, 2 * jnp.ones(()))),
        (of_the_module, lambda: SHARED.update(gain=2 * jnp.ones(()))),
    ):
        problem: Problem = make_problem(model, *ARGUMENTS)
        before = grasp_jax.trajectory(problem, actions)[-1]
        change()
        assert (grasp_jax.trajectory(problem, actions)[-1] == before).all()
    SHARED.update(gain=jnp.ones(()))
    words = " ".join((grasp_jax.plan.__doc__ or "").split())
    assert "an array in a function's closure or in a module's globals" in words
    assert "a later change of those goes unnoticed" in words


def test_modules_under_jit_are_told_to_come_bare():
    import equinox as eqx

    linear = eqx.nn.Linear(3, 3, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"jax\.jit hides its weights: pass the module itself"):
        make_problem(jax.jit(linear), *ARGUMENTS)


def test_a_plan_of_an_object_without_arrays_is_ok():
    assert grasp_jax.plan(Plain(0.1), *ARGUMENTS, jax.random.key(0), planner=PLANNER).status == (
        Status.OK
    )
