"""Schedules of our own, beside those of optax: pure functions of the iteration."""

import dataclasses

import jax
import jax.numpy as jnp

from grasp_jax._fields import Scalar, Schedule, check_values, number
from grasp_jax._tree import Record


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Sawtooth(Record):
    init_value: Scalar
    end_value: Scalar
    period: Scalar = number(1, low=1)

    def __post_init__(self) -> None:
        check_values(self)

    def __call__(self, iteration: jax.Array) -> jax.Array:
        fraction = jnp.mod(iteration, self.period) / jnp.maximum(self.period - 1, 1)
        return self.init_value + (self.end_value - self.init_value) * fraction


def sawtooth_schedule(init_value: Scalar, end_value: Scalar, period: Scalar) -> Schedule:
    """A schedule that falls linearly from one value to another within each period, then restarts.

    Args:
      init_value: Value at the start of a period; traced, as all three.
      end_value: Value at its last iteration.
      period: Iterations per period; the sync interval, usually.

    Returns:
      A pytree, called with the iteration `[]` int32; new numbers compile nothing.

    Raises:
      ValueError: The period is below 1.

    >>> import grasp_jax
    >>> falling = grasp_jax.sawtooth_schedule(1.0, 0.0, period=3)
    >>> [float(falling(i)) for i in range(4)]
    [1.0, 0.5, 0.0, 1.0]
    """
    return _Sawtooth(init_value=init_value, end_value=end_value, period=period)
