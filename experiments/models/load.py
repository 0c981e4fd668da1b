"""Reads a checkpoint of a visual model, whichever kind it holds."""

import pathlib

import jax

from experiments.models.checkpoint import fill, read
from experiments.models.lewm.model import Config as LeWMConfig
from experiments.models.lewm.model import SmallLeWM
from experiments.models.sprites.model import Config, VisualModel, blank
from experiments.models.sprites.scene import Kind

Model = VisualModel | SmallLeWM
"""What a checkpoint may hold, and the planning binaries take."""


def load_model(name: str | pathlib.Path) -> Model:
    """Reads a model of either kind: the name of a shipped checkpoint, or a path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of such a model; the message names the tensor.
    """
    path, tensors, config = read(name)
    if config is None:
        raise ValueError(f"{path} has no config among its metadata: not a visual model")
    if "latent" in config:  # sprites have no choice of their latents' size
        sizes = LeWMConfig(**config)
        return fill(lambda: SmallLeWM.random(jax.random.key(0), sizes), path, tensors)
    config["kinds"] = tuple(Kind(**kind) for kind in config["kinds"])
    config["action_signs"] = tuple(config["action_signs"])
    return fill(lambda: blank(Config(**config)), path, tensors)
