r"""One search over hundreds of model steps, and what segments buy: the giant maze, step by step.

    python -m experiments.ogbench.depth --data=data/ogbench

The model's step is one environment step here, so that an episode is up to a thousand steps long.
Two questions, one JSON line per search:
  length: time and success against T, from the same path: the lifted fit, segments, a serial
    gradient search and CEM that track it. Ways of growing length lead to the far task's goal.
  width: success, distance to the path and depth against the segments' width w at a fixed number of
    iterations, from the path as it is and from one whose states are off by white noise, so that no
    actions follow it step by step.
"""

import itertools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import grasp_jax
from experiments.environments import ogbench_maze
from experiments.harness.flags import begin
from experiments.harness.log import Record, ResultLog
from experiments.ogbench import model as models
from experiments.ogbench import runs, train, worlds
from grasp_jax import CEM, GD, GRASP, Chain, Colored, GivenPath, Segments
from grasp_jax.tracking import tracking_objective

MAZE, KIND, FRAMES = "giant", "stitch", 1
PACE = 0.8 / worlds.FRAMES
LENGTHS = (50, 100, 200, 400, 700)
SEED = 5
WIDTHS, WIDTH_HORIZON, WIDTH_ITERATIONS = (1, 5, 20, 100), 200, 100
PATH_NOISES = (0.1, 0.0)
KEY_FIELDS = ("study", "planner", "horizon", "width", "iterations", "path_noise", "goal")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("data", "data/ogbench", "Folder of the recordings.")
    flags.DEFINE_string("models", str(train.CHECKPOINTS), "Folder of the world models.")
    flags.DEFINE_string("output", "outputs/ogbench_states", "Folder of the results.")
    flags.DEFINE_integer("goals", 5, "Episodes per point.", 1)


def fit(states: Any, iterations: int = 30, rate: float = 10.0) -> GRASP:
    """The lifted fit. A step moves by 0.2 per unit of action: curvature 0.08, best rate 12.5."""
    return GRASP(
        iterations=iterations,
        state_rate=0.0,
        action_rate=rate,
        goal_weight=0.0,
        state_std=None,
        init_states=GivenPath(states),
        optimizer=optax.sgd,
        sync=None,
    )


def rounds(states: Any, width: int, iterations: int = 30) -> Chain:
    """The lifted fit, then segments."""
    return Chain(fit(states), segments(width, iterations, 0.01)(states))


def segments(width: int, iterations: int, rate: float = 0.03) -> Callable[[Any], Segments]:
    """Segments alone, one rate for all widths."""

    def make(states: Any) -> Segments:
        return Segments(
            segment_length=width,
            iterations=iterations,
            action_rate=rate,
            init_states=GivenPath(states),
        )

    return make


def shooting() -> dict[str, Any]:
    """Planners that see the path in their cost."""
    return {
        "GD": GD(learning_rate=0.01, iterations=300),
        "CEM": CEM(num_samples=300, num_elites=30, iterations=30, std=0.2),
        "CEM-smooth": CEM(
            num_samples=300, num_elites=30, iterations=30, std=0.2, noise=Colored(exponent=3.0)
        ),
    }


Search = Callable[[Any, Any, Any], Any]
"""Start `[2]`, goal `[2]`, path `[T-1, 2]` to a plan's actions `[T, 2]`, cost and residual."""


def lifted_search(model: Any, make: Callable[[Any], Any]) -> Search:
    """A search that starts from the path's states."""

    def search(start: Any, goal: Any, path: Any) -> Any:
        zeros = jnp.zeros((path.shape[0] + 1, 2))
        plan = grasp_jax.plan(
            model, start, goal, zeros, jax.random.key(0), planner=make(path), bounds=runs.BOUNDS
        )
        gaps = jnp.linalg.norm(plan.states[1:-1] - path, axis=1)
        return plan.actions, jnp.linalg.norm(plan.states[-1] - goal), jnp.median(gaps)

    return search


def tracking_search(model: Any, planner: Any) -> Search:
    """A search that has the path in its cost."""

    def search(start: Any, goal: Any, path: Any) -> Any:
        plan = grasp_jax.plan(
            model,
            start,
            jnp.concatenate([path, goal[None]]),
            jnp.zeros((path.shape[0] + 1, 2)),
            jax.random.key(0),
            planner=planner,
            bounds=runs.BOUNDS,
            objective=tracking_objective(),
        )
        gaps = jnp.linalg.norm(plan.states[1:-1] - path, axis=1)
        return plan.actions, jnp.linalg.norm(plan.states[-1] - goal), jnp.median(gaps)

    return search


class Way(NamedTuple):
    """Start `[2]`, goal `[2]`, path `[T-1, 2]`."""

    start: np.ndarray
    goal: np.ndarray
    path: jax.Array


def make_ways(world: worlds.World, horizon: int, count: int, noise: float = 0.0) -> list[Way]:
    """Starts about nine tenths of the horizon away from goals of the five tasks."""
    ways = []
    for number, case in enumerate(runs.cases(MAZE, SEED, -(-count // 5))[:count]):
        _, goal = case.episode.begin(world.env)
        tree = world.known_ways(goal)
        steps = np.asarray(tree.steps_to_go)[:-1] / PACE
        gaps = np.abs(np.where(np.isfinite(steps), steps, -np.inf) - 0.9 * horizon)
        start = tree.nodes[int(np.argmin(gaps))]
        path = tree(start, num_states=horizon - 1, pace=PACE).states
        shake = jax.random.normal(jax.random.key(number), path.shape)
        ways.append(Way(np.asarray(start), goal, path + noise * shake))
    return ways


def measure(
    world: worlds.World, search: Search, ways: list[Way], record: Record, log: ResultLog
) -> None:
    """Plans each way alone, timed in processor seconds of this process, and drives it blindly."""
    begun, compiled = False, jax.jit(search)
    for number, (start, goal, path) in enumerate(ways):
        key = {**record, "goal": number}
        if log.done(**{k: key[k] for k in KEY_FIELDS}):
            continue
        inputs = jnp.asarray(start, jnp.float32), jnp.asarray(goal, jnp.float32), path
        for _ in range(1 if begun else 2):
            began = time.process_time()
            actions, miss, gap = jax.block_until_ready(compiled(*inputs))
            seconds = time.process_time() - began
        begun = True
        world.env.reset(seed=0, options={"task_id": 1})
        world.env.set_goal(goal_xy=goal)
        world.env.set_xy(np.asarray(start, np.float64))
        policy = ogbench_maze.replay(np.repeat(np.asarray(actions), FRAMES, 0))
        success, positions = ogbench_maze.run(world.env, policy, len(actions) * FRAMES)
        log.append(
            key
            | {
                "success": success,
                "model_miss": float(miss),
                "path_gap": float(gap),
                "drive_miss": float(np.linalg.norm(positions[-1] - goal)),
                "seconds": seconds,
            }
        )


def main(argv: Sequence[str]) -> None:
    """Both studies."""
    begin(argv)
    args = flags.FLAGS
    log = ResultLog(pathlib.Path(args.output) / "depth.jsonl", KEY_FIELDS)
    world = worlds.load(args.data, args.models, MAZE, KIND)
    model = models.load(train.checkpoint(args.models, MAZE, KIND, FRAMES))
    for horizon in LENGTHS:
        ways = make_ways(world, horizon, args.goals)
        base = {"study": "length", "horizon": horizon, "width": 0, "path_noise": 0.0}
        searches = {"lifted": (lifted_search(model, fit), 30)}
        searches["segments"] = lifted_search(model, lambda s: rounds(s, 10)), 60
        for name, planner in shooting().items():
            searches[name] = tracking_search(model, planner), planner.iterations
        for name, (search, iterations) in searches.items():
            record = base | {"planner": name, "iterations": iterations}
            measure(world, search, ways, record, log)
    for noise, width in itertools.product(PATH_NOISES, WIDTHS):
        ways = make_ways(world, WIDTH_HORIZON, args.goals, noise)
        record = {"study": "width", "planner": "segments", "horizon": WIDTH_HORIZON}
        record |= {"width": width, "iterations": WIDTH_ITERATIONS, "path_noise": noise}
        search = lifted_search(model, segments(width, WIDTH_ITERATIONS))
        measure(world, search, ways, record, log)


if __name__ == "__main__":
    define_flags()
    app.run(main)
