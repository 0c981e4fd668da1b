"""What both kinds of visual models share: units of actions, batches over several devices."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike, NDArray


def to_environment(actions: ArrayLike, std: float) -> NDArray[np.float32]:
    """Planning actions [..., T, P] in units of `std` to environment actions [..., T * P / 2, 2]."""
    actions = np.asarray(actions, np.float32) * std
    return np.clip(actions.reshape(*actions.shape[:-2], -1, 2), -1, 1)


def from_environment(actions: ArrayLike, std: float, size: int) -> NDArray[np.float32]:
    """The inverse of `to_environment`; `size` is `P`."""
    actions = np.asarray(actions, np.float32) / std
    return actions.reshape(*actions.shape[:-2], -1, size)


def over_devices(size: int) -> NamedSharding | None:
    """How a batch of `size` is split over all devices for data-parallel training.

    None where there is one device, or where they do not divide it. Weights stay whole on every
    device; XLA sums the gradients.
    """
    count = jax.device_count()
    if count == 1 or size % count:
        return None
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data"))
