"""Tensors to JAX and back. PyTorch is imported where a tensor is made, never to read one."""

from typing import Any

import jax
import numpy as np

Tensor = Any


def as_tensor(x: Any, name: str) -> Tensor:
    """A detached tensor of `x`, a tensor or something that NumPy can read."""
    import torch  # pyright: ignore[reportMissingImports]

    if torch.is_tensor(x):
        return x.detach()
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {array.dtype}.")
    return torch.from_numpy(np.ascontiguousarray(array))


def floating(x: Tensor, dtype: Any) -> Tensor:
    """`x` in the tensor type that corresponds to a JAX `dtype`; integers stay."""
    import torch  # pyright: ignore[reportMissingImports]

    return x.to(getattr(torch, np.dtype(dtype).name)) if x.is_floating_point() else x


def pad_rows(x: Tensor, rows: int) -> Tensor:
    """`[n, ...]` to `[rows, ...]`: the last row repeated. Not copied where nothing is missing."""
    import torch  # pyright: ignore[reportMissingImports]

    missing = rows - x.shape[0]
    return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])


def to_jax(x: Tensor, sharding: jax.sharding.Sharding) -> jax.Array:
    """`x` where a sharding says, sharing its memory where that is possible.

    The array must be consumed before anybody writes to the tensor.
    """
    if all(d.platform == "cpu" for d in sharding.device_set):
        x = x.cpu()
    return jax.device_put(jax.dlpack.from_dlpack(x.detach().contiguous()), sharding)


def to_torch(x: jax.Array) -> Tensor:
    """A CPU tensor with memory of its own: PyTorch would let its user write to JAX's."""
    import torch  # pyright: ignore[reportMissingImports]

    if any(d.platform != "cpu" for d in x.devices()):
        return torch.from_numpy(np.array(x))
    return torch.from_dlpack(x).clone()
