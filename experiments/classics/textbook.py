"""What a textbook solver costs: direct collocation with CasADi and IPOPT, on two of the tasks.

    python -m experiments.classics.textbook --output=experiments/results/classics

It is given what no planner here gets: the equations as symbols, with exact first and second
derivatives. Every goal starts from the straight line and zero actions, as LatCo does; the cost is
the task's. Results are written as they finish; the same command resumes after a kill.
"""

import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.classics import runner
from experiments.classics.swinging import GRAVITY, CartPole, Pendulum
from experiments.classics.task import Task
from experiments.classics.tasks import all_tasks
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.harness.tables import print_table

NAME = "collocation (IPOPT)"
MAX_ITERATIONS = 1000

Symbols = Any


def pendulum(world: Pendulum, state: Symbols, action: Symbols) -> Symbols:
    """One step of the pendulum in CasADi's symbols."""
    import casadi as ca

    inertia = world.mass * world.length**2
    torque = action[0] - world.friction * state[1]
    gain = torque / inertia - GRAVITY / world.length * ca.sin(state[0])
    speed = state[1] + 0.05 * gain
    return ca.vertcat(state[0] + 0.05 * speed, speed)


def cart_pole(world: CartPole, state: Symbols, action: Symbols) -> Symbols:
    """One step of the cart-pole in CasADi's symbols."""
    import casadi as ca

    sine, cosine = ca.sin(state[1]), ca.cos(state[1])
    swing = world.pole * sine * (world.length * state[3] ** 2 + GRAVITY * cosine)
    push = (action[0] + swing) / (world.cart + world.pole * sine**2)
    turn = -(push * cosine + GRAVITY * sine) / world.length
    speed, turning = state[2] + 0.05 * push, state[3] + 0.05 * turn
    return ca.vertcat(state[0] + 0.05 * speed, state[1] + 0.05 * turning, speed, turning)


def _pendulum_cost(state: Symbols, goal: np.ndarray) -> Symbols:
    import casadi as ca

    return 2 * (1 - ca.cos(state[0] - goal[0])) + 0.1 * (state[1] - goal[1]) ** 2


def _cart_pole_cost(state: Symbols, goal: np.ndarray) -> Symbols:
    import casadi as ca

    speeds = (state[2] - goal[2]) ** 2 + (state[3] - goal[3]) ** 2
    return (state[0] - goal[0]) ** 2 + 2 * (1 - ca.cos(state[1] - goal[1])) + 0.1 * speeds


WORLDS: dict[str, tuple[Callable[..., Symbols], Callable[..., Symbols]]] = {
    "pendulum": (pendulum, _pendulum_cost),
    "cart_pole": (cart_pole, _cart_pole_cost),
}


def solve(task: Task, start: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, int]:
    """Actions `[T, A]` of the collocation problem, and IPOPT's iterations."""
    import casadi as ca

    step, cost = WORLDS[task.name.removesuffix("_2")]
    problem, horizon = ca.Opti(), task.horizon
    states = problem.variable(len(start), horizon + 1)
    actions = problem.variable(len(task.low), horizon)
    problem.subject_to(states[:, 0] == start)
    for t in range(horizon):
        following = step(task.dynamics, states[:, t], actions[:, t])
        problem.subject_to(states[:, t + 1] == following)
        for i, (low, high) in enumerate(zip(task.low, task.high, strict=True)):
            problem.subject_to(problem.bounded(low, actions[i, t], high))
    # The least effort makes the optimum unique, as the textbook has it.
    effort = 1e-4 * ca.sumsqr(actions) / float(np.max(task.high)) ** 2
    problem.minimize(cost(states[:, -1], goal) + effort)
    problem.set_initial(states, np.linspace(start, goal, horizon + 1).T)
    quiet = {"print_level": 0, "max_iter": MAX_ITERATIONS, "sb": "yes"}
    problem.solver("ipopt", {"print_time": False}, quiet)
    try:
        found = problem.solve()
    except RuntimeError:  # IPOPT gave up: what it has is what counts
        found = problem.debug
    values = np.asarray(found.value(actions), np.float32).reshape(len(task.low), horizon)
    return values.T, int(problem.stats()["iter_count"])


def run(task: Task, log: ResultLog, num_goals: int, seed: int) -> list[Record]:
    """Solves what the log does not hold, goal by goal."""
    states, goals = task.sample_batch(num_goals, seed)
    records = []
    for i in range(num_goals):
        key = {"environment": task.name, "planner": NAME, "settings": "", "seed": seed, "goal": i}
        record = log.lookup(**key)
        if record is None:
            began = time.perf_counter()
            actions, iterations = solve(task, np.asarray(states[i]), np.asarray(goals[i]))
            seconds = time.perf_counter() - began
            found = runner.achieved(task, states[i], goals[i], jnp.asarray(actions))
            record = {
                **key,
                "observation": "state",
                "mode": "open_loop",
                "horizon": task.horizon,
                "success": bool(found["success"]),
                "distance": float(found["distance"]),
                "seconds": seconds,
                "iterations": iterations,
            }
            log.append(record)
        records.append(record)
    return records


def define_flags() -> None:
    """Defines the flags; not on import, where they would clash with those of other binaries."""
    flags.DEFINE_integer("goals", 100, "Goals per task.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of starts and goals.")
    flags.DEFINE_string("output", "runs/classics", "Folder for results.")


def main(argv: list[str]) -> None:
    """Solves and prints."""
    begin(argv)
    given = flags.FLAGS
    log = ResultLog(pathlib.Path(given.output) / "results_textbook.jsonl", runner.KEY_FIELDS)
    records = [
        record for name in WORLDS for record in run(all_tasks()[name], log, given.goals, given.seed)
    ]
    shown = ("environment", "planner", "goals", "success", "median_seconds")
    print_table(runner.summarize(records), "Direct collocation", shown)


if __name__ == "__main__":
    define_flags()
    app.run(main)
