"""The public names, and the examples in their docstrings."""

import doctest
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import grasp_jax

NAMES = [
    "AR1",
    "CEM",
    "GD",
    "GRASP",
    "ICEM",
    "MPC",
    "MPPI",
    "AnyGoal",
    "BrownianBridge",
    "Chain",
    "Colored",
    "CompiledPlan",
    "Constrained",
    "Context",
    "Correction",
    "GivenPath",
    "Hops",
    "LatCo",
    "LatCoGaussNewton",
    "MPCInfo",
    "MPCState",
    "Metrics",
    "MultiStart",
    "Objective",
    "ParallelShooting",
    "Plan",
    "Planner",
    "PreparedModel",
    "Problem",
    "Proposed",
    "QuadraticControlCost",
    "Reached",
    "RealTimeMPC",
    "RealTimeState",
    "Rollout",
    "RolloutModel",
    "Scaled",
    "Search",
    "SearchState",
    "Segments",
    "Status",
    "StepContext",
    "StepInfo",
    "StraightLine",
    "SubgoalMPC",
    "ThinkInfo",
    "ViaPoints",
    "White",
    "advance",
    "compile_plan",
    "make_problem",
    "mean_squared_distance",
    "plan",
    "plan_batch",
    "portfolio",
    "read",
    "restarted_grasp",
    "rollout_cost",
    "sawtooth_schedule",
    "sharding",
    "solve",
    "squared_distance",
    "start",
    "trajectory",
]


def test_the_public_names_are_these():
    """A name that comes, goes or changes is a line in the changelog."""
    assert sorted(grasp_jax.__all__) == sorted(NAMES)
    assert all(hasattr(grasp_jax, name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str):
    value = getattr(grasp_jax, name)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}(")
    if not inspect.isclass(value):
        return
    for method, function in inspect.getmembers(value, inspect.isfunction):
        ours = function.__module__.startswith("grasp_jax")
        if ours and not method.startswith("_"):
            assert function.__doc__, f"{name}.{method}"


def modules() -> list[str]:
    """Our modules outside of the optional packages."""
    optional = ("grasp_jax.world_models", "grasp_jax.integrations")
    found = pkgutil.walk_packages(grasp_jax.__path__, "grasp_jax.")
    return [m.name for m in found if not m.name.startswith(optional)]


def examples() -> list[Any]:
    """The doctests of all docstrings."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [t for name in modules() for t in finder.find(importlib.import_module(name))]
    return [t for t in found if t.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.name)
def test_the_example_in_a_docstring_runs(example: Any):
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
        example, out=output.append
    )
    assert not failed, "".join(output)


def test_the_functions_of_the_door_have_examples():
    named = {e.name.rpartition(".")[2] for e in examples()}
    assert {"plan", "plan_batch", "make_problem", "start", "compile_plan"} <= named
