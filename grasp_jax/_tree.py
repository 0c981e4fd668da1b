"""Small pytree helpers shared by every room of the library."""

import dataclasses
from collections.abc import Callable, Hashable
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Frozen:
    """A pytree split into traced leaves and a hashable rest, so that any pytree may enter a `jit`.

    Weights become arguments of the compiled program (new weights never retrace); activation
    functions, strings, flags and plain Python functions become part of its cache key.

    Attributes:
      leaves: The traced leaves, in flattening order.
      static: `(treedef, other leaves, node types)`; traced leaves have a marker among the others.
    """

    leaves: list[Any]
    static: Hashable = dataclasses.field(metadata={"static": True})

    def thaw(self) -> Any:
        """The original pytree."""
        treedef, rest, *_ = self.static  # pyright: ignore[reportGeneralTypeIssues]
        traced = iter(self.leaves)
        return jax.tree.unflatten(treedef, [next(traced) if r is _TRACED else r for r in rest])

    def __call__(self, *args: Any) -> Any:
        return self.thaw()(*args)


class _Traced:
    """Marks the place of a traced leaf; one instance, compared by identity."""

    def __repr__(self) -> str:
        return "traced"

    def __reduce__(self) -> str:
        # Copies and pickles of a search hold this instance again, by its name.
        return "_TRACED"


_TRACED = _Traced()


def freeze(tree: PyTree, name: str, traced: Callable[[Any], bool] = is_array) -> Frozen:
    """Splits `tree` into a `Frozen`.

    Args:
      tree: Any pytree, for example a model; a bare function is a pytree with one leaf.
      name: What the caller calls it, for the error message.
      traced: Which leaves become arguments of the compiled program.

    Raises:
      TypeError: A leaf is neither traced nor hashable.
    """
    if isinstance(tree, Frozen):
        return tree
    leaves, treedef = jax.tree.flatten(tree)
    rest = tuple(_TRACED if traced(leaf) else leaf for leaf in leaves)
    try:
        hash((treedef, rest))
    except TypeError as error:
        raise TypeError(
            f"{name}: every leaf that is not an array must be hashable to be part of a compiled "
            f"program, got {type(tree).__name__} with an unhashable part ({error}). Store arrays "
            "as JAX or NumPy arrays, and settings as numbers, strings or tuples."
        ) from error
    # JAX 0.10 calls the structures of two registered dataclasses equal when their fields match in
    # number and static values, whatever their types: without the types one could run the other's
    # compiled program. Likewise 1 equals 1.0 and True, and 0.0 equals -0.0.
    kinds = tuple((type(r).__qualname__, isinstance(r, float) and repr(r)) for r in rest)
    static = (treedef, rest, kinds, _node_types(treedef))
    return Frozen([leaf for leaf in leaves if traced(leaf)], static)


def _node_types(treedef: Any) -> Hashable:
    """The types of a structure's nodes, nested like the structure."""
    data = treedef.node_data()
    return data and data[0], tuple(_node_types(child) for child in treedef.children())


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


def describe(tree: PyTree) -> str:
    """One line with the structure, shapes and dtypes of `tree`, for error messages."""

    def leaf(x: Any) -> str:
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            return f"{type(x).__name__} {x!r:.40}"
        return f"{x.dtype}{list(x.shape)}"

    return str(jax.tree.map(leaf, tree)).replace("'", "")
