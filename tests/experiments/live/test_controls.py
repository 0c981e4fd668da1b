"""What the page may set, and what is refused."""

import pytest

from experiments.live.controls import Settings, describe, parse

BEFORE = Settings()


def test_a_change_leaves_the_rest():
    found = parse({"effort": 3, "rate": 0.5, "sync": "samples"}, BEFORE, 12)
    assert (found.effort, found.rate, found.sync) == (3, 0.5, "samples")
    assert found.horizon == BEFORE.horizon


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planner": "A*"}, "planner must be one of GRASP, GRASP-author, GRASP-graph, GD"),
        ({"sync": None}, "sync must be one of"),
        ({"effort": 0}, "effort must be a number from 1 to 80"),
        ({"effort": True}, "effort must be a number"),
        ({"rate": float("nan")}, "rate must be a number"),
        ({"horizon": 13}, "horizon must be a number from 2 to 12, got 13"),
        ({"speed": 1}, "there is no setting 'speed'; known are planner, sync, effort"),
        ([1], "settings must be an object"),
    ],
)
def test_bad_settings_say_what_is_expected(changes, message):
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        parse(changes, BEFORE, 12)


def test_every_setting_has_a_control():
    found = describe(12)
    assert {*found["choices"], *found["numbers"]} == set(vars(BEFORE))
