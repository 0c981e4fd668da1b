"""Times of one benchmark cell: a planner's iteration beside the bare model.

The roofline is the model's own batched forward pass over the `T` terms of all goals, and the same
with the VJP into the actions, each inside a loop of a compiled program, as an iteration is. All
repeats alternate, so that whatever disturbs the machine disturbs all of them.
"""

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

import grasp_jax
from experiments.harness.log import Record
from experiments.speed.models import ACTION_SIZE, Workload
from grasp_jax import programs
from grasp_jax._frozen import Frozen
from grasp_jax._tree import is_number
from grasp_jax.planners.base import LiftedPlanner
from grasp_jax.planners.sampling import Sampler
from grasp_jax.problem import Problem

Thunk = Callable[[], Any]


def medians(thunks: Mapping[str, Thunk], repeats: int) -> dict[str, float]:
    """Median seconds of each, repeats interleaved, after one call to warm up."""
    for thunk in thunks.values():
        jax.block_until_ready(thunk())
    spent: dict[str, list[float]] = {name: [] for name in thunks}
    for _ in range(repeats):
        for name, thunk in thunks.items():
            began = time.perf_counter()
            jax.block_until_ready(thunk())
            spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(s) for name, s in spent.items()}


def compiled(function: Any, *arguments: Any, **static: Any) -> tuple[Any, float]:
    """A compiled program and the seconds that tracing and compiling it took."""
    began = time.perf_counter()
    program = function.lower(*arguments, **static).compile()
    return program, time.perf_counter() - began


def temporary_bytes(program: Any) -> int | None:
    """Bytes that a compiled program needs beside its arguments and results, where JAX knows."""
    found = program.memory_analysis()
    return None if found is None else int(found.temp_size_in_bytes)


def peak_process_bytes() -> int:
    """Highest resident memory of this process so far."""
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def roofline(workload: Workload, horizon: int, loops: int) -> dict[str, Thunk]:
    """The bare model on the `T` terms of all goals, `loops` times: forward, and with the VJP."""
    goals = len(jax.tree.leaves(workload.start)[0])
    base = workload.problem(horizon)
    window = (base.window,) if workload.context is not None else ()

    def fill(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x.reshape(goals, 1, *(1,) * len(window), *x.shape[1:]),
                                (goals, horizon, *window, *x.shape[1:])) + 0  # fmt: skip

    states = jax.tree.map(fill, workload.start)
    slope = jax.tree.map(
        lambda x: jnp.broadcast_to(x[:, None], (goals, horizon, *x.shape[1:])), workload.goal
    )

    def terms(problem: Problem, states: Any, actions: jax.Array) -> Any:
        return jax.vmap(problem.step)(states, problem.windows(actions))

    def forward(problem: Problem, states: Any, actions: jax.Array, slope: Any) -> jax.Array:
        found = terms(problem, states, actions)
        return actions + 1e-9 * sum(x.ravel()[0] for x in jax.tree.leaves(found))

    def both(problem: Problem, states: Any, actions: jax.Array, slope: Any) -> jax.Array:
        found, pull = jax.vjp(lambda a: terms(problem, states, a), actions)
        return actions - 1e-9 * pull(jax.tree.map(jnp.add, found, slope))[0]

    def repeat(step: Any) -> Thunk:
        def run(problem: Problem, states: Any, actions: jax.Array, slope: Any) -> jax.Array:
            every = jax.vmap(step, (None, 0, 0, 0))
            body = lambda a, _: (every(problem, states, a, slope), None)  # noqa: E731
            return jax.lax.scan(body, actions, None, length=loops)[0]

        actions = 0.1 * jax.random.normal(jax.random.key(3), (goals, horizon, ACTION_SIZE))
        program, _ = compiled(jax.jit(run), base, states, actions, slope)
        return lambda: program(base, states, actions, slope)

    return {"forward": repeat(forward), "vjp": repeat(both)}


def parts(planner: Any) -> list[tuple[Any, float]]:
    """What a whole plan is made of: planners without a sync, and how many iterations of each."""
    sync = getattr(planner, "sync", None)
    if sync is None:
        return [(planner, planner.iterations)]
    lifted = dataclasses.replace(planner, sync=None)
    syncs = planner.iterations // planner.sync_every
    return [(lifted, planner.iterations), (sync, syncs * sync.iterations)]


def searching(workload: Workload, horizon: int, planner: Any, loops: int) -> tuple[Thunk, Any]:
    """`loops` iterations of a planner for all goals as one thunk, and its search."""
    problem = grasp_jax.make_problem(
        workload.model,
        workload.start,
        workload.goal,
        jnp.zeros((horizon, ACTION_SIZE)),
        objective=workload.objective,
        context=workload.context,
        batched=True,
    )
    search = grasp_jax.start(problem, jax.random.key(0), planner=planner)
    program, _ = compiled(programs.advance, search, iterations=loops)
    leaves, _ = programs.advance.flatten(search)
    return lambda: program(leaves), search


def whole_plan(workload: Workload, horizon: int, planner: Any) -> tuple[Thunk, float, int | None]:
    """A whole `plan_batch` as a thunk, the seconds of its compilation, its temporary bytes."""
    goals = len(jax.tree.leaves(workload.start)[0])
    problem = grasp_jax.make_problem(
        workload.model,
        workload.start,
        workload.goal,
        jnp.zeros((goals, horizon, ACTION_SIZE)),
        objective=workload.objective,
        context=workload.context,
        batched=True,
    )
    call = problem, Frozen(planner, is_number), jax.random.key(0)
    program, seconds = compiled(programs.solve, *call, batch_size=None)
    leaves, _ = programs.solve.flatten(*call)
    return lambda: program(leaves), seconds, temporary_bytes(program)


def compile_only(workload: Workload, horizon: int, planner: Any, loops: int, whole: bool) -> None:
    """Compiles what `measure` will run, for JAX's persistent cache; times nothing.

    Args:
      workload: Model and goals.
      horizon: `T`.
      planner: Any planner of the library.
      loops: Iterations per timed call.
      whole: Whole plans, too.
    """
    for part, _ in parts(planner):
        searching(workload, horizon, part, loops)
    if whole:
        whole_plan(workload, horizon, planner)


def measure(
    workload: Workload,
    horizon: int,
    planner: Any,
    bare_model: Mapping[str, Thunk],
    repeats: int,
    loops: int,
    plan_limit: float | None,
) -> Record:
    """One cell: iteration, roofline, whole plan, compilation, memory, evaluations.

    Args:
      workload: Model and goals.
      horizon: `T`.
      planner: Any planner of the library.
      bare_model: `roofline` of the same workload, horizon and loops; empty for none.
      repeats: Interleaved repeats of every timing.
      loops: Iterations per timed call.
      plan_limit: A whole plan that should take longer than this many seconds is not run; its time
        is then summed up from its parts. None does not even compile it.
    """
    goals = len(jax.tree.leaves(workload.start)[0])
    thunks = dict(bare_model)
    counts = []
    for i, (part, iterations) in enumerate(parts(planner)):
        thunk, _ = searching(workload, horizon, part, loops)
        thunks[f"part{i}"] = thunk
        rows = thunk()[1]
        counts.append((iterations, float(rows.model_evals.mean()), float(rows.model_vjps.mean())))
    spent = {name: s / loops for name, s in medians(thunks, repeats).items()}
    expected = sum(n * spent[f"part{i}"] for i, (n, _, _) in enumerate(counts))
    plan, compile_seconds, bytes_ = None, None, None
    if plan_limit is not None:
        plan, compile_seconds, bytes_ = whole_plan(workload, horizon, planner)
    run = plan is not None and plan_limit is not None and expected <= plan_limit
    seconds = medians({"plan": plan}, 1)["plan"] if run and plan else expected
    if getattr(jax.config, "jax_compilation_cache_dir", None):
        compile_seconds = None  # it may have been loaded
    record = {
        "iteration_ms": 1e3 * spent["part0"],
        **(_beside_bare_model(spent, horizon, *counts[0][1:]) if bare_model else {}),
        "plan_seconds": seconds,
        "plan_measured": run,
        "plans_per_second": goals / seconds,
        "compile_seconds": compile_seconds,
        "temporary_mb": None if bytes_ is None else bytes_ / 1e6,
        "process_peak_mb": peak_process_bytes() / 1e6,
        "serial_depth": _serial_depth(planner, horizon),
        "model_forward": sum(n * f for n, f, _ in counts),
        "model_backward": sum(n * b for n, _, b in counts),
    }
    if len(counts) > 1:
        record["sync_step_ms"] = 1e3 * spent["part1"]
    return record


def _beside_bare_model(
    spent: Mapping[str, float], horizon: int, forward: float, backward: float
) -> Record:
    """The bare model's times, and an iteration's over that of its model calls side by side.

    Args:
      spent: Seconds of `forward`, `vjp` and the iteration (`part0`).
      horizon: `T`.
      forward: One-step model evaluations of an iteration.
      backward: One-step model derivatives of an iteration.
    """
    derivative = max(spent["vjp"] - spent["forward"], 0.0)
    bare = (forward * spent["forward"] + backward * derivative) / horizon
    return {
        "forward_ms": 1e3 * spent["forward"],
        "forward_vjp_ms": 1e3 * spent["vjp"],
        "ratio": spent["part0"] / bare,
    }


def _serial_depth(planner: Any, horizon: int) -> int | None:
    """Model calls and derivatives of a whole plan's iterations that have to follow each other.

    None for rollouts parallel in time, whose sweeps vary.
    """
    depth = 0
    for part, iterations in parts(planner):
        if getattr(part, "parallel_in_time", False):
            return None
        steps = 1 if isinstance(part, LiftedPlanner) else horizon
        passes = 1 if isinstance(part, Sampler) else 2
        depth += int(iterations) * steps * passes
    return depth
