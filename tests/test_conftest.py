"""How the suite's tests are dealt to workers: modules that plan the same share one."""

import pathlib

import pytest
from xdist.scheduler import LoadFileScheduling

from tests import conftest


class Options:
    """As much of pytest's configuration as a scheduler reads."""

    def __init__(self, dist: str) -> None:
        self.values = {"dist": dist, "tx": ["2*popen"], "loadscopereorder": True}

    def getoption(self, name: str) -> object:
        return self.values[name]

    getvalue = getoption


def scope(nodeid: str) -> str:
    deal = conftest.pytest_xdist_make_scheduler(Options("loadfile"), None)  # pyright: ignore[reportArgumentType]
    assert isinstance(deal, LoadFileScheduling)
    return deal._split_scope(nodeid)


def test_modules_that_share_programs_share_a_worker():
    names = {path.stem: path for path in pathlib.Path(__file__).parent.rglob("test_*.py")}
    assert {scope(f"{names[name]}::test[a]") for name in conftest.SHARED} == {"matrix"}


def test_tests_of_any_other_module_stay_together():
    one, other = "tests/test_noise.py::test_a[x]", "tests/test_noise.py::test_b[y/test_golden.py]"
    assert scope(one) == scope(other) != scope("tests/test_tracking.py::test_a")


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_another_way_to_deal_is_left_alone(dist: str):
    assert conftest.pytest_xdist_make_scheduler(Options(dist), None) is None  # pyright: ignore[reportArgumentType]
