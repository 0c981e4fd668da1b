"""Plans compiled ahead of time, for control loops that cannot wait for a compiler or a trace."""

import dataclasses
from typing import Any

import jax

from grasp_jax import programs
from grasp_jax._promotion import usual_promotion
from grasp_jax._tree import Frozen, PyTree, describe, freeze
from grasp_jax._weights import with_visible_weights
from grasp_jax.checks import check_key
from grasp_jax.driver import Plan
from grasp_jax.objectives import Objective
from grasp_jax.planners.base import Planner
from grasp_jax.planning import open_problem
from grasp_jax.problem import Context, Problem, as_length


@dataclasses.dataclass(frozen=True)
class CompiledPlan:
    """A compiled `plan` with everything but the arrays fixed; made by `compile_plan`.

    Calling it never traces, checks only what could crash, and costs a fifth of the dispatch of
    `plan`.

    Attributes:
      problem: The arguments it was compiled with; a call replaces some of them.
      planner: The planner it was compiled with.
      program: JAX's compiled program, with `as_text`, `cost_analysis` and `memory_analysis`.
    """

    problem: Problem
    planner: Frozen
    program: Any

    def __call__(
        self,
        state: PyTree,
        goal: PyTree,
        actions: jax.Array,
        key: jax.Array,
        *,
        dynamics: Any = None,
        context: Context | None = None,
        length: Any = None,
    ) -> Plan:
        """Plans, as `plan` does with the arguments of `compile_plan`.

        Args:
          state: `s_0`, of the compiled structure, shapes and dtypes, as everything here.
          goal: `g`.
          actions: `[T, A]`, the starting guess.
          key: One random key.
          dynamics: The same model with new weights; the compiled one by default.
          context: New context frames; the compiled ones by default.
          length: A new length, where it was compiled with one.

        Raises:
          TypeError: An argument has another structure, shape or dtype than the compiled one.
          ValueError: The length is not in `1..T`.
        """
        check_key(key)
        changes: dict[str, Any] = {"start": state, "goal": goal, "actions": actions}
        if dynamics is not None:
            changes["dynamics"] = freeze(with_visible_weights(dynamics), "dynamics")
        if context is not None:
            changes["context"] = context
        if length is not None:
            changes["length"] = as_length(length, self.problem.horizon)
        problem = dataclasses.replace(self.problem, **changes)
        try:
            return self.program(problem, self.planner, key, None)
        except TypeError as error:
            compiled = {name: getattr(self.problem, name) for name in changes}
            raise TypeError(
                f"a compiled plan takes {describe(compiled)}, got {describe(changes)} and a key "
                f"{describe(key)}. Compile another one for other shapes or kinds of keys, or call "
                f"grasp_jax.plan, which does so itself and works under vmap. JAX says: {error}"
            ) from error


@usual_promotion
def compile_plan(
    dynamics: Any,
    state: PyTree,
    goal: PyTree,
    actions: jax.Array,
    key: jax.Array,
    *,
    planner: Planner | None = None,
    bounds: tuple[Any, Any] | None = None,
    objective: Objective | None = None,
    context: Context | None = None,
    length: Any = None,
) -> CompiledPlan:
    """Compiles `plan` for arguments like these, without planning. Arguments and errors as there.

    Pass a `length` to plan for any horizon up to `T` with the one program. To compile once per
    machine instead of once per process, set `jax.config.jax_compilation_cache_dir`.
    """
    problem, frozen = open_problem(
        dynamics, state, goal, actions, key, planner, bounds, objective, context, length, None
    )
    return CompiledPlan(problem, frozen, programs.run.lower(problem, frozen, key, None).compile())
