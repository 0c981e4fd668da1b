"""Plans over many devices: goals, the time steps of one plan, or the samples of one search.

A mesh names what its axes split: `"goals"` (`plan_batch`), `"time"` (the `T` terms of a lifted
iteration), `"samples"` (the population of CEM, iCEM and MPPI). Goals need no communication. Along
time one lifted iteration shifts the virtual states by one step, a collective-permute, because the
stopped state input leaves no halo in the backward pass. Serial rollouts are not split along time.

The programs are partitioned by XLA from sharding constraints, so weights stay sharded as the caller
passes them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from grasp_jax import _tree
from grasp_jax._tree import PyTree
from grasp_jax.arguments import AXES
from grasp_jax.problem import Problem
from grasp_jax.results import Plan


def make_mesh(goals: int = 1, time: int = 1, samples: int = 1) -> Mesh:
    """A mesh over the first `goals · time · samples` devices (of all processes).

    Raises:
      TypeError: A size that is no integer.
      ValueError: A size below 1, or more devices than there are.
    """
    shape = (goals, time, samples)
    if not all(isinstance(n, (int, np.integer)) for n in shape):
        raise TypeError(f"make_mesh: goals, time and samples must be ints, got {shape}.")
    count = int(np.prod(shape))
    if min(shape) < 1 or count > jax.device_count():
        raise ValueError(
            f"make_mesh: goals={goals}, time={time}, samples={samples} need {count} devices, and "
            f"there are {jax.device_count()}. On CPU more are simulated by "
            "XLA_FLAGS=--xla_force_host_platform_device_count=8."
        )
    devices = np.asarray(jax.devices()[:count]).reshape(shape)
    return Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 3)


def pad_time(problem: Problem) -> Problem:
    """The same problem with a `T` that the mesh's time axis divides, its horizon masked."""
    ways = 1 if problem.mesh is None else problem.mesh.shape.get("time", 1)
    actions, horizon = problem.init_actions, problem.given_horizon
    missing = -problem.max_horizon % ways
    if not missing:
        return problem
    if horizon is None:
        horizon = jnp.full(actions.shape[:-2], problem.max_horizon, jnp.int32)
    widths = [(0, 0)] * actions.ndim
    widths[-2] = (0, missing)
    return dataclasses.replace(
        problem, init_actions=jnp.pad(actions, widths), given_horizon=horizon
    )


def cut_time(plan: Plan, horizon: int, axis: int) -> Plan:
    """A plan of a padded problem, back at its `horizon`; `axis` is that of time."""

    def cut(tree: PyTree, steps: int) -> PyTree:
        return _tree.take(tree, (slice(None),) * axis + (slice(steps),))

    if plan.actions.shape[axis] == horizon:
        return plan
    virtual = plan.virtual_states
    return dataclasses.replace(
        plan,
        actions=cut(plan.actions, horizon),
        states=cut(plan.states, horizon + 1),
        virtual_states=None if virtual is None else cut(virtual, horizon - 1),
    )


def split_goals(mesh: Mesh, tree: PyTree) -> PyTree:
    """Host arrays with a leading axis of goals, as arrays split over the mesh.

    Every process passes the whole arrays and keeps its own rows; the goals must divide.
    """
    return _place(mesh, tree, PartitionSpec("goals"))


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """Host arrays (weights, keys), equal in every process, as arrays that every device holds.

    Needed where more than one process plans; in one process JAX does it itself.
    """
    return _place(mesh, tree, PartitionSpec())


def _place(mesh: Mesh, tree: PyTree, spec: PartitionSpec) -> PyTree:
    sharding = NamedSharding(mesh, spec)

    def place(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(getattr(x, "dtype", jnp.float32), jax.dtypes.prng_key):
            kind = jax.random.key_impl(x)
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=kind)
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(place, tree)
