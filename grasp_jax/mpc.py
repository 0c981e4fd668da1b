"""Receding horizon: plan, act, observe, shift the plan, plan again from there.

    controller = MPC(problem, GRASP(...), replan_every=5)
    memory = controller.init(key)
    while True:
        action, memory, info = controller.step(memory, observation, goal)
        observation = world(action)

`step` is pure, so that an episode in a JAX world is one `lax.scan`. Outside `jit` it plans by one
compiled program; `jax.jit(controller.step)` saves the dispatch of the rest, and takes the model's
weights as they are then. `step_batch` drives many episodes side by side.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from grasp_jax._compile import usual_promotion
from grasp_jax._fields import as_count, require
from grasp_jax._frozen import frozen, thawed
from grasp_jax._tree import PyTree, cost_dtype, describe, is_number
from grasp_jax.arguments import check_batch, check_key, replace_arrays, rows_of
from grasp_jax.mpc_state import MPCInfo, MPCState, follow
from grasp_jax.planner import Planner, require_planner
from grasp_jax.planners.restarted import restarted_grasp
from grasp_jax.planning import solve
from grasp_jax.problem import Context, Problem
from grasp_jax.proposals import Policy, continued
from grasp_jax.results import Plan, Status


@dataclasses.dataclass(frozen=True, eq=False)
class MPC:
    """A controller that plans anew every few steps. A pytree.

    Attributes:
      problem: Model, bounds, objective, first starting guess `[T, A]` and first context of one
        episode, see `grasp_jax.make_problem`; its state and goal are replaced at every step.
      planner: How to search, each time; few iterations are enough after a warm start.
        `restarted_grasp()` by default, a fifth of what `plan` takes.
      replan_every: Control steps from plan to plan; between them the plan is followed blindly.
      shrinking_horizon: Reach the goal `T` steps after the first plan, so that later plans are
        shorter (they share its program), and never shorter than `min_horizon` and `replan_every`;
        False keeps the horizon at `T`.
      min_horizon: Fewest steps a shrinking plan looks ahead.
      tail: A policy `(state, goal) -> [A]`, pure, for the rows of a shifted plan that lie behind
        its end, in the states that the model predicts there; None for zeros. Not for models with a
        context.
      target_cost: `[]`, traced: a plan that costs this or less is good enough and ends its search,
        see `grasp_jax.plan`; a shifted plan that still is one is followed unsearched. None runs
        every search to its end. In `step_batch` all episodes wait for the last; under a `vmap` of
        `step` besides, what a planner does every few iterations (GRASP's sync) is computed at
        every one.

    Raises:
      TypeError, ValueError: A count does not fit `T`, the problem is batched, or, when a step
        plans, `target_cost` is no number.
    """

    problem: Problem
    planner: Planner = dataclasses.field(default_factory=restarted_grasp)
    _: dataclasses.KW_ONLY
    replan_every: int = 1
    shrinking_horizon: bool = False
    min_horizon: int = 1
    tail: Policy | None = None
    target_cost: Any = None

    def __post_init__(self) -> None:
        """Raises for settings that cannot work."""
        if not isinstance(self.problem, Problem):
            raise TypeError(
                "MPC.problem must be a grasp_jax.Problem, made by grasp_jax.make_problem, got "
                f"{type(self.problem).__name__}."
            )
        require(
            not self.problem.batched,
            "MPC.problem must be of one episode, got a batched one: make it without batched=True, "
            "and drive many episodes by step_batch.",
        )
        require(
            self.problem.given_horizon is None,
            "MPC.problem has a horizon of its own; use shrinking_horizon, or fewer init_actions.",
        )
        require_planner(self.planner, "MPC.planner")
        if not (self.tail is None or callable(self.tail)):
            raise TypeError(
                "MPC.tail must be a policy, called as tail(state, goal), or None, got "
                f"{type(self.tail).__name__}."
            )
        horizon = self.problem.max_horizon
        for name in ("replan_every", "min_horizon"):
            value = as_count(getattr(self, name), f"MPC.{name}")
            object.__setattr__(self, name, value)
            require(
                value <= horizon,
                f"MPC.{name} is {value}, but a plan has {horizon} steps: choose 1..{horizon}.",
            )

    def init(self, key: jax.Array) -> MPCState:
        """Before the first control step.

        Args:
          key: One random key; every plan draws its own from it.

        Raises:
          TypeError, ValueError: `key` is not one random key.
        """
        check_key(key)
        actions = self.problem.init_actions
        # Every leaf has a buffer of its own, so that the memory can be donated.
        step, status = jnp.zeros((2,), jnp.int32)
        cost = jnp.zeros((), cost_dtype(actions.dtype))
        context = jax.tree.map(jnp.copy, self.problem.context)
        planned = jnp.asarray(len(actions), jnp.int32)
        return MPCState(jnp.copy(actions), context, step, jnp.copy(key), cost, status, planned)

    @usual_promotion
    def step(
        self,
        memory: MPCState,
        observation: PyTree,
        goal: PyTree,
        *,
        horizon: jax.Array | int | None = None,
    ) -> tuple[jax.Array, MPCState, MPCInfo]:
        """One control step.

        Args:
          memory: Of the last step, or of `init`.
          observation: The present state of the world, as the model reads it.
          goal: See `grasp_jax.plan`; it may move.
          horizon: `[]`, in how many steps from now, 1 to `T`, a plan made now is to reach the goal;
            None for what the controller's settings say. A plan that always looks as far ahead may
            put off its arrival at every step.

        Returns:
          The action to take now `[A]`, the memory for the next step, and what it says beside.
        """
        require(
            jnp.ndim(memory.cost) == 0,
            "MPC.step takes the memory of one episode, got that of a batch: use step_batch.",
        )
        here = replace_arrays(self.problem, state=observation, goal=goal)
        if horizon is not None:
            here = replace_arrays(here, horizon=horizon)

        def replan(memory: MPCState) -> MPCState:
            problem, key = self.search(memory, here)
            return self._planned(memory, problem, self._solve(problem, key))

        memory, info = self._plan_or_follow(memory, memory.step, replan)
        action, memory = follow(memory, here.state)
        return action, dataclasses.replace(memory, step=memory.step + 1), info  # pyright: ignore

    def _plan_or_follow(
        self, memory: MPCState, step: Any, replan: Callable[[MPCState], MPCState]
    ) -> tuple[MPCState, MPCInfo]:
        """The memory with the plan of this step, a new one where one is due."""
        due = step % self.replan_every == 0
        if isinstance(due, Tracer):
            memory = jax.lax.cond(due, replan, lambda memory: memory, memory)
        elif due:
            # A `cond` would be compiled anew at every call.
            memory = replan(memory)
        planned = jnp.broadcast_to(due, memory.cost.shape)
        return memory, MPCInfo(planned, memory.cost, memory.status)

    def _planned(self, memory: MPCState, problem: Problem, found: Plan) -> MPCState:
        """The memory with a new plan, of one episode or of a batch."""
        cost = jnp.where(found.status == Status.FAILED, memory.cost, found.cost)
        return dataclasses.replace(
            memory,
            actions=found.actions,
            cost=cost.astype(memory.cost.dtype),
            status=found.status,
            num_planned=jnp.broadcast_to(problem.horizon, cost.shape).astype(jnp.int32),
        )

    @usual_promotion
    def init_batch(self, keys: jax.Array, context: Context | None = None) -> MPCState:
        """Memories of `B` episodes that start together.

        Args:
          keys: `[B]` random keys.
          context: Leaves `[B, h-1, ...]`, where the problem has a context.

        Raises:
          TypeError, ValueError: `keys` is no vector of random keys, or the context is not of as
            many episodes.
        """
        check_key(keys, batched=True)
        require(
            keys.ndim == 2 - jnp.issubdtype(keys.dtype, jax.dtypes.prng_key),
            f"MPC.init_batch: keys must be one key per episode, [B], got {describe(keys)}. Split "
            "one by jax.random.split(key, B).",
        )
        check_batch({"keys": keys, "context": context}, caller="MPC.init_batch")
        memory = jax.vmap(lambda key: dataclasses.replace(self.init(key), step=None))(keys)
        if context is not None:
            context = jax.tree.map(jnp.copy, context)  # the memory can be donated
            memory = dataclasses.replace(memory, context=context)
        return dataclasses.replace(memory, step=jnp.zeros((), jnp.int32))

    @usual_promotion
    def step_batch(
        self, memory: MPCState, observation: PyTree, goal: PyTree
    ) -> tuple[jax.Array, MPCState, MPCInfo]:
        """`step` for `B` episodes side by side; steps that only follow their plans plan nothing.

        Args:
          memory: Of `init_batch`, leaves `[B, ...]` but for the shared counter `step` `[]`.
          observation: Leaves `[B, ...]`.
          goal: Leaves `[B, ...]`.

        Returns:
          As `step`, leaves `[B, ...]`.

        Raises:
          ValueError: The memory is of one episode, or the observation or goal is not of as many.
        """
        require(
            jnp.ndim(memory.cost) == 1,
            "MPC.step_batch takes the memory of init_batch, got that of one episode: use step.",
        )
        steps = memory.step
        alone = dataclasses.replace(memory, step=None)
        here = replace_arrays(self.problem, state=observation, goal=goal)
        rows = {"observation": here.state, "goal": here.goal}
        check_batch(rows, len(memory.cost), "MPC.step_batch")

        def replan(memory: MPCState) -> MPCState:
            def one(memory: MPCState, state: PyTree, goal: PyTree) -> tuple[Any, jax.Array]:
                memory = dataclasses.replace(memory, step=steps)
                now = dataclasses.replace(here, state=state, goal=goal)
                problem, key = self.search(memory, now)
                return rows_of(problem), key

            # One search for all: under `vmap` every branch on its counter would be taken.
            rows, keys = jax.vmap(one)(memory, here.state, here.goal)
            problem = dataclasses.replace(self.problem, **rows, batched=True)
            return self._planned(memory, problem, self._solve(problem, keys))

        alone, info = self._plan_or_follow(alone, steps, replan)
        action, alone = jax.vmap(follow)(alone, here.state)
        return action, dataclasses.replace(alone, step=steps + 1), info  # pyright: ignore

    def plan(self, memory: MPCState, observation: PyTree, goal: PyTree) -> Plan:
        """The plan a control step would make now, whole."""
        here = replace_arrays(self.problem, state=observation, goal=goal)
        return self._solve(*self.search(memory, here))

    def _solve(self, problem: Problem, key: jax.Array) -> Plan:
        return solve(problem, key, planner=self.planner, target_cost=self.target_cost)

    def search(self, memory: MPCState, here: Problem) -> tuple[Problem, jax.Array]:
        """What a control step would solve, and with which key.

        Args:
          memory: Its actions are the starting guess.
          here: The controller's problem, with the present state, goal and perhaps horizon.
        """
        horizon = here.max_horizon
        here = dataclasses.replace(here, init_actions=memory.actions, context=memory.context)
        if self.tail is not None:
            filled = continued(here, memory.actions, self.tail, memory.num_planned)
            here = here.starting_from(filled)
        if self.shrinking_horizon and here.given_horizon is None:
            # A plan is followed for `replan_every` steps, and behind its end there are zeros.
            least = max(self.min_horizon, self.replan_every)
            left = jnp.clip(horizon - memory.step, least, horizon)  # pyright: ignore
            here = dataclasses.replace(here, given_horizon=left.astype(jnp.int32))
        return here, jax.random.fold_in(memory.key, memory.step)  # pyright: ignore


def _flatten(mpc: MPC) -> tuple[tuple[Any, Any, Any, Any], tuple[int, bool, int]]:
    static = mpc.replan_every, mpc.shrinking_horizon, mpc.min_horizon
    planner, tail = (frozen(part, is_number) for part in (mpc.planner, mpc.tail))
    return (mpc.problem, planner, tail, mpc.target_cost), static


def _unflatten(static: tuple[int, bool, int], children: Any) -> MPC:
    mpc = object.__new__(MPC)  # inside a transformation the parts may be anything
    problem, planner, tail, target = children
    values = (problem, thawed(planner), *static, thawed(tail), target)
    for field, value in zip(dataclasses.fields(MPC), values, strict=True):
        object.__setattr__(mpc, field.name, value)
    return mpc


jax.tree_util.register_pytree_node(MPC, _flatten, _unflatten)
