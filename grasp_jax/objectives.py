"""What a plan is asked to do: distances to a goal, costs on the way, penalties on actions.

Notation, used in every file of this package (GRASP, arXiv 2602.00475):
  `T` horizon in model steps, `A` action size, `s_0` the start, `g` the goal, `a_t` the action at
  step `t` (`t = 0..T-1`), `s_t` the state before it, `F` the world model: `s_{t+1} = F(s_t, a_t)`.
  A state is any pytree of floating arrays; `...` stands for the shape of each of its leaves.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._fields import check_values, number
from grasp_jax._tree import PyTree, Record, cost_dtype

StateCost = Callable[[PyTree, PyTree], jax.Array]
ControlCost = Callable[[jax.Array], jax.Array]
Along = Callable[..., jax.Array]
"""Of a step on the way: `(state, goal)`, or `(state, goal, action, t)`, see `along`."""


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


def compares_leaves(cost: Any) -> bool:
    """Whether a terminal cost is one of the distances above, which want a goal like a state."""
    return cost is squared_distance or cost is mean_squared_distance


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
    """The cost of a plan: `d(s_T, g) + c(a_0..a_{T-1}) + Σ_t r(s_t, g, a_{t-1}, t)`.

    Costs are minimized and may have any sign: a reward or a learned value is one with its sign
    turned, `Objective(terminal_cost=lambda s, g: -value(s))`. A goal that nobody reads may be None.

    Attributes:
      terminal_cost: `d`, `(state, goal) -> []`, differentiable. With the default, `s_T` is pinned
        to the goal as in the paper; a cost that reads only a part of the state leaves the rest of
        `s_T` free, and the goal may then be any pytree that it understands.
      control_cost: `c`, `[T, A] -> []`, or None for none. Where a plan has a `horizon` below `T`,
        or a mesh pads `T`, it sees zeros for the actions from there on: use sums over steps.
      running_cost: `r`, `(state, goal) -> []` or `(state, goal, action, t) -> []`, differentiable,
        summed over `s_1..s_T`: obstacles to keep away from, a reference to follow, effort that
        depends on the state. `action` `[A]` is the one that led to the state, `t` `[]` int32 counts
        from 1. It gets four arguments where it has four positional parameters without a default.
        None for none. It need not be positive. GRASP takes it at its one-step predictions, like the
        dense goal term, LatCo at its states, the goal among them. What a model predicts besides
        (a reward, a disagreement) is a leaf of its state, and read here.
      constraint: `h`, called like `running_cost`, returns numbers `[k]` or `[]` that are to be at
        most 0 at every `s_1..s_T`. None for none. `Plan.violation` is the largest of them.
      constraint_weight: What an excess of 1 at one step costs: `weight · Σ_t Σ_k max(h, 0)` is a
        part of every cost. Where it is larger than what breaking the constraint wins, the best plan
        keeps it. `Constrained` finds such plans much better than a slope that breaks at zero.
    """

    terminal_cost: StateCost = squared_distance
    control_cost: ControlCost | None = None
    running_cost: Along | None = None
    constraint: Along | None = None
    constraint_weight: jax.Array | float = number(100.0, low=0)

    def __post_init__(self) -> None:
        """Raises ValueError for a negative weight."""
        check_values(self)


def along(
    cost: Along, state: PyTree, goal: PyTree, action: jax.Array, step: jax.Array
) -> jax.Array:
    """A cost or constraint of one step on the way, with two arguments or with all four."""
    return cost(state, goal, action, step) if _wants_four(cost) else cost(state, goal)


def _wants_four(cost: Any) -> bool:
    """Whether a callable has four positional parameters without a default."""
    try:
        parameters = inspect.signature(cost).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters) == 4
