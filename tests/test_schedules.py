"""Schedules of the iteration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grasp_jax import sawtooth_schedule


def test_a_sawtooth_falls_within_each_period():
    schedule = sawtooth_schedule(1.0, 0.2, period=5)
    values = [float(schedule(jnp.asarray(i))) for i in range(10)]
    np.testing.assert_allclose(values, 2 * [1.0, 0.8, 0.6, 0.4, 0.2], atol=1e-6)
    assert float(sawtooth_schedule(1.0, 0.0, period=1)(jnp.asarray(3))) == 1.0


def test_a_sawtooth_is_a_pytree_of_its_numbers():
    assert jax.tree.leaves(sawtooth_schedule(1.0, 0.2, period=5)) == [1.0, 0.2, 5]


def test_a_period_below_one_is_refused():
    with pytest.raises(ValueError, match=r"period must be at least 1 and finite, got 0"):
        sawtooth_schedule(1.0, 0.0, period=0)
