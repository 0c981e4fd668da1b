"""Wrong calls: every message names the argument, what was got, what was expected, and the fix."""

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Context,
    Correlated,
    LatCo,
    LatCoGN,
    MultiStart,
    Objective,
)

START, GOAL, GUESS = jnp.zeros(3), jnp.ones(3), jnp.zeros((4, 2))
KEY = jax.random.key(0)
PLANNER = GD(0.1, 2)


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
    arguments = {
        "dynamics": step,
        "state": START,
        "goal": GOAL,
        "actions": GUESS,
        "key": KEY,
        "planner": PLANNER,
    }
    return function(**(arguments | changes))


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
    "no actions": ({"actions": None}, TypeError, ["actions must be an array [T, A]", "None"]),
    "horizon zero": (
        {"actions": jnp.zeros((0, 2))},
        ValueError,
        ["actions", "at least one step", "horizon 0"],
    ),
    "action size zero": ({"actions": jnp.zeros((4, 0))}, ValueError, ["actions", "action size 0"]),
    "actions of a batch": (
        {"actions": jnp.zeros((5, 4, 2))},
        ValueError,
        ["actions must have shape [T, A]", "float32[5, 4, 2]", "plan_batch"],
    ),
    "one action": (
        {"actions": jnp.zeros(2)},
        ValueError,
        ["actions must have shape [T, A]", "float32[2]", "jnp.zeros((horizon, action_size))"],
    ),
    "the horizon instead of actions": (
        {"actions": 4},
        ValueError,
        ["actions must have shape [T, A]", "int32[]", "jnp.zeros((horizon, action_size))"],
    ),
    "integer actions": (
        {"actions": jnp.zeros((4, 2), int)},
        TypeError,
        ["actions must be floating", "int32", "jnp.zeros"],
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
    # objective
    "a bare function as objective": (
        {"objective": lambda s, g: 0.0},
        TypeError,
        ["objective must be a grasp_jax.Objective", "function", "Objective(distance="],
    ),
    "objective of a vector": (
        {"objective": Objective(distance=lambda s, g: s - g)},
        ValueError,
        ["objective.distance must return one floating number", "float32[3]"],
    ),
    "objective of an integer": (
        {"objective": Objective(distance=lambda s, g: jnp.argmax(s))},
        ValueError,
        ["objective.distance must return one floating number", "int32[]"],
    ),
    "objective that raises": (
        {"objective": Objective(distance=lambda s, g: s["x"])},
        ValueError,
        ["objective failed", "float32[3]"],
    ),
    "action cost of an integer": (
        {"objective": Objective(action_cost=lambda a: jnp.sum(jnp.abs(a) > 0.5))},
        ValueError,
        ["objective.action_cost must return one floating number", "int32[]"],
    ),
    "action cost of a vector": (
        {"objective": Objective(action_cost=lambda a: a.sum(0))},
        ValueError,
        ["objective.action_cost must return one floating number", "float32[2]"],
    ),
    "state cost of a vector": (
        {"objective": Objective(state_cost=lambda s, g: jnp.abs(s - g))},
        ValueError,
        ["objective.state_cost must return one floating number", "float32[3]"],
    ),
    "state cost of the state alone": (
        {"objective": Objective(state_cost=lambda s: jnp.sum(s))},
        ValueError,
        ["objective failed", "float32[3]", "positional argument"],
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
    # planner
    "planner class": (
        {"planner": GRASP},
        TypeError,
        ["planner must be an instance", "class GRASP", "grasp_jax.GRASP()"],
    ),
    "planner name": (
        {"planner": "cem"},
        TypeError,
        ["planner must be a grasp_jax planner", "str", "init, step, actions, iterations"],
    ),
    "float iterations": (
        {"planner": GD(0.1, 2.0)},
        TypeError,
        ["GD.iterations must be a Python int", "float: 2.0"],
    ),
    "no iterations": ({"planner": CEM(iterations=0)}, ValueError, ["CEM.iterations", "at least 1"]),
    "boolean count": (
        {"planner": CEM(samples=True)},
        TypeError,
        ["CEM.samples must be a Python int", "bool"],
    ),
    "array count": (
        {"planner": GRASP(iterations=jnp.array(10))},
        TypeError,
        ["GRASP.iterations must be a Python int", "Array(10"],
    ),
    "elites > samples": (
        {"planner": CEM(samples=10, elites=30)},
        ValueError,
        ["CEM.elites is 30", "10", "lower elites"],
    ),
    "iCEM elites > samples": (
        {"planner": ICEM(samples=10, elites=30)},
        ValueError,
        ["ICEM.elites is 30", "10"],
    ),
    "kept > elites": (
        {"planner": ICEM(samples=10, elites=3, kept=4)},
        ValueError,
        ["ICEM.kept is 4", "ICEM.elites=3"],
    ),
    "no samples": ({"planner": MPPI(samples=0)}, ValueError, ["MPPI.samples", "at least 2, got 0"]),
    "settings of a sync that is not there": (
        {"planner": GRASP(10, sync=None, sync_noise=0.1, sync_from_best=True)},
        ValueError,
        ["GRASP.sync_noise, sync_from_best would do nothing", "Pass a sync"],
    ),
    "a turn that never comes": (
        {"planner": Chain(GD(0.1, 2), GD(0.1, 0))},
        ValueError,
        ["Chain.planners[1] has 0 iterations", "Drop it"],
    ),
    "sync longer than the run": (
        {"planner": GRASP(iterations=10)},
        ValueError,
        ["GRASP.sync_every is 50", "iterations is 10", "never run", "sync=None"],
    ),
    "sync_every 0": (
        {"planner": GRASP(sync_every=0)},
        ValueError,
        ["GRASP.sync_every", "at least 1, got 0"],
    ),
    "time_chunk 0": (
        {"planner": GRASP(time_chunk=0)},
        ValueError,
        ["GRASP.time_chunk", "at least 1, got 0"],
    ),
    "wrong planner inside the sync": (
        {"planner": GRASP(sync=CEM(samples=3, elites=5))},
        ValueError,
        ["CEM.elites is 5", "3"],
    ),
    "a sync that is no planner": (
        {"planner": GRASP(sync="gd")},
        TypeError,
        ["GRASP.sync must be a grasp_jax planner", "str"],
    ),
    "a sync that is a class": (
        {"planner": GRASP(sync=GD)},
        TypeError,
        ["GRASP.sync must be an instance", "class GD"],
    ),
    "a restart that is no path": (
        {"planner": GRASP(restart=True)},
        TypeError,
        ["GRASP.restart must be", "path(problem, key)", "bool"],
    ),
    "a length beside actions of one axis": (
        {"actions": jnp.zeros(4), "length": 2},
        ValueError,
        ["actions must have shape [T, A]", "float32[4]"],
    ),
    "length 0": ({"length": 0}, ValueError, ["length must be in 1..4, got 0", "goal"]),
    "length beyond the horizon": ({"length": 5}, ValueError, ["length must be in 1..4, got 5"]),
    "length as a float": ({"length": 2.0}, TypeError, ["length must be an integer", "float32"]),
    "a length for each goal": (
        {"length": jnp.array([1, 2])},
        ValueError,
        ["length must be one integer", "int32[2]", "plan_batch"],
    ),
    "empty chain": ({"planner": Chain()}, ValueError, ["Chain", "at least one planner", "none"]),
    "chain of a list": (
        {"planner": Chain([GD(), GD()])},
        TypeError,
        ["Chain.planners[0] must be a grasp_jax planner", "list"],
    ),
    "no starts": (
        {"planner": MultiStart(GD(), starts=0)},
        ValueError,
        ["MultiStart.starts", "at least 1, got 0"],
    ),
    "MultiStart of nothing": (
        {"planner": MultiStart(None)},
        TypeError,
        ["MultiStart.planner must be a grasp_jax planner", "NoneType"],
    ),
    "LatCo counts": ({"planner": LatCo(evaluate_every=0)}, ValueError, ["LatCo.evaluate_every"]),
    "LatCoGN counts": (
        {"planner": LatCoGN(iterations=-1)},
        ValueError,
        ["LatCoGN.iterations", "-1"],
    ),
    "unhashable field": (
        {"planner": GRASP(noise=Unhashable())},
        TypeError,
        ["planner", "hashable", "GRASP", "tuples"],
    ),
    "unhashable dynamics": (
        {"dynamics": Unhashable()},
        TypeError,
        ["dynamics", "hashable", "Unhashable", "tuples"],
    ),
    "an optimiser instead of a factory": (
        {"planner": GD(optimizer=optax.adam(0.1))},
        TypeError,
        ["GD.optimizer must be a factory", "optax.adam"],
    ),
    "no noise": (
        {"planner": GRASP(noise=None, iterations=50)},
        TypeError,
        ["GRASP.noise must be callable", "deviation to 0", "None"],
    ),
    "the class of a noise instead of a noise": (
        {"planner": GRASP(noise=Correlated, iterations=50)},
        TypeError,
        ["GRASP.noise must be callable", "the class Correlated itself", "Correlated(...)"],
    ),
    "stacked noise that does not fit": (
        {"planner": CEM(noise=Correlated(0.9, stacked=3))},
        ValueError,
        ["stacked=3 must divide the action size", "(4, 2)"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_told_what_is_wrong_and_what_to_do(case: str):
    changes, error, words = WRONG[case]
    with pytest.raises(error) as caught:
        call(**changes)
    message = str(caught.value)
    place = 0
    for word in words:
        assert word in message[place:], f"{word!r} is missing (or out of order) in: {message}"
        place = message.index(word, place)


@pytest.mark.parametrize(
    "case", ["goal of another shape", "horizon zero", "bounds of the wrong size"]
)
def test_start_tells_the_same_and_so_does_a_callers_jit(case: str):
    changes, error, words = WRONG[case]
    with pytest.raises(error) as caught:
        call(grasp_jax.start, **changes)
    assert words[0] in str(caught.value)
    with pytest.raises(error) as caught:
        jax.jit(lambda: call(**changes))()
    assert words[0] in str(caught.value)


STARTS, GOALS = jnp.zeros((3, 3)), jnp.ones((3, 3))
WRONG_BATCH: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "fewer goals": ({"goal": GOALS[:2]}, ValueError, ["goal", "3 goals", "float32[2, 3]"]),
    "one goal": ({"goal": GOAL[0]}, ValueError, ["goal", "leading axis", "broadcast_to"]),
    "fewer guesses": (
        {"actions": jnp.zeros((2, 4, 2))},
        ValueError,
        ["actions", "3 goals", "float32[2, 4, 2]"],
    ),
    "no goals": (
        {"state": STARTS[:0], "goal": GOALS[:0]},
        ValueError,
        ["state must hold at least one goal"],
    ),
    "chunk 0": ({"chunk_size": 0}, ValueError, ["chunk_size must be a positive int", "0"]),
    "chunk float": ({"chunk_size": 2.0}, ValueError, ["chunk_size must be a positive int", "2.0"]),
    "chunk bool": ({"chunk_size": True}, ValueError, ["chunk_size must be a positive int", "True"]),
    "keys of another number": (
        {"key": jax.random.split(KEY, 2)},
        ValueError,
        ["key", "3 goals"],
    ),
    "keys of two axes": ({"key": jax.random.split(KEY, (3, 2))}, ValueError, ["key", "[3, 2]"]),
    "context of one goal": (
        {"dynamics": windowed, "context": Context(START[None], GUESS[:1])},
        ValueError,
        ["context", "3 goals", "float32[1, 3]"],
    ),
    "one state for many goals": (
        {"state": START},
        ValueError,
        ["state float32[3] has no axis of goals", "goal float32[3, 3] has 3", "broadcast_to"],
    ),
    "the state of one search": (
        {"resume": lambda: call().state},
        ValueError,
        ["resume", "leading axis of 3 goals"],
    ),
    "int seed": ({"key": 0}, TypeError, ["key must be a JAX random key", "int"]),
    "goals do not look like states": (
        {"goal": jnp.ones((3, 4))},
        ValueError,
        ["goal must look like state", "float32[4]"],
    ),
    "no state": ({"state": None}, ValueError, ["state"]),
}


@pytest.mark.parametrize("case", WRONG_BATCH)
def test_wrong_batches_are_told_too(case: str):
    changes, error, words = WRONG_BATCH[case]
    changes = {k: v() if k == "resume" else v for k, v in changes.items()}
    with pytest.raises(error) as caught:
        call(grasp_jax.plan_batch, **({"state": STARTS, "goal": GOALS} | changes))
    for word in words:
        assert word in str(caught.value)


RESUMED = {
    "another planner": {"planner": CEM(8, 3, 2)},
    "another horizon": {"actions": jnp.zeros((5, 2))},
    "another optimiser": {"planner": GD(0.1, 2, optax.sgd)},
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_search_of_something_else_cannot_be_resumed(case: str):
    other = call(**RESUMED[case]).state
    with pytest.raises(ValueError, match="resume must be the state of a search with the same"):
        call(resume=other)


def test_the_state_of_a_batch_does_not_resume_one_plan():
    batch = call(grasp_jax.plan_batch, state=STARTS, goal=GOALS).state
    with pytest.raises(ValueError, match=r"resume must be .*\[3, 4, 2\], expected") as caught:
        call(resume=batch)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("function", [grasp_jax.read, lambda s: grasp_jax.advance(s, 1)])
def test_only_searches_advance(function: Any):
    with pytest.raises(TypeError, match=r"search must be a Search made by .* resume=plan\.state"):
        function(call())


@pytest.mark.parametrize("wrong", [types.SimpleNamespace(), 3, "state"])
def test_resuming_from_no_search_at_all(wrong: Any):
    with pytest.raises((TypeError, ValueError), match="resume must be"):
        call(resume=wrong)


def test_resuming_from_a_plan_names_its_state():
    with pytest.raises((TypeError, ValueError), match=r"resume must be .*plan\.state"):
        call(resume=call())


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3"])
def test_a_search_advances_by_a_positive_count(count: Any):
    search = call(grasp_jax.start)
    with pytest.raises(ValueError, match="iterations must be a positive int, got"):
        grasp_jax.advance(search, count)


def test_numpy_and_python_numbers_are_welcome():
    found = call(state=np.zeros(3), goal=[1.0, 1.0, 1.0][0] * np.ones(3), actions=np.zeros((4, 2)))
    assert found.status == grasp_jax.Status.OK
    single = call(dynamics=step, state=0.0, goal=1.0, bounds=[-1, 1])
    assert single.states.shape == (5,)


def test_messages_do_not_print_arrays():
    with pytest.raises(ValueError) as caught:
        call(goal=jnp.linspace(0, 1, 1000))
    assert len(str(caught.value)) < 600


def test_a_custom_planner_needs_no_check_and_no_virtual_states():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Still:
        """Never moves."""

        iterations: int = dataclasses.field(default=2, metadata={"static": True})

        def init(self, problem: Any, key: jax.Array) -> jax.Array:
            return problem.actions

        def step(self, problem: Any, state: jax.Array, progress: Any) -> Any:
            infinite = jnp.asarray(jnp.inf)
            return state, grasp_jax.proposal(state, infinite, jnp.asarray(True), forward=0)

        def actions(self, problem: Any, state: jax.Array) -> jax.Array:
            return state

    found = call(planner=Still())
    assert found.status == grasp_jax.Status.OK and found.virtual_states is None
