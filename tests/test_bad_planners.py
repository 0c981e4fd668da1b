"""Planners that cannot work: every message names the field, what was got, and what is expected."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
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
    AR1,
    LatCo,
    LatCoGaussNewton,
    MultiStart,
)
from tests.test_bad_input import (
    Unhashable,
    assert_told,
    call,
)

# What is wrong; the arguments; the error; what the message must hold, in this order.
WRONG: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
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
        {"planner": GD(learning_rate=0.1, iterations=2.0)},
        TypeError,
        ["GD.iterations must be a Python int", "float: 2.0"],
    ),
    "no iterations": ({"planner": CEM(iterations=0)}, ValueError, ["CEM.iterations", "at least 1"]),
    "boolean count": (
        {"planner": CEM(num_samples=True)},
        TypeError,
        ["CEM.samples must be a Python int", "bool"],
    ),
    "array count": (
        {"planner": GRASP(iterations=jnp.array(10))},
        TypeError,
        ["GRASP.iterations must be a Python int", "Array(10"],
    ),
    "elites > samples": (
        {"planner": CEM(num_samples=10, num_elites=30)},
        ValueError,
        ["CEM.elites is 30", "10", "lower elites"],
    ),
    "iCEM elites > samples": (
        {"planner": ICEM(num_samples=10, num_elites=30)},
        ValueError,
        ["ICEM.elites is 30", "10"],
    ),
    "kept > elites": (
        {"planner": ICEM(num_samples=10, num_elites=3, num_kept=4)},
        ValueError,
        ["ICEM.kept is 4", "ICEM.elites=3"],
    ),
    "no samples": ({"planner": MPPI(num_samples=0)}, ValueError, ["MPPI.samples", "at least 2, got 0"]),
    "settings of a sync that is not there": (
        {"planner": GRASP(iterations=10, sync=None, sync_std=0.1, sync_from_best=True)},
        ValueError,
        ["GRASP.sync_noise, sync_from_best would do nothing", "Pass a sync"],
    ),
    "a turn that never comes": (
        {"planner": Chain(GD(learning_rate=0.1, iterations=2), GD(learning_rate=0.1, iterations=0))},
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
        {"planner": GRASP(time_batch_size=0)},
        ValueError,
        ["GRASP.time_chunk", "at least 1, got 0"],
    ),
    "wrong planner inside the sync": (
        {"planner": GRASP(sync=CEM(num_samples=3, num_elites=5))},
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
        {"planner": GRASP(restart_states=True)},
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
        {"planner": MultiStart(GD(), num_starts=0)},
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
        {"planner": LatCoGaussNewton(iterations=-1)},
        ValueError,
        ["LatCoGN.iterations", "-1"],
    ),
    "unhashable field": (
        {"planner": GRASP(noise=Unhashable())},
        TypeError,
        ["planner", "hashable", "GRASP", "tuples"],
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
        {"planner": GRASP(noise=AR1, iterations=50)},
        TypeError,
        ["GRASP.noise must be callable", "the class Correlated itself", "Correlated(...)"],
    ),
    "stacked noise that does not fit": (
        {"planner": CEM(noise=AR1(rho=0.9, action_block=3))},
        ValueError,
        ["stacked=3 must divide the action size", "(4, 2)"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_planners_are_told_what_is_wrong_and_what_to_do(case: str):
    assert_told(*WRONG[case])


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
