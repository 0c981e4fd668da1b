"""Plans and drives episodes of the point mazes, open loop and closed loop."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.environments import ogbench_maze
from experiments.environments.ogbench_maze import Episode
from experiments.harness.log import Record
from experiments.ogbench.planners import AHEAD, PACE, STEPS, Row
from experiments.ogbench.worlds import FRAMES, World, stack
from grasp_jax.proposals import PathTree, ProposedPath, straight_line
from grasp_jax.subgoals import SubgoalMPC
from grasp_jax.tracking import tracking_objective

BOUNDS = (-1.0, 1.0)
LEAVE_DISTANCE = 1.5
KNOWN_STATES = 40


class Case(NamedTuple):
    """An episode's number in the tables, and the episode."""

    number: int
    episode: Episode


def cases(maze: str, seed: int, episodes: int, first: int = 0) -> list[Case]:
    """The five tasks, `episodes` each; seeds of the tables are 0, 1, 2, those of tuning 9."""
    numbers = range(first, first + episodes)
    return [
        Case((t - 1) * 1000 + i, Episode(maze, t, 1_000_000 * (seed + 1) + 1000 * t + i))
        for i in numbers
        for t in ogbench_maze.TASKS
    ]


def at_pace(state: jax.Array, goal: jax.Array, *, num_states: int) -> ProposedPath:
    """The straight line at the pace of the other paths, through whatever is in the way."""
    way = goal - state
    length = jnp.linalg.norm(way)
    shares = jnp.minimum(PACE * jnp.arange(1, num_states + 1) / jnp.maximum(length, 1e-6), 1)
    return ProposedPath(state + shares[:, None] * way, length / PACE, jnp.asarray(True))


def _ways(world: World, row: Row, goals: np.ndarray) -> PathTree | None:
    """The trees of shortest ways to goals `[n, 2]`, where the row follows any."""
    if row.path not in ("graph", "oracle"):
        return None
    ways = world.known_ways if row.path == "graph" else world.oracle
    return stack([ways(g) for g in goals])


def _propose(row: Row, tree: PathTree | None) -> Callable[..., ProposedPath]:
    """The row's proposer for one goal."""
    if row.path is None:
        return straight_line
    if tree is None:
        return at_pace
    return lambda s, g, num_states: tree(s, g, num_states=num_states, pace=PACE)


def plan_open(world: World, row: Row, start: Any, goal: Any, tree: Any, key: Any) -> Any:
    """One plan of `STEPS` model steps; traced. Returns actions `[T, 2]`, and what was spent."""
    zeros = jnp.zeros((STEPS, 2))
    path = _propose(row, tree)(start, goal, num_states=STEPS - 1).states
    if row.lifted is not None or row.path is None:
        plan = grasp_jax.plan(
            world.model, start, goal, zeros, key, planner=row.planner(path), bounds=BOUNDS
        )
    else:
        plan = grasp_jax.plan(
            world.model,
            start,
            jnp.concatenate([path, goal[None]]),
            zeros,
            key,
            planner=row.planner(path),
            bounds=BOUNDS,
            objective=tracking_objective(),
        )
    final = plan.states[-1]
    spent = jnp.sum(plan.metrics.model_evals), jnp.sum(plan.metrics.model_vjps)
    return plan.actions, jnp.linalg.norm(final - goal), spent


def open_loop(world: World, row: Row, chosen: list[Case], chunk: int = 25) -> Iterator[Record]:
    """Plans `chunk` episodes side by side, then drives each blindly.

    `seconds` are processor seconds of this process per episode, on one core, ways to the goal and
    paths included, compilation apart.
    """

    def plan(starts: Any, goals: Any, trees: Any, keys: Any) -> Any:
        one = lambda s, g, t, k: plan_open(world, row, s, g, t, k)  # noqa: E731
        return jax.vmap(one)(starts, goals, trees, keys)

    compiled: Any = None
    chunk = min(chunk, len(chosen))
    for first in range(0, len(chosen), chunk or 1):
        part = chosen[first : first + chunk]
        padded = [part[i % len(part)] for i in range(chunk)]
        ends = [c.episode.begin(world.env) for c in padded]
        seen = [world.observe(np.stack(x)) for x in zip(*ends, strict=True)]
        starts, goals = map(world.encode, seen)
        keys = jax.random.split(jax.random.key(part[0].episode.seed), chunk)
        if compiled is None:
            trees = _ways(world, row, np.asarray(goals))
            compiled = jax.jit(plan).lower(starts, goals, trees, keys).compile()
        began = time.process_time()
        starts, goals = map(world.encode, seen)
        found = compiled(starts, goals, _ways(world, row, np.asarray(goals)), keys)
        actions, misses, spent = jax.block_until_ready(found)
        seconds = (time.process_time() - began) / chunk
        for i, case in enumerate(part):
            case.episode.begin(world.env)
            policy = ogbench_maze.replay(np.repeat(np.asarray(actions[i]), FRAMES, 0))
            success, positions = ogbench_maze.run(world.env, policy)
            yield _record(world, row, "open_loop", case, success, positions) | {
                "predicted_success": bool(misses[i] <= ogbench_maze.GOAL_RADIUS),
                "seconds": seconds,
                "model_forward": float(spent[0][i]),
                "model_backward": float(spent[1][i]),
            }


def closed_loop(world: World, row: Row, chosen: list[Case]) -> Iterator[Record]:
    """Drives one episode after the other; a control step is `FRAMES` environment steps.

    `seconds` are processor seconds of planning in the whole episode, on one core.
    """
    zero = jnp.zeros(2)
    problem = grasp_jax.make_problem(world.model, zero, zero, jnp.zeros((AHEAD, 2)), bounds=BOUNDS)

    def controller(tree: Any) -> SubgoalMPC:
        return SubgoalMPC(
            problem=problem,
            proposer=_propose(row, tree),
            planner=row.planner,
            num_states=KNOWN_STATES,
            leave_distance=LEAVE_DISTANCE,
        )

    @jax.jit
    def begin(start: Any, goal: Any, tree: Any, key: Any) -> Any:
        return controller(tree).init(start, goal, key)

    @jax.jit
    def step(memory: Any, start: Any, goal: Any, tree: Any) -> Any:
        action, memory, _ = controller(tree).step(memory, start, goal)
        return action, memory

    warm = False
    for case in chosen:
        start, goal = case.episode.begin(world.env)
        seen, wanted = (world.observe(x[None]) for x in (start, goal))
        state = np.random.get_state()
        for _ in range(1 if warm else 2):
            began = time.process_time()
            here, target = (world.encode(x)[0] for x in (seen, wanted))
            trees = _ways(world, row, np.asarray(target)[None])
            tree = None if trees is None else jax.tree.map(lambda x: x[0], trees)
            memory = begin(here, target, tree, jax.random.key(case.episode.seed))
            jax.block_until_ready(step(memory, here, target, tree))
            spent = time.process_time() - began
        np.random.set_state(state)
        warm, positions, success, steps = True, [start], False, 0
        while not success and steps < ogbench_maze.MAX_STEPS:
            seen = world.observe(positions[-1][None])
            began = time.process_time()
            here = world.encode(seen)[0]
            action, memory = step(memory, here, target, tree)
            action = np.asarray(action)
            spent += time.process_time() - began
            hold = ogbench_maze.replay(np.repeat(action[None], FRAMES, 0))
            success, passed = ogbench_maze.run(world.env, hold, FRAMES)
            positions.extend(passed[1:])
            steps += FRAMES
        yield _record(world, row, "closed_loop", case, success, np.stack(positions)) | {
            "seconds": spent
        }


def _record(
    world: World, row: Row, mode: str, case: Case, success: bool, positions: np.ndarray
) -> Record:
    return {
        "environment": f"pointmaze-{world.maze}-{world.kind}",
        "observation": world.observation,
        "mode": mode,
        "horizon": ogbench_maze.MAX_STEPS,
        "planner": row.name,
        "goal": case.number,
        "task": case.episode.task,
        "seed": case.episode.seed // 1_000_000 - 1,
        "success": bool(success),
        "success_any_time": bool(success),
        "steps": len(positions) - 1,
        "distance": float(np.linalg.norm(positions[-1] - world.env.cur_goal_xy)),
    }
