"""Replanning at a fixed rate: act at once, think until the deadline, act on what was found.

    controller = RealTimeMPC(MPC(problem, planner))
    memory = controller.warm_up(controller.init(key), observation, goal)
    while True:
        deadline = time.perf_counter() + 0.1
        action, memory = controller.act(memory, observation)
        send(action)
        memory, info = controller.think(memory, observation, goal, action, deadline)
        observation = wait_for_observation()

`act` takes the next action of the plan at hand, which is known before the observation is. `think`
plans from where the model says that this action leads, so that the new plan begins with the next
control step: any-time pieces of a few iterations until no further piece would end before the
deadline. A planner that finds nothing better hands on the shifted plan.

It runs on the host beside a clock, so it is no part of a program: not for `jit`, `vmap` or `scan`.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._fields import as_count, require
from grasp_jax._tree import PyTree, take
from grasp_jax.anytime import advance, read, start, trajectory
from grasp_jax.arguments import replace_arrays
from grasp_jax.mpc import MPC
from grasp_jax.mpc_state import MPCState, follow
from grasp_jax.problem import Context, Problem
from grasp_jax.results import Plan, Status
from grasp_jax.search import Search

_FORGET = 0.95  # per piece: a slow one is remembered for some seconds at 10 Hz
_DOUBT = 0.8  # per step without time to think


@dataclasses.dataclass(frozen=True, eq=False)
class RealTimeState:
    """What the controller remembers between two control steps.

    Attributes:
      mpc: Plan, context, counter and key.
      piece: Seconds that a piece is expected to take at most.
      rest: The same of what comes before and after: predicting, starting, reading.
      past: The context in which the last action was taken, or None.
    """

    mpc: MPCState
    piece: float = 0.0
    rest: float = 0.0
    past: Context | None = None


@dataclasses.dataclass(frozen=True)
class ThinkInfo:
    """What one `think` did.

    Attributes:
      iterations: Iterations of the planner.
      seconds: How long it took.
      late: Seconds after the deadline; negative where it was met.
      replaced: Whether there is a new plan; False where there was no time, or planning failed.
      cost: Predicted cost of the new plan, or None.
    """

    iterations: int
    seconds: float
    late: float
    replaced: bool
    cost: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class RealTimeMPC:
    """A controller that answers at once and thinks until a deadline.

    Attributes:
      mpc: Problem, planner and horizon; its `replan_every` must be 1. The planner's `iterations`
        bound how long it may think; its schedules follow the iterations that it gets.
      chunk: Iterations of a piece: small enough for the deadline, large enough that a call's
        overhead (a millisecond or so) does not count.
      margin: Share of a piece's expected time that is kept free as well.
      clock: Seconds, as `time.perf_counter`.

    Raises:
      TypeError, ValueError: A count does not fit.
    """

    mpc: MPC
    chunk: int = 10
    margin: float = 0.5
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        """Raises for settings that cannot work."""
        if not isinstance(self.mpc, MPC):
            raise TypeError(f"RealTimeMPC.mpc must be an MPC, got {type(self.mpc).__name__}.")
        object.__setattr__(self, "chunk", as_count(self.chunk, "RealTimeMPC.chunk"))
        require(
            self.chunk <= self.mpc.planner.iterations,
            f"RealTimeMPC.chunk is {self.chunk} but its planner has {self.mpc.planner.iterations} "
            "iterations. Lower it, or raise those.",
        )
        require(
            self.mpc.replan_every == 1,
            f"RealTimeMPC plans at every step, but MPC.replan_every is {self.mpc.replan_every}. "
            "Leave it at 1; `act` alone follows a plan.",
        )
        require(
            self.mpc.target_cost is None,
            "RealTimeMPC searches until its deadline, but MPC.target_cost is given. Leave it out.",
        )

    def init(self, key: jax.Array) -> RealTimeState:
        """Before the first control step; the first plan is the problem's `init_actions`."""
        return RealTimeState(self.mpc.init(key))

    def warm_up(
        self, memory: RealTimeState, observation: PyTree, goal: PyTree, pieces: int = 5
    ) -> RealTimeState:
        """Compiles everything, measures it, and makes the first plan, without a deadline.

        Args:
          memory: Of `init`.
          observation: The first observation.
          goal: The goal.
          pieces: Pieces of the first plan.
        """
        here = replace_arrays(self.mpc.problem, state=observation, goal=goal)
        jax.block_until_ready(_predicted(here, memory.mpc.context, memory.mpc.actions[0]).state)
        spent, rest, plan = [], 0.0, None
        for _ in range(2):  # the first compiles
            began = self.clock()
            search = self._start(memory.mpc, here)
            rest = self.clock() - began
            for _ in range(pieces):
                began = self.clock()
                search = self._advance(search)
                spent.append(self.clock() - began)
            began = self.clock()
            plan = jax.block_until_ready(read(search))
            rest += self.clock() - began
        assert plan is not None
        mpc = self._adopted(memory.mpc, plan, search) or memory.mpc
        ready = RealTimeState(mpc, statistics.median(spent[pieces:]), 2 * rest)
        jax.block_until_ready(self.act(ready, observation)[0])  # compiles; the action is not taken
        return ready

    def act(self, memory: RealTimeState, observation: PyTree) -> tuple[jax.Array, RealTimeState]:
        """The action to take now `[A]`, and the memory of having taken it.

        Args:
          memory: Of the last step.
          observation: The present state, for the context of models that read one.
        """
        mpc, problem = memory.mpc, self.mpc.problem
        state = replace_arrays(problem, state=observation).state
        # Neither a starting guess nor the zeros behind a plan need lie inside.
        inside = mpc.actions.at[0].set(jnp.clip(mpc.actions[0], problem.low, problem.high))
        action, following = follow(dataclasses.replace(mpc, actions=inside), state)
        following = dataclasses.replace(following, step=_count(mpc) + 1)
        return action, dataclasses.replace(memory, mpc=following, past=mpc.context)

    def think(
        self,
        memory: RealTimeState,
        observation: PyTree,
        goal: PyTree,
        action: jax.Array,
        deadline: float,
    ) -> tuple[RealTimeState, ThinkInfo]:
        """Plans for the next control step until the deadline.

        Args:
          memory: Of `act`.
          observation: What `act` got.
          goal: See `grasp_jax.plan`; it may move.
          action: What `act` returned.
          deadline: On the controller's clock.

        Returns:
          The memory for the next step, with the new plan if there is one.
        """
        began, done = self.clock(), 0
        expected = (1 + self.margin) * memory.piece
        if began + memory.rest + expected > deadline:
            # One slow piece must not end thinking for good.
            doubtful = dataclasses.replace(
                memory, piece=_DOUBT * memory.piece, rest=_DOUBT * memory.rest
            )
            return doubtful, ThinkInfo(0, 0.0, began - deadline, False, None)
        here = replace_arrays(self.mpc.problem, state=observation, goal=goal)
        search = self._start(memory.mpc, _predicted(here, memory.past, action))
        before, slowest = self.clock() - began, memory.piece
        while done + self.chunk <= self.mpc.planner.iterations:
            ahead = self.clock() + (1 + self.margin) * slowest + memory.rest / 2
            if done and ahead > deadline:
                break
            piece = self.clock()
            search, done = self._advance(search), done + self.chunk
            slowest = max(_FORGET * slowest, self.clock() - piece)
        after = self.clock()
        plan = jax.block_until_ready(read(search))
        adopted = self._adopted(memory.mpc, plan, search)
        end = self.clock()
        rest = max(_FORGET * memory.rest, before + end - after)
        info = ThinkInfo(done, end - began, end - deadline, adopted is not None, float(plan.cost))
        return RealTimeState(adopted or memory.mpc, slowest, rest), info

    def _start(self, mpc: MPCState, here: Problem) -> Search:
        problem, key = self.mpc.search(mpc, here)
        search = start(problem, key, planner=self.mpc.planner)
        return jax.block_until_ready(search)

    def _advance(self, search: Search) -> Search:
        search = dataclasses.replace(advance(search, self.chunk), metrics=())
        return jax.block_until_ready(search)

    def _adopted(self, mpc: MPCState, plan: Plan, search: Search) -> MPCState | None:
        """The memory with a new plan; None where planning failed."""
        if int(plan.status) == Status.FAILED:
            return None
        return dataclasses.replace(
            mpc,
            actions=plan.actions,
            cost=plan.cost.astype(mpc.cost.dtype),
            status=plan.status,
            num_planned=jnp.asarray(search.problem.horizon, jnp.int32),
        )


def _predicted(here: Problem, context: Context | None, action: jax.Array) -> Problem:
    """`here`, one step later by the model, which saw `context` before."""
    one = dataclasses.replace(here, init_actions=action[None], context=context)
    return dataclasses.replace(here, state=take(trajectory(one, action[None]), 1))


def _count(mpc: MPCState) -> Any:
    return jnp.zeros((), jnp.int32) if mpc.step is None else mpc.step
