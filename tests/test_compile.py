"""What enters a compiled program: what is traced, what is structure, what tells two apart.

And how long a program lives: as long as the functions it was made of.
"""

import concurrent.futures
import dataclasses
import functools
import gc
import os
import pathlib
import threading
import warnings
import weakref
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import AR1, GD, Colored, _compile, programs
from grasp_jax._compile import PROGRAMS_PER_SOURCE, Compiled
from grasp_jax._frozen import Frozen
from grasp_jax._tree import is_number
from tests import matrix
from tests.matrix import PLANNERS, every_planner

ARGUMENTS = jnp.zeros(2), jnp.ones(2), jnp.zeros((4, 2))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, width=32),
    st.text(max_size=2),
    st.sampled_from([jnp.tanh, len, functools.partial]),
    st.builds(lambda n: np.arange(n, dtype=np.float32), st.integers(0, 2)),
    st.builds(lambda n: jnp.full((n,), 2.0), st.integers(0, 2)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
        st.builds(lambda x: jax.tree_util.Partial(jnp.add, x), inner),
    ),
    max_leaves=8,
)


@hypothesis.given(TREES)
@pytest.mark.parametrize("numbers", [False, True])
def test_a_frozen_tree_is_what_it_was_after_a_round_trip(numbers: bool, tree: Any):
    frozen = Frozen(tree, is_number) if numbers else Frozen(tree)
    leaves, treedef = jax.tree.flatten(frozen)
    assert all(is_number(leaf) for leaf in leaves)
    back = jax.tree.unflatten(treedef, leaves).value
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for one, two in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        assert one is two
    assert hash(treedef) == hash(jax.tree.structure(Frozen(back, frozen.traced)))
    assert treedef == jax.tree.structure(Frozen(back, frozen.traced))


def test_numbers_of_planners_are_traced_and_switches_are_not():
    assert jax.tree.leaves(Frozen([1, 2.5, True, "x"], is_number)) == [1, 2.5]
    assert jax.tree.leaves(Frozen([1, 2.5, True, "x"])) == []


def test_an_unhashable_part_is_named():
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state

    with pytest.raises(TypeError, match="dynamics: every leaf that is not an array must be hash"):
        grasp_jax.make_problem(Odd(), *ARGUMENTS)


def test_types_with_equal_fields_never_share_a_program():
    """JAX 0.10 compares the structures of these two noises equal; a plan mixed them up once."""
    one, two = (jax.tree.structure(Frozen(n, is_number)) for n in (AR1(rho=0.5), Colored()))
    assert one != two

    def plan(noise: Any) -> np.ndarray:
        planner = grasp_jax.MPPI(num_samples=8, iterations=2, noise=noise)
        return np.asarray(matrix.solve(planner).actions)

    first, second = plan(AR1(rho=0.5)), plan(Colored(exponent=0.5))
    assert np.any(first != second)
    other = Compiled(programs.solve.function)
    frozen = Frozen(grasp_jax.MPPI(num_samples=8, iterations=2, noise=Colored(exponent=0.5)))
    anew = other(matrix.problem(), Frozen(frozen.value, is_number), matrix.key(), batch_size=None)
    np.testing.assert_array_equal(second, anew.actions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mode:
    mode: object

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return state + action if repr(self.mode) in ("True", "0.0") else state - action


@pytest.mark.parametrize("pair", [(1, True), (-0.0, 0.0)], ids=str)
def test_equal_numbers_of_different_kinds_never_share_a_program(pair: tuple[Any, Any]):
    def moved(mode: object) -> float:
        problem = grasp_jax.make_problem(Mode(mode), *ARGUMENTS)
        return float(grasp_jax.trajectory(problem, jnp.ones((4, 2)))[-1, 0])

    assert moved(pair[0]) < 0 < moved(pair[1])


def test_the_program_of_a_function_that_is_gone_is_dropped():
    def costs(count: int) -> None:
        for i in range(count):
            problem = grasp_jax.make_problem(lambda s, a, i=i: s + i * a, *ARGUMENTS)
            grasp_jax.rollout_cost(problem, ARGUMENTS[2])

    before = len(programs.rollout_cost.programs)
    costs(3)
    gc.collect()
    assert len(programs.rollout_cost.programs) == before


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="counts Linux' memory maps")
@pytest.mark.parametrize(
    ("count", "whole"), [(20, False), pytest.param(60, True, marks=pytest.mark.slow)]
)
def test_functions_made_anew_do_not_fill_the_memory_with_programs(count: int, whole: bool):
    """Bug: each left 150 memory maps for good, and after 440 plans the process died."""

    def maps() -> int:
        gc.collect()
        return len(pathlib.Path("/proc/self/maps").read_text().splitlines())

    def calls(count: int) -> None:
        for i in range(count):
            problem = grasp_jax.make_problem(lambda s, a, i=i: s + 0.1 * i * a, *ARGUMENTS)
            if whole:
                grasp_jax.solve(problem, jax.random.key(0), planner=GD(iterations=2))
            else:
                grasp_jax.rollout_cost(problem, ARGUMENTS[2])

    calls(3)
    before = maps()
    calls(count)
    assert maps() - before < 3 * count


def test_a_search_keeps_its_function_alive():
    def begin() -> tuple[grasp_jax.Search, weakref.ref]:
        def model(state: jax.Array, action: jax.Array) -> jax.Array:
            return state + action

        problem = grasp_jax.make_problem(model, *ARGUMENTS)
        search = grasp_jax.start(problem, jax.random.key(0), planner=PLANNERS["GD sgd"])
        return search, weakref.ref(model)

    search, model = begin()
    gc.collect()
    assert model() is not None and grasp_jax.read(search).cost == 2.0
    del search
    gc.collect()
    assert model() is None


def functions(count: int) -> list[Any]:
    """Alive at once, all from this line."""
    return [lambda s, a, i=i: s + i * a for i in range(count)]


@Compiled
def sample(problem: grasp_jax.Problem) -> jax.Array:
    """One step of a problem's model, as a program that costs little to compile."""
    return problem.dynamics(problem.state, problem.init_actions[0])


def test_the_oldest_programs_of_too_many_functions_are_dropped_with_a_warning():
    made = functions(PROGRAMS_PER_SOURCE + 1)
    problems = [grasp_jax.make_problem(f, *ARGUMENTS) for f in made]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for problem in problems[:-1]:
            sample(problem)
    assert len(sample.programs) == PROGRAMS_PER_SOURCE
    with pytest.warns(UserWarning, match=r"made anew for more than 32 plans.*Partial"):
        sample(problems[-1])
    assert len(sample.programs) == PROGRAMS_PER_SOURCE


def test_a_collection_may_drop_programs_while_the_oldest_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
):
    """Bug: "OrderedDict mutated during iteration", once in some thousand plans."""

    @Compiled
    def step(problem: grasp_jax.Problem) -> jax.Array:
        return problem.dynamics(problem.state, problem.init_actions[0])

    made = functions(4)
    for f in made:
        step(grasp_jax.make_problem(f, *ARGUMENTS))
    last = grasp_jax.make_problem(functions(1)[0], *ARGUMENTS)
    second, find, dropped = list(step.programs)[1], _compile.functions_in, []

    def collected(treedef: Any) -> list[Any]:
        if treedef is second[0]:  # pyright: ignore[reportIndexIssue]
            made.clear()
            gc.collect()
            dropped.append(5 - len(step.programs))
        return find(treedef)

    monkeypatch.setattr(_compile, "functions_in", collected)
    step(last)
    assert dropped == [3]  # the loop's variable holds the fourth


def test_the_function_used_longest_ago_is_the_one_that_goes():
    @Compiled
    def step(problem: grasp_jax.Problem) -> jax.Array:
        return problem.state

    problems = [grasp_jax.make_problem(f, *ARGUMENTS) for f in functions(PROGRAMS_PER_SOURCE + 1)]
    for problem in [*problems[:-1], problems[0]]:
        step(problem)
    first, second = list(step.programs)[:2]
    with pytest.warns(UserWarning, match="made anew"):
        step(problems[-1])
    assert first in step.programs and second not in step.programs


def test_threads_share_one_program():
    """Each barrier lets all threads ask for the same new program at once."""

    @Compiled
    def step(problem: grasp_jax.Problem, *, number: int) -> jax.Array:
        return problem.state * number

    problem = grasp_jax.make_problem(jnp.add, *ARGUMENTS)
    barrier = threading.Barrier(8)

    def one(_: int) -> list[Any]:
        found = []
        for number in range(50):
            barrier.wait()
            found.append(step._find((problem,), {"number": number})[1])
        return found

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))
    assert all(runs == found[0] for runs in found) and len(step.programs) == 50


def test_many_programs_of_one_function_are_all_kept():
    """Bug: every plan counted for our own squared_distance; after 32 kinds of plan one went."""

    @Compiled
    def nothing(problem: grasp_jax.Problem, *, number: int) -> jax.Array:
        return problem.state * number

    problem = matrix.problem(dynamics=jnp.add, state=jnp.zeros(2), goal=jnp.zeros(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(PROGRAMS_PER_SOURCE + 2):
            nothing(problem, number=number)
    assert len(nothing.programs) == PROGRAMS_PER_SOURCE + 2


@every_planner
def test_planners_are_equal_by_their_fields(name: str):
    """Bug: "truth value is ambiguous" where a field is an array."""
    planner = PLANNERS[name]
    assert planner == jax.tree.map(lambda x: x, planner)
    assert jax.tree.map(np.asarray, planner) == planner
    assert planner != jax.tree.map(lambda x: 0.5 * x, planner)
    assert (planner != "planner") is True


def test_objectives_plans_and_searches_compare_too():
    heavy = grasp_jax.Objective(control_cost=grasp_jax.QuadraticControlCost(jnp.ones(2)))
    same = grasp_jax.Objective(control_cost=grasp_jax.QuadraticControlCost(jnp.ones(2)))
    assert heavy == same and heavy != grasp_jax.Objective()
    assert GD(learning_rate=jnp.ones(2)) == GD(learning_rate=jnp.ones(2)) != GD()
    found = matrix.solved("GD")
    # Results compare by identity, as JAX's own arrays cannot be compared in one word.
    assert found == found and (found == matrix.solve("GD")) in (True, False)
