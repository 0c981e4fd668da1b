"""What all visual models share: units of actions, batches over several devices."""

from typing import Protocol

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import ArrayLike, NDArray


class Sizes(Protocol):
    """What a config must tell.

    Attributes:
        frameskip: environment steps in a model step.
        action_std: standard deviation of environment actions, the unit of planning actions.
    """

    @property
    def frameskip(self) -> int: ...  # noqa: D102
    @property
    def action_std(self) -> float: ...  # noqa: D102


class PlanningUnits(eqx.Module):
    """A planning action stacks a model step's environment actions [2], in their deviation.

    Attributes:
        config: sizes.
    """

    config: eqx.AbstractVar[Sizes]

    @property
    def frameskip(self) -> int:
        """Environment steps in a model step."""
        return self.config.frameskip

    @property
    def action_size(self) -> int:
        """`P`, numbers in a planning action."""
        return 2 * self.config.frameskip

    @property
    def bounds(self) -> tuple[float, float]:
        """Of planning actions; environment actions lie in [-1, 1]."""
        return -1 / self.config.action_std, 1 / self.config.action_std

    @property
    def training_action_std(self) -> float:
        """Planning actions count in the deviation of the data's."""
        return 1.0

    @property
    def environment_actions_per_step(self) -> int:
        """Environment actions in a planning action."""
        return self.config.frameskip

    def to_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Planning actions [..., T, P] to environment actions [..., T * frameskip, 2]."""
        actions = np.asarray(actions, np.float32) * self.config.action_std
        return np.clip(actions.reshape(*actions.shape[:-2], -1, 2), -1, 1)

    def from_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """The inverse of `to_environment`."""
        actions = np.asarray(actions, np.float32) / self.config.action_std
        return actions.reshape(*actions.shape[:-2], -1, self.action_size)


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
