"""Wrong calls: every message names the argument, what was got, what was expected, and the fix."""

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import (
    GD,
    Context,
    Objective,
)

START, GOAL, GUESS = jnp.zeros(3), jnp.ones(3), jnp.zeros((4, 2))
KEY = jax.random.key(0)
PLANNER = GD(learning_rate=0.1, iterations=2)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.1 * jnp.sum(action)


def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
    return states[-1] + 0.1 * jnp.sum(actions)


@dataclasses.dataclass
class Unhashable:
    """Callable as a model and as a noise; equal by value, so without a hash."""

    scale: float = 0.1

    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        return first


def broken(state: jax.Array, action: jax.Array) -> jax.Array:
    raise RuntimeError("my model is broken")


def call(function: Any = grasp_jax.plan, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "key": KEY,
        "planner": PLANNER,
    }
    return function(**(arguments | changes))


def make(**changes: Any) -> grasp_jax.Problem:
    """The problem of `call`."""
    arguments: dict[str, Any] = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
    }
    return grasp_jax.make_problem(**(arguments | changes))


def assert_told(changes: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    """A call with these arguments ends in this error, whose message holds the words in order.

    A planner may be given as a function that makes it: some settings are refused at once.
    """
    planner = changes.get("planner", PLANNER)
    make_planner = planner if isinstance(planner, types.FunctionType) else lambda: planner
    with pytest.raises(error) as caught:
        call(**(changes | {"planner": make_planner()}))
    message = str(caught.value)
    place = 0
    for word in words:
        assert word in message[place:], f"{word!r} is missing (or out of order) in: {message}"
        place = message.index(word, place)


# What is wrong; the arguments; the error; what the message must hold, in this order.
WRONG: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    # state and goal
    "goal of another shape": (
        {"goal": jnp.ones(4)},
        ValueError,
        ["goal must look like state", "float32[4]", "float32[3]", "objective="],
    ),
    "goal of another structure": (
        {"goal": {"x": GOAL}},
        ValueError,
        ["goal must look like state", "{x: float32[3]}", "float32[3]"],
    ),
    "goal of another dtype": (
        {"goal": GOAL.astype(jnp.bfloat16)},
        ValueError,
        ["goal must look like state", "bfloat16[3]", "float32[3]"],
    ),
    "goals of a batch": (
        {"goal": jnp.ones((5, 3))},
        ValueError,
        ["goal must look like state", "float32[5, 3]", "plan_batch"],
    ),
    "states of a batch": (
        {
            "dynamics": lambda s, a: jnp.eye(3) @ s + jnp.sum(a),
            "state": jnp.zeros((5, 3)),
            "goal": jnp.ones((5, 3)),
        },
        ValueError,
        ["dynamics(float32[5, 3], float32[2])", "failed", "plan_batch"],
    ),
    "integer state": (
        {"state": jnp.zeros(3, int)},
        TypeError,
        ["state must be floating", "int32[3]", "cast"],
    ),
    "integer leaf of the goal": (
        {"state": {"x": START}, "goal": {"x": jnp.zeros(3, int)}},
        TypeError,
        ["goal['x'] must be floating", "int32[3]"],
    ),
    "boolean state": ({"state": jnp.zeros(3, bool)}, TypeError, ["state must be floating", "bool"]),
    "no state": ({"state": None}, ValueError, ["state", "at least one array", "empty"]),
    "empty state": ({"state": {}}, ValueError, ["state", "at least one array", "empty"]),
    "None leaf in the goal only": (
        {
            "dynamics": lambda s, a: s,
            "state": {"x": START, "y": START},
            "goal": {"x": GOAL, "y": None},
        },
        ValueError,
        ["goal must look like state", "y: None"],
    ),
    "string state": ({"state": "start"}, TypeError, ["state", "arrays", "str", "'start'"]),
    "object leaf": (
        {"goal": {"x": object()}},
        TypeError,
        ["goal", "arrays", "object", "jnp.asarray"],
    ),
    "ragged state": ({"state": np.array([1, "a"], object)}, TypeError, ["state", "arrays"]),
    # actions
    "no actions": (
        {"init_actions": None},
        TypeError,
        ["init_actions must be an array [T, A]", "None"],
    ),
    "horizon zero": (
        {"init_actions": jnp.zeros((0, 2))},
        ValueError,
        ["init_actions", "at least one step", "horizon 0"],
    ),
    "action size zero": (
        {"init_actions": jnp.zeros((4, 0))},
        ValueError,
        ["actions", "action size 0"],
    ),
    "actions of a batch": (
        {"init_actions": jnp.zeros((5, 4, 2))},
        ValueError,
        ["init_actions must have shape [T, A]", "float32[5, 4, 2]", "plan_batch"],
    ),
    "one action": (
        {"init_actions": jnp.zeros(2)},
        ValueError,
        ["init_actions must have shape [T, A]", "float32[2]", "jnp.zeros((horizon, action_size))"],
    ),
    "the horizon instead of actions": (
        {"init_actions": 4},
        ValueError,
        ["init_actions must have shape [T, A]", "int32[]", "jnp.zeros((horizon, action_size))"],
    ),
    "integer actions": (
        {"init_actions": jnp.zeros((4, 2), int)},
        TypeError,
        ["init_actions must be floating", "int32", "jnp.zeros"],
    ),
    # bounds
    "bounds reversed": (
        {"bounds": (1.0, -1.0)},
        ValueError,
        ["bounds", "low must not exceed high", "low=1.0", "high=-1.0", "(low, high)"],
    ),
    "one bound reversed": (
        {"bounds": ([-1.0, 2.0], [1.0, 1.0])},
        ValueError,
        ["bounds", "low=2.0", "high=1.0", "action dimension 1"],
    ),
    "bounds NaN": ({"bounds": (jnp.nan, 1.0)}, ValueError, ["bounds", "NaN", "low=nan"]),
    "bounds of the wrong size": (
        {"bounds": (-jnp.ones(3), jnp.ones(3))},
        ValueError,
        ["bounds: low has shape [3]", "expected a number or [2]"],
    ),
    "bounds per step": (
        {"bounds": (-1.0, jnp.ones((4, 2)))},
        ValueError,
        ["bounds: high has shape [4, 2]", "[2]"],
    ),
    "one number as bounds": ({"bounds": 1.0}, ValueError, ["bounds must be a pair (low, high)"]),
    "bounds of strings": (
        {"bounds": ("low", "high")},
        TypeError,
        ["bounds: low must be a number or an array", "'low'"],
    ),
    "a missing bound": (
        {"bounds": (None, 1.0)},
        TypeError,
        ["bounds: low must be a number or an array", "None", "-jnp.inf"],
    ),
    # key
    "int seed": (
        {"key": 0},
        TypeError,
        ["key must be a JAX random key", "int", "jax.random.key(0)"],
    ),
    "no key": ({"key": None}, TypeError, ["key must be a JAX random key", "NoneType"]),
    "float key": ({"key": jnp.zeros(2)}, TypeError, ["key must be a JAX random key", "float32[2]"]),
    "batch of keys": (
        {"key": jax.random.split(KEY, 5)},
        ValueError,
        ["key must be a single key", "[5]", "plan_batch"],
    ),
    "raw key of the wrong size": (
        {"key": jnp.zeros(3, jnp.uint32)},
        TypeError,
        ["key must be a JAX random key", "uint32[3]", "jax.random.key(0)"],
    ),
    # dynamics
    "dynamics not callable": (
        {"dynamics": {"weights": jnp.ones(3)}},
        TypeError,
        ["dynamics must be callable", "dict", "Partial(model.apply, params)"],
    ),
    "dynamics of another shape": (
        {"dynamics": lambda s, a: jnp.concatenate([s, a])},
        ValueError,
        ["dynamics must return a state", "returned float32[5]", "expected float32[3]"],
    ),
    "dynamics of another dtype": (
        {"dynamics": lambda s, a: s.astype(jnp.bfloat16)},
        ValueError,
        ["dynamics must return a state", "returned bfloat16[3]", "expected float32[3]"],
    ),
    "dynamics with an extra output": (
        {"dynamics": lambda s, a: (s, 0.0)},
        ValueError,
        ["dynamics must return a state", "(float32[3], float32[])", "expected float32[3]"],
    ),
    "dynamics that returns nothing": (
        {"dynamics": lambda s, a: None},
        ValueError,
        ["dynamics must return a state", "returned None", "expected float32[3]"],
    ),
    "dynamics that returns a string": (
        {"dynamics": lambda s, a: "next"},
        ValueError,
        ["dynamics(float32[3], float32[2])", "failed"],
    ),
    "dynamics that raises": (
        {"dynamics": broken},
        ValueError,
        ["dynamics(float32[3], float32[2])", "RuntimeError: my model is broken", "one state"],
    ),
    "dynamics of one argument": (
        {"dynamics": lambda s: s},
        ValueError,
        ["dynamics(float32[3], float32[2])", "TypeError", "one state and one action"],
    ),
    "dynamics of NumPy": (
        {"dynamics": lambda s, a: np.sin(s)},
        ValueError,
        ["dynamics(float32[3], float32[2])", "TracerArrayConversionError"],
    ),
    "unhashable dynamics": (
        {"dynamics": Unhashable()},
        TypeError,
        ["dynamics", "hashable", "Unhashable", "tuples"],
    ),
    # objective
    "a bare function as objective": (
        {"objective": lambda s, g: 0.0},
        TypeError,
        ["objective must be a grasp_jax.Objective", "function", "Objective(terminal_cost="],
    ),
    "objective of a vector": (
        {"objective": Objective(terminal_cost=lambda s, g: s - g)},
        ValueError,
        ["objective.terminal_cost must return one floating number", "float32[3]"],
    ),
    "objective of an integer": (
        {"objective": Objective(terminal_cost=lambda s, g: jnp.argmax(s))},
        ValueError,
        ["objective.terminal_cost must return one floating number", "int32[]"],
    ),
    "objective that raises": (
        {"objective": Objective(terminal_cost=lambda s, g: s["x"])},
        ValueError,
        ["objective.terminal_cost failed", "terminal_cost(state, goal)", "float32[3]"],
    ),
    "action cost of an integer": (
        {"objective": Objective(control_cost=lambda a: jnp.sum(jnp.abs(a) > 0.5))},
        ValueError,
        ["objective.control_cost must return one floating number", "int32[]"],
    ),
    "action cost of a vector": (
        {"objective": Objective(control_cost=lambda a: a.sum(0))},
        ValueError,
        ["objective.control_cost must return one floating number", "float32[2]"],
    ),
    "state cost of a vector": (
        {"objective": Objective(running_cost=lambda s, g: jnp.abs(s - g))},
        ValueError,
        ["objective.running_cost must return one floating number", "float32[3]"],
    ),
    "state cost of the state alone": (
        {"objective": Objective(running_cost=lambda s: jnp.sum(s))},  # pyright: ignore
        ValueError,
        ["objective.running_cost failed", "running_cost(state, goal)", "positional argument"],
    ),
    "state cost with three arguments": (
        {"objective": Objective(running_cost=lambda s, g, a: jnp.sum(s))},
        ValueError,
        ["objective.running_cost failed", "running_cost(state, goal, action, t)", "'a'"],
    ),
    "a constraint that is a predicate": (
        {"objective": Objective(constraint=lambda s, g: s < 1)},
        ValueError,
        ["objective.constraint must return floating numbers", "bool[3]", "how far it is broken"],
    ),
    "a constraint of a matrix": (
        {"objective": Objective(constraint=lambda s, g: s[None])},
        ValueError,
        ["objective.constraint must return floating numbers [k] or []", "float32[1, 3]"],
    ),
    "a list of numbers as the state": (
        {"state": [0.0, 0.0, 0.0], "goal": [1.0, 1.0, 1.0]},
        ValueError,
        ["failed", "state is a list of 3 numbers", "jnp.asarray(state)"],
    ),
    # context
    "context not a Context": (
        {"context": (START[None], GUESS[:1])},
        TypeError,
        ["context must be a grasp_jax.Context", "tuple"],
    ),
    "context actions of another size": (
        {"dynamics": windowed, "context": Context(START[None], jnp.zeros((1, 3)))},
        ValueError,
        ["context.actions must have shape [h-1, 2]", "float32[1, 3]"],
    ),
    "context frames and actions differ": (
        {"dynamics": windowed, "context": Context(jnp.zeros((2, 3)), jnp.zeros((1, 2)))},
        ValueError,
        ["context.states", "expected float32[1, 3]", "float32[2, 3]"],
    ),
    "context of another structure": (
        {"dynamics": windowed, "context": Context({"x": START[None]}, jnp.zeros((1, 2)))},
        ValueError,
        ["context.states", "expected float32[1, 3]", "{x: float32[1, 3]}"],
    ),
    "a window for a model of single frames": (
        {
            "dynamics": lambda s, a: jnp.eye(3) @ s + jnp.eye(3, 2) @ a,
            "context": Context(START[None], GUESS[:1]),
        },
        ValueError,
        ["dynamics(float32[2, 3], float32[2, 2])", "context window 2"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_told_what_is_wrong_and_what_to_do(case: str):
    assert_told(*WRONG[case])


@pytest.mark.parametrize(
    "case", ["goal of another shape", "horizon zero", "bounds of the wrong size"]
)
def test_start_tells_the_same_and_so_does_a_callers_jit(case: str):
    changes, error, words = WRONG[case]
    with pytest.raises(error) as caught:
        grasp_jax.start(make(**changes), KEY, planner=PLANNER)
    assert words[0] in str(caught.value)
    with pytest.raises(error) as caught:
        jax.jit(lambda: call(**changes))()
    assert words[0] in str(caught.value)


def test_numpy_and_python_numbers_are_welcome():
    found = call(
        state=np.zeros(3), goal=[1.0, 1.0, 1.0][0] * np.ones(3), init_actions=np.zeros((4, 2))
    )
    assert found.status == grasp_jax.Status.OK
    single = call(dynamics=step, state=0.0, goal=1.0, bounds=[-1, 1])
    assert single.states.shape == (5,)


def test_messages_do_not_print_arrays():
    with pytest.raises(ValueError) as caught:
        call(goal=jnp.linspace(0, 1, 1000))
    assert len(str(caught.value)) < 600
