"""Closed loop along a path: the next states on it are subgoals and virtual states at once.

    controller = SubgoalMPC(problem, proposer=index.towards(goal), planner=fit, ...)
    memory = controller.init(observation, goal, key)
    while True:
        action, memory, info = controller.step(memory, observation, goal)
        observation = world(action)

Every step looks up how far along its path the world is, and plans to where the path leads in `T`
steps. A path that was left, or is used up, is proposed anew; where the proposer knows nothing, the
plan goes straight for the goal, and the proposer is asked again at the next step: nothing latches.
`step` is pure, one compiled program, and runs under `vmap` over episodes; an episode's own proposer
comes in by `dataclasses.replace(controller, proposer=...)` inside the mapped function.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from grasp_jax import _tree
from grasp_jax._compile import usual_promotion
from grasp_jax._fields import as_count, require
from grasp_jax._tree import PyTree
from grasp_jax.mpc import MPC
from grasp_jax.mpc_state import MPCInfo, MPCState
from grasp_jax.objectives import squared_distance
from grasp_jax.planner import Planner
from grasp_jax.problem import Problem
from grasp_jax.proposals import ProposedPath, Proposer, straight_line


class SubgoalState(NamedTuple):
    """What the controller remembers between two control steps.

    Attributes:
      mpc: The plan, the context, the key: see `grasp_jax.MPCState`.
      path: Leaves `[P, ...]`, where to be after 1, 2, ... steps from where it was proposed.
      position: `[]` int32, the row of the path that lies next.
      known: `[]` bool, whether the proposer knew a path when it was last asked.
      num_steps: `[]` int32, in how many steps from where it was proposed it arrives; -1 where that
        is not known.
    """

    mpc: MPCState
    path: PyTree
    position: jax.Array
    known: jax.Array
    num_steps: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SubgoalMPC:
    """A controller that follows proposed paths.

    Attributes:
      problem: Model, bounds, objective, first starting guess `[T, A]` and first context, see
        `grasp_jax.MPC`; a plan looks `T` steps ahead, and its goal is a state on the path.
      proposer: `(state, goal, num_states=P) -> ProposedPath`: a `PathTree`, or any pure function.
      planner: A function of the next states on the path, leaves `[T-1, ...]`, that returns the
        planner of this step: `lambda states: GRASP(init_states=GivenPath(states), ...)`, or one
        that ignores them and searches for the subgoal alone.
      num_states: `P`, how far ahead a path is proposed; more than `T`.
      leave_distance: Farther from its path than this, the path is proposed anew.
      by_steps: True takes the next row at every step, as time goes by; False the row after the
        nearest of the next `T` ones, as the world gets on.
      replan_every: Control steps from plan to plan.
      min_horizon: A path that arrives in less than `T` steps is followed by shorter plans, which
        arrive when it does, but by none below this number of steps; None always plans `T` steps.
      distance: `(state, row of the path) -> []`; Euclid's by default.
      target_cost: See `grasp_jax.MPC`.

    Raises:
      ValueError: `num_states` is not above `T`.
      TypeError, ValueError: What `grasp_jax.MPC` refuses.
    """

    problem: Problem
    proposer: Proposer
    planner: Callable[[PyTree], Planner]
    num_states: int = 32
    leave_distance: jax.Array | float = jnp.inf
    by_steps: bool = False
    replan_every: int = 1
    min_horizon: int | None = None
    distance: Callable[[PyTree, PyTree], jax.Array] | None = None
    target_cost: Any = None

    def __post_init__(self) -> None:
        """Raises for settings that cannot work."""
        least = 1 if self.min_horizon is None else self.min_horizon
        controller = MPC(self.problem, replan_every=self.replan_every, min_horizon=least)
        horizon = controller.problem.max_horizon
        as_count(self.num_states, "SubgoalMPC.num_states")
        require(
            self.num_states > horizon,
            f"SubgoalMPC.num_states is {self.num_states}, but a plan looks {horizon} steps ahead: "
            "propose more states than that.",
        )

    @usual_promotion
    def init(self, observation: PyTree, goal: PyTree, key: jax.Array) -> SubgoalState:
        """Before the first control step.

        Args:
          observation: The present state.
          goal: Like a state.
          key: One random key.

        Raises:
          TypeError, ValueError: `key` is not one random key.
          ValueError: The proposer fails, or returns something else than `num_states` states.
        """
        self._check_proposer(observation, goal)
        mpc = MPC(self.problem, replan_every=self.replan_every).init(key)
        proposed = self.proposer(observation, goal, num_states=self.num_states)
        zero, known = jnp.zeros((), jnp.int32), jnp.asarray(proposed.known)
        return SubgoalState(mpc, proposed.states, zero, known, _whole_steps(proposed))

    @usual_promotion
    def step(
        self, memory: SubgoalState, observation: PyTree, goal: PyTree
    ) -> tuple[jax.Array, SubgoalState, MPCInfo]:
        """One control step.

        Args:
          memory: Of the last step, or of `init`.
          observation: The present state of the world.
          goal: Like a state; where it moves, the proposer has to know.

        Returns:
          The action to take now `[A]`, the memory for the next step, and what it says beside.
        """
        horizon = self.problem.max_horizon
        memory = self._along(memory, observation, goal)
        rows = memory.position + jnp.arange(horizon)
        ahead = _tree.take(memory.path, jnp.minimum(rows, self.num_states - 1))
        line = straight_line(observation, goal, num_states=horizon - 1).states
        line = _tree.concatenate(line, jax.tree.map(lambda g: g[None], goal))
        ahead = _tree.where(memory.known, ahead, line)
        planner = self.planner(_tree.take(ahead, slice(None, -1)))
        controller = MPC(
            self.problem, planner, replan_every=self.replan_every, target_cost=self.target_cost
        )
        left = self._steps_left(memory)
        goal = _tree.take(ahead, -1)
        action, mpc, info = controller.step(memory.mpc, observation, goal, horizon=left)
        return action, memory._replace(mpc=mpc), info

    def _steps_left(self, memory: SubgoalState) -> jax.Array | None:
        """How long the next plan is to be, `[]`; None for `T`."""
        if self.min_horizon is None:
            return None
        horizon = self.problem.max_horizon
        arrives = memory.known & (memory.num_steps >= 0)
        left = jnp.where(arrives, memory.num_steps - memory.position, horizon)
        return jnp.clip(left, max(self.min_horizon, self.replan_every), horizon)

    def _along(self, memory: SubgoalState, observation: PyTree, goal: PyTree) -> SubgoalState:
        """The memory with the present position on the path, or on a new one."""
        horizon = self.problem.max_horizon
        rows = memory.position + jnp.arange(-1, horizon - 1)
        near = _tree.take(memory.path, jnp.clip(rows, 0, self.num_states - 1))
        gaps = jax.vmap(lambda row: self._gap(observation, row))(near)
        gaps = jnp.where(rows < 0, jnp.inf, gaps)  # before its first row there is no path
        passed = memory.position + (1 if self.by_steps else jnp.argmin(gaps).astype(jnp.int32))
        begins = memory.mpc.step == 0
        position = jnp.where(begins, 0, passed)
        left = ~begins & (jnp.min(gaps) > self.leave_distance)
        used_up = position > self.num_states - horizon

        def propose() -> SubgoalState:
            found = self.proposer(observation, goal, num_states=self.num_states)
            return memory._replace(
                path=found.states,
                position=jnp.zeros((), jnp.int32),
                known=jnp.asarray(found.known),
                num_steps=_whole_steps(found),
            )

        def keep() -> SubgoalState:
            return memory._replace(position=position.astype(jnp.int32))

        due = left | used_up | ~memory.known
        if isinstance(due, Tracer):
            return jax.lax.cond(due, propose, keep)
        # A `cond` would be compiled anew at every call.
        return propose() if due else keep()

    def _gap(self, state: PyTree, row: PyTree) -> jax.Array:
        if self.distance is not None:
            return self.distance(state, row)
        return jnp.sqrt(squared_distance(state, row))

    def _check_proposer(self, observation: PyTree, goal: PyTree) -> None:
        """Raises unless the proposer returns `num_states` states like the observation."""
        expected = jax.tree.map(lambda x: (self.num_states, *jnp.shape(x)), observation)
        try:
            found = jax.eval_shape(
                lambda s, g: self.proposer(s, g, num_states=self.num_states), observation, goal
            ).states
        except Exception as error:
            raise ValueError(
                f"SubgoalMPC.proposer failed on a state {_tree.describe(observation)}: "
                f"{type(error).__name__}: {error!s:.300}"
            ) from error
        shapes = jax.tree.map(lambda x: tuple(x.shape), found)
        require(
            shapes == expected,
            f"SubgoalMPC.proposer must return a ProposedPath whose states are {expected}, got "
            f"{shapes}.",
        )


def _whole_steps(found: ProposedPath) -> jax.Array:
    """`SubgoalState.num_steps`: no `inf`, which stops programs under `jax_debug_infs`."""
    steps = jnp.asarray(found.num_steps, jnp.float32)
    finite = jnp.isfinite(steps)
    return jnp.where(finite, jnp.ceil(jnp.where(finite, steps, 0)), -1).astype(jnp.int32)
