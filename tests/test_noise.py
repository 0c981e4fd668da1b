"""Noise over time: unit variance, the stated correlation, rows that depend on nothing else."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import AR1, Colored, White
from grasp_jax.noise import noise_like

KEY = jax.random.key(0)
COUNT, T = 4000, 16


def draws(noise: Any, shape: tuple[int, ...] = (T, 2)) -> np.ndarray:
    """`[COUNT, *shape]` independent draws."""
    keys = jax.random.split(KEY, COUNT)
    return np.asarray(jax.jit(jax.vmap(lambda k: noise(k, jnp.zeros(shape))))(keys))


@pytest.mark.parametrize(
    "noise", [White(), AR1(rho=0.8), AR1(rho=0.0), AR1(rho=0.8, action_block=2)]
)
def test_every_step_has_unit_variance_and_zero_mean(noise: Any):
    x = draws(noise)
    assert np.abs(x.mean(0)).max() < 0.08
    assert np.abs(x.var(0) - 1).max() < 0.12


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("horizon", [15, 16])
def test_colored_noise_has_unit_variance_on_average(exponent: float, horizon: int):
    x = draws(Colored(exponent=exponent), (horizon, 2))
    assert abs(x.var() - 1) < 0.05


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_colored_noise_falls_as_a_power_of_the_frequency(exponent: float):
    horizon = 64
    power = (
        np.abs(np.fft.rfft(draws(Colored(exponent=exponent), (horizon, 1))[..., 0], axis=1)) ** 2
    ).mean(0)
    frequency = np.fft.rfftfreq(horizon)
    slope = np.polyfit(np.log(frequency[1:-1]), np.log(power[1:-1]), 1)[0]
    assert abs(slope + exponent) < 0.1


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_correlated_noise_decays_geometrically(correlation: float):
    x = draws(AR1(rho=correlation))
    for lag in (1, 2, 4):
        measured = (x[:, lag:] * x[:, :-lag]).mean()
        assert abs(measured - correlation**lag) < 0.04


def test_stacked_noise_is_correlated_over_the_environment_steps_inside_a_row():
    # [T, 3 * 2]: three environment actions of two numbers in each row.
    x = draws(AR1(rho=0.9, action_block=3), (4, 6)).reshape(COUNT, 12, 2)
    assert abs((x[:, 1:, 0] * x[:, :-1, 0]).mean() - 0.9) < 0.04
    assert abs((x[..., 0] * x[..., 1]).mean()) < 0.04
    smooth = draws(Colored(exponent=2.0, action_block=3), (4, 6)).reshape(COUNT, 12, 2)
    assert (smooth[:, 1:, 0] * smooth[:, :-1, 0]).mean() > 0.5


@pytest.mark.parametrize("noise", [White(), AR1(rho=0.7)])
def test_a_row_does_not_depend_on_the_horizon(noise: Any):
    long, short = noise(KEY, jnp.zeros((9, 2))), noise(KEY, jnp.zeros((4, 2)))
    np.testing.assert_allclose(long[:4], short, rtol=0, atol=1e-6)


def test_white_noise_is_white_across_rows_entries_and_leaves():
    assert abs((draws(White())[:, 1:] * draws(White())[:, :-1]).mean()) < 0.03
    leaves = jax.jit(
        jax.vmap(lambda k: noise_like(White(), k, {"a": jnp.zeros((T, 2)), "b": jnp.zeros((T, 2))}))
    )(jax.random.split(KEY, COUNT))
    assert abs((leaves["a"] * leaves["b"]).mean()) < 0.03


@pytest.mark.parametrize("noise", [White(), AR1(), Colored()])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_dtype_follow_the_array_and_short_horizons_work(noise: Any, dtype: Any):
    for shape in ((1, 2), (2, 2), (3, 2), (5, 2, 4)):
        x = jax.jit(noise)(KEY, jnp.zeros(shape, dtype))
        assert x.shape == shape and x.dtype == dtype and bool(jnp.all(jnp.isfinite(x)))


def test_stacked_noise_that_does_not_fit_the_action_size_is_refused_by_name():
    with pytest.raises(ValueError, match=r"action_block=3 must divide the action size"):
        AR1(rho=0.9, action_block=3)(KEY, jnp.zeros((4, 2)))


def test_noise_strength_is_traced_so_that_it_can_be_swept_with_vmap():
    sweep = jax.vmap(lambda c: AR1(rho=c)(KEY, jnp.zeros((8, 2))))(jnp.array([0.0, 0.9]))
    np.testing.assert_allclose(sweep[0], White()(KEY, jnp.zeros((8, 2))), atol=1e-6)
    assert grasp_jax.Colored(exponent=jnp.array(1.0))(KEY, jnp.zeros((8, 2))).shape == (8, 2)


@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(0, 5), st.sampled_from([1, 2, 3]), st.integers(1, 3))
@pytest.mark.parametrize("kind", [AR1, Colored])
def test_stacking_is_the_noise_of_single_actions_in_rows_of_several(
    kind: Any, rows: int, block: int, size: int
):
    rowwise, stepwise = jnp.zeros((rows, block * size)), jnp.zeros((rows * block, size))

    @jax.jit
    def drawn(key: jax.Array) -> Any:
        of_blocks = kind(action_block=block)(key, rowwise), kind()(key, stepwise)
        return *of_blocks, White()(key, rowwise), White()(key, stepwise)

    # The same numbers drawn, read as environment steps.
    stacked, flat, white, white_flat = drawn(KEY)
    assert stacked.shape == (rows, block * size)
    np.testing.assert_allclose(stacked.reshape(rows * block, size), flat, atol=1e-6)
    np.testing.assert_array_equal(white.reshape(rows * block, size), white_flat)


LEAVES = st.lists(st.sampled_from([(3,), (3, 2), (3, 2, 2)]), min_size=1, max_size=4)


@hypothesis.given(LEAVES)
def test_leaves_of_one_shape_drawn_together_are_what_each_alone_would_be(shapes: Any):
    tree = [jnp.zeros(shape) for shape in shapes]
    together = noise_like(AR1(), KEY, tree)
    for i, leaf in enumerate(tree):
        alone = AR1()(jax.random.fold_in(KEY, i), leaf)
        np.testing.assert_allclose(together[i], alone, atol=1e-6)
