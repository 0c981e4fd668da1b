"""Searches in pieces: advanced, saved, restored and read, they come to the plan of one call."""

import copy
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from tests import matrix
from tests.matrix import ITERATIONS, PLANNERS, assert_close, assert_same, every_kind, key, solved


def assert_same_program(a: Any, b: Any) -> None:
    """Bitwise equality of two compiled programs, where XLA's optimizer treats them alike.

    It does with its default settings, on this world (`XLA_FLAGS= pytest`); with the fast-compile
    flags of `conftest.py` the loop is fused differently when more surrounds it.
    """
    if "--xla_backend_optimization_level=0" in os.environ["XLA_FLAGS"]:
        assert_close(a, b, 1e-5)
    else:
        assert_same(a, b)


def begin(name: str) -> grasp_jax.Search:
    return grasp_jax.start(matrix.problem(), key(), planner=PLANNERS[name])


def arrays(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@every_kind
def test_advancing_in_pieces_equals_one_plan(name: str, tmp_path: Path):
    """Also from a file: all there is to a search are the arrays of its state."""
    pieces = grasp_jax.advance(begin(name), ITERATIONS // 3)
    file = tmp_path / "search.npz"
    np.savez(file, **arrays(pieces.state))  # pyright: ignore[reportArgumentType]
    with np.load(file) as saved:
        leaves = [jnp.asarray(saved[path]) for path in arrays(pieces.state)]
    state = jax.tree.unflatten(jax.tree.structure(pieces.state), leaves)
    restored = dataclasses.replace(begin(name), state=state)
    for _ in range(2):
        pieces = grasp_jax.advance(pieces, ITERATIONS // 3)
        restored = grasp_jax.advance(restored, ITERATIONS // 3)
    assert_same(restored.state, pieces.state)
    assert pieces.state.iteration == ITERATIONS
    assert_same_program(grasp_jax.read(pieces), solved(name))


@pytest.mark.parametrize("name", ["GRASP", "MultiStart Hops", "Chain"])
def test_advancing_by_n_and_m_is_advancing_by_their_sum(name: str):
    whole = grasp_jax.advance(begin(name), ITERATIONS)
    pieces = grasp_jax.advance(grasp_jax.advance(begin(name), 4), ITERATIONS - 4)
    assert_same(pieces.state, whole.state)
    assert_same(grasp_jax.read(pieces), grasp_jax.read(whole))


def test_a_search_survives_a_copy_a_pickle_and_the_way_to_the_host():
    search = grasp_jax.advance(begin("CEM"), 2)
    expected = grasp_jax.read(grasp_jax.advance(search, 3))
    there_and_back = (
        copy.deepcopy(search),
        pickle.loads(pickle.dumps(search)),
        jax.device_get(search),
    )
    for same in there_and_back:
        found = grasp_jax.read(jax.device_get(grasp_jax.advance(same, 3)))
        assert_same(found.actions, expected.actions)
        assert_same(found.metrics, expected.metrics)


def test_reading_does_not_move_a_search():
    search = grasp_jax.advance(begin("CEM"), 2)
    first = grasp_jax.read(search)
    assert_same(grasp_jax.read(search), first)
    longer = grasp_jax.advance(search, 3)
    assert longer.state.iteration == 5 and search.state.iteration == 2
    assert grasp_jax.read(longer).cost <= first.cost
    assert len(grasp_jax.read(longer).metrics.cost) == 5


def test_a_batch_of_searches_shares_one_counter():
    search = grasp_jax.start(matrix.batch(), key(), planner=PLANNERS["CEM"])
    search = grasp_jax.advance(grasp_jax.advance(search, 2), ITERATIONS - 2)
    assert search.state.iteration.shape == () and search.state.iteration == ITERATIONS
    expected = grasp_jax.solve(matrix.batch(), key(), planner=PLANNERS["CEM"])
    assert_close(grasp_jax.read(search), expected)
    for b in range(3):
        alone = grasp_jax.start(
            matrix.problem(state=matrix.STARTS[b], goal=matrix.GOALS[b]),
            jax.random.fold_in(key(), b),
            planner=PLANNERS["CEM"],
        )
        assert_same(search.state.key[b], alone.state.key)


def test_a_search_lives_through_scan_and_jit():
    def body(search: grasp_jax.Search, _: None) -> tuple[grasp_jax.Search, Any]:
        search = grasp_jax.advance(search, 1)
        (rows,) = search.metrics
        return dataclasses.replace(search, metrics=()), rows.best_cost[0]

    search = begin("GD")
    last, costs = jax.jit(lambda s: jax.lax.scan(body, s, length=ITERATIONS))(search)
    assert_close(costs, solved("GD").metrics.best_cost)
    assert_close(grasp_jax.read(last).actions, solved("GD").actions)


@pytest.mark.parametrize("name", ["CEM", "MPPI", "ICEM"])
def test_a_search_is_saved_by_orbax_and_goes_on(name: str, tmp_path: Path):
    """Bug: orbax refused the zero-size arrays of samplers that keep nothing."""
    orbax = pytest.importorskip("orbax.checkpoint")
    begun = grasp_jax.start(matrix.problem(), key(), planner=PLANNERS[name])
    begun = grasp_jax.advance(begun, 3)
    saver = orbax.StandardCheckpointer()
    saver.save(tmp_path / "search", begun.state)
    saver.wait_until_finished()
    state = saver.restore(tmp_path / "search", begun.state)
    found = grasp_jax.advance(dataclasses.replace(begun, state=state), 3)
    assert_same(found.state.best_cost, grasp_jax.advance(begun, 3).state.best_cost)
