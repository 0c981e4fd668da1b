"""Wrong settings of planners, noises and wrappers, told when they are written or used."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, AR1, LatCo
from tests.test_bad_input import GOAL, GUESS, KEY, START, call, step

SETTINGS: dict[str, tuple[Any, list[str]]] = {
    "optimiser as the rate": (
        GD(learning_rate=optax.adam),  # pyright: ignore[reportArgumentType]
        ["GD.learning_rate", "schedule of the iteration", "function"],
    ),
    "rates of a wrong size": (GD(learning_rate=jnp.ones(3)), ["GD.learning_rate", "[4, 2]", "shape [3]"]),
    "no rate": (GD(learning_rate=None), ["GD.learning_rate", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "schedule of a vector": (
        GRASP(state_rate=lambda i: jnp.ones(3) * i),
        ["GRASP.state_rate", "shape [3]"],
    ),
    "rates of leaves that the state has not": (
        GRASP(state_rate={"x": 0.1}),
        ["GRASP.state_rate", "a pytree of numbers like the state", "dict"],
    ),
    "no goal weight": (GRASP(goal_weight=None), ["GRASP.goal_weight", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "a noise as its size": (
        GRASP(state_std=grasp_jax.White()),  # pyright: ignore[reportArgumentType]
        ["GRASP.state_noise", "a number", "None", "White()"],
    ),
    "text as a size": (CEM(std="1"), ["CEM.std", "str", "'1'"]),  # pyright: ignore[reportArgumentType]
    "deviations of a wrong size": (MPPI(std=jnp.ones(3)), ["MPPI.std", "[4, 2]", "shape [3]"]),
    "no deviation": (ICEM(std=None), ["ICEM.std", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "one sample": (CEM(num_samples=1, num_elites=1, iterations=2), ["CEM.samples must be at least 2", "got 1"]),
    "no path": (LatCo(init_states=None), ["LatCo.path", "path(problem, key)", "NoneType"]),  # pyright: ignore[reportArgumentType]
    "a path of another shape": (
        GRASP(init_states=lambda problem, key: jnp.zeros((4, 3))),
        ["GRASP.path must return the states s_1..s_(T-1), float32[3, 3]", "got float32[4, 3]"],
    ),
    "a noise of another shape": (
        CEM(noise=lambda key, like: jnp.zeros((7, 9))),
        ["CEM.noise", "return arrays like", "float32[4, 2]", "float32[7, 9]"],
    ),
    "a noise that is one number": (GRASP(noise=lambda key, like: 1.0), ["GRASP.noise", "[4, 3]"]),  # pyright: ignore[reportArgumentType]
    "an optimiser that wants more": (
        GD(optimizer=optax.lbfgs),  # pyright: ignore[reportArgumentType]
        ["GD.optimizer", "a factory", "missing"],
    ),
    "an optimiser that is none": (
        LatCo(optimizer=lambda rate: None),  # pyright: ignore[reportArgumentType]
        ["LatCo.optimizer", "a factory", "NoneType"],
    ),
    "searches that never exchange": (
        grasp_jax.MultiStart(GD(learning_rate=0.1, iterations=5), resample_every=6),
        ["MultiStart.exchange_every is 6", "5 iterations"],
    ),
    "a path that fails": (
        GRASP(init_states=grasp_jax.ViaPoints(num_points=2, std=jnp.ones(5))),
        ["GRASP.path failed on a state float32[3]"],
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_wrong_settings_are_told(case: str):
    planner, words = SETTINGS[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        call(planner=planner)
    for word in words:
        assert word in str(caught.value)


RANGES: dict[str, Any] = {
    "CEM.std must be at least 0, got -1": lambda: CEM(std=-1.0),
    "ICEM.momentum must be at least 0 and below 1, got 1": lambda: ICEM(momentum=1.0),
    "MPPI.temperature must be at least 0, got -1": lambda: MPPI(temperature=-1.0),
    "Correlated.correlation must be at least 0 and below 1, got 1.5": lambda: AR1(rho=1.5),
    "Correlated.stacked must be at least 1, got 0": lambda: AR1(action_block=0),
    "LatCoGN.multiplier_rate must be at least 0 and below 1, got 1.5": lambda: grasp_jax.LatCoGaussNewton(
        dual_rate=1.5
    ),
    "GD.learning_rate must be at least 0, got -0.1": lambda: GD(learning_rate=-0.1),
    "GD.learning_rate must be at least 0, got nan": lambda: GD(learning_rate=float("nan")),
    "GRASP.state_noise must be at least 0, got {'x': -1": lambda: GRASP(state_std={"x": -1.0}),
    "GRASP.goal_weight must be at least 0, got -1": lambda: GRASP(goal_weight=-1.0),
    "LatCo.multiplier must be at least 0, got -1": lambda: LatCo(multiplier=-1.0),
    "MultiStart.start_noise must be at least 0, got -1": lambda: grasp_jax.MultiStart(
        GD(), start_std=-1.0
    ),
    "Chain: pass planners one by one or as planners=": lambda: grasp_jax.Chain(
        GD(), planners=(GD(),)
    ),
    "Sawtooth.period must be at least 1, got 0": lambda: grasp_jax.sawtooth_schedule(init_value=1.0, end_value=0.0, period=0),
    "ViaPoints.count must be at least 0, got -1": lambda: grasp_jax.ViaPoints(num_points=-1),
}


@pytest.mark.parametrize("message", RANGES)
def test_numbers_out_of_range_are_told_when_they_are_written(message: str):
    with pytest.raises(ValueError, match=message):
        RANGES[message]()


def test_a_compiled_plan_tells_a_wrong_key_and_a_wrong_length():
    compiled = call(grasp_jax.compile_plan, length=4)
    with pytest.raises(TypeError, match="key must be a JAX random key, got int"):
        compiled(START, GOAL, GUESS, 0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"a compiled plan takes .* and a key uint32\[2\]"):
        compiled(START, GOAL, GUESS, jax.random.PRNGKey(0))
    with pytest.raises(ValueError, match=r"length must be in 1\.\.4, got 99"):
        compiled(START, GOAL, GUESS, KEY, length=99)


def test_models_of_an_ensemble_are_one_pytree():
    members: Any = [step, step]
    with pytest.raises(ValueError, match=r"MeanEnsemble\.members must be one callable pytree"):
        call(dynamics=grasp_jax.world_models.MeanEnsemble(members))
