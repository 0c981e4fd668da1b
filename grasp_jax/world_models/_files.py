"""Checkpoint files: finding them, reading them, and saying what is wrong with a damaged one."""

import json
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

_PICKLED = (".pt", ".pth", ".ckpt", ".bin")
_AGAIN = "Download or copy it again."


def find_weights(path: str | pathlib.Path) -> pathlib.Path:
    """The file of weights that `path` is, or the newest `weights*` of a folder.

    Raises:
      TypeError: `path` is no path.
      FileNotFoundError: There is no such file, or none in the folder.
    """
    if not isinstance(path, (str, pathlib.Path)):
        raise TypeError(
            "path must be a file, a folder or a state_dict, got "
            f"{type(path).__name__}: {path!r:.60}."
        )
    path = pathlib.Path(path)
    if path.is_dir():
        found = [p for kind in ("pt", "safetensors") for p in path.glob(f"weights*.{kind}")]
        if not found:
            raise FileNotFoundError(
                f"{path} holds no weights*.pt and no weights*.safetensors. Pass the file itself."
            )
        return max(found, key=lambda p: (p.stat().st_mtime, p.name))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    return path


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint file, by the names they have there, in the dtypes of `as_array`.

    Raises:
      ValueError: The file is of another kind, damaged, or holds more than weights.
      ModuleNotFoundError: It takes PyTorch, which is not installed, to read it.
    """
    if path.suffix != ".safetensors" and path.suffix not in _PICKLED:
        raise ValueError(f"{path.name}: expected .safetensors or one of {', '.join(_PICKLED)}.")
    _check_file(path)
    loaded = _safetensors(path) if path.suffix == ".safetensors" else _pytorch(path)
    return {name: as_array(x) for name, x in loaded.items()}


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds; raises ValueError, with its name, where it is damaged."""
    _check_file(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:  # of the encoding, or of the grammar
        raise ValueError(f"{path} is no JSON: {error}. Mend it, or remove it.") from error


def as_array(tensor: Any) -> np.ndarray:
    """A tensor or an array as NumPy's; floats shorter than float32 are widened to it, exactly."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        # NumPy knows none of PyTorch's short floats but one.
        widened = tensor.is_floating_point() and tensor.element_size() < 4
        return (tensor.float() if widened else tensor).numpy()
    array = np.asarray(tensor)
    short = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if short else array


def _check_file(path: pathlib.Path) -> None:
    """Raises ValueError where a file's size, or how it begins, says that it is something else."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(100)
    if not size:
        raise ValueError(f"{path} is empty (0 bytes). {_AGAIN}")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is a Git LFS pointer of {size} bytes, which stands for the file. Run `git lfs "
            "pull` in its repository, or download the file itself."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ValueError(
            f"{path} is a web page of {size} bytes, perhaps one that asks to log in. Download the "
            "file itself."
        )
    pickled, safe = path.suffix in _PICKLED, path.suffix == ".safetensors"
    # A safetensors file begins with the length of its header, eight bytes, and the header.
    if (safe and head[:2] == b"PK") or (pickled and head[8:10] == b'{"'):
        kind, suffix = ("PyTorch", ".pt") if safe else ("safetensors", ".safetensors")
        raise ValueError(f"{path} holds a {kind} file. Rename it to {path.stem}{suffix}.")
    if pickled and head[:2] == b"PK" and not zipfile.is_zipfile(path):
        raise _damaged(path, "its end is missing")


def _damaged(path: pathlib.Path, found: object) -> ValueError:
    kind = f"{type(found).__name__}: " if isinstance(found, Exception) else ""
    first = kind + str(found).partition("\n")[0]
    return ValueError(
        f"{path} of {path.stat().st_size} bytes is damaged, or no checkpoint: {first:.200}. "
        + _AGAIN
    )


def _safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise _damaged(path, error) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds numbers that NumPy cannot read: {error}. Store them as float32, float16 "
            "or bfloat16."
        ) from error


def _pytorch(path: pathlib.Path) -> Mapping[str, Any]:
    """The tensors of a `state_dict`; pickled code is never run."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading a PyTorch checkpoint needs PyTorch: pip install 'grasp_jax[interop]', or "
            "convert the checkpoint to safetensors where PyTorch is installed."
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises almost anything
        if not (isinstance(error, pickle.UnpicklingError) and _is_pickle(path)):
            raise _damaged(path, error) from error
        raise ValueError(
            f"{path.name} holds more than weights: pickled objects, whose code is never run here. "
            "Where its package is installed, load it and torch.save(model.state_dict(), path)."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(torch.is_tensor(x) for x in loaded.values()):
        raise ValueError(f"{path.name} holds no state_dict of tensors. Save model.state_dict().")
    return loaded


def _is_pickle(path: pathlib.Path) -> bool:
    """Whether a file begins as one of PyTorch's: an archive, or an older one's bare pickle."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")
