"""One planning problem: the model, where it starts, where it should end, and what is allowed."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from grasp_jax import _tree, prepared
from grasp_jax._compile import array
from grasp_jax._frozen import frozen, thawed
from grasp_jax._tree import PyTree, cost_dtype, is_number
from grasp_jax.noise import Noise, in_environment_steps, spanning
from grasp_jax.objectives import Objective, along


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """The past that a model with a window of `h` frames reads besides the present one.

    With a context, the dynamics is called as `F(states [h, ...], actions [h, A])`, oldest first;
    the last row is the present state and the action to take in it.

    Attributes:
      states: Leaves `[h-1, ...]`, the frames before now, oldest first.
      actions: `[h-1, A]`, the actions taken in those frames.
      present: `[h-1]` bool, which of those frames are there (at an episode's first moments some are
        not); None for all. With it the dynamics gets a third argument, the mask `[h]` of its
        window; what frames hold that are not there is never to be read, but is to be finite.
    """

    states: PyTree
    actions: jax.Array
    present: jax.Array | None = None

    @staticmethod
    def repeat(state: PyTree, history_len: int, action_size: int) -> "Context":
        """A context for an episode's first moment: the present frame repeated, zero actions.

        Args:
          state: The present state, leaves `[...]`.
          history_len: `h-1`, how many frames before now the model reads.
          action_size: `A`.
        """
        state = jax.tree.map(array, state)
        leaf = jax.tree.leaves(state)[0]
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (history_len, *x.shape)), state)
        return Context(repeated, jnp.zeros((history_len, action_size), leaf.dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What every planner reads; made and checked by `make_problem`.

    A pytree of arrays, whatever the dynamics and the objective are made of. Methods are written
    for one goal; the library maps them over the goals of a batched problem.

    Attributes:
      dynamics: `F(state, action) -> next_state`, or on windows where there is a context.
      state: `s_0`, leaves `[...]`.
      goal: `g`, whatever the objective's terminal cost compares a state with.
      init_actions: `[T, A]`, the starting guess.
      low: `[A]`, lower bounds, `-inf` where there is none.
      high: `[A]`, upper bounds, `inf` where there is none.
      objective: The cost of a rollout.
      context: Frames and actions before now, or None.
      given_horizon: `[]` int32, see `horizon`; None for `T`.
      mesh: Devices to split goals, time or samples over, see `grasp_jax.sharding`; or None.
      batched: Whether `state`, `goal`, `init_actions`, `context` and `given_horizon` have a leading
        axis of `B` goals.
    """

    dynamics: Any
    state: PyTree
    goal: PyTree
    init_actions: jax.Array
    low: jax.Array
    high: jax.Array
    objective: Objective
    context: Context | None = None
    given_horizon: jax.Array | None = None
    mesh: Mesh | None = None
    batched: bool = False

    @property
    def max_horizon(self) -> int:
        """`T`: model steps, and rows of actions."""
        return self.init_actions.shape[-2]

    @property
    def horizon(self) -> jax.Array | int:
        """`[]`, at which step `1..T` the goal is to be reached; `T` unless one was given.

        Rollouts stand still from there on, and later actions are zero (or the nearest bound).
        """
        return self.max_horizon if self.given_horizon is None else self.given_horizon

    @property
    def window(self) -> int:
        """`h`, how many frames one prediction reads."""
        return 1 if self.context is None else 1 + self.context.actions.shape[-2]

    def clip(self, actions: jax.Array) -> jax.Array:
        """`[..., T, A]` actions moved to the nearest ones inside the bounds, none past the end."""
        return jnp.clip(self.until_end(actions), self.low, self.high)

    def until_end(self, actions: jax.Array) -> jax.Array:
        """`[..., T, A]` actions, zero from the goal's step on."""
        if self.given_horizon is None:
            return actions
        return jnp.where(jnp.arange(self.max_horizon)[:, None] < self.given_horizon, actions, 0)

    def action_noise(self, noise: Noise) -> Noise:
        """A noise over actions `[T, A]`: up to the horizon, in the model's environment steps."""
        block = prepared.environment_actions_per_step(self.dynamics)
        return spanning(in_environment_steps(noise, block), self.given_horizon)

    def cost(self, states: PyTree, actions: jax.Array) -> jax.Array:
        """The objective `[]` of a rollout, `s_1..s_T` `[T, ...]`, under actions `[T, A]`."""
        final = self.terminal_cost(_tree.take(states, -1))
        return final + self.control_cost(actions) + self.running_costs(states, actions)

    def terminal_cost(self, state: PyTree) -> jax.Array:
        """`d(state, g)`: `[]`."""
        return self.objective.terminal_cost(state, self.goal)

    def control_cost(self, actions: jax.Array) -> jax.Array:
        """`c` of `[T, A]` actions: `[]`, zero where there is none."""
        cost = self.objective.control_cost
        if cost is None:
            return jnp.zeros((), cost_dtype(actions.dtype))
        return cost(self.until_end(actions))

    def control_gradient(self, actions: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """`c` `[]`, its slope `[T, A]`, and whether that was finite; where not, it is zero."""
        if self.objective.control_cost is None:
            return self.control_cost(actions), jnp.zeros_like(actions), jnp.asarray(True)
        cost, slope = jax.value_and_grad(self.control_cost)(actions)
        return cost, _tree.finite_or_zero(slope), _tree.all_finite(slope)

    @property
    def has_running_cost(self) -> bool:
        """Whether states before the last one cost something, or are constrained."""
        return not (self.objective.running_cost is None and self.objective.constraint is None)

    def running_cost(self, state: PyTree, action: jax.Array, step: jax.Array) -> jax.Array:
        """`r` of a state, the action `[A]` that led there and its step `[]`; zero if there is none.

        What a violated constraint costs is a part of it.
        """
        cost, rule = self.objective.running_cost, self.objective.constraint
        found = jnp.zeros(()) if cost is None else along(cost, state, self.goal, action, step)
        if rule is None:
            return found
        excess = jnp.maximum(along(rule, state, self.goal, action, step), 0)
        return found + self.objective.constraint_weight * jnp.sum(excess)

    @property
    def steps(self) -> jax.Array:
        """`[T]` int32, `1..T`."""
        return jnp.arange(1, self.max_horizon + 1, dtype=jnp.int32)

    def running_costs(self, states: PyTree, actions: jax.Array) -> jax.Array:
        """`Σ_t r(s_t, g, a_{t-1}, t)` `[]` of `s_1..s_T` `[T, ...]`, up to the goal's step."""
        if not self.has_running_cost:
            return self.sum_until_end(None)
        return self.sum_until_end(jax.vmap(self.running_cost)(states, actions, self.steps))

    def violation(self, states: PyTree, actions: jax.Array) -> jax.Array:
        """The largest excess over the constraint `[]` along `s_1..s_T`; 0 where it holds."""
        rule, dtype = self.objective.constraint, cost_dtype(self.init_actions.dtype)
        if rule is None:
            return jnp.zeros((), dtype)

        def one(state: PyTree, action: jax.Array, step: jax.Array) -> jax.Array:
            return jnp.max(along(rule, state, self.goal, action, step), initial=0)

        excess = jax.vmap(one)(states, actions, self.steps)
        return jnp.max(jnp.where(self.steps <= self.horizon, excess, 0)).astype(dtype)

    def sum_until_end(self, costs: jax.Array | None) -> jax.Array:
        """The sum `[]` of costs `[T]` of `s_1..s_T`, up to the goal's step; zero for None."""
        if costs is None:
            return jnp.zeros((), cost_dtype(self.init_actions.dtype))
        costs = costs.astype(cost_dtype(costs.dtype))
        return jnp.sum(jnp.where(jnp.arange(self.max_horizon) < self.horizon, costs, 0))

    def windows(self, actions: jax.Array) -> PyTree:
        """What each of the `T` predictions reads of actions, leaves `[T, ...]` or `[T, h, ...]`.

        The action encoder of a `PreparedModel` runs here, once over all steps, instead of inside a
        rollout or once per window.
        """
        if self.context is None:
            return prepared.prepare(self.dynamics, actions)
        known = prepared.prepare(self.dynamics, jnp.concatenate([self.context.actions, actions]))
        times = jnp.arange(self.max_horizon)[:, None] + jnp.arange(self.window)
        present = self.context.present
        if present is not None:
            known = known, jnp.concatenate([present, jnp.ones(self.max_horizon, bool)])
        return _tree.take(known, times)

    def step(self, states: PyTree, window: PyTree) -> PyTree:
        """One prediction from a state, or a window of them, and one row of `windows`."""
        present = None
        if self.context is not None and self.context.present is not None:
            window, present = window
        return prepared.step(self.dynamics, states, window, present)

    def split(self, tree: PyTree, axis: str) -> PyTree:
        """`tree` with its leading axis split over the mesh axis of that name, if there is one."""
        return _tree.split(self.mesh, tree, axis)

    def starting_from(self, actions: jax.Array) -> "Problem":
        """The same problem with another starting guess."""
        return dataclasses.replace(self, init_actions=actions)


PER_GOAL = ("state", "goal", "init_actions", "context", "given_horizon")
"""The fields with one row per goal in a batched problem."""


def _flatten(problem: Problem) -> tuple[tuple[Any, ...], tuple[Mesh | None, bool]]:
    rows = tuple(getattr(problem, name) for name in PER_GOAL)
    held = frozen(problem.dynamics), frozen(problem.objective, is_number)
    return (*held, *rows, problem.low, problem.high), (problem.mesh, problem.batched)


def _unflatten(static: tuple[Mesh | None, bool], children: Any) -> Problem:
    dynamics, objective, state, goal, init_actions, context, given_horizon, low, high = children
    return Problem(
        thawed(dynamics),
        state,
        goal,
        init_actions,
        low,
        high,
        thawed(objective),
        context,
        given_horizon,
        *static,
    )


jax.tree_util.register_pytree_node(Problem, _flatten, _unflatten)
