"""What a plan is asked to do: distances to a goal, costs on the way, penalties on actions.

Notation, used in every file of this package (GRASP, arXiv 2602.00475):
  `T` horizon in model steps, `A` action size, `s_0` the start, `g` the goal, `a_t` the action at
  step `t` (`t = 0..T-1`), `s_t` the state before it, `F` the world model: `s_{t+1} = F(s_t, a_t)`.
  A state is any pytree of floating arrays; `...` stands for the shape of each of its leaves.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from grasp_jax._fields import number
from grasp_jax._tree import PyTree, Record, cost_dtype

StateCost = Callable[[PyTree, PyTree], jax.Array]
ControlCost = Callable[[jax.Array], jax.Array]


def squared_distance(state: PyTree, goal: PyTree) -> jax.Array:
    """`||state - goal||²`, summed over every leaf: the paper's goal distance. Returns `[]`.

    Half-precision differences are squared and summed in float32.

    >>> import jax.numpy as jnp
    >>> float(squared_distance(jnp.array([1.0, 2.0]), jnp.zeros(2)))
    5.0
    """
    terms = jax.tree.map(lambda s, g: jnp.sum(squares(s - g)), state, goal)
    return sum(jax.tree.leaves(terms), start=jnp.zeros(()))


def mean_squared_distance(state: PyTree, goal: PyTree) -> jax.Array:
    """Mean of the squared differences within each leaf, summed over leaves. Returns `[]`."""
    terms = jax.tree.map(lambda s, g: jnp.mean(squares(s - g)) if s.size else 0.0, state, goal)
    return sum(jax.tree.leaves(terms), start=jnp.zeros(()))


def squares(x: jax.Array) -> jax.Array:
    """`x²`, in float32 at least: 256 squared is infinite in float16."""
    return jnp.square(x.astype(cost_dtype(x.dtype)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class QuadraticControlCost(Record):
    """`weight · Σ_t ||a_t||²`, a penalty on effort.

    Attributes:
      weight: `[]` or `[A]`, traced.
    """

    weight: jax.Array | float = number(1e-2)

    def __call__(self, actions: jax.Array) -> jax.Array:
        """`[T, A]` actions to a `[]` cost."""
        return jnp.sum(self.weight * squares(actions))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Objective(Record):
    """The cost of a plan: `d(s_T, g) + c(a_0..a_{T-1}) + Σ_t r(s_t)`.

    Attributes:
      terminal_cost: `d`, `(state, goal) -> []`, differentiable. With the default, `s_T` is pinned
        to the goal as in the paper; a cost that reads only a part of the state leaves the rest of
        `s_T` free, and the goal may then be any pytree that it understands.
      control_cost: `c`, `[T, A] -> []`, or None for none. Where a plan has a `horizon` below `T`,
        or a mesh pads `T`, it sees zeros for the actions from there on: use sums over steps.
      running_cost: `r`, `(state, goal) -> []`, differentiable, summed over `s_1..s_T`: obstacles to
        keep away from, a distance to hold on the way. None for none. It need not be positive.
        GRASP takes it at its one-step predictions, like the dense goal term, LatCo at its states,
        the goal among them.
    """

    terminal_cost: StateCost = squared_distance
    control_cost: ControlCost | None = None
    running_cost: StateCost | None = None
