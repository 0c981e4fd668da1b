r"""Push-T's far goals: 50 to 200 recorded steps away, closed loop, from pixels.

    python -m experiments.pusht.far --goals=50 --output=runs/pusht_far
    python -m experiments.pusht.far --split=tune --goals=10 --offsets=100   # to choose settings

Every few model steps the planner sees a frame and plans anew: flat, straight for the goal's frame,
or for a state on a path that comes from recorded pushes, from their graph, or (a ceiling) from the
frames that the goal's own recording passed. A plan arrives when the first one said, or later where
the last one does not arrive at all; plans are not put off at every step: `grasp_jax.MPC` with a
horizon that shrinks, `SubgoalMPC` along paths. An episode has twice the recorded time; where the
present frame shows the goal reached, the agent rests for a model step and the episode ends. One
JSON line per episode; resumes.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import grasp_jax
from experiments.environments.pusht import simulator as pusht
from experiments.harness import plots
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog, read_results
from experiments.harness.progress import progress
from experiments.harness.summary import summarise
from experiments.harness.tables import print_table, write_summary
from experiments.planning import runner, tasks
from experiments.pusht import far_rows
from experiments.pusht.far_rows import Row
from experiments.pusht.recorded import make_index, record
from grasp_jax import MPC
from grasp_jax.paths_from_data import StateIndex
from grasp_jax.subgoals import SubgoalMPC, SubgoalState

KEY_FIELDS = ("environment", "mode", "planner", "horizon", "goal", "split")


class Episode(NamedTuple):
    """A goal: its number, offset (environment steps), and what the model sees of it.

    Attributes:
      states: `[offset / 5 + 1, S]`, what the recording passed, start and goal included.
      start, goal: Latents `[L]`.
      context: The window before the start.
    """

    number: int
    offset: int
    states: np.ndarray
    start: np.ndarray
    goal: np.ndarray
    context: Any


class World(NamedTuple):
    """The task, its model, and the graph over recorded frames (None where no row needs it)."""

    setting: runner.Setting
    index: StateIndex | None

    @property
    def model(self) -> Any:
        """The world model."""
        return self.setting.model


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("output", "runs/pusht_far", "Folder of the results.")
    flags.DEFINE_string("data", "data/pusht_far", "Folder of the recorded frames' latents.")
    flags.DEFINE_list("offsets", ["50", "75", "100", "150", "200"], "Environment steps.")
    flags.DEFINE_list("rows", list(far_rows.rows()), "Rows of `far_rows`.")
    flags.DEFINE_integer("goals", 50, "Goals per offset, the same for every row.", 1)
    flags.DEFINE_integer("pieces", 600, "Recorded pieces of 120 steps.", 1)
    flags.DEFINE_integer("nodes", 4000, "Nodes of their graph.", 1)
    flags.DEFINE_enum("split", "report", ["report", "tune"], "Which goals.")


def episodes(setting: runner.Setting, count: int, offset: int, split: str) -> list[Episode]:
    """The goals of an offset."""
    goals = runner.goals_of(setting.task, count, offset, 0, split)
    seen = runner.encoded_goals(setting, count, offset, 0, split)
    passed = setting.task.execute(goals.start, goals.actions)[:, :: setting.task.frameskip]
    return [
        Episode(i, offset, passed[i], *jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), seen))
        for i in range(count)
    ]


def _proposal(world: World, row: Row, latent: np.ndarray, known: Any) -> Any:
    """What the row's path comes from now: a tree, a list of states; None where nothing is known."""
    if row.path != "segments" or known is None:
        return known
    assert world.index is not None
    try:
        found = world.index.segment(latent, known, far_rows.SEGMENT, far_rows.NEIGHBORS).states[1:]
    except ValueError:  # nothing recorded near
        return None
    # One row alone: no recorded way from here comes nearer to the goal.
    return _padded(found, found[-1], row.num_states) if len(found) else None


def _padded(rows: np.ndarray, last: np.ndarray, count: int) -> jax.Array:
    """Rows `[n, L]`, cut or followed by `last`: `[count, L]`."""
    missing = max(count - len(rows), 0)
    return jnp.asarray(np.concatenate([rows[:count], np.repeat(last[None], missing, 0)]))


def _knowledge(world: World, row: Row, episode: Episode) -> Any:
    """What is found once per goal: the ways to it, or what the recording passed."""
    if row.path == "truth":
        passed = runner.encode_states(world.model, world.setting.task, episode.states)
        return _padded(passed[1:], np.asarray(episode.goal), row.num_states)
    if row.path is None:
        return None
    assert world.index is not None
    try:
        return world.index.towards(episode.goal)
    except ValueError:  # nothing recorded near the goal
        return None


class Controller:
    """A row's controller, compiled once for all goals."""

    def __init__(self, world: World, row: Row, first: Episode):
        """Compiles nothing yet; `first` tells the shapes."""
        model = world.model
        problem = grasp_jax.make_problem(
            dynamics=model,
            state=first.start,
            goal=first.goal,
            init_actions=jnp.zeros((row.ahead, model.action_size)),
            bounds=model.bounds,
            objective=model.objective,
            context=first.context,
        )

        start, step = (_along_paths if row.path else _flat)(row, problem)
        self.start, self.step = jax.jit(start), jax.jit(step)
        self.see = jax.jit(lambda frames: model.encode(frames)[0])


def _flat(row: Row, problem: grasp_jax.Problem) -> tuple[Callable, Callable]:
    """First memory and control step of plans straight for the goal; no path is read."""
    controller = MPC(
        problem, row.search, replan_every=far_rows.REPLAN_EVERY, target_cost=row.target_cost
    )

    def start(latent: Any, goal: Any, path: Any, context: Any, key: Any) -> Any:
        del latent, goal, path
        return dataclasses.replace(controller.init(key), context=context)

    def step(memory: Any, latent: Any, goal: Any, path: Any, horizon: Any) -> Any:
        del path
        action, memory, _ = controller.step(memory, latent, goal, horizon=horizon)
        return action, memory

    return start, step


def _along_paths(row: Row, problem: grasp_jax.Problem) -> tuple[Callable, Callable]:
    """The same along paths, which know themselves when they arrive."""

    def control(path: Any) -> SubgoalMPC:
        return SubgoalMPC(
            problem=problem,
            proposer=far_rows.proposer(path),
            planner=row.planner,
            num_states=row.num_states,
            leave_distance=far_rows.LEAVE_DISTANCE,
            replan_every=far_rows.REPLAN_EVERY,
            min_horizon=far_rows.MIN_HORIZON,
            target_cost=row.target_cost,
        )

    def start(latent: Any, goal: Any, path: Any, context: Any, key: Any) -> Any:
        memory = control(path).init(latent, goal, key)
        return memory._replace(mpc=dataclasses.replace(memory.mpc, context=context))

    def step(memory: Any, latent: Any, goal: Any, path: Any, horizon: Any) -> Any:
        del horizon
        action, memory, _ = control(path).step(memory, latent, goal)
        return action, memory

    return start, step


def drive(world: World, row: Row, controller: Controller, episode: Episode) -> Record:
    """One episode."""
    task, model = world.setting.task, world.model
    goal_seen = tasks.pusht_seen(model.measure(episode.goal))
    states, memory, arrived, due, spent = [episode.states[0]], None, False, None, []
    known = _knowledge(world, row, episode)
    recorded = episode.offset // task.frameskip
    for step in range(far_rows.BUDGET * recorded):
        frames = jnp.asarray(task.render(states[-1][None]))
        began = time.process_time()
        latent = controller.see(frames)
        if arrived := _reached(tasks.pusht_seen(model.measure(latent)), goal_seen):
            break
        path = _proposal(world, row, np.asarray(latent), known)
        if memory is None:
            key = jax.random.fold_in(jax.random.key(0), episode.number)
            memory = controller.start(latent, episode.goal, path, episode.context, key)
        due = far_rows.arrival(step, due, _last_cost(memory), recorded)
        left = max(due - step, far_rows.MIN_HORIZON)
        action, memory = controller.step(memory, latent, episode.goal, path, left)
        commands = np.asarray(model.to_environment(np.asarray(action)[None]))
        spent.append(time.process_time() - began)
        states += list(task.execute(states[-1][None], commands[None])[0, 1:])
    rest = np.zeros((1, task.frameskip, 2))
    states += list(task.execute(states[-1][None], rest)[0, 1:])
    driven, goal = np.stack(states), episode.states[-1]
    return {
        "success": bool(task.success(driven[-1], goal)),
        "success_any_time": bool(np.any(task.success(driven, goal))),
        "arrived": arrived,
        "steps": len(driven) - 1,
        **task.errors(driven[-1], goal),
        "seconds": round(sum(spent), 5),
        "control_seconds": round(float(np.mean(spent)), 6) if spent else 0.0,
        "control_steps": len(spent),
    }


def _last_cost(memory: Any) -> float:
    """Of the last plan that a controller made."""
    return float((memory.mpc if isinstance(memory, SubgoalState) else memory).cost)


def _reached(seen: np.ndarray, goal: np.ndarray) -> bool:
    """Whether a state `[10]` lies so well inside the tolerances that the agent may rest."""
    near = pusht.position_error(seen, goal) < far_rows.INSIDE * pusht.POSITION_TOLERANCE
    return bool(near and pusht.angle_error(seen, goal) < far_rows.INSIDE * pusht.ANGLE_TOLERANCE)


def _identity(row: str, episode: Episode, split: str) -> Record:
    return {
        "environment": "pusht_far",
        "observation": "pixels",
        "mode": "closed_loop",
        "horizon": episode.offset,
        "planner": row,
        "goal": episode.number,
        "split": split,
    }


def todo(world: World, log: ResultLog, names: list[str]) -> Iterator[tuple[str, Episode]]:
    """Rows and episodes not recorded yet, goal by goal: a run that ends early is paired."""
    given = flags.FLAGS
    offsets = [int(offset) for offset in given.offsets]
    every = {o: episodes(world.setting, given.goals, o, given.split) for o in offsets}
    for number, offset, name in itertools.product(range(given.goals), offsets, names):
        key = _identity(name, every[offset][number], given.split)
        if not log.done(**{k: key[k] for k in KEY_FIELDS}):
            yield name, every[offset][number]


def run(world: World, log: ResultLog, names: list[str]) -> None:
    """Drives what is missing."""
    rows, controllers = far_rows.rows(), {}
    work = list(todo(world, log, names))
    with progress(len(work), "episodes") as bar:
        for name, episode in work:
            if name not in controllers:
                controllers[name] = Controller(world, rows[name], episode)
                drive(world, rows[name], controllers[name], episode)  # compiles
            found = drive(world, rows[name], controllers[name], episode)
            log.append({**_identity(name, episode, flags.FLAGS.split), **found})
            bar(latest=f"{name} {episode.offset}: {found['success']}")


def main(argv: Sequence[str]) -> None:
    """Drives, prints, writes the summary."""
    begin(argv)
    given, rows = flags.FLAGS, far_rows.rows()
    if unknown := sorted(set(given.rows) - set(rows)):
        raise app.UsageError(f"--rows: unknown {unknown}; known are {sorted(rows)}.")
    setting = runner.Setting(tasks.PUSHT, tasks.PUSHT.checkpoint, replan_every=1)
    folder = pathlib.Path(given.output)
    log = ResultLog(folder / f"{'results' if given.split == 'report' else 'tuning'}.jsonl",
                    KEY_FIELDS)  # fmt: skip
    index = None
    if any(rows[name].path in ("graph", "segments") for name in given.rows):
        seen = record(pathlib.Path(given.data), setting.task, setting.model, given.pieces)
        index = make_index(seen, given.nodes)
    run(World(setting, index), log, given.rows)
    records = read_results(folder) if given.split == "report" else log.records
    found = summarise(sorted(records, key=lambda r: r["horizon"]))
    if given.split == "report":
        write_summary(folder / "summary.csv", found)
        title = "Push-T from pixels, closed loop: goals that far in the recording"
        plots.success_against_horizon(found, folder / "success_against_offset.png", title)
    print_table(found, "Push-T, far goals from pixels, closed loop")


if __name__ == "__main__":
    define_flags()
    app.run(main)
