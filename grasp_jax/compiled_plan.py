"""A plan compiled ahead of its calls."""

import dataclasses
from typing import Any

import jax

from grasp_jax import programs
from grasp_jax._compile import usual_promotion
from grasp_jax._frozen import Frozen
from grasp_jax._tree import PyTree, describe, is_number
from grasp_jax.arguments import check_key, replace_arrays
from grasp_jax.planner import Planner
from grasp_jax.planning import planner_and_key
from grasp_jax.problem import Context, Problem
from grasp_jax.results import Plan


@dataclasses.dataclass(frozen=True, eq=False)
class CompiledPlan:
    """A compiled `plan` with everything but the arrays fixed; made by `compile_plan`.

    Calling it never traces, checks only what could crash, and costs a fifth of the dispatch of
    `plan`.

    Attributes:
      problem: What it was compiled with; a call replaces some of it.
      planner: The planner it was compiled with.
      key: The key it was compiled with.
      program: JAX's compiled program, with `as_text`, `cost_analysis` and `memory_analysis`.
    """

    problem: Problem
    planner: Planner
    key: jax.Array
    program: Any

    @usual_promotion
    def __call__(
        self,
        state: PyTree,
        goal: PyTree,
        init_actions: Any,
        key: jax.Array,
        *,
        dynamics: Any = None,
        context: Context | None = None,
        horizon: Any = None,
    ) -> Plan:
        """Plans, as `plan` does with the arguments of `compile_plan`.

        Args:
          state: `s_0`, of the compiled structure, shapes and dtypes, as everything here.
          goal: `g`.
          init_actions: `[T, A]`, the starting guess.
          key: One random key, of the compiled kind.
          dynamics: The same model with new weights; the compiled one by default.
          context: New context frames; the compiled ones by default.
          horizon: A new horizon, where it was compiled with one.

        Raises:
          TypeError: An argument has another structure, shape or dtype than the compiled one.
          ValueError: The horizon is not in `1..T`.
        """
        check_key(key)
        changes: dict[str, Any] = {"state": state, "goal": goal, "init_actions": init_actions}
        given = {"dynamics": dynamics, "context": context, "horizon": horizon}
        changes |= {name: value for name, value in given.items() if value is not None}
        problem = replace_arrays(self.problem, **changes)
        leaves, treedef = _flat_call(problem, self.planner, key)
        expected, compiled_treedef = _flat_call(self.problem, self.planner, self.key)
        kinds = [(x.shape, x.dtype) for x in leaves]
        if treedef != compiled_treedef or kinds != [(x.shape, x.dtype) for x in expected]:
            raise TypeError(_difference(self, problem, key))
        return self.program(leaves)


@usual_promotion
def compile_plan(
    problem: Problem, key: jax.Array, *, planner: Planner | None = None
) -> CompiledPlan:
    """Compiles `plan` for arguments like these, without planning. Arguments and errors as there.

    Give the problem a `horizon` to plan for any horizon up to `T` with the one program. To compile
    once per machine instead of once per process, set `jax.config.jax_compilation_cache_dir`.

    >>> import grasp_jax, jax, jax.numpy as jnp
    >>> arguments = (jnp.zeros(2), jnp.ones(2), jnp.zeros((20, 2)))
    >>> problem = grasp_jax.make_problem(lambda s, a: s + 0.1 * a, *arguments)
    >>> program = grasp_jax.compile_plan(problem, jax.random.key(0), planner=grasp_jax.GD())
    >>> bool(program(*arguments, jax.random.key(1)).cost < 1e-3)
    True
    """
    planner, key = planner_and_key(problem, planner, key)
    if problem.batched or problem.mesh is not None:
        raise ValueError(
            "compile_plan compiles the plan of one goal, without a mesh. For a batch wrap "
            "grasp_jax.solve in a jax.jit of your own and lower that."
        )
    lowered = programs.solve.lower(problem, Frozen(planner, is_number), key, batch_size=None)
    return CompiledPlan(problem, planner, key, lowered.compile())


def _flat_call(problem: Problem, planner: Planner, key: jax.Array) -> tuple[list[Any], Any]:
    return programs.solve.flatten(problem, Frozen(planner, is_number), key)


def _difference(compiled: CompiledPlan, problem: Problem, key: jax.Array) -> str:
    """What a compiled plan was called with that it was not compiled for."""
    names = ("state", "goal", "init_actions", "context", "given_horizon", "dynamics")
    pairs = {n: (getattr(compiled.problem, n), getattr(problem, n)) for n in names}
    pairs["key"] = compiled.key, key
    for name, (old, new) in pairs.items():
        if name == "dynamics":
            same = Frozen(old).tree_flatten()[1] == Frozen(new).tree_flatten()[1]
            old, new = Frozen(old).tree_flatten()[0], Frozen(new).tree_flatten()[0]
        else:
            same = jax.tree.structure(old) == jax.tree.structure(new)
        if not same or describe(old) != describe(new):
            wanted, got = describe(old), describe(new)
            if name == "dynamics" and not same:  # `describe` shows arrays alone
                got = f"{got} in another function, or with other settings"
            return (
                f"a compiled plan: {name.removeprefix('given_')} must be {wanted}, as it was "
                f"compiled, got {got}. Compile another one, or call grasp_jax.plan, which does so "
                "itself and works under vmap."
            )
    return "a compiled plan was called with other numbers' types than it was compiled with."
