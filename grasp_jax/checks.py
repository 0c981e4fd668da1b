"""Shapes, structures and dtypes of a problem: read while tracing, once per compiled program.

They cost later calls nothing, and hold inside a caller's `jit` or `vmap` too. Values are parsed
before, by `grasp_jax.arguments`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax import _tree, prepared
from grasp_jax._tree import PyTree, describe, signature
from grasp_jax.objectives import along, compares_leaves
from grasp_jax.planner import Planner
from grasp_jax.prepared import PreparedModel, RolloutModel
from grasp_jax.problem import Problem


def check_problem(problem: Problem, planner: Planner) -> None:
    """Raises TypeError or ValueError for a call that cannot work. Reads shapes and dtypes only."""
    _check_actions(problem.init_actions)
    _check_floating(problem.state, "state")
    if compares_leaves(problem.objective.terminal_cost):
        _check_floating(problem.goal, "goal")
    _check_context(problem)
    if problem.given_horizon is not None and problem.given_horizon.ndim:
        raise ValueError(
            f"horizon must be one integer, got {describe(problem.given_horizon)}. One for each "
            "goal belongs in plan_batch."
        )
    _check_dynamics(problem)
    _check_objective(problem)
    planner.check(problem)


def _check_actions(actions: jax.Array) -> None:
    if actions.ndim != 2:
        raise ValueError(
            f"init_actions must have shape [T, A], got {describe(actions)}. For many goals at once "
            "use plan_batch, or jax.vmap over plan."
        )
    if actions.shape[0] < 1 or actions.shape[1] < 1:
        raise ValueError(
            f"init_actions must hold at least one step of at least one number, got horizon "
            f"{actions.shape[0]} and action size {actions.shape[1]}."
        )
    if not jnp.issubdtype(actions.dtype, jnp.floating):
        raise TypeError(
            f"init_actions must be floating, got {actions.dtype}. They are optimized continuously: "
            "start from jnp.zeros((horizon, action_size))."
        )


def _check_floating(tree: PyTree, name: str) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    if not leaves:
        raise ValueError(f"{name} must hold at least one array, got an empty pytree.")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)} must be floating, got {describe(leaf)}. "
                "Planning moves states by gradients: embed or cast integer states first."
            )


def _check_context(problem: Problem) -> None:
    context = problem.context
    if context is None:
        return
    if not isinstance(context.actions, jax.Array):
        raise TypeError(
            "context.actions must be an array [h-1, A], the actions taken in context.states, got "
            f"{type(context.actions).__name__}. At an episode's first moment use "
            "grasp_jax.Context.repeat(state, history_len, action_size)."
        )
    if context.actions.ndim != 2 or context.actions.shape[1] != problem.init_actions.shape[1]:
        raise ValueError(
            f"context.actions must have shape [h-1, {problem.init_actions.shape[1]}], got "
            f"{describe(context.actions)}."
        )
    if context.actions.dtype != problem.init_actions.dtype:
        raise TypeError(
            "context.actions must have the dtype of init_actions, got "
            f"{context.actions.dtype} beside init_actions of {problem.init_actions.dtype}. Cast "
            "one of them with .astype."
        )
    frames = context.actions.shape[0]
    expected = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((frames, *x.shape), x.dtype), problem.state
    )
    if signature(expected) != signature(context.states):
        raise ValueError(
            "context.states must be the state with a leading axis of h-1 frames, one per row of "
            f"context.actions: expected {describe(expected)}, got {describe(context.states)}."
        )
    present = context.present
    if present is not None and (present.shape != (frames,) or present.dtype != jnp.bool_):
        raise ValueError(
            f"context.present must be bool[{frames}], whether each frame of context.states is "
            f"there, got {describe(present)}. Leave it out if all are."
        )


def _check_dynamics(problem: Problem) -> None:
    state, action = problem.state, problem.init_actions[0]
    block = prepared.environment_actions_per_step(problem.dynamics)
    is_count = isinstance(block, int | np.integer) and not isinstance(block, bool) and block > 0
    if not is_count or action.shape[0] % block:
        raise ValueError(
            "dynamics.environment_actions_per_step, how many environment actions an action stacks, "
            f"must be a positive integer that divides their {action.shape[0]} numbers, got "
            f"{block!r:.60}."
        )
    if problem.context is None:
        arguments = (state, action)
        call = f"dynamics({describe(state)}, {describe(action)})"
    else:
        h = problem.window
        window = jax.tree.map(lambda x: jax.ShapeDtypeStruct((h, *x.shape), x.dtype), state)
        arguments = (window, jax.ShapeDtypeStruct((h, *action.shape), action.dtype))
        call = f"dynamics({describe(window)}, {describe(arguments[1])}) with a context window {h}"
        if problem.context.present is not None:
            arguments = (*arguments, jax.ShapeDtypeStruct((h,), jnp.bool_))
            call += ", and the mask bool[h] of context.present as its third argument,"
    if isinstance(problem.dynamics, PreparedModel):
        _check_prepared(problem, arguments[0])
        return
    try:
        # Inside a function of ours: some modules have no name, which `eval_shape` asks for.
        following = jax.eval_shape(lambda *given: problem.dynamics(*given), *arguments)
    except Exception as error:
        raise ValueError(
            f"{call} failed: {type(error).__name__}: {error}\ndynamics must take one state and one "
            "action, without a batch axis: plan plans for one goal, plan_batch takes the first "
            "axis of state and goal for that of the goals. A batched model can be wrapped as "
            f"lambda s, a: f(s[None], a[None])[0].{_list_hint(state)}"
        ) from error
    if signature(following) != signature(state):
        raise ValueError(
            f"dynamics must return a state like the one it was given: {call} returned "
            f"{describe(following)}, expected {describe(state)} (same structure, shapes, dtypes)."
        )
    if isinstance(problem.dynamics, RolloutModel):
        _check_rollout(problem)


def _check_rollout(problem: Problem) -> None:
    """Raises ValueError unless the states in one call look like those of steps."""
    steps = problem.max_horizon
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((steps, *x.shape), x.dtype), problem.state)
    rule = "dynamics is a RolloutModel: rollout(state, actions [T, A]) must return s_1..s_T,"
    try:
        states = jax.eval_shape(problem.dynamics.rollout, problem.state, problem.init_actions)
    except Exception as error:
        raise ValueError(f"{rule} but failed: {type(error).__name__}: {error}") from error
    if signature(states) != signature(like):
        raise ValueError(f"{rule} {describe(like)}, got {describe(states)}.")


def _list_hint(state: PyTree) -> str:
    """What to say where a state is a list of numbers."""
    numbers = isinstance(state, (list, tuple)) and all(jnp.shape(x) == () for x in state)
    if not numbers or not state:
        return ""
    return (
        f" state is a {type(state).__name__} of {len(state)} numbers, which is a pytree with as "
        "many leaves: if one array is meant, pass jnp.asarray(state)."
    )


def _check_prepared(problem: Problem, states: PyTree) -> None:
    """Raises ValueError unless the two halves of a model fit each other and the state."""
    rule = (
        "dynamics is a PreparedModel: prepare_actions and step_prepared are called in its place, "
        "next = step_prepared(state, prepare_actions(actions)), actions [n, A] to leaves [n, ...]."
    )

    def step(states: PyTree, actions: jax.Array) -> PyTree:
        return problem.step(states, _tree.take(problem.windows(actions), 0))

    try:
        following = jax.eval_shape(step, states, problem.init_actions)
    except Exception as error:
        raise ValueError(f"{rule} They failed: {type(error).__name__}: {error}") from error
    if signature(following) != signature(problem.state):
        raise ValueError(
            f"{rule} They returned {describe(following)}, expected {describe(problem.state)}."
        )


def _check_objective(problem: Problem) -> None:
    cost = problem.objective.terminal_cost
    if compares_leaves(cost) and signature(problem.goal) != signature(problem.state):
        raise ValueError(
            f"goal must look like state: got goal {describe(problem.goal)}, state "
            f"{describe(problem.state)}. For a goal on a part of the state pass "
            "objective=grasp_jax.Objective(terminal_cost=lambda state, goal: ...). For many goals "
            "at once use plan_batch."
        )
    state, actions = problem.state, problem.init_actions
    _check_term("terminal_cost", problem.terminal_cost, (state,), problem)
    _check_term("control_cost", problem.control_cost, (actions,), problem)
    objective, step = problem.objective, jnp.ones((), jnp.int32)
    way = (state, problem.goal, actions[0], step)
    if objective.running_cost is not None:
        running = functools.partial(along, objective.running_cost)
        _check_term("running_cost", running, way, problem)
    if objective.constraint is not None:
        rule = functools.partial(along, objective.constraint)
        _check_term("constraint", rule, way, problem)


_TAKES = {
    "terminal_cost": "(state, goal)",
    "control_cost": "(actions)",
    "running_cost": "(state, goal), or as running_cost(state, goal, action, t),",
    "constraint": "(state, goal), or as constraint(state, goal, action, t),",
}


def _check_term(name: str, term: Any, arguments: tuple[Any, ...], problem: Problem) -> None:
    """Raises ValueError unless a term of the objective takes arguments, and returns a number."""
    takes = _TAKES[name]
    try:
        value = jax.eval_shape(term, *arguments)
    except Exception as error:
        raise ValueError(
            f"objective.{name} failed; it is called as {name}{takes} on state "
            f"{describe(problem.state)}, actions {describe(problem.init_actions)}, goal "
            f"{describe(problem.goal)}: {type(error).__name__}: {error}"
        ) from error
    shape: Any = getattr(value, "shape", None)
    numbers = shape is not None and jnp.issubdtype(value.dtype, jnp.floating)
    shape = shape or ()
    if name == "constraint":
        if not numbers or len(shape) > 1:
            raise ValueError(
                "objective.constraint must return floating numbers [k] or [], each to be at most "
                f"0, got {describe(value)}. A rule that is true or false has no size: return how "
                "far it is broken, such as x - limit."
            )
        return
    if not numbers or shape != ():
        raise ValueError(
            f"objective.{name} must return one floating number [], got {describe(value)}. "
            "Reduce it with jnp.sum, or cast it."
        )
