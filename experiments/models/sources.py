"""Where the training frames of a visual world model come from: one record per environment.

States are drawn to frames and serve to measure afterwards; nothing else of them reaches a model.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from experiments.environments.pointmaze import frames as pointmaze_frames
from experiments.environments.pointmaze import goals as pointmaze_goals
from experiments.environments.pusht import frames as pusht_frames
from experiments.environments.pusht import simulator as pusht
from experiments.environments.wall import goals as wall_goals
from experiments.environments.wall import simulator as wall
from experiments.models.sprites.scene import Kind

States = NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Source:
    """What training asks of an environment.

    Attributes:
        name: of the environment; its checkpoint is `<name>_pixels`.
        kinds: the objects to look for, the driven one last.
        trajectories: `(count, seed)` to states [n, T + 1, S] and environment actions [n, T, 2].
        render: states [..., S] to frames [..., 64, 64, 3] uint8.
        measured: states [..., S] to [..., M], what the probe is fitted to after training.
        action_signs: of actions along the frame's axes.
        frameskip: environment steps in a model step.
    """

    name: str
    kinds: tuple[Kind, ...]
    trajectories: Callable[[int, int], tuple[States, States]]
    render: Callable[[States], NDArray[np.uint8]]
    measured: Callable[[States], NDArray[np.float64]]
    action_signs: tuple[int, int] = (1, 1)
    frameskip: int = 5


PUSHT_DATA = pathlib.Path("data/pusht")


def pusht_trajectories(count: int, seed: int) -> tuple[States, States]:
    """The first trajectories of the shards in `data/pusht`; the collector's seed is their seed."""
    del seed
    states, actions = [], []
    for path in sorted(PUSHT_DATA.glob("shard_*.npz")):
        if sum(len(s) for s in states) < count:
            shard = np.load(path)
            states.append(shard["states"])
            actions.append(shard["actions"])
    if sum(len(s) for s in states) < count:
        raise FileNotFoundError(
            f"{PUSHT_DATA} holds fewer than {count} trajectories: run "
            "`python -m experiments.environments.pusht.collect --output=data/pusht` first."
        )
    return np.concatenate(states)[:count], np.concatenate(actions)[:count]


def pusht_measured(states: States) -> NDArray[np.float64]:
    """Agent position (px), block position (px), cosine and sine of the block's angle: [..., 6]."""
    states = np.asarray(states, np.float64)
    angle = states[..., pusht.BLOCK_ANGLE, None]
    return np.concatenate(
        [
            states[..., pusht.AGENT_POSITION],
            states[..., pusht.BLOCK_POSITION],
            np.cos(angle),
            np.sin(angle),
        ],
        axis=-1,
    )


PUSHT = Source(
    name="pusht",
    kinds=(
        Kind(blobs=24, extent=0.35, turns=True, octaves=5),
        Kind(blobs=3, extent=0.08, turns=False, octaves=4),
    ),
    trajectories=pusht_trajectories,
    render=pusht_frames.render,
    measured=pusht_measured,
)


def wall_trajectories(count: int, seed: int) -> tuple[States, States]:
    """Random steps, 50 per trajectory."""
    return wall_goals.sample_trajectories(count, 50, seed)


def pointmaze_trajectories(count: int, seed: int) -> tuple[States, States]:
    """Random steps, 100 per trajectory."""
    return pointmaze_goals.sample_trajectories(count, 100, seed)


def position(states: States) -> NDArray[np.float64]:
    """Position [..., 2]."""
    return np.asarray(states, np.float64)[..., :2]


WALL = Source(
    name="wall",
    kinds=(Kind(blobs=3, extent=0.15, turns=False, octaves=6),),
    trajectories=wall_trajectories,
    render=wall.render,
    measured=position,
)

POINTMAZE = Source(
    name="pointmaze",
    kinds=(Kind(blobs=4, extent=0.15, turns=False, coasts=True, octaves=4),),
    trajectories=pointmaze_trajectories,
    render=pointmaze_frames.render,
    measured=position,
    # The maze's y points up, a frame's down.
    action_signs=(1, -1),
)

SOURCES = {source.name: source for source in (PUSHT, WALL, POINTMAZE)}
