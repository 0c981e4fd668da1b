"""Snapshots of trainings, by orbax: whole or not there, whatever happens during a write.

Leaves are stored by number: what a training carries (Equinox modules, optax states) need not be
known to read a snapshot, and a run with other flags is told by the number and shapes of its leaves.
"""

import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp


def save(folder: pathlib.Path, tree: Any) -> None:
    """Writes a pytree's leaves; a kill during the write leaves the previous snapshot."""
    folder = folder.absolute()
    following = folder.with_name(f"{folder.name}.next")
    shutil.rmtree(following, ignore_errors=True)
    leaves = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(following, leaves)
    shutil.rmtree(folder, ignore_errors=True)
    following.rename(folder)


def exists(folder: pathlib.Path) -> bool:
    """Whether there is a snapshot to restore."""
    following = folder.with_name(f"{folder.name}.next")
    if not folder.exists() and following.exists():
        # Killed between the last two lines of `save`.
        following.rename(folder)
    return folder.exists()


def restore(folder: pathlib.Path, like: Any) -> Any:
    """Reads what `save` wrote of a pytree with the structure and shapes of `like`.

    Raises:
        ValueError: the snapshot has other leaves.
    """
    leaves, structure = jax.tree.flatten(like)
    with ocp.StandardCheckpointer() as checkpointer:
        held = checkpointer.restore(folder.absolute())
    found = [held.get(f"{i:04d}") for i in range(len(leaves))]
    shapes = [None if x is None else np.shape(x) for x in found]
    if len(held) != len(leaves) or shapes != [np.shape(x) for x in leaves]:
        raise ValueError(f"{folder} belongs to a run with other flags: remove it or change --work")
    return jax.tree.unflatten(structure, [jnp.asarray(x) for x in found])
