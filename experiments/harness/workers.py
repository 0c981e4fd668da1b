"""Runs tasks on worker processes, one core each, and hands their results over as they come.

Where JAX finds an accelerator, which belongs to one process, this process runs them one by one.
"""

import contextlib
import importlib.metadata
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import jax

Task = Any
Work = Callable[[Task], Iterable[Any]]

_results: Any = None
"""Of a worker: the queue to its parent."""


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
      Exception: What a task raised in a worker, with its traceback. What other tasks had finished
        was yielded before.
    """
    if jax.default_backend() != "cpu":
        for task in tasks:
            yield from work(task)
        return
    items = multiprocessing.get_context("spawn").SimpleQueue()
    workers = max(1, min(workers, len(tasks)))
    with _xla_flags(compile_fast), process_pool(workers, first_core, items) as pool:
        running = [pool.submit(_put_items, work, task) for task in tasks]
        while running:
            # A task's items are in the queue before it is done, so that this look misses none.
            done = futures.wait(running, timeout=0.1, return_when=futures.FIRST_COMPLETED).done
            while not items.empty():
                yield items.get()
            for future in done:
                future.result()
                running.remove(future)


@contextlib.contextmanager
def process_pool(
    workers: int, first_core: int | None = None, results: Any = None
) -> Iterator[futures.ProcessPoolExecutor]:
    """Processes that end with this one, and at once where the block raises or is left early.

    Spawned, because a caller may run threads (JAX does), which a fork would not survive.

    Args:
      workers: Processes.
      first_core: The core of the first, the others follow; None pins them to none.
      results: A queue for `run_tasks`.
    """
    context = multiprocessing.get_context("spawn")
    places = context.SimpleQueue()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for i in range(workers):
        places.put(None if first_core is None else cores[(first_core + i) % len(cores)])
    pool = futures.ProcessPoolExecutor(workers, context, _begin, (places, results))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


def _begin(places: Any, results: Any) -> None:
    """What a worker does first: takes its core, and watches over its parent."""
    global _results
    _results = results
    core = places.get()
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _put_items(work: Work, task: Task) -> None:
    for item in work(task):
        _results.put(item)


def _die_with_parent() -> None:
    """Ends this process once its parent is gone, so that a killed run leaves no work behind."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        time.sleep(1)
    os._exit(1)


@contextlib.contextmanager
def _xla_flags(compile_fast: bool) -> Iterator[None]:
    """Environment for the children: one thread each, and XLA:CPU's compiler options."""
    before = os.environ.get("XLA_FLAGS")
    flags = [before or "", "--xla_cpu_multi_thread_eigen=false"]
    if compile_fast:
        # Of 3: a plan of `portfolio()` on a small world compiles in 4 s instead of 11 and runs a
        # fifth longer; products, which take the time of large models, are not compiled at all.
        flags.append("--xla_backend_optimization_level=1")
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
