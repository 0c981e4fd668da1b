"""What a plan says of itself: actions, states, cost, a status, one row of metrics an iteration."""

import dataclasses
import enum

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree, cost_dtype
from grasp_jax.problem import Problem


class Status(enum.IntEnum):
    """What a plan's `status` says; `Status(plan.status).message` says it in words."""

    OK = 0
    NON_FINITE = 1
    FAILED = 2
    STUCK = 3
    CONTROL_COST = 4
    SETTINGS = 5

    @property
    def message(self) -> str:
        """What happened, and what to look at."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.OK: "Every number was finite.",
    Status.NON_FINITE: (
        "The model or a cost returned NaN or infinity on the way; the best finite plan came back."
    ),
    Status.FAILED: "No rollout had a finite cost; the starting guess came back.",
    Status.STUCK: (
        "Nothing moved: every slope was exactly zero, so the starting guess came back. Does the "
        "model round, compare or index by its action? Take a planner that samples, such as ICEM."
    ),
    Status.CONTROL_COST: (
        "The control cost has no finite slope at some of the actions met (a norm at zero?); the "
        "slopes of the rest moved the plan. Smooth it, as jnp.sqrt(x + 1e-6)."
    ),
    Status.SETTINGS: (
        "A number of the planner is NaN or outside the range that its field documents (a negative "
        "rate or deviation?), or the horizon is not in 1..T. It was traced or on a device, where "
        "it cannot be refused at the door."
    ),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Metrics:
    """One row per iteration, each `[iterations]`.

    Attributes:
      cost: Rollout cost of that iteration's proposal; the best so far where none was evaluated.
      evaluated: bool, whether that iteration evaluated a rollout whose cost was finite.
      best_cost: Best rollout cost up to and including that iteration.
      loss: What the planner itself minimizes.
      dynamics_residual: `Σ_t ||F_t - s_{t+1}||²` of lifted planners, 0 for the others.
      model_evals: One-step model evaluations spent in that iteration.
      model_vjps: One-step model derivatives spent in that iteration. What a derivative evaluates
        again to save memory (`time_batch_size`, `remat`) is a part of it, not of `model_evals`.
    """

    cost: jax.Array
    evaluated: jax.Array
    best_cost: jax.Array
    loss: jax.Array
    dynamics_residual: jax.Array
    model_evals: jax.Array
    model_vjps: jax.Array

    @property
    def iterations_taken(self) -> jax.Array:
        """`[]` int32: rows up to the last that spent anything.

        Below their number where a target was reached, or where a chain's last planner had nothing
        left to do.
        """
        spent = self.model_evals + self.model_vjps > 0
        counted = jnp.arange(1, spent.shape[-1] + 1, dtype=jnp.int32)
        return jnp.max(jnp.where(spent, counted, 0), axis=-1, initial=0)

    @staticmethod
    def none(problem: Problem) -> "Metrics":
        """No rows yet, in the dtypes of later ones."""
        costs = jnp.zeros((0,), cost_dtype(problem.init_actions.dtype))
        counts = jnp.zeros((0,), jnp.float32)
        return Metrics(costs, jnp.zeros((0,), bool), costs, costs, costs, counts, counts)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A plan; every planner fills the same fields with the same meaning.

    Attributes:
      actions: `[T, A]`, always inside the bounds.
      states: Leaves `[T+1, ...]`, the model's rollout of those actions.
      cost: `[]`, the objective of that rollout, evaluated when the plan was read.
      virtual_states: Leaves `[T-1, ...]`, `s_1..s_{T-1}` of lifted planners; None for the others.
      status: `[]` int32, a `Status`.
      metrics: Per-iteration arrays.
      violation: `[]`, the largest excess over the objective's constraint along `states`; 0 where
        it holds everywhere, or there is none.
    """

    actions: jax.Array
    states: PyTree
    cost: jax.Array
    virtual_states: PyTree | None
    status: jax.Array
    metrics: Metrics
    violation: jax.Array
