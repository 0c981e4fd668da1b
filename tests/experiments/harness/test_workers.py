"""Worker processes: every item arrives, errors too, and an early end stops the work."""

import os
import time
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from experiments.harness.workers import run_tasks


def squares(number: int) -> Iterator[int]:
    if number < 0:
        raise ValueError("negative numbers have no place here")
    yield number * number
    yield number * number + 1


def test_workers_yield_every_item_of_every_task() -> None:
    assert sorted(run_tasks(squares, [1, 2, 5], workers=2)) == [1, 2, 4, 5, 25, 26]


def test_a_failing_task_raises_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="negative numbers have no place here"):
        list(run_tasks(squares, [-1], workers=1))


def test_beside_an_accelerator_tasks_run_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    # A worker could not even receive this function.
    assert list(run_tasks(lambda n: [n, os.getpid()], [1, 2], workers=2)) == [
        1, os.getpid(), 2, os.getpid()
    ]  # fmt: skip


def many(number: int) -> Iterator[bytes]:
    for _ in range(number):
        yield bytes(100_000)  # more than a pipe holds


def test_large_results_arrive_whole() -> None:
    assert [len(item) for item in run_tasks(many, [3], workers=1)] == [100_000] * 3


def napping(seconds: float) -> Iterator[float]:
    yield seconds
    time.sleep(seconds)


def test_what_is_left_early_does_not_keep_working() -> None:
    found: Any = run_tasks(napping, [60.0], workers=1)
    began = time.monotonic()
    assert next(found) == 60.0
    found.close()
    assert time.monotonic() - began < 50
