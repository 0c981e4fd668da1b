"""Runs tasks on worker processes, one core each, and hands their results over as they come.

Where JAX finds an accelerator, which belongs to one process, this process runs them one by one.
"""

import contextlib
import importlib.metadata
import multiprocessing
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

Task = Any
Work = Callable[[Task], Iterable[Any]]


def run_tasks(
    work: Work, tasks: list[Task], workers: int, compile_fast: bool = False, first_core: int = 0
) -> Iterator[Any]:
    """Yields every item of `work(task)` for every task, in the order in which they are finished.

    Args:
      work: A module-level function; runs in a fresh process pinned to one core, so that timings
        mean one core and compilations run side by side; on an accelerator in this one.
      tasks: Picklable; started in order. The costly ones first balance the load best.
      workers: Processes.
      compile_fast: Spend less time on compilation, more on running; for short runs.
      first_core: Of the cores that this process may use, where the first worker goes; runs side by
        side on one machine need one each.

    Raises:
      RuntimeError: A task raised in a worker; the message holds its traceback. What other tasks
        had finished was yielded before.
    """
    if jax.default_backend() != "cpu":
        for task in tasks:
            yield from work(task)
        return
    context = multiprocessing.get_context("spawn")
    todo, results = context.Queue(), context.Queue()
    for task in tasks:
        todo.put(task)
    workers = max(1, min(workers, len(tasks)))
    for _ in range(workers):
        todo.put(None)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    places = [cores[(first_core + i) % len(cores)] for i in range(workers)]
    processes = [
        context.Process(target=_worker, args=(work, todo, results, core), daemon=True)
        for core in places
    ]
    with _xla_flags(compile_fast):
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


@contextlib.contextmanager
def _xla_flags(compile_fast: bool) -> Iterator[None]:
    """Environment for the children: one thread each, and XLA:CPU's compiler options."""
    before = os.environ.get("XLA_FLAGS")
    flags = [before or "", "--xla_cpu_multi_thread_eigen=false"]
    # XLA aborts on flags it does not know, so this one is kept to the versions it was tried on.
    if compile_fast and importlib.metadata.version("jaxlib").startswith("0.10."):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def _worker(work: Work, todo: Any, results: Any, core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        while (task := todo.get()) is not None:
            for item in work(task):
                results.put(("item", item))
        results.put(("done", None))
    except Exception:
        results.put(("error", traceback.format_exc()))


def _die_with_parent() -> None:
    """Ends this process once its parent is gone, so that a killed run leaves no work behind."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(1)
    os._exit(1)
