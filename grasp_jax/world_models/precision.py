"""Models in bfloat16 under planners in float32."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree
from grasp_jax._weights import with_visible_weights
from grasp_jax.problem import prepares


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LowPrecision:
    """A model whose weights and inputs are rounded to a shorter float; made by `of`.

    Predictions come back in the dtype of the state, so that what a planner iterates (actions,
    virtual states, optimiser states, costs) stays in float32.

    Attributes:
      model: The model, its floating arrays in `dtype`.
      dtype: The shorter float.
    """

    model: Any
    dtype: Any = dataclasses.field(default=jnp.bfloat16, metadata={"static": True})

    @staticmethod
    def of(model: Any, dtype: Any = jnp.bfloat16) -> "LowPrecision":
        """`model`, any dynamics that is a pytree, with its floating arrays rounded to `dtype`.

        Raises:
          TypeError: `dtype` is not a floating type, or the weights sit where no pytree shows them.
        """
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"LowPrecision: dtype must be a floating type such as jnp.bfloat16, got {dtype!r}."
            )
        return LowPrecision(_cast(with_visible_weights(model), dtype), dtype)

    def __call__(self, state: PyTree, action: PyTree) -> PyTree:
        """The model's prediction, leaves in the dtypes of `state`; shapes as the model's."""
        found = self.model(_cast(state, self.dtype), _cast(action, self.dtype))
        return _like(found, state)

    def prepare_actions(self, actions: jax.Array) -> PyTree:
        """What the model reads of actions `[n, A]`, leaves `[n, ...]` in the shorter float."""
        rounded = _cast(actions, self.dtype)
        return self.model.prepare_actions(rounded) if prepares(self.model) else rounded

    def step_prepared(self, state: PyTree, prepared: PyTree) -> PyTree:
        """The prediction from prepared actions; see `prepare_actions`."""
        step = self.model.step_prepared if prepares(self.model) else self.model
        return _like(step(_cast(state, self.dtype), prepared), state)


def _cast(tree: PyTree, dtype: Any) -> PyTree:
    def one(x: Any) -> Any:
        floating = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
        return x.astype(dtype) if floating else x

    return jax.tree.map(one, tree)


def _like(tree: PyTree, state: PyTree) -> PyTree:
    return jax.tree.map(lambda x, s: x.astype(s.dtype), tree, state)
