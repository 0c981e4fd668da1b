"""Frames of PointMaze without a graphics stack: MuJoCo's own picture of the empty maze, the ball
drawn by ray casting.

The camera looks straight down from above the maze's centre. A test holds these frames against
MuJoCo's renderer pixel by pixel where OSMesa or EGL is installed, and against recorded frames of
it everywhere.
"""

import functools
import math
import pathlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIZE = 64
CAMERA_HEIGHT = 4.6
CAMERA = {"distance": CAMERA_HEIGHT, "elevation": -90.0, "azimuth": 90.0, "lookat": np.zeros(3)}
"""MuJoCo's free camera: above the maze's centre, x to the right, y up."""

GOLDEN = pathlib.Path(__file__).parent / "frames.npz"
"""MuJoCo's frames: `background`, and `frames` of the ball at `positions`; written by
`tests/experiments/environments/record_pointmaze_frames.py`."""

BALL_RADIUS = 0.2
WALL_HEIGHT = 0.4
BLOCKS = (
    *((-2.0 + i, 2.0) for i in range(5)),
    *((-2.0 + i, -2.0) for i in range(5)),
    *((x, y) for x in (-2.0, 2.0) for y in (-1.0, 0.0, 1.0)),
    (-1.0, 0.0),
    (0.0, 0.0),
)
"""Centres of the unit blocks of the U-maze."""

_BALL_COLOR = np.array([0.3, 0.6, 0.3])
_AMBIENT, _DIFFUSE, _SPECULAR, _SHININESS = 0.4, 0.8, 0.05, 64.0
_GROUND = -0.1
_SLOPE = math.tan(math.radians(45.0) / 2)
SUPERSAMPLING = 4  # samples of a pixel along each axis
_REACH = 5  # pixels around the ball's centre that may show it


def _rays(pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Slopes (ground distance per unit of depth) of the samples in `[..., P]` pixels: [..., 4P]."""
    offsets = (np.arange(SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    places = (pixels[..., None] + offsets).reshape(*pixels.shape[:-1], -1)
    return (2 * places / SIZE - 1) * _SLOPE


@functools.cache
def _static_height() -> NDArray[np.float64]:
    """Height at which each sample's ray first meets ground or wall: `[4 SIZE, 4 SIZE]` (y, x)."""
    slopes = _rays(np.arange(SIZE))
    x, y = slopes[None, :], -slopes[:, None]
    depth = np.full((len(slopes), len(slopes)), CAMERA_HEIGHT - _GROUND)
    for block in BLOCKS:
        near = np.full_like(depth, CAMERA_HEIGHT - WALL_HEIGHT)
        far = np.full_like(depth, CAMERA_HEIGHT)
        for slope, centre in ((x, block[0]), (y, block[1])):
            ends = (np.array([centre - 0.5, centre + 0.5]))[:, None, None] / slope
            near = np.maximum(near, ends.min(0))
            far = np.minimum(far, ends.max(0))
        depth = np.where(near < far, np.minimum(depth, near), depth)
    return CAMERA_HEIGHT - depth


@functools.cache
def background() -> NDArray[np.uint8]:
    """The empty maze as MuJoCo draws it: `[SIZE, SIZE, 3]`."""
    with np.load(GOLDEN) as golden:
        return golden["background"]


@functools.cache
def fine_background() -> NDArray[np.uint8]:
    """The same at the resolution of the samples: `[4 SIZE, 4 SIZE, 3]`."""
    with np.load(GOLDEN) as golden:
        return golden["fine_background"]


def _ball(
    position: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height of the ball along rays, and the cosine of its surface to the light.

    Args:
        position: [n, 2].
        x: [n, 1, P], slopes.
        y: [n, P, 1], slopes.

    Returns:
        Heights [n, P, P], -inf where the ball is missed, and cosines [n, P, P].
    """
    # Camera (0, 0, H), ray (x, y, -1) * depth, ball's centre (px, py, 0).
    px, py = position[:, 0, None, None], position[:, 1, None, None]
    a = x * x + y * y + 1
    b = x * px + y * py + CAMERA_HEIGHT
    c = px * px + py * py + CAMERA_HEIGHT**2 - BALL_RADIUS**2
    root = np.maximum(b * b - a * c, 0)
    depth = (b - np.sqrt(root)) / a
    height = np.where(root > 0, CAMERA_HEIGHT - depth, -np.inf)
    # The headlight's rays are parallel to the camera's axis: the surface normal's z.
    cosine = np.clip(height / BALL_RADIUS, 0, 1)
    return height, cosine


def render(state: ArrayLike) -> NDArray[np.uint8]:
    """Draws states.

    Args:
        state: [..., 2 or more], x and y first.

    Returns:
        [..., SIZE, SIZE, 3] uint8, RGB.
    """
    states = np.asarray(state, np.float64)
    flat = states[..., :2].reshape(-1, 2)
    frames = np.repeat(background()[None], len(flat), axis=0)
    for low in range(0, len(flat), 512):
        part = slice(low, low + 512)
        frames[part] = _draw(frames[part], flat[part])
    return frames.reshape(*states.shape[:-1], SIZE, SIZE, 3)


def _draw(frames: NDArray[np.uint8], position: NDArray[np.float64]) -> NDArray[np.uint8]:
    """`frames` [n, SIZE, SIZE, 3] of the empty maze with the ball at `position` [n, 2] in them."""
    centre = (position * [1, -1] / (CAMERA_HEIGHT * _SLOPE) + 1) * SIZE / 2
    corner = np.clip(np.floor(centre).astype(int) - _REACH, 0, SIZE - 2 * _REACH - 1)
    window = corner[..., None] + np.arange(2 * _REACH + 1)
    columns, rows = window[:, 0], window[:, 1]
    x, y = _rays(columns)[:, None, :], -_rays(rows)[:, :, None]
    height, cosine = _ball(position, x, y)
    fine = np.arange(SUPERSAMPLING)
    fine_rows = (rows[..., None] * SUPERSAMPLING + fine).reshape(len(rows), -1)
    fine_columns = (columns[..., None] * SUPERSAMPLING + fine).reshape(len(rows), -1)
    fine_index = (fine_rows[:, :, None], fine_columns[:, None, :])
    seen = height > _static_height()[fine_index]
    light = _AMBIENT + _DIFFUSE * cosine
    shine = _SPECULAR * cosine**_SHININESS
    color = light[..., None] * _BALL_COLOR + shine[..., None]
    drawn = np.where(seen[..., None], 255 * np.minimum(color, 1), fine_background()[fine_index])
    index = (np.arange(len(frames))[:, None, None], rows[:, :, None], columns[:, None, :])
    touched = _pool(seen[..., None].astype(np.float64)) > 0
    frames[index] = np.where(touched, _pool(drawn) + 0.5, frames[index]).astype(np.uint8)
    return frames


def _pool(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over each pixel's samples: [n, 4P, 4P, c] -> [n, P, P, c]."""
    n, height, width, channels = samples.shape
    s = SUPERSAMPLING
    return samples.reshape(n, height // s, s, width // s, s, channels).mean(axis=(2, 4))
