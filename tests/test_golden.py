"""Plans recorded before the library was taken apart: every planner still makes the same ones.

`golden/plans.npz` holds actions and costs by case (`one`, `batch`, `horizon`, `context`), one row
per name in `planners`. They were planned at commit 41f12e8 with jax 0.10.2 under the flags of
`conftest.py`; `Hops` came with the change, and its rows are of the first commit that had it. A
plan that is meant to change is recorded anew by `python -m tests.test_golden NAME...`.
"""

import functools
import pathlib
import sys
from typing import Any

import jax
import numpy as np
import pytest

import grasp_jax
from tests import conftest, matrix  # noqa: F401, the flags under which the suite runs
from tests.matrix import PLANNERS, WEIGHTS

FILE = pathlib.Path(__file__).parent / "golden" / "plans.npz"
CONTEXT = grasp_jax.Context.repeat(matrix.START, history_len=2, action_size=2)


def windowed(states: Any, actions: jax.Array) -> Any:
    """Reads three frames."""
    last = jax.tree.map(lambda x: x[-1], states)
    moved = matrix.step(WEIGHTS, last, actions.mean(0))
    return {**moved, "position": moved["position"] + 0.05 * states["position"][0]}


def plan(name: str, case: str) -> grasp_jax.Plan:
    if case == "batch":
        problem, planner = matrix.batch(), PLANNERS[name]
        return grasp_jax.solve(problem, matrix.key(), planner=planner, goal_batch_size=2)
    changes: dict[str, dict[str, Any]] = {
        "one": {},
        "horizon": {"horizon": 3},
        "context": {"dynamics": windowed, "context": CONTEXT},
    }
    return matrix.solve(name, **changes[case])


@functools.cache
def recorded() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return dict(file)


def is_slow(name: str, case: str) -> bool:
    """Other numbers for, or parts of, programs that are in the default run already."""
    if case == "context":
        return name not in ("GRASP", "CEM", "LatCo")
    return case != "one" and name not in matrix.KINDS


CASES = [
    pytest.param(name, case, marks=[pytest.mark.slow] * is_slow(name, case))
    for name in recorded()["planners"].tolist()
    for case in ("one", "batch", "horizon", "context")
    if (name, case) != ("GD parallel", "context")
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_plan_is_the_recorded_one(name: str, case: str):
    row = recorded()["planners"].tolist().index(name)
    found = plan(name, case)
    for field in ("actions", "cost"):
        expected = recorded()[f"{case}/{field}"][row]
        np.testing.assert_allclose(getattr(found, field), expected, rtol=1e-5, atol=1e-5)


def test_no_recorded_planner_is_gone():
    assert set(recorded()["planners"].tolist()) <= set(PLANNERS)


def record(names: list[str]) -> None:
    """Plans anew for these planners; the other rows stay."""
    old = recorded()
    known = old["planners"].tolist()
    new: dict[str, list[Any]] = {key: [] for key in old if key != "planners"}
    for name in PLANNERS:
        for case in ("one", "batch", "horizon", "context"):
            if name in known and name not in names:
                for field in ("actions", "cost"):
                    new[f"{case}/{field}"].append(old[f"{case}/{field}"][known.index(name)])
                continue
            if name == "GD parallel" and case == "context":
                found = jax.tree.map(lambda x: np.nan * x, plan("GD", case))
            else:
                found = plan(name, case)
            new[f"{case}/actions"].append(np.asarray(found.actions))
            new[f"{case}/cost"].append(np.asarray(found.cost))
    rows = {key: np.stack(value) for key, value in new.items()}
    np.savez_compressed(FILE, planners=np.array(list(PLANNERS)), **rows)  # pyright: ignore


if __name__ == "__main__":
    record(sys.argv[1:])
