"""Push-T, planned in through the state model and through the frames' model."""

import math
from typing import Any

import numpy as np

import grasp_jax
from experiments.environments.pusht import simulator as pusht
from experiments.environments.pusht.block import (
    AGENT_HIGH,
    AGENT_LOW,
    BAR,
    CENTRE_OF_GRAVITY,
    STEM,
    WALL_HIGH,
    WALL_LOW,
    block_clearance,
    block_corners,
    block_to_world,
)
from experiments.environments.pusht.fast import FastPushT
from experiments.environments.pusht.goals import sample_goals
from experiments.live import drawing
from experiments.live.controls import Settings
from experiments.live.world import Handle, World
from experiments.live.worlds.frames import FIRST_SEED, measured, visual
from experiments.models.load import load_model
from experiments.models.pusht_state import coordinates
from experiments.models.pusht_state import model as pusht_state
from experiments.planning import tasks

_FAR, _TURN = 110.0, 1.1
"""How far (px, rad) the block is to go in one plan: about what 60 steps of the simulator manage."""
_BEHIND = np.arange(30.0, 140.0, 3.0)
_CLEARANCE = 16.0
_TEE = (
    (BAR[0], BAR[2]),
    (BAR[1], BAR[2]),
    (BAR[1], BAR[3]),
    (STEM[1], STEM[2]),
    (STEM[1], STEM[3]),
    (STEM[0], STEM[3]),
    (STEM[0], STEM[2]),
    (BAR[0], BAR[3]),
)


def _pusht_draw(state: np.ndarray) -> str:
    agent_x, agent_y, _, _, x, y, angle = state[:7].tolist()
    block = drawing.turned(_TEE, x, y, angle)
    return block + drawing.ring(agent_x, agent_y, pusht.AGENT_RADIUS - 2, 4)


def _centre(state: np.ndarray) -> tuple[float, float]:
    """The block's centre of gravity, about which it is turned."""
    return block_to_world(state[4:7].tolist(), CENTRE_OF_GRAVITY)


def _pusht_handles(goal: np.ndarray) -> tuple[Handle, ...]:
    agent_x, agent_y = goal[pusht.AGENT_POSITION].tolist()
    x, y = _centre(goal)
    return Handle(x, y, float(goal[pusht.BLOCK_ANGLE]), 70.0), Handle(agent_x, agent_y, None, 26.0)


def _pusht_move(goal: np.ndarray, number: int, handle: Handle) -> np.ndarray:
    """Block and agent move together; the agent can be moved alone."""
    moved = goal.copy()
    agent = np.array([handle.x, handle.y])
    if number == 1 and block_clearance(goal[4:7].tolist(), (handle.x, handle.y)) < _CLEARANCE:
        return goal  # the agent has no place inside the block
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


def _pusht_toward(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The goal, or a place of the block on the way, the agent behind it to push on."""
    here, there = np.array(_centre(state)), np.array(_centre(goal))
    far, turn = np.linalg.norm(there - here), math.remainder(goal[6] - state[6], math.tau)
    share = min(_FAR / max(far, 1e-9), _TURN / max(abs(turn), 1e-9))
    if share >= 1:
        return goal
    x, y = here + share * (there - here)
    aim = _pusht_move(goal, 0, Handle(x, y, float(state[6] + share * turn)))
    ahead = (there - here) / max(far, 1e-9)
    places = np.clip(np.array(_centre(aim)) - _BEHIND[:, None] * ahead, AGENT_LOW, AGENT_HIGH)
    free = [p for p in places.tolist() if block_clearance(aim[4:7].tolist(), p) >= _CLEARANCE]
    if free:  # none where the block only turns
        aim[pusht.AGENT_POSITION] = free[0]
    return aim


def _pusht_task(seed: int) -> tuple[np.ndarray, np.ndarray]:
    goals = sample_goals(1, 60, FIRST_SEED + seed)
    return goals.start[0], goals.goal[0]


def _pusht_states(agent: Any, block: Any, angle: Any) -> np.ndarray:
    """Simulator's states `[n, 10]` at rest."""
    states = np.zeros((len(agent), pusht.STATE_SIZE))
    states[:, pusht.AGENT_POSITION], states[:, pusht.BLOCK_POSITION] = agent, block
    states[:, pusht.BLOCK_ANGLE] = angle
    return states


def _pusht_decode(states: np.ndarray) -> np.ndarray:
    found = coordinates.decode(np.asarray(states, np.float64))
    return _pusht_states(found["agent"], found["block"], found["angle"])


def _pusht_simulate(state: np.ndarray, action: np.ndarray) -> list[np.ndarray]:
    commands = np.clip(coordinates.split_actions(action[None]), -1, 1)
    return list(FastPushT().execute(state, commands)[1:])


def _pusht_world(**fields: Any) -> World:
    """What both Push-T worlds share."""
    frame = (
        f'<rect class="frame" x="{WALL_LOW - 2}" y="{WALL_LOW - 2}" '
        f'width="{WALL_HIGH - WALL_LOW + 4}" height="{WALL_HIGH - WALL_LOW + 4}" rx="6"/>'
    )
    return World(
        action_size=coordinates.ACTION_SIZE,
        task=_pusht_task,
        success=lambda state, goal: bool(pusht.success(state, goal)),
        draw=_pusht_draw,
        view=(0.0, 0.0, pusht.ARENA_SIZE, pusht.ARENA_SIZE),
        point=_centre,
        handles=_pusht_handles,
        move=_pusht_move,
        toward=_pusht_toward,
        smooth=grasp_jax.AR1(rho=0.9, action_block=coordinates.FRAMESKIP),
        backdrop=frame,
        **fields,
    )


def push_t() -> World:
    """Push-T through the state model, 322,000 parameters; a model step is five simulator steps."""
    high = 1 / coordinates.ACTION_STD
    return _pusht_world(
        name="pusht",
        title="Push-T",
        about="Push the T onto its green ghost, and the round agent to its own; where that is far, "
        "onto the pale ghost first. The model was learned from simulator states; the simulator "
        "acts.",
        dynamics=pusht_state.load_model(),
        max_horizon=16,
        bounds=(-high, high),
        simulate=_pusht_simulate,
        encode=coordinates.encode,
        decode=_pusht_decode,
        objective=grasp_jax.Objective(terminal_cost=coordinates.goal_distance),
        presets={
            "GRASP": Settings("GRASP", "gradients", 16, 12, 0.2, 0.3, 0.1),
            "GRASP-author": Settings("GRASP-author", "gradients", 20, 12, 0.005, 0.5, 0.05),
            "GD": Settings("GD", "gradients", 30, 12, 0.0, 1.0, 0.05),
            "CEM": Settings("CEM", "none", 20, 12, 0.0, 2.0),
            "iCEM": Settings("iCEM", "none", 20, 12, 0.0, 1.0),
            "MPPI": Settings("MPPI", "none", 20, 12, 0.0, 0.5),
        },
    )


def push_t_pixels() -> World:
    """Push-T through a model of its frames; what it plans is read from its latents by a probe."""
    checkpoint = tasks.PUSHT.checkpoint
    model = load_model(checkpoint)
    read = measured(checkpoint)

    def decode(latents: np.ndarray) -> np.ndarray:
        found = read(np.asarray(latents, np.float64))
        angle = np.arctan2(found[:, 5], found[:, 4])
        return _pusht_states(found[:, 0:2], found[:, 2:4], angle)

    def simulate(state: np.ndarray, action: np.ndarray) -> list[np.ndarray]:
        return list(FastPushT().execute(state, model.to_environment(action[None]))[1:])

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
        **visual(checkpoint, tasks.PUSHT.render),
    )
