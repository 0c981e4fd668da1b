"""Proposals: paths of states, and actions of a policy.

Proposed paths are pure functions from a state and a goal to the states on the way.

A proposer is called as `proposer(state, goal, num_states=n)` and returns a `ProposedPath`. Its
states are GRASP's virtual states (`GivenPath`), the subgoals of a controller (`grasp_jax.subgoals`)
or the reference of a cost (`grasp_jax.tracking`). `PathTree` comes from recorded data
(`grasp_jax.paths_from_data`); a caller's own proposer is any function like it.

Proposed actions `[n, T, A]` start any planner, see `grasp_jax.Proposed`; `FromPolicy` makes them.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._fields import Scalar, check_values, count, number, process, require, static
from grasp_jax._tree import PyTree, Record
from grasp_jax.noise import AR1, Noise
from grasp_jax.problem import Problem


class ProposedPath(NamedTuple):
    """What a proposer returns: any pure function `proposer(state, goal, num_states=n)`.

    Attributes:
      states: Leaves `[num_states, ...]`, where to be after 1, 2, ... steps; the goal from the step
        on at which it is reached.
      num_steps: `[]`, steps to the goal; `inf` where it is not known.
      known: `[]` bool, whether there is a path; where not, `states` is the straight line.
    """

    states: PyTree
    num_steps: jax.Array
    known: jax.Array


class Proposer(Protocol):
    """A pure function from where one is and where one wants to be to the states between."""

    def __call__(self, state: PyTree, goal: PyTree, *, num_states: int) -> ProposedPath:
        """Leaves `[num_states, ...]`; never raises: what it does not know it marks so."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PathTree:
    """The shortest ways of an index to one goal, as arrays; a pure proposer.

    Trees of one index have the same shapes, so that they stack for `vmap` over goals.

    Attributes:
      nodes: `[N+1, D]`, the index's nodes and, last, the goal.
      following: `[N+1]` int32, the next node on the way; itself at the goal and off every way.
      steps_to_go: `[N+1]`, model steps to the goal; `inf` where no way leads there.
      scale: `[D]`, distances are taken between states divided by it.
      radius: `[]`, a state farther from every node is not known.
      speed: `[]`, distance of a usual model step.
      hops_per_step: Nodes passed in a model step, at most.
    """

    nodes: jax.Array
    following: jax.Array
    steps_to_go: jax.Array
    scale: jax.Array
    radius: jax.Array
    speed: jax.Array
    hops_per_step: int = static(1)

    @property
    def goal(self) -> jax.Array:
        """`[D]`."""
        return self.nodes[-1]

    def __call__(
        self,
        state: jax.Array,
        goal: PyTree = None,
        *,
        num_states: int,
        pace: jax.Array | float = 1.0,
    ) -> ProposedPath:
        """The states `[num_states, D]` on the shortest way from `state` `[D]`.

        Args:
          state: Where to start; joins the graph at the node within `radius` that makes the whole
            way shortest.
          goal: Not used: the tree has its own.
          num_states: How many steps ahead; `T - 1` for the virtual states of a plan.
          pace: At most 1: below it every step covers only this share of the way of a step, which
            leaves the actions room to correct.
        """
        del goal
        state = jnp.asarray(state)
        gaps = jnp.linalg.norm((self.nodes - state) / self.scale, axis=-1)
        near = (gaps <= self.radius) & jnp.isfinite(self.steps_to_go)
        totals = jnp.where(near, self.steps_to_go + gaps / self.speed, jnp.inf)
        first, known = jnp.argmin(totals).astype(jnp.int32), jnp.any(near)

        def hop(node: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            return self.following[node], node

        count = num_states * self.hops_per_step + 2
        _, passed = jax.lax.scan(hop, first, None, count)
        times = gaps[first] / self.speed + self.steps_to_go[first] - self.steps_to_go[passed]
        times = jnp.concatenate([jnp.zeros(1), times])
        rows = jnp.concatenate([state[None], self.nodes[passed]])
        steps = pace * jnp.arange(1, num_states + 1)
        along = jax.vmap(lambda x: jnp.interp(steps, times, x), 1, 1)(rows)
        line = straight_line(state, self.goal, num_states=num_states).states
        whole = not jnp.issubdtype(state.dtype, jnp.floating)
        found = jnp.where(known, along, line).astype(jnp.float32 if whole else state.dtype)
        return ProposedPath(found, totals[first] / pace, known)


Policy = Callable[[PyTree, PyTree], jax.Array]
"""`(state, goal) -> action [A]`, pure."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FromPolicy(Record):
    """Proposed actions for `Proposed`: what a policy does in the model, once plainly, then noisily.

    Attributes:
      policy: `(state, goal) -> [A]`, pure; a callable pytree, or a function.
      num: `n`, how many sequences.
      std: Standard deviation of the noise on the actions of all but the first.
      noise: The process of the noise over time.
    """

    policy: Policy
    num: int = count(8)
    std: Scalar = number(0.3, low=0, like="actions")
    noise: Noise = process(AR1())

    def __post_init__(self) -> None:
        """Raises for settings out of range."""
        check_values(self)

    def __call__(self, problem: Problem, key: jax.Array) -> jax.Array:
        """`[n, T, A]`."""

        def one(index: jax.Array) -> jax.Array:
            noise = problem.action_noise(self.noise)
            draws = noise(jax.random.fold_in(key, index), problem.init_actions)
            std = jnp.where(index == 0, 0, self.std).astype(draws.dtype)
            return continued(problem, std * draws, self.policy, 0)

        return jax.vmap(one)(jnp.arange(self.num))


def continued(
    problem: Problem, actions: jax.Array, policy: Policy, known: jax.Array | int
) -> jax.Array:
    """Actions whose end a policy adds to, along the model's rollout.

    Args:
      problem: One goal, of a model without a context.
      actions: `[T, A]`. From row `known` on they are added to what the policy does.
      policy: `(state, goal) -> [A]`.
      known: `[]`, rows that stay as they are.

    Returns:
      `[T, A]`, inside the bounds.
    """
    require(
        problem.context is None,
        "a policy in the model reads one state, but the problem has a context of past frames. Roll "
        "it out yourself, and pass its actions.",
    )

    def step(state: PyTree, row: tuple[jax.Array, jax.Array]) -> tuple[PyTree, jax.Array]:
        action, index = row
        asked = jnp.asarray(policy(state, problem.goal), action.dtype)
        require(
            asked.shape == action.shape,
            f"a policy must return an action {_tree.describe(action)}, got "
            f"{_tree.describe(asked)}; it is called as policy(state, goal).",
        )
        action = jnp.where(index < known, action, action + asked)
        action = jnp.clip(action, problem.low, problem.high)
        prepared = _tree.take(problem.windows(action[None]), 0)
        return problem.step(state, prepared), action

    rows = (actions, jnp.arange(problem.max_horizon))
    return jax.lax.scan(step, problem.state, rows)[1]


def straight_line(state: PyTree, goal: PyTree, *, num_states: int) -> ProposedPath:
    """The proposer that knows nothing: the line from `state` to `goal`, reached a step later."""
    shares = jnp.arange(1, num_states + 1) / (num_states + 1)

    def interpolate(s: jax.Array, g: jax.Array) -> jax.Array:
        return s + shares.reshape((-1,) + (1,) * s.ndim).astype(s.dtype) * (g - s)

    states = jax.tree.map(interpolate, state, goal)
    return ProposedPath(states, jnp.asarray(jnp.inf), jnp.asarray(False))
