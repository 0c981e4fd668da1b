"""Meshes over goals, time and samples, on 8 simulated devices: the same plans, little talk."""

import collections
import dataclasses
import functools
import itertools
import re
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import grasp_jax
from grasp_jax import programs, sharding
from tests import matrix
from tests.matrix import ACTIONS, GOALS, STARTS

COUNT = 8
START = matrix.stacked(*(STARTS[i % 3] for i in range(COUNT)))
GOAL = matrix.stacked(*(GOALS[i % 3] for i in range(COUNT)))
COLLECTIVES = r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("


QUICK = ("GRASP", "CEM", "ICEM")


def first(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda x: x[:count], tree)


def problem(mesh: Mesh | None, goals: int = COUNT, **changes: Any) -> grasp_jax.Problem:
    arguments: dict[str, Any] = {
        "state": first(START, goals),
        "goal": first(GOAL, goals),
        "batched": True,
    }
    return matrix.problem(mesh=mesh, **(arguments | changes))


def begin(name: str, mesh: Mesh | None, **changes: Any) -> grasp_jax.Search:
    return grasp_jax.start(problem(mesh, **changes), matrix.key(), planner=matrix.PLANNERS[name])


def batch(
    name: str, mesh: Mesh | None, goal_batch_size: int | None = None, **changes: Any
) -> grasp_jax.Plan:
    return grasp_jax.solve(
        problem(mesh, **changes),
        matrix.key(),
        planner=matrix.PLANNERS[name],
        goal_batch_size=goal_batch_size,
    )


@functools.cache
def alone(name: str) -> Any:
    """The results of one device."""
    return results(batch(name, None))


def results(plan: grasp_jax.Plan) -> Any:
    return dataclasses.replace(plan, metrics=plan.metrics.best_cost)


def compiled(search: grasp_jax.Search, iterations: int = 4) -> str:
    """The program that advances a search."""
    return str(programs.advance.lower(search, iterations=iterations).compile().as_text())


def collectives(search: grasp_jax.Search) -> dict[str, int]:
    """How often each collective stands in the program that advances a search, by kind."""
    program = compiled(search)
    return dict(collections.Counter(re.findall(COLLECTIVES, program)))


SHAPES = [(8, 1, 1), (2, 2, 1), (1, 8, 1), (2, 1, 4)]
# A population is split as its search is; of samplers one has each axis.
FIRST = {*itertools.product(("GRASP",), SHAPES), ("MultiStart GRASP", (2, 2, 1))}
FIRST |= {("CEM", (8, 1, 1)), ("CEM", (1, 8, 1)), ("ICEM", (2, 2, 1)), ("ICEM", (2, 1, 4))}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(*case, marks=() if case in FIRST else pytest.mark.slow)
        for case in itertools.product(matrix.NAMES, SHAPES)
    ],
    ids=str,
)
def test_a_mesh_changes_no_plan(name: str, shape: tuple[int, int, int]):
    matrix.assert_close(results(batch(name, sharding.make_mesh(*shape))), alone(name), 2e-4)


@pytest.mark.parametrize(
    "goals, chunk",
    [(7, 3), (5, 16), *(pytest.param(*x, marks=pytest.mark.slow) for x in [(7, None), (8, 4)])],
)
def test_goals_that_do_not_divide_and_chunks(goals: int, chunk: int | None):
    mesh = sharding.make_mesh(goals=4)
    found = batch("GRASP", mesh, goals=goals, goal_batch_size=chunk)
    matrix.assert_close(results(found), first(alone("GRASP"), goals), 1e-4)


def test_each_device_holds_its_own_goals():
    found = batch("GRASP", sharding.make_mesh(goals=8))
    assert {s.data.shape for s in found.actions.addressable_shards} == {(1, *ACTIONS.shape)}
    assert len({s.device for s in found.actions.addressable_shards}) == 8


@pytest.mark.parametrize(
    "name", ["GRASP", "GRASP restart", "CEM", "MPPI", "LatCo", "MultiStart GRASP"]
)
def test_goals_need_no_communication(name: str):
    search = begin(name, sharding.make_mesh(goals=8))
    assert collectives(search) == {}


@pytest.mark.parametrize("goals", [1, 2])
def test_a_lifted_iteration_shifts_each_state_leaf_once_along_time(goals: int):
    mesh = sharding.make_mesh(goals=goals, time=4)
    search = begin("GRASP sync=None", mesh, init_actions=jnp.zeros((8, 2)))
    found = collectives(search)
    # The state has two leaves. The all-reduces sum the metrics: one of numbers, one of flags.
    assert found == {"collective-permute": 2, "all-reduce": 2}


@pytest.mark.parametrize("devices, horizon, size", [(2, 8, 3), (8, 8, 3), (8, 32, 3), (4, 8, 96)])
def test_the_bytes_sent_along_time_are_one_state_row(devices: int, horizon: int, size: int):
    # BUILD_NOTES' cost model: 4 D bytes to one neighbour, whatever T and the number of devices.
    search = grasp_jax.start(
        grasp_jax.make_problem(
            lambda s, a: s + jnp.sum(a),
            jnp.zeros(size),
            jnp.ones(size),
            jnp.zeros((horizon, 2)),
            mesh=sharding.make_mesh(time=devices),
        ),
        matrix.key(),
        planner=matrix.PLANNERS["GRASP sync=None"],
    )
    program = compiled(search)
    sent = re.findall(r"= f32\[([\d,]+)\]\S* collective-permute", program)
    assert [np.prod([int(n) for n in shape.split(",")]) for shape in sent] == [size]


def test_time_is_padded_and_cut_for_one_plan_and_for_searches():
    mesh = sharding.make_mesh(time=8)
    found = matrix.solve("GRASP", mesh=mesh)
    matrix.assert_close(results(found), results(matrix.solved("GRASP")), 1e-4)
    search = begin("GRASP", mesh)
    search = grasp_jax.advance(grasp_jax.advance(search, 3), matrix.ITERATIONS - 3)
    matrix.assert_close(results(grasp_jax.read(search)), alone("GRASP"), 2e-4)


def test_samples_are_split():
    search = begin("CEM", sharding.make_mesh(samples=8))
    program = compiled(search, 1)
    horizon, size = ACTIONS.shape
    assert f"f32[{COUNT},1,{horizon},{size}]" in program  # one of 8 samples on each device


def test_weights_may_be_sharded_by_the_caller():
    mesh = sharding.make_mesh(goals=4, samples=2)
    weights = jax.device_put(matrix.WEIGHTS, NamedSharding(mesh, PartitionSpec("samples")))
    found = batch("GRASP", mesh, dynamics=jax.tree_util.Partial(matrix.step, weights))
    matrix.assert_close(results(found), alone("GRASP"), 1e-4)


def test_a_broken_goal_changes_no_other_on_a_mesh():
    broken = jax.tree.map(lambda x: x.at[2].set(jnp.nan), START)
    mesh = sharding.make_mesh(goals=8)
    found, clean = batch("GRASP", mesh, state=broken), batch("GRASP", mesh)
    assert found.status[2] == grasp_jax.Status.FAILED
    keep = np.array([0, 1, 3, 4, 5, 6, 7])
    matrix.assert_same(found.actions[keep], clean.actions[keep])


MESHES: dict[str, tuple[Any, bool, type[Exception], list[str]]] = {
    "a word": ("goals", True, TypeError, ["mesh must be a jax.sharding.Mesh", "str"]),
    "another axis": (
        jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)),
        True,
        ValueError,
        ["'goals', 'time' or 'samples'", "data"],
    ),
    "an explicit axis": (
        jax.make_mesh((8,), ("goals",), axis_types=(jax.sharding.AxisType.Explicit,)),
        True,
        ValueError,
        ["AxisType.Auto", "goals"],
    ),
    "goals of one plan": (
        sharding.make_mesh(goals=2),
        False,
        ValueError,
        ["goals", "plan_batch"],
    ),
}


@pytest.mark.parametrize("case", MESHES)
def test_meshes_that_cannot_work(case: str):
    mesh, batched, error, words = MESHES[case]
    with pytest.raises(error) as caught:
        problem(mesh) if batched else matrix.problem(mesh=mesh)
    for word in words:
        assert word in str(caught.value)


def test_too_many_devices():
    with pytest.raises(ValueError, match=r"need 64 devices.*there are 8"):
        sharding.make_mesh(goals=64)


@pytest.mark.parametrize(
    "name", ["GRASP restart", "CEM", pytest.param("Chain", marks=pytest.mark.slow)]
)
def test_a_plan_inside_shard_map(name: str):
    mesh = sharding.make_mesh(goals=4)

    def one_device(start: Any, goal: Any, keys: jax.Array) -> Any:
        plan = jax.vmap(lambda s, g, k: matrix.solve(name, state=s, goal=g, key=k))
        return results(plan(start, goal, keys))

    rows = PartitionSpec("goals")
    mapped = jax.shard_map(
        one_device, mesh=mesh, in_specs=(rows,) * 3, out_specs=rows, check_vma=False
    )
    keys = jax.vmap(lambda i: jax.random.fold_in(matrix.key(), i))(jnp.arange(COUNT))
    matrix.assert_close(jax.jit(mapped)(START, GOAL, keys), alone(name), 2e-4)


def test_replicated_keys_keep_their_kind():
    mesh = sharding.make_mesh(goals=2)
    key = jax.random.key(3, impl="rbg")
    placed = sharding.replicate(mesh, key)
    assert placed.dtype == key.dtype
    assert (jax.random.key_data(placed) == jax.random.key_data(key)).all()


def test_a_restored_search_is_split_again():
    search = begin("CEM", sharding.make_mesh(goals=8))
    restored = dataclasses.replace(search, state=jax.device_get(search.state))
    found = grasp_jax.advance(restored, 2)
    assert len(found.state.best_cost.sharding.device_set) == 8
    assert len(grasp_jax.read(restored).cost.sharding.device_set) == 8
    matrix.assert_close(found.state.best_actions, grasp_jax.advance(search, 2).state.best_actions)


@hypothesis.given(st.integers(1, 9), st.integers(1, 8), st.booleans(), st.integers(1, 9))
def test_cutting_undoes_padding(steps: int, devices: int, batched: bool, given: int):
    rows = (3,) if batched else ()
    actions = np.arange(np.prod((*rows, steps, 2)), dtype=np.float32).reshape(*rows, steps, 2)
    horizon: Any = None if given > steps else np.full(rows, given, np.int32)
    one = grasp_jax.Problem(
        jnp.add, None, None, actions, None, None, None,  # pyright: ignore[reportArgumentType]
        given_horizon=horizon, mesh=sharding.make_mesh(time=devices), batched=batched,
    )  # fmt: skip
    padded = sharding.pad_time(one)
    missing = -steps % devices
    assert padded.max_horizon == steps + missing
    # Padding never moves the goal's step.
    expected = steps if horizon is None else given
    assert np.all(np.asarray(padded.horizon) == expected)
    states = np.zeros((*rows, padded.max_horizon + 1, 4))
    plan = grasp_jax.Plan(padded.init_actions, states, 0, states[..., 2:, :], 0, None, 0)  # pyright: ignore
    cut: Any = sharding.cut_time(plan, steps, int(batched))
    np.testing.assert_array_equal(cut.actions, actions)
    assert cut.states.shape == (*rows, steps + 1, 4)
    assert cut.virtual_states.shape == (*rows, steps - 1, 4)
