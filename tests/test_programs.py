"""Goals dealt out to chunks and devices, and collected again."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import programs, sharding
from tests import matrix


@hypothesis.given(st.integers(1, 9), st.sampled_from([None, 1, 2, 3, 5, 16]), st.integers(1, 8))
def test_every_goal_comes_back_in_its_place(goals: int, chunk: int | None, devices: int):
    mesh = None if devices == 1 else sharding.make_mesh(goals=devices)
    problem = matrix.batch(mesh=mesh)
    rows = {"a": jnp.arange(goals), "b": jnp.arange(3.0 * goals).reshape(goals, 3)}
    seen: list[int] = []

    def double(rows: Any) -> Any:
        seen.append(rows["a"].shape[0])
        return jax.tree.map(lambda x: 2 * x, rows)

    found = jax.jit(lambda rows: programs._map_chunks(double, problem, rows, goals, chunk))(rows)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, 2 * y), found, rows)
    # No more goals at a time than asked for, but for devices that hold one each.
    assert max(seen) <= max(goals if chunk is None else chunk, devices) + devices - 1
