"""Planners that cannot work: every message names the field, what was got, and what is expected."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from grasp_jax import (
    AR1,
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Constrained,
    LatCo,
    LatCoGaussNewton,
    MultiStart,
    Objective,
    Planner,
    Problem,
    Proposed,
    Status,
    StepContext,
    StepInfo,
    StraightLine,
)
from tests.errors.test_input import GUESS, PLANNER, Unhashable, assert_told, call

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
        ["planner must be a grasp_jax planner", "str", "derives from grasp_jax.Planner"],
    ),
    "a constrained planner without a constraint": (
        {"planner": lambda: Constrained(PLANNER)},
        ValueError,
        ["Constrained needs a constraint", "Objective(constraint="],
    ),
    "a constrained planner class": (
        {"planner": lambda: Constrained(GD), "objective": Objective(constraint=lambda s, g: s)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["Constrained.planner must be an instance", "class GD"],
    ),
    "constraints without a price": (
        {"planner": lambda: Constrained(PLANNER, weight=0.0)},
        ValueError,
        ["Constrained.weight must be at least 1e-06", "0.0"],
    ),
    "proposals of another length": (
        {"planner": lambda: Proposed(PLANNER, jnp.zeros((5, 3, 2)))},
        ValueError,
        ["Proposed.proposals must be actions [n, T, A]", "float32[5, 3, 2]"],
    ),
    "one proposal without an axis": (
        {"planner": lambda: Proposed(PLANNER, GUESS)},
        ValueError,
        ["Proposed.proposals must be actions [n, T, A]", "actions[None]"],
    ),
    "proposals in a list": (
        {"planner": lambda: Proposed(PLANNER, [GUESS])},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["Proposed.proposals must be actions [n, T, A]", "got list"],
    ),
    "float iterations": (
        {"planner": lambda: GD(learning_rate=0.1, iterations=2.0)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GD.iterations must be an int", "float: 2.0"],
    ),
    "no iterations": (
        {"planner": lambda: CEM(iterations=0)},
        ValueError,
        ["CEM.iterations", "at least 1"],
    ),
    "boolean count": (
        {"planner": lambda: CEM(num_samples=True)},
        TypeError,
        ["CEM.num_samples must be an int", "bool"],
    ),
    "elites > samples": (
        {"planner": lambda: CEM(num_samples=10, num_elites=30)},
        ValueError,
        ["CEM.num_elites is 30", "10", "lower this one"],
    ),
    "iCEM elites > samples": (
        {"planner": lambda: ICEM(num_samples=10, num_elites=30)},
        ValueError,
        ["ICEM.num_elites is 30", "10"],
    ),
    "kept > elites": (
        {"planner": lambda: ICEM(num_samples=10, num_elites=3, num_kept=4)},
        ValueError,
        ["ICEM.num_kept is 4", "only 3 are elites"],
    ),
    "no samples": (
        {"planner": lambda: MPPI(num_samples=0)},
        ValueError,
        ["MPPI.num_samples", "at least 2, got 0"],
    ),
    "settings of a sync that is not there": (
        {
            "planner": lambda: GRASP(
                iterations=10, sync=None, sync_std=0.1, restart_states=StraightLine()
            )
        },
        ValueError,
        ["GRASP.sync_std, restart_states would do nothing", "Pass a sync"],
    ),
    "a turn that never comes": (
        {
            "planner": lambda: Chain(
                GD(learning_rate=0.1, iterations=2), GD(learning_rate=0.1, iterations=0)
            )
        },
        ValueError,
        ["Chain.planners[1] has 0 iterations", "Drop it"],
    ),
    "sync longer than the run": (
        {"planner": lambda: GRASP(iterations=10)},
        ValueError,
        ["GRASP.sync_every is 50", "iterations is 10", "never run", "sync=None"],
    ),
    "sync_every 0": (
        {"planner": lambda: GRASP(sync_every=0)},
        ValueError,
        ["GRASP.sync_every", "at least 1, got 0"],
    ),
    "time_batch_size 0": (
        {"planner": lambda: GRASP(time_batch_size=0)},
        ValueError,
        ["GRASP.time_batch_size", "at least 1, got 0"],
    ),
    "wrong planner inside the sync": (
        {"planner": lambda: GRASP(sync=CEM(num_samples=3, num_elites=5))},
        ValueError,
        ["CEM.num_elites is 5", "3"],
    ),
    "a sync that is no planner": (
        {"planner": lambda: GRASP(sync="gd")},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GRASP.sync must be a grasp_jax planner", "str"],
    ),
    "a sync that is a class": (
        {"planner": lambda: GRASP(sync=GD)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GRASP.sync must be an instance", "class GD"],
    ),
    "a restart that is no path": (
        {"planner": lambda: GRASP(restart_states=True)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GRASP.restart_states must be", "init_states(problem, key)", "bool"],
    ),
    "a horizon beside actions of one axis": (
        {"init_actions": jnp.zeros(4), "horizon": 2},
        ValueError,
        ["init_actions must have shape [T, A]", "float32[4]"],
    ),
    "horizon 0": ({"horizon": 0}, ValueError, ["horizon must be in 1..4, got 0", "goal"]),
    "horizon beyond the guess": ({"horizon": 5}, ValueError, ["horizon must be in 1..4, got 5"]),
    "horizon as a float": ({"horizon": 2.0}, TypeError, ["horizon must be an integer", "float32"]),
    "a horizon for each goal": (
        {"horizon": jnp.array([1, 2])},
        ValueError,
        ["horizon must be one integer", "int32[2]", "plan_batch"],
    ),
    "empty chain": (
        {"planner": lambda: Chain()},
        ValueError,
        ["Chain", "at least one planner", "none"],
    ),
    "chain of a list": (
        {"planner": lambda: Chain([GD(), GD()])},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["Chain.planners[0] must be a grasp_jax planner", "list"],
    ),
    "a fallback that is not there": (
        {"planner": lambda: Chain(GD(), GD(), fallbacks=(2,))},
        ValueError,
        ["Chain.fallbacks", "turns in 1..1", "got (2,)"],
    ),
    "a fallback for nothing": (
        {"planner": lambda: Chain(GD(), GD(), fallbacks=(0,))},
        ValueError,
        ["Chain.fallbacks", "turns in 1..1", "got (0,)"],
    ),
    "a turn of nobody": (
        {"planner": lambda: Chain(GD(), GD(), turns=(0, 1, 2))},
        ValueError,
        ["Chain.turns must be a tuple", "each of 0..1", "2 planners", "got (0, 1, 2)"],
    ),
    "a planner without a turn": (
        {"planner": lambda: Chain(GD(), GD(), turns=(0, 0))},
        ValueError,
        ["Chain.turns", "each of 0..1 comes at least once", "got (0, 0)"],
    ),
    "turns that are no tuple": (
        {"planner": lambda: Chain(GD(), turns=0)},  # pyright: ignore[reportArgumentType]
        ValueError,
        ["Chain.turns must be a tuple", "got 0"],
    ),
    "a fallback that is no tuple": (
        {"planner": lambda: Chain(GD(), GD(), fallbacks=1)},  # pyright: ignore[reportArgumentType]
        ValueError,
        ["Chain.fallbacks must be a tuple", "got 1"],
    ),
    "no starts": (
        {"planner": lambda: MultiStart(GD(), num_starts=0)},
        ValueError,
        ["MultiStart.num_starts", "at least 1, got 0"],
    ),
    "MultiStart of nothing": (
        {"planner": lambda: MultiStart(None)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["MultiStart.planner must be a grasp_jax planner", "NoneType"],
    ),
    "LatCo counts": (
        {"planner": lambda: LatCo(evaluate_every=0)},
        ValueError,
        ["LatCo.evaluate_every"],
    ),
    "LatCoGN counts": (
        {"planner": lambda: LatCoGaussNewton(iterations=-1)},
        ValueError,
        ["LatCoGaussNewton.iterations", "-1"],
    ),
    "unhashable field": (
        {"planner": lambda: GRASP(noise=Unhashable())},
        TypeError,
        ["planner", "hashable", "GRASP", "tuples"],
    ),
    "an optimizer instead of a factory": (
        {"planner": lambda: GD(optimizer=optax.adam(0.1))},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GD.optimizer must be a factory", "optax.adam"],
    ),
    "no noise": (
        {"planner": lambda: GRASP(noise=None, iterations=50)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GRASP.noise must be callable", "deviation to 0", "None"],
    ),
    "the class of a noise instead of a noise": (
        {"planner": lambda: GRASP(noise=AR1, iterations=50)},  # pyright: ignore[reportArgumentType]
        TypeError,
        ["GRASP.noise must be callable", "the class AR1 itself", "AR1(...)"],
    ),
    "stacked noise that does not fit": (
        {"planner": lambda: CEM(noise=AR1(rho=0.9, action_block=3))},
        ValueError,
        ["action_block=3 must divide the action size", "(4, 2)"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_planners_are_told_what_is_wrong_and_what_to_do(case: str):
    assert_told(*WRONG[case])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Still(Planner):
    """Never moves."""

    iterations: int = dataclasses.field(default=2, metadata={"static": True})

    def init(self, problem: Problem, key: jax.Array) -> jax.Array:
        return problem.init_actions

    def step(self, problem: Problem, state: jax.Array, context: StepContext) -> Any:
        return state, StepInfo.of(state, jnp.asarray(jnp.inf), jnp.asarray(True), model_evals=0)

    def actions(self, problem: Problem, state: jax.Array) -> jax.Array:
        return state


def test_a_planner_of_ones_own_needs_three_methods_only():
    found = call(planner=Still())
    assert found.status == Status.OK and found.virtual_states is None
    assert (found.actions == GUESS).all() and found.metrics.model_evals.tolist() == [0, 0]
    nested = call(planner=MultiStart(Chain(Still(), PLANNER), num_starts=2))
    assert nested.status == Status.OK and nested.cost <= found.cost


def test_a_planner_that_lacks_a_method_is_refused_when_it_is_made():
    class Lazy(Planner):
        def init(self, problem: Problem, key: jax.Array) -> jax.Array:
            return problem.init_actions

    with pytest.raises(TypeError, match="Can't instantiate abstract class Lazy"):
        Lazy()  # pyright: ignore[reportAbstractUsage]
