"""What a planner is: a frozen dataclass of settings with three pure methods.

Numbers in a planner are traced (sweep a learning rate with `vmap`, change it without a retrace);
counts, switches and factories are structure. Callables in other fields (schedules, paths, noises)
are pytrees themselves, or plain functions, which become structure.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._fields import check_fields, check_values
from grasp_jax._tree import PyTree, Record, cost_dtype
from grasp_jax.problem import Problem

PlannerState = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StepContext:
    """What the search tells a planner before each step.

    Attributes:
      key: This iteration's own random key.
      iteration: `[]` int32, counted from 0; not batched under the library's own `vmap`, so that
        a `lax.cond` on it stays a branch.
      best_actions: `[T, A]`, the best evaluated actions so far, inside the bounds.
      best_cost: `[]`, their rollout cost.
    """

    key: jax.Array
    iteration: jax.Array
    best_actions: jax.Array
    best_cost: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StepInfo:
    """What a planner found in one step; made by `StepInfo.of`.

    Attributes:
      actions: `[T, A]`, a candidate inside the bounds.
      cost: `[]`, its true rollout cost; `inf` where the step evaluated no rollout.
      loss: `[]`, what the planner itself minimizes (the lifted objective, the rollout cost, ...).
      dynamics_residual: `[]`, `Σ_t ||F_t - s_{t+1}||²` of lifted planners, 0 for the others.
      finite: `[]` bool, whether every number met in this step was finite.
      model_evals: `[]`, one-step model evaluations spent.
      model_vjps: `[]`, one-step model derivatives (VJPs or JVPs) spent.
      stuck: `[]` bool, whether nothing could move because every slope was exactly zero.
      control_finite: `[]` bool, whether the control cost had finite slopes. Where it has none, the
        slopes of everything else still move the actions.
    """

    actions: jax.Array
    cost: jax.Array
    loss: jax.Array
    dynamics_residual: jax.Array
    finite: jax.Array
    model_evals: jax.Array
    model_vjps: jax.Array
    stuck: jax.Array
    control_finite: jax.Array

    @staticmethod
    def of(
        actions: jax.Array,
        cost: jax.Array,
        finite: jax.Array,
        model_evals: jax.Array | float,
        model_vjps: jax.Array | float = 0.0,
        loss: jax.Array | None = None,
        dynamics_residual: jax.Array | None = None,
        stuck: jax.Array | bool = False,
        control_finite: jax.Array | bool = True,
    ) -> "StepInfo":
        """A `StepInfo` with every field an array of the same dtype in each branch of a `cond`.

        Costs are float32 at least, also beside half-precision actions.
        """
        dtype = cost_dtype(actions.dtype)
        cost = jnp.asarray(cost, dtype)
        residual = 0.0 if dynamics_residual is None else dynamics_residual
        return StepInfo(
            actions=actions,
            cost=cost,
            loss=cost if loss is None else jnp.asarray(loss, dtype),
            dynamics_residual=jnp.asarray(residual, dtype),
            finite=jnp.asarray(finite, bool),
            model_evals=jnp.asarray(model_evals, jnp.float32),
            model_vjps=jnp.asarray(model_vjps, jnp.float32),
            stuck=jnp.asarray(stuck, bool),
            control_finite=jnp.asarray(control_finite, bool),
        )


class Planner(Record, abc.ABC):
    """Derive a frozen dataclass from it; the README's `RandomSearch` is a short example.

    Attributes:
      iterations: How many steps a `plan()` takes.
      evaluates_guess: Whether the first iteration evaluates the starting guess. Where it does not,
        a planner that is a part of another has it evaluated before, so that it never hands on
        less than it was given; where it does, that saves a copy of the model in the program.
    """

    iterations: int
    evaluates_guess: bool = False

    def __post_init__(self) -> None:
        """Raises for settings that are wrong whatever the problem."""
        check_values(self)

    def check(self, problem: Problem) -> None:
        """Raises for settings that do not fit a problem; called while tracing."""
        check_fields(self, problem.init_actions, states_alike(problem))

    @abc.abstractmethod
    def init(self, problem: Problem, key: jax.Array) -> PlannerState:
        """The first state; starts from `problem.init_actions`."""

    @abc.abstractmethod
    def step(
        self, problem: Problem, state: PlannerState, context: StepContext
    ) -> tuple[PlannerState, StepInfo]:
        """One iteration. Never raises; broken numbers are reported through `StepInfo.finite`."""

    @abc.abstractmethod
    def actions(self, problem: Problem, state: PlannerState) -> jax.Array:
        """The present actions `[T, A]`, inside the bounds."""

    def virtual_states(self, problem: Problem, state: PlannerState) -> PyTree | None:
        """`s_1..s_{T-1}`, leaves `[T-1, ...]`, of a lifted planner; None for the others."""
        del problem, state

    def present(self, problem: Problem, state: PlannerState) -> tuple[jax.Array, PyTree | None]:
        """`actions` and `virtual_states`; for planners that find both at once."""
        return self.actions(problem, state), self.virtual_states(problem, state)

    def extra_evals(self, problem: Problem) -> tuple[int, int]:
        """Model evaluations of `init` and of `actions`, which no step counts."""
        del problem
        return 0, 0


def states_alike(problem: Problem, rows: int | None = None) -> PyTree:
    """Shapes and dtypes of `rows` states, `T` by default: leaves `[rows, ...]`."""
    rows = problem.max_horizon if rows is None else rows
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape), x.dtype), problem.state)


def require_planner(planner: Any, name: str) -> None:
    """Raises TypeError unless `planner`, called `name` by the user, is a planner."""
    if isinstance(planner, Planner):
        return
    if isinstance(planner, type):
        owner = "grasp_jax." * planner.__module__.startswith("grasp_jax.")
        raise TypeError(
            f"{name} must be an instance, got the class {planner.__name__}. "
            f"Write {owner}{planner.__name__}()."
        )
    raise TypeError(
        f"{name} must be a grasp_jax planner such as grasp_jax.GRASP(), got "
        f"{type(planner).__name__}: {planner!r:.60}. One of your own derives from "
        "grasp_jax.Planner."
    )


def is_stuck(gradient: PyTree) -> jax.Array:
    """`[]` bool: whether a gradient is exactly zero everywhere, so that it moves nothing."""
    zero = [jnp.all(x == 0) for x in jax.tree.leaves(gradient)]
    return jnp.all(jnp.stack(zero))
