"""The worlds that come with the page: Push-T and Wall, from states or frames, and the ball's maps.

Everything that the page takes from the other experiments is imported here and nowhere else.
Models and simulators are loaded at the first use of a world.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments import pusht_state_model
from experiments.environments import ball, pusht, wall
from experiments.environments.pusht_block import (
    AGENT_HIGH,
    AGENT_LOW,
    CENTRE_OF_GRAVITY,
    OUTLINE,
    WALL_HIGH,
    WALL_LOW,
    block_corners,
    block_to_world,
)
from experiments.environments.pusht_fast import FastPushT
from experiments.environments.pusht_goals import sample_goals
from experiments.live import drawing
from experiments.live.controls import Settings
from experiments.live.world import Handle, Window, World
from experiments.pixels import tasks
from experiments.pixels.models import VisualModel, load_model

_FIRST_SEED = 5000
"""Tasks of the page; far from the seeds of every table."""


# Push-T.


def _pusht_draw(state: np.ndarray) -> str:
    block = drawing.turned(OUTLINE, *state[pusht.BLOCK_POSITION], state[pusht.BLOCK_ANGLE])
    return block + drawing.ring(*state[pusht.AGENT_POSITION], pusht.AGENT_RADIUS - 2, 4)


def _centre(state: np.ndarray) -> tuple[float, float]:
    """The block's centre of gravity, about which it is turned."""
    return block_to_world(state[4:7].tolist(), CENTRE_OF_GRAVITY)


def _pusht_handles(goal: np.ndarray) -> tuple[Handle, ...]:
    block = Handle(*_centre(goal), float(goal[pusht.BLOCK_ANGLE]), 70.0)
    return block, Handle(*goal[pusht.AGENT_POSITION].tolist(), None, 26.0)


def _pusht_move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
    """Block and agent move together; the agent can be moved alone."""
    moved = goal.copy()
    agent = np.array([handle.x, handle.y])
    if number == 0:
        angle = goal[pusht.BLOCK_ANGLE] if handle.angle is None else handle.angle
        moved[pusht.BLOCK_ANGLE] = angle
        turn = angle - goal[pusht.BLOCK_ANGLE]
        offset = block_to_world((0.0, 0.0, angle), CENTRE_OF_GRAVITY)
        moved[pusht.BLOCK_POSITION] = np.array([handle.x, handle.y]) - offset
        corners = block_corners(moved)
        moved[pusht.BLOCK_POSITION] += np.maximum(WALL_LOW + 1 - corners.min(0), 0)
        moved[pusht.BLOCK_POSITION] -= np.maximum(corners.max(0) - WALL_HIGH + 1, 0)
        cosine, sine = math.cos(turn), math.sin(turn)
        before = goal[pusht.AGENT_POSITION] - _centre(goal)
        agent = np.array([[cosine, -sine], [sine, cosine]]) @ before + _centre(moved)
    moved[pusht.AGENT_POSITION] = np.clip(agent, AGENT_LOW, AGENT_HIGH)
    moved[pusht.AGENT_VELOCITY] = 0
    return moved


def _pusht_task(seed: int) -> tuple[np.ndarray, np.ndarray]:
    goals = sample_goals(1, 60, _FIRST_SEED + seed)
    return goals.start[0], goals.goal[0]


def _pusht_states(agent: Any, block: Any, angle: Any) -> np.ndarray:
    """Simulator's states `[n, 10]` at rest."""
    states = np.zeros((len(agent), pusht.STATE_SIZE))
    states[:, pusht.AGENT_POSITION], states[:, pusht.BLOCK_POSITION] = agent, block
    states[:, pusht.BLOCK_ANGLE] = angle
    return states


def _pusht_decode(states: np.ndarray) -> np.ndarray:
    found = pusht_state_model.decode(np.asarray(states, np.float64))
    return _pusht_states(found["agent"], found["block"], found["angle"])


def _pusht_simulate(state: np.ndarray, action: np.ndarray) -> np.ndarray:
    commands = np.clip(pusht_state_model.split_actions(action[None]), -1, 1)
    return FastPushT().execute(state, commands)[1:]


def _pusht_world(**fields: Any) -> World:
    """What both Push-T worlds share."""
    frame = (
        f'<rect class="frame" x="{WALL_LOW - 2}" y="{WALL_LOW - 2}" '
        f'width="{WALL_HIGH - WALL_LOW + 4}" height="{WALL_HIGH - WALL_LOW + 4}" rx="6"/>'
    )
    return World(
        action_size=pusht_state_model.ACTION_SIZE,
        task=_pusht_task,
        success=lambda state, goal: bool(pusht.success(state, goal)),
        draw=_pusht_draw,
        view=(0.0, 0.0, pusht.ARENA_SIZE, pusht.ARENA_SIZE),
        point=_centre,
        handles=_pusht_handles,
        move=_pusht_move,
        smooth=grasp_jax.Correlated(0.9, stacked=pusht_state_model.FRAMESKIP),
        backdrop=frame,
        **fields,
    )


def push_t() -> World:
    """Push-T through the state model, 322,000 parameters; a model step is five simulator steps."""
    high = 1 / pusht_state_model.ACTION_STD
    return _pusht_world(
        name="pusht",
        title="Push-T",
        about="Push the T onto its green ghost, and the round agent to its own. The model was "
        "learned from simulator states; the simulator acts.",
        dynamics=pusht_state_model.load_model(),
        max_horizon=16,
        bounds=(-high, high),
        simulate=_pusht_simulate,
        encode=pusht_state_model.encode,
        decode=_pusht_decode,
        objective=grasp_jax.Objective(distance=pusht_state_model.goal_distance),
        presets={
            "GRASP": Settings("GRASP", "gradients", 16, 12, 0.2, 0.3, 0.1),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 12, 0.005, 0.5, 0.05),
            "GD": Settings("GD", "gradients", 30, 12, 0.0, 1.0, 0.05),
            "CEM": Settings("CEM", "none", 20, 12, 0.0, 2.0),
            "iCEM": Settings("iCEM", "none", 20, 12, 0.0, 1.0),
            "MPPI": Settings("MPPI", "none", 20, 12, 0.0, 0.5),
        },
    )


# Frames.


@jax.jit
def _encode_frames(model: VisualModel, frames: jax.Array) -> jax.Array:
    return model.encode(frames)


def _encoder(model: VisualModel, render: Callable[[Any], Any]) -> Callable[[np.ndarray], Any]:
    """The simulator's state to the model's latent of its frame; remembers the last ones."""

    @functools.lru_cache(maxsize=64)
    def of_bytes(buffer: bytes, size: int) -> np.ndarray:
        state = np.frombuffer(buffer, np.float64, size)
        return np.asarray(_encode_frames(model, jnp.asarray(render(state[None]))))[0]

    def encode(state: np.ndarray) -> np.ndarray:
        state = np.ascontiguousarray(state, np.float64)
        return of_bytes(state.tobytes(), state.size)

    return encode


def _visual(checkpoint: str, render: Callable[[Any], Any]) -> dict[str, Any]:
    """The fields of a world that is planned in through a sprite model over 64 x 64 frames."""
    model = load_model(checkpoint)
    assert isinstance(model, VisualModel)
    encode = _encoder(model, render)

    def context(window: Window) -> grasp_jax.Context:
        if not window.states:
            return grasp_jax.Context.repeat(jnp.asarray(encode(window.state)), 1, model.action_size)
        frames = jnp.stack([jnp.asarray(encode(s)) for s in window.states])
        return grasp_jax.Context(frames, jnp.stack([jnp.asarray(a) for a in window.actions]))

    return {
        "dynamics": model,
        "bounds": model.bounds,
        "encode": encode,
        "context": context,
        "past": 1,
        "objective": model.objective,
    }


def _measured(checkpoint: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the probe of a sprite model reads from its latents."""
    probe = np.asarray(load_model(checkpoint).probe)  # pyright: ignore[reportArgumentType]
    return lambda latents: latents @ probe[:, :-1].T + probe[:, -1]


def push_t_pixels() -> World:
    """Push-T through a model of its frames; what it plans is read from its latents by a probe."""
    checkpoint = tasks.PUSHT.checkpoint
    model = load_model(checkpoint)
    measured = _measured(checkpoint)

    def decode(latents: np.ndarray) -> np.ndarray:
        found = measured(np.asarray(latents, np.float64))
        angle = np.arctan2(found[:, 5], found[:, 4])
        return _pusht_states(found[:, 0:2], found[:, 2:4], angle)

    def simulate(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return FastPushT().execute(state, model.to_environment(action[None]))[1:]

    return _pusht_world(
        name="pusht_pixels",
        title="Push-T from pixels",
        about="The model sees nothing but 64 × 64 frames, of the goal too. Virtual states are "
        "latents, drawn where a probe of the latents says that block and agent are.",
        max_horizon=12,
        simulate=simulate,
        decode=decode,
        presets={
            "GRASP": Settings("GRASP", "gradients", 12, 10, 0.08, 0.3, 0.1),
            "GD": Settings("GD", "gradients", 20, 10, 0.0, 1.0, 0.05),
            "iCEM": Settings("iCEM", "none", 15, 10, 0.0, 1.0),
        },
        **_visual(checkpoint, tasks.PUSHT.render),
    )


# Wall.


def _wall_backdrop() -> str:
    edge = wall.WORLD_SIZE - 0.5
    boxes = (
        (-0.5, -0.5, edge, wall.LOW),
        (-0.5, wall.HIGH, edge, edge),
        (-0.5, -0.5, wall.LOW, edge),
        (wall.HIGH, -0.5, edge, edge),
        (wall.WALL_LEFT, wall.LOW, wall.WALL_RIGHT, wall.DOOR_TOP),
        (wall.WALL_LEFT, wall.DOOR_BOTTOM, wall.WALL_RIGHT, wall.HIGH),
    )
    return "".join(drawing.wall_box(left, top, right, low) for left, top, right, low in boxes)


def _wall_move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
    """To the nearest place that is not solid."""
    del goal, number
    x, y = (float(np.clip(v, wall.LOW + 2, wall.HIGH - 2)) for v in (handle.x, handle.y))
    in_wall = wall.WALL_LEFT - 2 < x < wall.WALL_RIGHT + 2
    if in_wall and not wall.DOOR_TOP + 2 < y < wall.DOOR_BOTTOM - 2:
        middle = (wall.WALL_LEFT + wall.WALL_RIGHT) / 2
        x = wall.WALL_LEFT - 2 if x < middle else wall.WALL_RIGHT + 2
    return np.array([x, y])


def wall_rooms() -> World:
    """Two rooms and a door, through a model of the frames."""
    checkpoint = tasks.WALL.checkpoint
    model = load_model(checkpoint)
    measured = _measured(checkpoint)

    def task(seed: int) -> tuple[np.ndarray, np.ndarray]:
        goals = tasks.WALL.goals(1, 50, _FIRST_SEED + seed, "report")
        return goals.start[0], goals.goal[0]

    def simulate(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return wall.execute(state, model.to_environment(action[None]))[1:]

    return World(
        name="wall",
        title="Wall, from pixels",
        about="Two rooms and a door. The model sees nothing but 64 × 64 frames; virtual states "
        "are latents, drawn where a probe says that the dot is.",
        action_size=model.action_size,
        max_horizon=12,
        task=task,
        simulate=simulate,
        success=lambda state, goal: bool(wall.success(state, goal)),
        draw=lambda state: drawing.dot(*state, 1.7),
        view=(-0.5, -0.5, wall.WORLD_SIZE, wall.WORLD_SIZE),
        point=lambda state: (float(state[0]), float(state[1])),
        handles=lambda goal: (Handle(float(goal[0]), float(goal[1]), None, 4.0),),
        move=_wall_move,
        decode=lambda latents: measured(np.asarray(latents, np.float64)),
        smooth=grasp_jax.Correlated(0.9, stacked=model.frameskip),
        backdrop=_wall_backdrop(),
        presets={
            "GRASP": Settings("GRASP", "gradients", 12, 10, 0.1, 0.5, 0.1),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 10, 0.005, 0.5, 0.1),
            "GD": Settings("GD", "gradients", 20, 10, 0.0, 1.0, 0.1),
            "CEM": Settings("CEM", "none", 15, 10, 0.0, 1.0),
            "iCEM": Settings("iCEM", "none", 15, 10, 0.0, 0.5),
            "MPPI": Settings("MPPI", "none", 15, 10, 0.0, 0.5),
        },
        **_visual(checkpoint, tasks.WALL.render),
    )


# The ball.


def _ball_world(layout: str, title: str, about: str) -> World:
    world = ball.dynamics(layout)
    step = jax.jit(world)
    margin = ball.CLEARANCE

    def task(seed: int) -> tuple[np.ndarray, np.ndarray]:
        starts, goals = ball.sample_tasks(layout, 1, _FIRST_SEED + seed)
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
        draw=lambda state: drawing.dot(*state, 0.035),
        view=(-1.02, -1.02, 2.04, 2.04),
        point=lambda state: (float(state[0]), float(state[1])),
        handles=lambda goal: (Handle(float(goal[0]), float(goal[1]), None, 0.1),),
        move=move,
        smooth=grasp_jax.Colored(3.0),
        backdrop='<rect class="frame" x="-1" y="-1" width="2" height="2" rx="0.02"/>'
        + "".join(
            drawing.wall_line(ends, 2 * ball.WALL_RADIUS) for ends in ball.MAPS[layout].walls
        ),
        presets={
            "GRASP": Settings("GRASP", "samples", 16, ball.HORIZON, 0.5, 1.0, 0.1, 6),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 60, 0.005, 1.0, 0.1, 6),
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


WORLDS: dict[str, Callable[[], World]] = {
    "pusht": functools.cache(push_t),
    "wall": functools.cache(wall_rooms),
    "ball_u_trap": functools.cache(ball_trap),
    "ball_two_rooms": functools.cache(ball_rooms),
    "pusht_pixels": functools.cache(push_t_pixels),
}
"""Name to world; made at the first use, then the same object, so that nothing compiles twice."""
