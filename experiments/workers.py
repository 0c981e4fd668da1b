"""Runs tasks on worker processes, one core each, and hands their results over as they come."""

import multiprocessing
import os
import queue
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Task = Any
Work = Callable[[Task], Iterable[Any]]


def run_tasks(work: Work, tasks: list[Task], workers: int) -> Iterator[Any]:
    """Yields every item of `work(task)` for every task, in the order in which they are finished.

    Args:
      work: A module-level function; runs in a fresh process pinned to one core, so that timings
        mean one core and compilations run side by side.
      tasks: Picklable; started in order. The costly ones first balance the load best.
      workers: Processes.

    Raises:
      RuntimeError: A task raised; the message holds its traceback. What other tasks had finished
        was yielded before.
    """
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    for task in tasks:
        todo.put(task)
    workers = max(1, min(workers, len(tasks)))
    for _ in range(workers):
        todo.put(None)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    processes = [
        context.Process(
            target=_worker, args=(work, todo, results, cores[i % len(cores)]), daemon=True
        )
        for i in range(workers)
    ]
    with _single_threaded():
        for process in processes:
            process.start()
    try:
        yield from _collect(results, processes)
    finally:
        for process in processes:
            process.terminate()


def _collect(results: Any, processes: list[Any]) -> Iterator[Any]:
    running = len(processes)
    while running:
        try:
            kind, value = results.get(timeout=5)
        except queue.Empty:
            dead = [p.exitcode for p in processes if p.exitcode not in (None, 0)]
            if dead:
                raise RuntimeError(f"A worker process died (exit code {dead[0]}).") from None
            continue
        if kind == "item":
            yield value
        elif kind == "error":
            raise RuntimeError(f"A worker failed:\n{value}")
        else:
            running -= 1


class _single_threaded:
    """Environment for children: one thread per process, no accelerator lookups printed."""

    def __enter__(self) -> None:
        self._before = os.environ.get("XLA_FLAGS")
        flags = f"{self._before or ''} --xla_cpu_multi_thread_eigen=false"
        os.environ["XLA_FLAGS"] = flags.strip()

    def __exit__(self, *exception: Any) -> None:
        if self._before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = self._before


def _worker(work: Work, todo: Any, results: Any, core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    try:
        while (task := todo.get()) is not None:
            for item in work(task):
                results.put(("item", item))
        results.put(("done", None))
    except Exception:
        results.put(("error", traceback.format_exc()))
