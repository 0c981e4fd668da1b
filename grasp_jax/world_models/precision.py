"""Models in bfloat16 under planners in float32."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import prepared
from grasp_jax._tree import PyTree
from grasp_jax._weights import with_visible_weights
from grasp_jax.prepared import PreparedModel


def mixed_precision(model: Any, dtype: Any = jnp.bfloat16) -> "MixedPrecision":
    """`model` with its weights and inputs rounded to a shorter float, predictions in float32.

    Predictions come back in the dtype of the state, so that what a planner iterates (actions,
    virtual states, optimizer states, costs) stays in float32.

    Args:
      model: Any dynamics that is a pytree.
      dtype: The shorter float.

    Raises:
      TypeError: `dtype` is not a floating type, or the weights sit where no pytree shows them.

    >>> import jax, jax.numpy as jnp
    >>> model = jax.tree_util.Partial(lambda w, s, a: s + w * a, jnp.array(0.1))
    >>> mixed_precision(model)(jnp.zeros(1), jnp.ones(1))
    Array([0.10009766], dtype=float32)
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"mixed_precision: dtype must be a floating type such as jnp.bfloat16, got {dtype!r}."
        )
    return MixedPrecision(_cast(with_visible_weights(model), dtype), dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class MixedPrecision(PreparedModel):
    """What `mixed_precision` makes.

    Attributes:
      model: The model, its floating arrays in `dtype`.
      dtype: The shorter float.
    """

    model: Any
    dtype: Any = dataclasses.field(default=jnp.bfloat16, metadata={"static": True})

    @property
    def training_action_std(self) -> Any:
        """The model's."""
        return prepared.training_action_std(self.model)

    @property
    def environment_actions_per_step(self) -> int:
        """The model's."""
        return prepared.environment_actions_per_step(self.model)

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What the model reads of actions `[n, A]`, leaves `[n, ...]` in the shorter float."""
        return prepared.prepare(self.model, _cast(actions, self.dtype))

    def step_prepared(
        self, states: PyTree, prepared_actions: PyTree, present: jax.Array | None = None
    ) -> PyTree:
        """The model's prediction, leaves in the dtypes of `states`."""
        rounded = _cast(states, self.dtype)
        found = prepared.step(self.model, rounded, prepared_actions, present)
        return jax.tree.map(lambda x, s: x.astype(s.dtype), found, states)


def _cast(tree: PyTree, dtype: Any) -> PyTree:
    def one(x: Any) -> Any:
        floating = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
        return x.astype(dtype) if floating else x

    return jax.tree.map(one, tree)
