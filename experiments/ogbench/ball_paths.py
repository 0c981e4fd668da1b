r"""U-trap and two rooms of the ball world, with ways from 200 random walks.

    python -m experiments.ogbench.ball_paths --output=outputs/ball_paths

The dynamics are the world's own. A recording of 200 random walks of 120 steps says where one can
go; the lifted planner fits its actions to the shortest recorded way. MPPI, the strongest planner
without data in `ball_navigation`, has the same goals; and the same way in its cost.
"""

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import grasp_jax
from experiments.environments import ball
from experiments.harness.flags import begin
from experiments.harness.log import ResultLog
from experiments.harness.summary import summarise
from experiments.harness.tables import print_table, write_summary
from grasp_jax import GD, GRASP, MPPI, Chain, Colored, GivenPath
from grasp_jax.paths_from_data import StateIndex, build_index
from grasp_jax.tracking import tracking_objective

WALKS, STEPS, SMOOTHNESS = 200, 120, 0.9
NODES, RADIUS, PACE = 6000, 0.1, 0.8
BOUNDS = (-1.0, 1.0)
KEY_FIELDS = ("environment", "mode", "planner", "seed", "goal")


def define_flags() -> None:
    """Defines the flags; apart from the import, so that binaries can share a process."""
    flags.DEFINE_string("output", "outputs/ball_paths", "Folder of the results.")
    flags.DEFINE_integer("goals", 64, "Tasks per map.", 1)
    flags.DEFINE_integer("seed", 0, "Of the tasks and the walks.", 0)


def random_walks(name: str, seed: int) -> np.ndarray:
    """Positions `[WALKS, STEPS + 1, 2]` under time-correlated random actions."""
    rng, world = np.random.default_rng([seed, 77]), ball.dynamics(name)
    starts: list[np.ndarray] = []
    while len(starts) < WALKS:
        points = rng.uniform(-1, 1, (256, 2)).astype(np.float32)
        starts.extend(points[ball.nearest_surface(world, points) > ball.CLEARANCE])
    noise = rng.normal(size=(STEPS, WALKS, 2))
    actions = np.zeros_like(noise)
    for t in range(STEPS):
        before = actions[t - 1] if t else noise[0]
        actions[t] = SMOOTHNESS * before + (1 - SMOOTHNESS**2) ** 0.5 * noise[t]
    actions = np.clip(actions, -1, 1).astype(np.float32).transpose(1, 0, 2)
    roll = jax.jit(jax.vmap(lambda s, a: ball.rollout(world, s, a)))
    return np.asarray(roll(jnp.asarray(np.stack(starts[:WALKS])), jnp.asarray(actions)))


def index(name: str, seed: int) -> StateIndex:
    """Over the walks; clusters stay below the walls' thickness of 0.04."""
    walks = random_walks(name, seed)
    episodes = np.repeat(np.arange(WALKS), STEPS + 1)
    return build_index(walks.reshape(-1, 2), episodes, num_nodes=NODES, radius=RADIUS)


def lifted(path: jax.Array) -> Chain:
    """The fit to the way, then a few steps through the rollout."""
    fit = GRASP(
        iterations=40,
        state_rate=0.0,
        action_rate=100.0,
        goal_weight=0.0,
        state_std=None,
        init_states=GivenPath(path),
        optimizer=optax.sgd,
        sync=None,
    )
    return Chain(fit, GD(learning_rate=0.03, iterations=20))


MPPI_CHOSEN = MPPI(
    num_samples=100, iterations=18, std=1.0, temperature=0.003, noise=Colored(exponent=3.0)
)
"""What `ball_navigation` chose."""
MPPI_TRACKING = MPPI(num_samples=100, iterations=18, std=0.3, noise=Colored(exponent=3.0))
"""Around a known way less noise is better: at 1.0 it solves none."""


def searches(name: str) -> dict[str, Callable[[Any, Any, Any, Any], Any]]:
    """Each: start `[2]`, goal `[2]`, path `[T-1, 2]` and key to actions `[T, 2]`."""
    world, zeros = ball.dynamics(name), jnp.zeros((ball.HORIZON, 2))

    def plan(planner: Any, start: Any, goal: Any, key: Any) -> jax.Array:
        return grasp_jax.plan(
            world, start, goal, zeros, key, planner=planner, bounds=BOUNDS
        ).actions

    def tracked(start: Any, goal: Any, path: Any, key: Any) -> jax.Array:
        return grasp_jax.plan(
            world,
            start,
            jnp.concatenate([path, goal[None]]),
            zeros,
            key,
            planner=MPPI_TRACKING,
            bounds=BOUNDS,
            objective=tracking_objective(),
        ).actions

    return {
        "GRASP-graph": lambda s, g, path, key: plan(lifted(path), s, g, key),
        "MPPI-graph": tracked,
        "MPPI": lambda s, g, path, key: plan(MPPI_CHOSEN, s, g, key),
    }


def run(name: str, goals: int, seed: int, log: ResultLog) -> None:
    """Every planner on every task, one at a time, in processor seconds; ways are counted in."""
    known = index(name, seed)
    starts, ends = ball.sample_tasks(name, goals, seed)
    world = ball.dynamics(name)

    @jax.jit
    def way(tree: Any, start: Any) -> Any:
        return tree(start, num_states=ball.HORIZON - 1, pace=PACE)

    for planner, search in searches(name).items():
        compiled = jax.jit(search)
        for goal in range(goals):
            key = {"environment": f"ball-{name}", "mode": "open_loop", "planner": planner}
            key |= {"seed": seed, "goal": goal}
            if log.done(**key):
                continue
            start, end = jnp.asarray(starts[goal]), jnp.asarray(ends[goal])
            for _ in range(2):
                began = time.process_time()
                path = way(known.towards(ends[goal]), start)
                actions = compiled(start, end, path.states, jax.random.key(goal))
                jax.block_until_ready(actions)
                seconds = time.process_time() - began
            final = ball.rollout(world, start, actions)[-1]
            log.append(
                {
                    "observation": "state",
                    "horizon": ball.HORIZON,
                    **key,
                    "success": bool(ball.success(final, end)),
                    "known": bool(path.known),
                    "distance": float(jnp.linalg.norm(final - end)),
                    "seconds": seconds,
                }
            )


def main(argv: Sequence[str]) -> None:
    """Both maps, then the table."""
    begin(argv)
    args = flags.FLAGS
    folder = pathlib.Path(args.output)
    log = ResultLog(folder / "ball.jsonl", KEY_FIELDS)
    rows = []
    for name in ball.MAPS:
        run(name, args.goals, args.seed, log)
        rows += summarise([r for r in log.records if r["environment"] == f"ball-{name}"])
    write_summary(folder / "ball_summary.csv", rows)
    print_table(rows, "Ball world with recorded walks")


if __name__ == "__main__":
    define_flags()
    app.run(main)
