"""Small pytree helpers shared by every room of the library."""

import dataclasses
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PyTree = Any


def is_array(leaf: Any) -> bool:
    """Whether `leaf` is an array (JAX, NumPy, or a tracer), so that it can be traced."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def is_number(leaf: Any) -> bool:
    """Whether `leaf` is an array or a Python number (a bool is a switch, not a number)."""
    return is_array(leaf) or (isinstance(leaf, (int, float)) and not isinstance(leaf, bool))


class Record:
    """Equality of frozen dataclasses that may hold arrays: `==` compares fields, arrays entry-wise.

    Not hashable where a field is an array.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and equal(self, other)

    def __hash__(self) -> int:
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        return hash((type(self), *(getattr(self, f.name) for f in fields)))


def equal(a: PyTree, b: PyTree) -> bool:
    """Whether two pytrees have the same structure and equal leaves, arrays compared entry-wise."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(_same_leaf(x, y) for x, y in pairs)


def _same_leaf(a: Any, b: Any) -> bool:
    if is_array(a) or is_array(b):
        return np.shape(a) == np.shape(b) and bool(np.all(np.asarray(a) == np.asarray(b)))
    return bool(a == b)


def node_types(treedef: Any) -> Hashable:
    """The types of a structure's nodes, nested like the structure."""
    data = treedef.node_data()
    return data and data[0], tuple(node_types(child) for child in treedef.children())


def cost_dtype(dtype: Any) -> Any:
    """The dtype of costs beside numbers of `dtype`: float32 at least, whose range sums need."""
    return jnp.promote_types(dtype, jnp.float32)


def all_finite(tree: PyTree) -> jax.Array:
    """`[]` bool: whether every number in `tree` is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def finite_or_zero(tree: PyTree) -> PyTree:
    """`tree` with non-finite numbers replaced by zero: a broken gradient entry moves nothing."""
    return jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), tree)


def where(condition: jax.Array, a: PyTree, b: PyTree) -> PyTree:
    """Leaf-wise `jnp.where`, `condition` broadcast over the trailing axes; `b` may be a number."""

    def select(x: jax.Array, y: jax.Array | float) -> jax.Array:
        return jnp.where(
            condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y
        )

    return (
        jax.tree.map(lambda x: select(x, b), a) if jnp.isscalar(b) else jax.tree.map(select, a, b)
    )


def take(tree: PyTree, index: Any) -> PyTree:
    """`leaf[index]` for every leaf."""
    return jax.tree.map(lambda x: x[index], tree)


def concatenate(*trees: PyTree) -> PyTree:
    """Leaf-wise concatenation along the leading axis."""
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), *trees)


def prepend(first: PyTree, rest: PyTree) -> PyTree:
    """`[first, *rest]` along the leading axis: leaves `[...]` and `[n, ...]` give `[n+1, ...]`."""
    return jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), first, rest)


def split(mesh: Mesh | None, tree: PyTree, axis: str) -> PyTree:
    """`tree` with the leading axis of its leaves split over a mesh axis, where there is one."""
    if mesh is None or mesh.shape.get(axis, 1) == 1:
        return tree

    def constrain(x: jax.Array) -> jax.Array:
        rest = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(axis, *rest)))

    return jax.tree.map(constrain, tree)


def add(values: PyTree, updates: PyTree) -> PyTree:
    """`values + updates`, leaf by leaf, in the dtype of `values`.

    Updates that are not finite move nothing: in float16 Adam divides a gradient of 0 by 0.
    """

    def one(x: jax.Array, u: jax.Array) -> jax.Array:
        u = u.astype(x.dtype)
        return x + jnp.where(jnp.isfinite(u), u, 0)

    return jax.tree.map(one, values, updates)


def signature(tree: PyTree) -> Any:
    """Structure, shapes and dtypes, to compare with `==`."""
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


def describe(tree: PyTree) -> str:
    """One line with the structure, shapes and dtypes of `tree`, for error messages."""

    def leaf(x: Any) -> str:
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            return f"{type(x).__name__} {x!r:.40}"
        return f"{x.dtype}{list(x.shape)}"

    return str(jax.tree.map(leaf, tree)).replace("'", "")
