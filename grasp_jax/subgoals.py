"""Closed loop along a path: the next states on it are subgoals and virtual states at once.

    controller = SubgoalMPC(dynamics, proposer=index.towards(goal), planner=fit, ...)
    memory = controller.init(jnp.zeros((T, A)), observation, goal, key)
    while True:
        action, memory, cost = controller.step(memory, observation, goal)
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

from grasp_jax import _tree
from grasp_jax._settings import require, require_int, static
from grasp_jax._tree import PyTree
from grasp_jax.mpc import MPC, MPCState
from grasp_jax.objectives import Objective, squared_distance
from grasp_jax.planners.base import Planner
from grasp_jax.planners.grasp import GRASP
from grasp_jax.problem import Context
from grasp_jax.proposals import Proposer, straight_line


class SubgoalState(NamedTuple):
    """What the controller remembers between two control steps.

    Attributes:
      mpc: The plan, the context, the key: see `grasp_jax.MPCState`.
      path: Leaves `[P, ...]`, where to be after 1, 2, ... steps from where it was proposed.
      position: `[]` int32, the row of the path that lies next.
      known: `[]` bool, whether the proposer knew a path when it was last asked.
    """

    mpc: MPCState
    path: PyTree
    position: jax.Array
    known: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SubgoalMPC:
    """A controller that follows proposed paths.

    Attributes:
      dynamics: See `grasp_jax.plan`.
      proposer: `(state, goal, num_states=P) -> ProposedPath`: a `PathTree`, or any pure function.
      planner: A function of the next states on the path, leaves `[T-1, ...]`, that returns the
        planner of this step: `lambda states: GRASP(path=GivenPath(states), ...)`, or one that
        ignores them and searches for the subgoal alone.
      num_states: `P`, how far ahead a path is proposed; more than `T`.
      leave_distance: Farther from its path than this, the path is proposed anew.
      by_steps: True takes the next row at every step, as time goes by; False the row after the
        nearest of the next `T` ones, as the world gets on.
      replan_every: Control steps from plan to plan.
      bounds: `(low, high)` of actions, see `grasp_jax.plan`.
      objective: See `grasp_jax.plan`; its goal is the subgoal.
      distance: `(state, row of the path) -> []`; Euclid's by default.
    """

    dynamics: Any
    proposer: Proposer
    planner: Callable[[PyTree], Planner]
    num_states: int = static(32)
    leave_distance: jax.Array | float = jnp.inf
    by_steps: bool = static(False)
    replan_every: int = static(1)
    bounds: tuple[Any, Any] | None = None
    objective: Objective = Objective()
    distance: Callable[[PyTree, PyTree], jax.Array] | None = None

    def init(
        self,
        init_actions: jax.Array,
        observation: PyTree,
        goal: PyTree,
        key: jax.Array,
        context: Context | None = None,
    ) -> SubgoalState:
        """Before the first control step.

        Args:
          init_actions: `[T, A]`, the first starting guess; fixes how far a plan looks ahead.
          observation: The present state.
          goal: Like a state.
          key: One random key.
          context: For models that read a window, see `grasp_jax.Context.repeat`.

        Raises:
          ValueError: `num_states` is not above `T`; the proposer returns something else than
            `num_states` states; what `MPC.init` raises.
        """
        mpc = self._mpc(GRASP()).init(init_actions, key, context)  # init does not plan
        horizon = mpc.actions.shape[0]
        require_int(self.num_states, "SubgoalMPC.num_states")
        require(
            self.num_states > horizon,
            f"SubgoalMPC.num_states is {self.num_states}, but a plan looks {horizon} steps ahead: "
            "propose more states than that.",
        )
        self._check_proposer(observation, goal)
        proposed = self.proposer(observation, goal, num_states=self.num_states)
        zero = jnp.zeros((), jnp.int32)
        return SubgoalState(mpc, proposed.states, zero, jnp.asarray(proposed.known))

    def step(
        self, memory: SubgoalState, observation: PyTree, goal: PyTree
    ) -> tuple[jax.Array, SubgoalState, jax.Array]:
        """One control step.

        Args:
          memory: From `init` or the last step.
          observation: The present state of the world.
          goal: Like a state; where it moves, the proposer has to know.

        Returns:
          The action to take now `[A]`, the memory for the next step, and the predicted cost of
          the plan, see `grasp_jax.MPC.step`.
        """
        horizon = memory.mpc.actions.shape[0]
        memory = self._along(memory, observation, goal)
        rows = memory.position + jnp.arange(horizon)
        ahead = _tree.take(memory.path, jnp.minimum(rows, self.num_states - 1))
        line = straight_line(observation, goal, num_states=horizon - 1).states
        line = _tree.concatenate(line, jax.tree.map(lambda g: g[None], goal))
        ahead = _tree.where(memory.known, ahead, line)
        controller = self._mpc(self.planner(_tree.take(ahead, slice(None, -1))))
        action, mpc, cost = controller.step(memory.mpc, observation, _tree.take(ahead, -1))
        return action, memory._replace(mpc=mpc), cost

    def _along(self, memory: SubgoalState, observation: PyTree, goal: PyTree) -> SubgoalState:
        """The memory with the present position on the path, or on a new one."""
        horizon = memory.mpc.actions.shape[0]
        rows = memory.position + jnp.arange(-1, horizon - 1)
        near = _tree.take(memory.path, jnp.clip(rows, 0, self.num_states - 1))
        gaps = jax.vmap(lambda row: self._gap(observation, row))(near)
        gaps = jnp.where(rows < 0, jnp.inf, gaps)  # before its first row there is no path
        passed = memory.position + (1 if self.by_steps else jnp.argmin(gaps).astype(jnp.int32))
        begins = memory.mpc.taken == 0
        position = jnp.where(begins, 0, passed)
        left = ~begins & (jnp.min(gaps) > self.leave_distance)
        used_up = position > self.num_states - horizon

        def propose() -> SubgoalState:
            found = self.proposer(observation, goal, num_states=self.num_states)
            zero = jnp.zeros((), jnp.int32)
            return memory._replace(path=found.states, position=zero, known=jnp.asarray(found.known))

        def keep() -> SubgoalState:
            return memory._replace(position=position.astype(jnp.int32))

        return jax.lax.cond(left | used_up | ~memory.known, propose, keep)

    def _gap(self, state: PyTree, row: PyTree) -> jax.Array:
        if self.distance is not None:
            return self.distance(state, row)
        return jnp.sqrt(squared_distance(state, row))

    def _mpc(self, planner: Planner) -> MPC:
        return MPC(
            self.dynamics,
            planner,
            replan_every=self.replan_every,
            bounds=self.bounds,
            objective=self.objective,
        )

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
