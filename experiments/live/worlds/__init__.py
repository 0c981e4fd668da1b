"""The worlds that come with the page.

Everything that the page takes from the other experiments is imported in this folder and nowhere
else. Models and simulators are loaded at the first use of a world.
"""

import functools
from collections.abc import Callable

from experiments.live.world import World
from experiments.live.worlds.ball import ball_rooms, ball_trap
from experiments.live.worlds.pointmaze import point_maze
from experiments.live.worlds.pusht import push_t, push_t_pixels
from experiments.live.worlds.wall import wall_rooms

WORLDS: dict[str, Callable[[], World]] = {
    "pusht": functools.cache(push_t),
    "wall": functools.cache(wall_rooms),
    "pointmaze": functools.cache(point_maze),
    "ball_u_trap": functools.cache(ball_trap),
    "ball_two_rooms": functools.cache(ball_rooms),
    "pusht_pixels": functools.cache(push_t_pixels),
}
"""Name to world; made at the first use, then the same object, so that nothing compiles twice."""
