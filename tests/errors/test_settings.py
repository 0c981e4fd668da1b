"""Wrong settings of planners, noises and wrappers, told when they are written or used."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import AR1, CEM, GD, GRASP, ICEM, MPPI, LatCo
from tests.errors.test_input import GOAL, GUESS, KEY, PLANNER, START, call, make, step

SETTINGS: dict[str, tuple[Any, list[str]]] = {
    "optimizer as the rate": (
        lambda: GD(learning_rate=optax.adam),  # pyright: ignore[reportArgumentType]
        ["GD.learning_rate", "schedule of the iteration", "function"],
    ),
    "rates of a wrong size": (
        lambda: GD(learning_rate=jnp.ones(3)),
        ["GD.learning_rate", "[4, 2]", "shape [3]"],
    ),
    "no rate": (lambda: GD(learning_rate=None), ["GD.learning_rate", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "schedule of a vector": (
        lambda: GRASP(state_rate=lambda i: jnp.ones(3) * i),
        ["GRASP.state_rate", "shape [3]"],
    ),
    "rates of leaves that the state has not": (
        lambda: GRASP(state_rate={"x": 0.1}),
        ["GRASP.state_rate", "a pytree of numbers like the state", "dict"],
    ),
    "no goal weight": (lambda: GRASP(goal_weight=None), ["GRASP.goal_weight", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "a noise as its size": (
        lambda: GRASP(state_std=grasp_jax.White()),  # pyright: ignore[reportArgumentType]
        ["GRASP.state_std", "a number", "None", "White()"],
    ),
    "text as a size": (lambda: CEM(std="1"), ["CEM.std", "str", "'1'"]),  # pyright: ignore[reportArgumentType]
    "deviations of a wrong size": (
        lambda: MPPI(std=jnp.ones(3)),
        ["MPPI.std", "[4, 2]", "shape [3]"],
    ),
    "no deviation": (lambda: ICEM(std=None), ["ICEM.std", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "one sample": (
        lambda: CEM(num_samples=1, num_elites=1, iterations=2),
        ["CEM.num_samples must be at least 2", "got 1"],
    ),
    "no path": (
        lambda: LatCo(init_states=None),  # pyright: ignore[reportArgumentType]
        ["LatCo.init_states", "init_states(problem, key)", "NoneType"],
    ),  # pyright: ignore[reportArgumentType]
    "a path of another shape": (
        lambda: GRASP(init_states=lambda problem, key: jnp.zeros((4, 3))),
        [
            "GRASP.init_states must return the states s_1..s_(T-1), float32[3, 3]",
            "got float32[4, 3]",
        ],
    ),
    "a noise of another shape": (
        lambda: CEM(noise=lambda key, like: jnp.zeros((7, 9))),
        ["CEM.noise", "return arrays like", "float32[4, 2]", "float32[7, 9]"],
    ),
    "a noise that is one number": (
        lambda: GRASP(noise=lambda key, like: 1.0),  # pyright: ignore[reportArgumentType]
        ["GRASP.noise", "[4, 3]"],
    ),  # pyright: ignore[reportArgumentType]
    "an optimizer that wants more": (
        lambda: GD(optimizer=optax.lbfgs),  # pyright: ignore[reportArgumentType]
        ["GD.optimizer", "a factory", "missing"],
    ),
    "an optimizer that is none": (
        lambda: LatCo(optimizer=lambda rate: None),  # pyright: ignore[reportArgumentType]
        ["LatCo.optimizer", "a factory", "NoneType"],
    ),
    "searches that never exchange": (
        lambda: grasp_jax.MultiStart(GD(learning_rate=0.1, iterations=5), resample_every=6),
        ["MultiStart.resample_every is 6", "5 iterations"],
    ),
    "a path that fails": (
        lambda: GRASP(init_states=grasp_jax.ViaPoints(num_points=2, std=jnp.ones(5))),
        ["GRASP.init_states.std must be", "broadcast to its leaves", "shape [5]"],
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_wrong_settings_are_told(case: str):
    make_planner, words = SETTINGS[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        call(planner=make_planner())
    for word in words:
        assert word in str(caught.value)


def test_paths_are_checked_like_planners():
    """Bug: a pytree that lacks a leaf failed with a raw tree error."""
    start = grasp_jax.BrownianBridge(std={"x": 0.1})
    with pytest.raises(TypeError, match=r"GRASP\.init_states\.std must be a number .*got dict"):
        call(planner=GRASP(init_states=start))


RANGES: dict[str, Any] = {
    "CEM.std must be at least 0 and finite, got -1": lambda: CEM(std=-1.0),
    "ICEM.momentum must be at least 0 and below 1, got 1": lambda: ICEM(momentum=1.0),
    "MPPI.temperature must be at least 0 and finite, got -1": lambda: MPPI(temperature=-1.0),
    "AR1.rho must be at least 0 and below 1, got 1.5": lambda: AR1(rho=1.5),
    "AR1.action_block must be at least 1, got 0": lambda: AR1(action_block=0),
    "LatCoGaussNewton.dual_rate must be at least 0 and below 1, got 1.5": lambda: (
        grasp_jax.LatCoGaussNewton(dual_rate=1.5)
    ),
    "GD.learning_rate must be at least 0 and finite, got -0.1": lambda: GD(learning_rate=-0.1),
    "GD.learning_rate must be at least 0 and finite, got nan": lambda: GD(
        learning_rate=float("nan")
    ),
    "GRASP.state_std must be at least 0 and finite, got {'x'": lambda: GRASP(state_std={"x": -1.0}),
    "StraightLine.std must be at least 0 and finite": lambda: grasp_jax.StraightLine(std=-1.0),
    "Rollout.std must be at least 0 and finite, got -1": lambda: grasp_jax.Rollout(std=-1.0),
    "GRASP.goal_weight must be at least 0 and finite, got -1": lambda: GRASP(goal_weight=-1.0),
    "LatCo.multiplier must be at least 0 and finite, got -1": lambda: LatCo(multiplier=-1.0),
    "MultiStart.start_std must be at least 0 and finite, got -1": lambda: grasp_jax.MultiStart(
        GD(), start_std=-1.0
    ),
    "Chain: pass planners one by one or as planners=": lambda: grasp_jax.Chain(
        GD(), planners=(GD(),)
    ),
    "_Sawtooth.period must be at least 1 and finite, got 0": lambda: grasp_jax.sawtooth_schedule(
        init_value=1.0, end_value=0.0, period=0
    ),
    "ViaPoints.num_points must be at least 0, got -1": lambda: grasp_jax.ViaPoints(num_points=-1),
}


@pytest.mark.parametrize("message", RANGES)
def test_numbers_out_of_range_are_told_when_they_are_written(message: str):
    with pytest.raises(ValueError, match=message):
        RANGES[message]()


TRACED: dict[str, tuple[Any, float, float]] = {
    "a rate": (lambda x: GD(learning_rate=x, iterations=2), 0.1, -0.1),
    "a rate that is no number": (lambda x: GD(learning_rate=x, iterations=2), 0.1, np.nan),
    "the sync's rate": (
        lambda x: GRASP(iterations=2, sync_every=1, sync=GD(learning_rate=x)),
        0,
        -1,
    ),
    "a noise": (
        lambda x: ICEM(num_samples=9, num_elites=5, iterations=1, noise=AR1(rho=x)),
        0.9,
        1.5,
    ),
    "first virtual states": (
        lambda x: GRASP(iterations=2, sync=None, init_states=grasp_jax.StraightLine(std=x)),
        0.1,
        -0.1,
    ),
    "searches side by side": (
        lambda x: grasp_jax.MultiStart(GD(iterations=2), num_starts=2, start_std=x),
        0.1,
        -0.1,
    ),
    "a part of a chain": (lambda x: grasp_jax.Chain(GD(learning_rate=x, iterations=2)), 0.1, -0.1),
}


@pytest.mark.parametrize("case", TRACED)
def test_traced_numbers_out_of_range_are_told_by_the_status(case: str):
    make_planner, right, wrong = TRACED[case]
    status = jax.jit(lambda x: call(planner=make_planner(x)).status)
    assert status(jnp.float32(right)) == grasp_jax.Status.OK
    assert status(jnp.float32(wrong)) == grasp_jax.Status.SETTINGS
    # On a device, outside of jit.
    assert call(planner=make_planner(jnp.float32(wrong))).status == grasp_jax.Status.SETTINGS


def test_a_traced_horizon_out_of_range_is_told_by_the_status():
    status = jax.jit(lambda n: call(planner=GD(iterations=1), horizon=n).status)
    found = [grasp_jax.Status(int(status(n))) for n in (0, 1, 4, 5)]
    wrong, right = grasp_jax.Status.SETTINGS, grasp_jax.Status.OK
    assert found == [wrong, right, right, wrong]


def test_a_setting_of_restarted_grasp_is_told_by_its_own_name():
    with pytest.raises(TypeError) as caught:
        call(planner=grasp_jax.restarted_grasp(state_std={"x": 0.1}))
    assert "restarted_grasp this is `state_std`" in caught.value.__notes__[0]


def test_a_compiled_plan_tells_a_wrong_key_and_a_wrong_horizon():
    compiled = grasp_jax.compile_plan(make(horizon=4), KEY, planner=PLANNER)
    with pytest.raises(TypeError, match="key must be a JAX random key, got int"):
        compiled(START, GOAL, GUESS, 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"horizon must be in 1\.\.4, got 99"):
        compiled(START, GOAL, GUESS, KEY, horizon=99)


def test_models_of_an_ensemble_are_one_pytree():
    members: Any = [step, step]
    with pytest.raises(ValueError, match=r"MeanEnsemble\.members must be one callable pytree"):
        call(dynamics=grasp_jax.world_models.MeanEnsemble(members))
