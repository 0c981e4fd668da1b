"""What a caller may pass: bounds rounded inwards, buffers copied, any integer a count."""

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, Planner, Problem, StepContext, StepInfo
from grasp_jax.arguments import as_bounds, as_horizon

ARGUMENTS = (jnp.zeros(2), jnp.full(2, 9.0), jnp.zeros((3, 2)))
KEY = jax.random.key(0)
DTYPES = [jnp.bfloat16, jnp.float16, jnp.float32]


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.1 * action


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unbounded(Planner):
    """A caller's own planner that forgets to clip."""

    iterations: int = dataclasses.field(default=3, metadata={"static": True})

    def init(self, problem: Problem, key: jax.Array) -> jax.Array:
        return problem.init_actions

    def step(self, problem: Problem, state: jax.Array, context: StepContext) -> Any:
        actions = state + 5.0
        cost = grasp_jax.rollout_cost(problem, actions)
        return actions, StepInfo.of(actions, cost, jnp.isfinite(cost), problem.max_horizon)

    def actions(self, problem: Problem, state: jax.Array) -> jax.Array:
        return state


def test_a_planner_that_does_not_clip_stays_inside():
    found = grasp_jax.plan(step, *ARGUMENTS, KEY, planner=Unbounded(), bounds=(-0.5, 0.5))
    assert jnp.all(found.actions == 0.5)
    np.testing.assert_allclose(found.states[-1], 0.15, rtol=1e-5)


def test_a_saved_search_stays_inside_new_bounds():
    def begin(bound: float) -> grasp_jax.Search:
        problem = grasp_jax.make_problem(step, *ARGUMENTS, bounds=(-bound, bound))
        return grasp_jax.start(problem, KEY, planner=GD(learning_rate=0.5, iterations=8))

    wide = grasp_jax.advance(begin(5.0), 8)
    assert jnp.abs(grasp_jax.read(wide).actions).max() > 1
    narrow = dataclasses.replace(begin(0.1), state=wide.state)
    assert jnp.abs(grasp_jax.read(narrow).actions).max() <= 0.1
    assert jnp.abs(grasp_jax.read(grasp_jax.advance(narrow, 8)).actions).max() <= 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_plans_on_a_bound_are_inside_it(dtype: Any):
    state, goal, actions = ARGUMENTS
    found = grasp_jax.plan(
        step,
        state,
        goal * jnp.array([1, -1]),
        actions.astype(dtype),
        KEY,
        planner=GD(learning_rate=0.5, iterations=4),
        bounds=(-0.1, 0.1),
    )
    largest = np.abs(np.asarray(found.actions, np.float64)).max()
    assert 0.099 <= largest <= 0.1


LIMITS = st.one_of(
    st.floats(-1e30, 1e30, allow_nan=False),
    st.floats(-2.0, 2.0, width=32),
    st.integers(-(2**62), 2**62),
    st.sampled_from([0.1, -0.1, 0.3, 1.1, 259, 2051, 100_000, 2**40, 1e-40, -1e-300]),
)


@hypothesis.given(LIMITS, st.sampled_from(DTYPES), st.sampled_from(["python", "numpy", "list"]))
def test_bounds_are_rounded_inwards(limit: float, dtype: Any, kind: str):
    """Bug: float64 limits of 0.1 became 0.10000000149, outside of what the caller allows."""
    low, high = float(limit), float(limit) + 1 + abs(float(limit))
    given: Any = {
        "python": (limit, high),
        "numpy": (np.full(2, limit), np.full(2, high)),
        "list": ([limit, limit], [high, high]),
    }[kind]
    hypothesis.assume(kind != "list" or not isinstance(limit, int) or abs(limit) < 2**53)
    found = [np.asarray(b, np.float64) for b in as_bounds(given, jnp.zeros((3, 2), dtype))]
    assert (found[0] >= np.float64(low)).all() and (found[1] <= np.float64(high)).all()
    # And by no more than one step of the dtype.
    largest, smallest = (float(getattr(jnp.finfo(dtype), n)) for n in ("max", "tiny"))
    for bound, exact in zip(found, (low, high), strict=True):
        step = max(abs(exact) * float(jnp.finfo(dtype).eps), smallest)
        inside = np.clip(exact, -largest, largest)
        assert (np.isinf(bound) | (np.abs(bound - inside) <= step)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("whole", [3, 259, 2051, 100_000, 2**40])
def test_whole_numbers_are_bounds_like_others(dtype: Any, whole: int):
    # In half precision 259 and 2051 round outwards; 2**40 is none of int32; 100000 none of float16.
    actions = jnp.zeros((3, 2), dtype)
    with np.errstate(all="raise"):
        for bound in (whole, np.full(2, whole), [whole, float(whole)]):
            low, high = as_bounds((-whole, bound), actions)
            assert low.dtype == high.dtype == dtype
            exact = np.asarray(high).astype(np.float64)
            assert (exact <= whole).all() and (exact >= min(whole, 65504) * 0.99).all()
            assert np.asarray(low).astype(np.float64).tolist() == (-exact).tolist()


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([(-1.0, 1.0), (-1.0, 1.0)], "or one pair per dimension"),
        ([(-1.0, 1.0), (-0.5, 2.0)], r"may mean .*jnp.array\(\[-1.0, 1.0\]\)"),
        ((0.5, 0.5), "no action can move"),
        ((jnp.inf, jnp.inf), "low=-jnp.inf"),
        ((-np.inf, np.array([1.0, -np.inf])), "no action lies between"),
    ],
)
def test_bounds_that_leave_no_choice_or_two_are_told(bounds: Any, message: str):
    with pytest.raises(ValueError, match=message):
        grasp_jax.make_problem(step, *ARGUMENTS, bounds=bounds)


def test_arrays_are_never_taken_for_pairs():
    low, high = as_bounds((jnp.array([-1.0, 1.0]), jnp.array([-0.5, 2.0])), ARGUMENTS[2])
    assert low.tolist() == [-1.0, 1.0] and high.tolist() == [-0.5, 2.0]


INTEGERS = [2, np.int64(2), np.int8(2), np.uint32(2)]


@pytest.mark.parametrize("two", INTEGERS, ids=lambda x: type(x).__name__)
def test_integers_of_any_kind_are_counts(two: Any):
    """Bug: np.int64(2) was refused with "is 2, but choose 1..6"."""
    assert type(GD(iterations=two).iterations) is int and GD(iterations=two) == GD(iterations=2)
    problem = grasp_jax.make_problem(step, *ARGUMENTS, horizon=two)
    assert problem.horizon == 2
    controller = grasp_jax.MPC(
        grasp_jax.make_problem(step, *ARGUMENTS), GD(), replan_every=two, min_horizon=two
    )
    assert type(controller.replan_every) is type(controller.min_horizon) is int
    planner = grasp_jax.restarted_grasp(
        num_starts=two, num_cycles=two, num_lifted=two, resample_every=two
    )
    assert (planner.num_starts, planner.iterations, planner.resample_every) == (2, 4, 4)
    assert as_horizon(two, 3).dtype == jnp.int32


def aligned(values: Any) -> np.ndarray:
    """A copy that JAX could read where it lies, without copying: 64 bytes aligned."""
    values = np.asarray(values)
    raw = np.zeros(values.nbytes + 64, np.uint8)
    offset = -raw.ctypes.data % 64
    found = raw[offset : offset + values.nbytes].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


def linear(weights: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
    return state + weights @ action


def test_numpy_buffers_are_copied_at_the_door():
    """Bug: a simulator that wrote its next frame in place changed the plan."""
    names = ("weights", "state", "goal", "init_actions")
    values = 0.1 * np.eye(2), np.zeros(2), np.ones(2), np.full((3, 2), 0.1)
    buffers = {n: aligned(v.astype(np.float32)) for n, v in zip(names, values, strict=True)}
    model = jax.tree_util.Partial(linear, buffers["weights"])
    rows: Any = [buffers[n] for n in names[1:]]
    planner = GD(learning_rate=0.1, iterations=2)
    problem = grasp_jax.make_problem(model, *rows)
    compiled = grasp_jax.compile_plan(problem, KEY, planner=planner)
    expected = jax.device_get(grasp_jax.solve(problem, KEY, planner=planner))
    early = (
        grasp_jax.plan(model, rows[0], rows[1], rows[2], KEY, planner=planner),
        compiled(rows[0], rows[1], rows[2], KEY),
    )
    for buffer in buffers.values():
        buffer[...] = np.nan
    late = grasp_jax.solve(problem, KEY, planner=planner)
    for found in (*early, late):
        np.testing.assert_array_equal(found.actions, expected.actions)
        np.testing.assert_array_equal(found.states, expected.states)


WRONG_TYPES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.integers(-3, 3),
    st.floats(allow_nan=True, width=32),
    st.complex_numbers(allow_nan=False),
    st.lists(st.one_of(st.text(max_size=2), st.integers(-2, 2)), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([object(), int, GD, GD(), Ellipsis, {1, 2}, np.datetime64("2026-01-01")]),
    st.builds(
        lambda kind, shape: np.zeros(shape, kind),
        st.sampled_from([np.float32, np.int64, np.bool_, np.complex64, "U2", object]),
        st.lists(st.integers(0, 3), max_size=3).map(tuple),
    ),
)
NAMES = ["dynamics", "state", "goal", "init_actions", "key", "planner"]
NAMES += ["bounds", "objective", "context", "horizon", "mesh"]


@hypothesis.given(st.sampled_from(NAMES), WRONG_TYPES)
@hypothesis.settings(max_examples=60)
def test_any_wrong_argument_is_named_by_a_type_or_value_error(name: str, value: Any):
    arguments: dict[str, Any] = {
        "dynamics": step,
        **dict(zip(NAMES[1:4], ARGUMENTS, strict=True)),
        "key": KEY,
        "planner": GD(learning_rate=0.1, iterations=1),
    }
    try:
        found = jax.eval_shape(lambda: grasp_jax.plan(**(arguments | {name: value})))
    except (TypeError, ValueError) as error:
        # A wrong state or guess is seen through the model that it is passed to.
        seen = {"state": "dynamics", "init_actions": "dynamics"}.get(name, name)
        assert name in str(error) or seen in str(error)
    else:
        assert found.actions.ndim == 2
