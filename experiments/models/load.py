"""Reads a checkpoint of a visual model, whichever kind it holds."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp

from experiments.models.checkpoint import fill, read, split
from experiments.models.latent.model import CODE, SCALED, LatentModel
from experiments.models.latent.model import Config as LatentConfig
from experiments.models.lewm.model import Config as LeWMConfig
from experiments.models.lewm.model import SmallLeWM
from experiments.models.lewm.networks import Dense, Perceptron
from experiments.models.sprites.model import Config, VisualModel, blank
from experiments.models.sprites.scene import Kind

Model = VisualModel | SmallLeWM | LatentModel
"""What a checkpoint may hold, and the planning binaries take."""

FREE = "free"
_OF_VECTOR = ("encoder", "decoder", "units")
"""What the checkpoint of a code leaves to that of its vector."""


def load_model(name: str | pathlib.Path) -> Model:
    """Reads a model of any kind: the name of a shipped checkpoint, or a path.

    A `LatentModel` takes another goal cost by `@` and its name: `pusht_tokens@temporal`, and for
    the shipped vector `pusht_vector@scaled` and `pusht_vector@code`. With `@free` it has its own
    goal cost, and no limit on actions but the environment's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of such a model, the message names the tensor; or
            the model has no such goal cost.
    """
    path, tensors, config = read(name)
    metric = split(name)[1]
    if config is None:
        raise ValueError(f"{path} has no config among its metadata: not a visual model")
    if "grid" in config:
        config |= {"widths": tuple(config["widths"]), "blocks": tuple(config["blocks"])}
        sizes = LatentConfig(**config)
        if sizes.start:
            shared = read(sizes.start)[1].items()
            tensors |= {k: v for k, v in shared if k.partition(".")[0] in _OF_VECTOR}
        model = fill(functools.partial(LatentModel.random, jax.random.key(0), sizes), path, tensors)
        if metric == FREE:
            return dataclasses.replace(model, config=dataclasses.replace(sizes, action_limit=0.0))
        return model.with_metric(metric, _head(model, metric)) if metric else model
    if metric:
        raise ValueError(f"{path} has one goal cost: leave out @{metric}")
    if "latent" in config:  # sprites have no choice of their latents' size
        sizes = LeWMConfig(**config)
        return fill(lambda: SmallLeWM.random(jax.random.key(0), sizes), path, tensors)
    config["kinds"] = tuple(Kind(**kind) for kind in config["kinds"])
    config["action_signs"] = tuple(config["action_signs"])
    return fill(lambda: blank(Config(**config)), path, tensors)


def _head(model: LatentModel, metric: str) -> Perceptron | None:
    """What the goal costs of a vector that were found after its training see of it."""
    if model.code is not None:
        return None
    if metric == SCALED:
        weight = jnp.asarray(read("pusht_axes")[1]["down"], jnp.float32)
        return Perceptron([Dense(weight, jnp.zeros(weight.shape[1]))])
    if metric == CODE:
        found = load_model("pusht_code")
        assert isinstance(found, LatentModel) and found.code is not None
        return found.code.down
    return None
