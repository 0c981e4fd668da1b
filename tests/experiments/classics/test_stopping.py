"""The stop rule's study: what a target is, and that plans with one stop earlier and as well."""

import numpy as np
import pytest

from experiments.classics import stopping


def test_a_target_is_half_the_highest_cost_up_to_which_all_arrived() -> None:
    costs, arrived = np.array([4.0, 0.5, 1.0, 2.0]), np.array([True, True, True, False])
    assert stopping.target_of(costs, arrived) == 0.5
    assert stopping.target_of(costs, np.ones(4, bool)) == 2.0
    assert stopping.target_of(costs, np.array([True, False, True, True])) == 0.0


@pytest.mark.slow
def test_plans_that_stop_arrive_too_and_sooner() -> None:
    cell = stopping.Cell("mountain_car", 2, 0, ("restarted GRASP",))
    for records in stopping.run_cell(cell):
        stopped, whole = sorted(records, key=lambda r: not r["stops"])
        assert stopped["success"] and whole["success"]
        assert stopped["target"] > 0 and whole["cost"] <= stopped["cost"] <= stopped["target"]
        assert stopped["iterations"] < whole["iterations"] == whole["of_iterations"]
