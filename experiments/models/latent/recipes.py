"""The kinds of visual latents: their sizes, and how each is trained."""

import dataclasses

from experiments.models.latent.losses import Motion, Recipe
from experiments.models.latent.model import Config

ACTION_STD = 0.2  # of the collector's policies: the unit of planning actions
CONFIGS = {
    "vector": Config(grid=1, channels=192, width=288),
    # What a CPU can train in an hour.
    "vector_small": Config(
        grid=1, channels=128, widths=(24, 64), blocks=(0, 0), width=128, depth=3
    ),
    "tokens": Config(grid=8, channels=16, width=160),
}
RECIPES = {
    "vector": Recipe(),
    "vector_small": Recipe(batch=64, steps=2, projections=64),
    "tokens": Recipe(batch=192, steps=0, noise=0.1, reconstruction=1.0),
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Attributes:
        name: of its snapshot and its losses.
        share: of the time.
        motion: how the predictor is trained, or None for other parts.
    """

    name: str
    share: float
    motion: Motion | None = None


STAGES = {
    "vector_small": (
        Stage("latent", 0.68),
        Stage("motion_4", 0.14, Motion(4, 256)),
        Stage("motion_10", 0.1, Motion(10, 128, 6e-4)),
        Stage("time", 0.03),
        Stage("probe", 0.05),
    ),
    "vector": (
        Stage("latent", 0.55),
        Stage("motion_4", 0.15, Motion(4, 1024)),
        Stage("motion_10", 0.23, Motion(10, 1024, 6e-4)),
        Stage("time", 0.03),
        Stage("probe", 0.04),
    ),
    "tokens": (
        Stage("latent", 0.25),
        Stage("motion_2", 0.25, Motion(2, 512)),
        Stage("motion_5", 0.24, Motion(5, 256, 6e-4)),
        Stage("motion_10", 0.18, Motion(10, 256, 3e-4)),
        Stage("time", 0.04),
        Stage("probe", 0.04),
    ),
}
