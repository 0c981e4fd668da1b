"""Plans from starts to goals through a model and scores the plans in the simulator.

The model is shown states or frames of them, as the task says, or is the world itself. Open loop,
the protocol is that of `experiments.planning.searches`. Closed loop, `grasp_jax.MPC` plans anew
every few model steps from what the simulator shows then, with the time that is left as its horizon;
what was seen before fills the window of models that read one.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.environments.goals import Goals
from experiments.harness.log import FLOOR, Record
from experiments.planning.cells import Cell
from experiments.planning.searches import padded, run_searches
from experiments.planning.tasks import STATE, Task
from grasp_jax import make_problem
from grasp_jax.rollout import trajectory

KEY_FIELDS = ("environment", "mode", "planner", "horizon", "goal")
OPEN_LOOP, CLOSED_LOOP = "open_loop", "closed_loop"


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a cell's goals are planned.

    Attributes:
      task: The environment.
      checkpoint: The model: a name or a file.
      replan_every: Model steps from plan to plan; None executes the first plan blindly.
      budget: Closed loop: time to act, in multiples of the horizon.
    """

    task: Task
    checkpoint: str
    replan_every: int | None = None
    budget: float = 1.0

    @property
    def mode(self) -> str:
        """`open_loop` or `closed_loop`."""
        return OPEN_LOOP if self.replan_every is None else CLOSED_LOOP

    @property
    def model(self) -> Any:
        """The model, read once per process."""
        return model_of(self.task, self.checkpoint)


class Encoded(NamedTuple):
    """Goals as the model sees them, leaves `[n, ...]`."""

    start: np.ndarray
    goal: np.ndarray
    context: grasp_jax.Context | None


@functools.cache
def goals_of(task: Task, count: int, horizon: int, seed: int, split: str) -> Goals:
    """The benchmark's goals, made once per process."""
    return task.goals(count, horizon, seed, split)


@functools.cache
def model_of(task: Task, checkpoint: str) -> Any:
    """The model, read once per process."""
    return task.load(checkpoint)


@jax.jit
def _encode(model: Any, frames: jax.Array) -> jax.Array:
    return model.encode(frames)


def encode_states(model: Any, task: Task, states: np.ndarray) -> np.ndarray:
    """The latents `[n, L]` of states `[n, S]`; of frames in chunks that share a program."""
    if task.observation == STATE:
        return np.asarray(model.encode(states), np.float32)
    size, parts = 128, []
    for low in range(0, len(states), size):
        part = states[low : low + size]
        frames = task.render(part[np.arange(size) % len(part)])
        parts.append(np.asarray(_encode(model, jnp.asarray(frames)))[: len(part)])
    return np.concatenate(parts)


@functools.cache
def encoded_goals(setting: Setting, count: int, horizon: int, seed: int, split: str) -> Encoded:
    """What the model sees of the benchmark's goals, made once per process."""
    task, model = setting.task, setting.model
    goals = goals_of(task, count, horizon, seed, split)
    start, goal = (encode_states(model, task, s) for s in (goals.start, goals.goal))
    return Encoded(start, goal, context_of(model, task, goals))


def context_of(model: Any, task: Task, goals: Goals) -> grasp_jax.Context | None:
    """Frames at the model steps before the start, and the actions from each to the next."""
    past, every = model.history - 1, model.frameskip
    if not past:
        return None
    count, steps, size = goals.past_states.shape
    states = goals.past_states[:, steps - every * past :: every]
    latents = encode_states(model, task, states.reshape(-1, size))
    actions = np.asarray(model.from_environment(goals.past_actions[:, steps - every * past :]))
    return grasp_jax.Context(latents.reshape(count, past, -1), actions.astype(np.float32))  # pyright: ignore[reportArgumentType]


def _rows(cell: Cell, numbers: np.ndarray) -> Encoded:
    """What the model sees of entries `[n]` of `todo`."""

    def row(number: int) -> Encoded:
        horizon, goal = cell.job(number)
        encoded = encoded_goals(cell.setting, cell.goals, horizon, cell.seed, cell.split)
        return jax.tree.map(lambda x: x[goal], encoded)

    return jax.tree.map(lambda *x: np.stack(x), *[row(number) for number in numbers])


def _keys(cell: Cell, numbers: np.ndarray) -> jax.Array:
    """Goal `i` has the key of `i` everywhere."""
    index = jnp.asarray([cell.job(number)[1] for number in numbers])
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(cell.seed), index)


def _steps(cell: Cell, horizon: int) -> int:
    return horizon // cell.setting.model.frameskip


def begin_search(cell: Cell, numbers: np.ndarray) -> grasp_jax.Search:
    """A fresh search for entries `[n]` of a cell's `todo`, from zero actions."""
    model, rows = cell.setting.model, _rows(cell, numbers)
    lengths = np.array([_steps(cell, cell.job(number)[0]) for number in numbers])
    return grasp_jax.start(
        grasp_jax.make_problem(
            model,
            rows.start,
            rows.goal,
            jnp.zeros((_steps(cell, cell.horizon), model.action_size), jnp.float32),
            bounds=model.bounds,
            objective=model.objective,
            context=rows.context,
            horizon=lengths if cell.horizons else None,
            batched=True,
        ),
        _keys(cell, numbers),
        planner=cell.planner,
    )


def _identity(cell: Cell, number: int) -> Record:
    horizon, goal = cell.job(number)
    replan = cell.setting.replan_every
    return {
        "environment": cell.setting.task.name,
        "observation": cell.setting.task.observation,
        "mode": cell.setting.mode,
        "horizon": horizon,
        "planner": cell.name,
        "goal": goal,
        "seed": cell.seed,
        "split": cell.split,
        **({} if replan is None else {"replan_every": replan}),
    }


def _goal(cell: Cell, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Start `[S]` and goal `[S]` of an entry of `todo`."""
    horizon, i = cell.job(number)
    goals = goals_of(cell.setting.task, cell.goals, horizon, cell.seed, cell.split)
    return goals.start[i], goals.goal[i]


def _outcome(task: Task, states: np.ndarray, goal: np.ndarray) -> Record:
    """What an execution `[N + 1, S]` achieved."""
    return {
        "success": bool(task.success(states[-1], goal)),
        "success_any_time": bool(np.any(task.success(states[1:], goal))),
        **task.errors(states[-1], goal),
    }


def _execute(cell: Cell, number: int, actions: np.ndarray, predicted: Any) -> Record:
    """Runs a plan `[T, P]` open loop; `predicted` is the latent that the model expects last."""
    task, model = cell.setting.task, cell.setting.model
    start, goal = _goal(cell, number)
    states = task.execute(start[None], np.asarray(model.to_environment(actions))[None])[0]
    measured = np.asarray(model.measure(jnp.asarray(predicted)))
    return {
        **_outcome(task, states, goal),
        "predicted_success": bool(task.predicted(measured, goal)),
    }


def run_cell(cell: Cell) -> Iterator[list[Record]]:
    """Plans and scores a cell; yields the records of one chunk of goals at a time."""
    if cell.planner is None:
        yield _fixed_actions(cell)
    elif cell.setting.replan_every is None:
        yield from run_searches(
            cell,
            functools.partial(begin_search, cell),
            functools.partial(_execute, cell),
            functools.partial(_identity, cell),
            cell.setting.task.success_cost,
        )
    else:
        for first in range(0, len(cell.todo), cell.chunk):
            yield _control(cell, cell.todo[first : first + cell.chunk])


def _fixed_actions(cell: Cell) -> list[Record]:
    """The zero-action floor, or the ceiling: the recorded actions that reached the goals."""
    setting, index = cell.setting, np.asarray(cell.todo)
    recorded = []
    for horizon, goal in map(cell.job, cell.todo):
        goals = goals_of(setting.task, cell.goals, horizon, cell.seed, cell.split)
        recorded.append(setting.model.from_environment(goals.actions[goal]))
    lengths = np.array([len(actions) for actions in recorded])
    plans = np.zeros((len(recorded), max(lengths), setting.model.action_size), np.float32)
    if cell.name != FLOOR:
        for plan, actions in zip(plans, recorded, strict=True):
            plan[: len(actions)] = actions
    rows = _rows(cell, index)
    states, costs = _roll(setting.model, rows, plans, lengths)
    return [
        {
            **_identity(cell, number),
            **_execute(cell, number, plans[row, :length], np.asarray(states[row, length])),
            "cost": float(costs[row]),
            "model_forward": float(length),
            "model_backward": 0.0,
        }
        for row, (number, length) in enumerate(zip(cell.todo, lengths, strict=True))
    ]


@eqx.filter_jit
def _roll(
    model: Any, rows: Encoded, actions: np.ndarray, lengths: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """States `[n, T + 1, L]` that the model expects of actions `[n, T, P]`, and costs `[n]`."""

    def one(row: Encoded, actions: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        problem = make_problem(
            dynamics=model,
            state=row.start,
            goal=row.goal,
            init_actions=actions,
            bounds=model.bounds,
            objective=model.objective,
            context=row.context,
            horizon=length,
        )
        states = trajectory(problem, problem.init_actions)
        return states, problem.cost(states[1:], problem.init_actions)

    return jax.vmap(one)(rows, jnp.asarray(actions), jnp.asarray(lengths))


@eqx.filter_jit
def _control_step(
    controller: grasp_jax.MPC, memory: grasp_jax.MPCState, frames: jax.Array, goal: jax.Array
) -> tuple[jax.Array, grasp_jax.MPCState]:
    """One control step of `n` episodes from what is seen of them: actions `[n, P]`."""
    observed = controller.problem.dynamics.encode(frames)
    actions, memory, _ = controller.step_batch(memory, observed, goal)
    return actions, memory


def _control(cell: Cell, todo: tuple[int, ...]) -> list[Record]:
    """Closed loop for some goals side by side."""
    setting = cell.setting
    task, model, steps = setting.task, setting.model, _steps(cell, cell.horizon)
    index = padded(cell, todo)
    rows = _rows(cell, index)
    ends = [_goal(cell, number) for number in index]
    goal, context = jnp.asarray(rows.goal), jax.tree.map(jnp.asarray, rows.context)
    first = jax.tree.map(lambda x: x[0], (jnp.asarray(rows.start), goal, context))
    problem = make_problem(
        dynamics=model,
        state=first[0],
        goal=first[1],
        init_actions=jnp.zeros((steps, model.action_size)),
        bounds=model.bounds,
        objective=model.objective,
        context=first[2],
    )
    controller = grasp_jax.MPC(
        problem,
        cell.planner,
        replan_every=min(setting.replan_every, steps),
        shrinking_horizon=True,
    )
    memory = controller.init_batch(_keys(cell, index), context)
    states, spent = [np.stack([start for start, _ in ends])], []
    began = time.perf_counter()
    frames = jnp.asarray(task.render(states[-1]))
    jax.block_until_ready(_control_step(controller, memory, frames, goal))
    compile_seconds = time.perf_counter() - began
    for _ in range(math.ceil(setting.budget * steps)):
        frames = jnp.asarray(task.render(states[-1]))
        began = time.perf_counter()
        actions, memory = jax.block_until_ready(_control_step(controller, memory, frames, goal))
        spent.append((time.perf_counter() - began) / len(index))
        commands = np.asarray(model.to_environment(np.asarray(actions)[:, None]))
        states += list(np.moveaxis(task.execute(states[-1], commands)[:, 1:], 1, 0))
    episodes = np.stack(states, axis=1)
    return [
        {
            **_identity(cell, number),
            **_outcome(task, episodes[row], ends[row][1]),
            "seconds": round(sum(spent), 5),
            "control_seconds": round(float(np.mean(spent)), 6),
            "control_steps": len(spent),
            "compile_seconds": round(compile_seconds, 2),
        }
        for row, number in enumerate(todo)
    ]
