"""Checkpoints of models: a safetensors file of named arrays, a config among its metadata."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from experiments.harness.files import replacing

CHECKPOINTS = pathlib.Path(__file__).parents[1] / "checkpoints"

T = TypeVar("T")


def checkpoint_path(name: str) -> pathlib.Path:
    """Where the shipped checkpoint of that name lies."""
    return CHECKPOINTS / f"{name}.safetensors"


def split(name: str | pathlib.Path) -> tuple[str, str]:
    """A checkpoint's name or path, and the goal cost after its `@`: empty if there is none."""
    plain, _, metric = str(name).partition("@")
    return plain, metric


def locate(name: str | pathlib.Path) -> pathlib.Path:
    """The file of a checkpoint: the name of a shipped one, or a path; whatever its goal cost.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(split(name)[0])
    if path.suffix != ".safetensors":
        path = checkpoint_path(str(path))
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    return path


def write(
    path: pathlib.Path | str, model: Any, config: dict[str, Any], half: tuple[str, ...] = ()
) -> None:
    """Writes a model's arrays and its config; a kill during the write leaves the previous file.

    Args:
        path: The file.
        model: Any pytree of arrays.
        config: Plain data, for the metadata.
        half: Beginnings of the names of arrays that are stored in float16; `("",)` for all.
    """
    path = pathlib.Path(path)
    arrays = {
        name: value.astype(np.float16) if name.startswith(half) else value
        for name, value in _named(model).items()
    }
    with replacing(path) as temporary:
        save_file(arrays, str(temporary), metadata={"config": json.dumps(config)})


def rounded(tree: T) -> T:
    """The arrays of a pytree as they are after storage in float16, so that what is measured is what
    is stored.
    """
    return jax.tree.map(lambda x: x.astype(jnp.float16).astype(jnp.float32), tree)


def read(
    name: str | pathlib.Path,
) -> tuple[pathlib.Path, dict[str, np.ndarray], dict[str, Any] | None]:
    """Path, arrays and config of a file: the name of a shipped checkpoint, or a path.

    The config is None where the file holds none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no safetensors file.
    """
    path = locate(name)
    try:
        with safe_open(str(path), "np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            config = (file.metadata() or {}).get("config")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    return path, tensors, None if config is None else json.loads(config)


def fill(blank: Callable[[], T], path: pathlib.Path, tensors: dict[str, np.ndarray]) -> T:
    """The model with the arrays of a file, in float32.

    Args:
        blank: Makes a model of the right shapes; only they are asked for.
        path: For the message.
        tensors: Name to array.

    Raises:
        ValueError: names or shapes do not fit; the message names the tensors.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(jax.eval_shape(blank))
    # `write` stores a single number as an array of one.
    expected = {_name(where): leaf.shape or (1,) for where, leaf in leaves}
    held = {key: value.shape for key, value in tensors.items()}
    if wrong := sorted(key for key in expected | held if expected.get(key) != held.get(key)):
        detail = ", ".join(f"{k}: {held.get(k)}, expected {expected.get(k)}" for k in wrong)
        raise ValueError(f"{path} does not fit its config: {detail}")
    arrays = [jnp.asarray(tensors[_name(where)], leaf.dtype) for where, leaf in leaves]
    return jax.tree.unflatten(structure, arrays)


def _name(path: tuple[object, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _named(model: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(model)
    return {_name(path): np.ascontiguousarray(leaf) for path, leaf in leaves}
