"""The ball among walls, whose exact dynamics are the model."""

import functools

import jax
import numpy as np

import grasp_jax
from experiments.environments import ball
from experiments.live import drawing
from experiments.live.controls import Settings
from experiments.live.world import Handle, Recorded, World
from experiments.live.worlds.frames import FIRST_SEED
from experiments.ogbench import ball_paths

_SHOWN_STEPS = 2500  # of a recording, in the view


@functools.cache
def _recorded(layout: str) -> Recorded:
    """200 random walks on a map."""
    index = ball_paths.index(layout, 0)
    steps = index.transitions.tocoo()
    every = max(len(steps.row) // _SHOWN_STEPS, 1)
    ends = np.concatenate([index.nodes[steps.row], index.nodes[steps.col]], axis=1)[::every]
    follow = jax.jit(
        lambda tree, state: tree(state, num_states=ball.HORIZON - 1, pace=ball_paths.PACE).states
    )
    towards = functools.lru_cache(maxsize=8)(lambda x, y: index.towards(np.array([x, y])))

    def way(state: np.ndarray, goal: np.ndarray) -> jax.Array:
        return follow(towards(*np.asarray(goal, np.float64).tolist()), np.asarray(state))

    return Recorded(drawing.lines(ends.tolist()), way)


def _ball_world(layout: str, title: str, about: str) -> World:
    world = ball.dynamics(layout)
    step = jax.jit(lambda state, action: world(state, action))
    margin = ball.CLEARANCE

    def task(seed: int) -> tuple[np.ndarray, np.ndarray]:
        starts, goals = ball.sample_tasks(layout, 1, FIRST_SEED + seed)
        return starts[0], goals[0]

    def move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
        """Stays where it was rather than enter a wall."""
        del number
        place = np.clip([handle.x, handle.y], margin - 1, 1 - margin).astype(np.float32)
        free = ball.nearest_surface(world, place[None])[0] > 0.6 * margin
        return place if free else goal

    return World(
        name=f"ball_{layout}",
        title=title,
        about=about,
        dynamics=world,
        action_size=2,
        max_horizon=ball.HORIZON,
        bounds=(-1.0, 1.0),
        task=task,
        simulate=lambda state, action: [np.asarray(step(state, action))],
        success=lambda state, goal: bool(ball.success(state, goal)),
        draw=lambda state: drawing.dot(state[0], state[1], 0.035),
        view=(-1.02, -1.02, 2.04, 2.04),
        point=lambda state: (float(state[0]), float(state[1])),
        handles=lambda goal: (Handle(float(goal[0]), float(goal[1]), None, 0.1),),
        move=move,
        smooth=grasp_jax.Colored(exponent=3.0),
        recorded=functools.partial(_recorded, layout),
        backdrop='<rect class="frame" x="-1" y="-1" width="2" height="2" rx="0.02"/>'
        + "".join(
            drawing.wall_line(ends, 2 * ball.WALL_RADIUS) for ends in ball.MAPS[layout].walls
        ),
        presets={
            "GRASP": Settings("GRASP", "samples", 16, ball.HORIZON, 0.2, 1.0, 0.1, 6),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 60, 0.005, 1.0, 0.1, 6),
            "GRASP-graph": Settings("GRASP-graph", "none", 8, ball.HORIZON, 0.0, 0.0, 0.03, 6),
            "GD": Settings("GD", "gradients", 20, ball.HORIZON, 0.0, 1.0, 0.1, 6),
            "CEM": Settings("CEM", "none", 18, ball.HORIZON, 0.0, 2.0, 0.1, 6),
            "iCEM": Settings("iCEM", "none", 17, ball.HORIZON, 0.0, 2.0, 0.1, 6),
            "MPPI": Settings("MPPI", "none", 18, ball.HORIZON, 0.0, 1.0, 0.1, 6),
        },
    )


def ball_trap() -> World:
    """The ball in the cup."""
    about = "The direct way ends in the cup: a plan must first lead away from its goal. The model "
    return _ball_world("u_trap", "Ball, U-trap", about + "is exact.")


def ball_rooms() -> World:
    """The ball's two rooms."""
    about = "A wall with a door off the direct way, walls that glide. The model is exact."
    return _ball_world("two_rooms", "Ball, two rooms", about)
