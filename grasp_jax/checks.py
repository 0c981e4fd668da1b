"""The door's checks: every wrong call is told which argument, what was got, expected, and the fix.

They read shapes and dtypes only, so they run while tracing: once per compiled program, at no cost
to later calls, and inside a caller's `jit` or `vmap` too.
"""

from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax import _tree
from grasp_jax._tree import PyTree, describe
from grasp_jax.driver import SearchState
from grasp_jax.objectives import mean_squared_distance, squared_distance
from grasp_jax.planners.base import Planner, check
from grasp_jax.problem import Problem, prepares


def check_key(key: Any, batch: bool = False) -> None:
    """Raises unless `key` is one JAX random key, or with `batch` a vector of keys."""
    fix = "Pass jax.random.key(0); to plan for many goals, plan_batch splits one key itself."
    if not isinstance(key, jax.Array):
        raise TypeError(
            f"key must be a JAX random key, got {type(key).__name__}: {key!r:.40}. {fix}"
        )
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not (typed or (key.dtype == jnp.uint32 and key.ndim >= 1)):
        raise TypeError(f"key must be a JAX random key, got an array {describe(key)}. {fix}")
    try:
        key = key if typed else jax.random.wrap_key_data(key)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"key must be a JAX random key, got an array {describe(key)} whose last axis is not "
            f"that of raw key data. {fix}"
        ) from error
    if key.ndim > int(batch):
        raise ValueError(f"key must be a single key, got keys of shape {list(key.shape)}. {fix}")


def check_problem(problem: Problem, planner: Planner) -> None:
    """Raises TypeError or ValueError for a call that cannot work. Reads shapes and dtypes only."""
    _check_actions(problem.actions)
    _check_floating(problem.start, "state")
    if _compares_leaves(problem):
        _check_floating(problem.goal, "goal")
    _check_context(problem)
    if problem.length is not None and problem.length.ndim:
        raise ValueError(
            f"length must be one integer, got {describe(problem.length)}. One for each "
            "goal belongs in plan_batch."
        )
    _check_dynamics(problem)
    _check_objective(problem)
    check(planner, problem)


def _check_actions(actions: jax.Array) -> None:
    if actions.ndim != 2:
        raise ValueError(
            f"actions must have shape [T, A], got {describe(actions)}. For many goals at once use "
            "plan_batch, or jax.vmap over plan."
        )
    if actions.shape[0] < 1 or actions.shape[1] < 1:
        raise ValueError(
            f"actions must hold at least one step of at least one number, got horizon "
            f"{actions.shape[0]} and action size {actions.shape[1]}."
        )
    if not jnp.issubdtype(actions.dtype, jnp.floating):
        raise TypeError(
            f"actions must be floating, got {actions.dtype}. They are optimised continuously: "
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
            "grasp_jax.Context.repeat(state, frames, action_size)."
        )
    if context.actions.ndim != 2 or context.actions.shape[1] != problem.actions.shape[1]:
        raise ValueError(
            f"context.actions must have shape [h-1, {problem.actions.shape[1]}], got "
            f"{describe(context.actions)}."
        )
    if context.actions.dtype != problem.actions.dtype:
        raise TypeError(
            f"context.actions must have the dtype of actions, got {context.actions.dtype} beside "
            f"actions of {problem.actions.dtype}. Cast one of them with .astype."
        )
    frames = context.actions.shape[0]
    present = context.present
    if present is not None and (present.shape != (frames,) or present.dtype != bool):
        raise ValueError(
            f"context.present must be bool [{frames}], one per row of context.actions, got "
            f"{describe(present)}. Leave it out if every frame is there."
        )
    expected = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((frames, *x.shape), x.dtype), problem.start
    )
    if _signature(expected) != _signature(context.states):
        raise ValueError(
            "context.states must be the state with a leading axis of h-1 frames, one per row of "
            f"context.actions: expected {describe(expected)}, got {describe(context.states)}."
        )


def _check_dynamics(problem: Problem) -> None:
    state, action = problem.start, problem.actions[0]
    if problem.context is None:
        arguments = (state, action)
        call = f"dynamics({describe(state)}, {describe(action)})"
    else:
        h = problem.window
        window = jax.tree.map(lambda x: jax.ShapeDtypeStruct((h, *x.shape), x.dtype), state)
        arguments = (window, jax.ShapeDtypeStruct((h, *action.shape), action.dtype))
        call = f"dynamics({describe(window)}, {describe(arguments[1])}) with a context window {h}"
        if problem.context.present is not None:
            arguments += (jax.ShapeDtypeStruct((h,), bool),)
            call += " and context.present, passed as a third argument [h] bool"
    try:
        following = jax.eval_shape(problem.dynamics, *arguments)
    except Exception as error:
        raise ValueError(
            f"{call} failed: {type(error).__name__}: {error}\ndynamics must take one state and one "
            "action, without a batch axis: plan plans for one goal, plan_batch takes the first "
            "axis of state and goal for that of the goals. A batched model can be wrapped as "
            "lambda s, a: f(s[None], a[None])[0]."
        ) from error
    if _signature(following) != _signature(state):
        raise ValueError(
            f"dynamics must return a state like the one it was given: {call} returned "
            f"{describe(following)}, expected {describe(state)} (same structure, shapes, dtypes)."
        )
    if prepares(problem.dynamics.thaw()):
        _check_prepared(problem, arguments[0])


def _check_prepared(problem: Problem, states: PyTree) -> None:
    """Raises ValueError unless the two halves of a model fit each other and the state."""
    rule = (
        "dynamics has prepare_actions and step_prepared, which are called in its place and must "
        "give the same: dynamics(s, a) = step_prepared(s, prepare_actions(a)), actions [n, A] to "
        "leaves [n, ...]. Rename them if they mean something else."
    )

    def step(states: PyTree, actions: jax.Array) -> PyTree:
        return problem.step(states, _tree.take(problem.windows(actions), 0))

    try:
        following = jax.eval_shape(step, states, problem.actions)
    except Exception as error:
        raise ValueError(f"{rule} They failed: {type(error).__name__}: {error}") from error
    if _signature(following) != _signature(problem.start):
        raise ValueError(
            f"{rule} They returned {describe(following)}, expected {describe(problem.start)}."
        )


def _compares_leaves(problem: Problem) -> bool:
    """Whether the distance is one of ours, which want a goal that looks like a state."""
    return problem.objective.thaw().distance in (squared_distance, mean_squared_distance)


def _check_objective(problem: Problem) -> None:
    if _compares_leaves(problem) and _signature(problem.goal) != _signature(problem.start):
        raise ValueError(
            f"goal must look like state: got goal {describe(problem.goal)}, state "
            f"{describe(problem.start)}. For a goal on a part of the state pass "
            "objective=grasp_jax.Objective(distance=lambda state, goal: ...). For many goals at "
            "once use plan_batch."
        )
    state, actions = problem.start, problem.actions
    _check_term("distance", problem.distance, state, problem)
    _check_term("action_cost", problem.penalty, actions, problem)
    _check_term("state_cost", problem.state_cost, state, problem)


def _check_term(name: str, term: Any, argument: PyTree, problem: Problem) -> None:
    """Raises ValueError unless a term of the objective takes its argument, and returns a number."""
    takes = "(actions)" if name == "action_cost" else "(state, goal)"
    try:
        value = jax.eval_shape(term, argument)
    except Exception as error:
        raise ValueError(
            f"objective.{name} failed; it is called as {name}{takes} on state "
            f"{describe(problem.start)}, actions {describe(problem.actions)}, goal "
            f"{describe(problem.goal)}: {type(error).__name__}: {error}"
        ) from error
    if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"objective.{name} must return one floating number [], got {describe(value)}. "
            "Reduce it with jnp.sum, or cast it."
        )


def _signature(tree: PyTree) -> Any:
    """Structure, shapes and dtypes, to compare with `==`."""
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


def check_batch(batched: dict[str, PyTree], size: int | None = None) -> int:
    """How many goals every leaf's leading axis holds; raises ValueError where they differ."""
    for name, tree in batched.items():
        name = "state" if name == "start" else name
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            size = leaf.shape[0] if size is None and leaf.ndim else size
            if leaf.ndim < 1 or leaf.shape[0] != size:
                raise ValueError(
                    f"plan_batch: {name}{jax.tree_util.keystr(path)} must have a leading axis of "
                    f"{size or 'B'} goals like the other arguments, got {describe(leaf)}. To share "
                    "one value between all goals, broadcast it with jnp.broadcast_to."
                )
    if not size:
        raise ValueError("plan_batch: state must hold at least one goal along its leading axis.")
    return size


def check_chunk_size(chunk_size: Any) -> None:
    """Raises ValueError unless `chunk_size` is None or a positive int."""
    is_int = isinstance(chunk_size, int) and not isinstance(chunk_size, bool)
    if chunk_size is not None and not (is_int and chunk_size >= 1):
        raise ValueError(f"chunk_size must be a positive int or None, got {chunk_size!r:.40}.")


def check_resume_type(resume: Any) -> None:
    """Raises TypeError unless `resume` is None or the state of a search."""
    if not (resume is None or isinstance(resume, SearchState)):
        raise TypeError(
            "resume must be the SearchState of an earlier search, got "
            f"{type(resume).__name__}. Pass resume=plan.state."
        )


def check_resume(resume: PyTree, fresh: PyTree) -> None:
    """Raises ValueError unless `resume` has the structure and shapes of a fresh search state."""
    if _signature(resume) == _signature(fresh):
        return
    raise ValueError(
        "resume must be the state of a search with the same planner settings, horizon and shapes, "
        "of one goal in plan and of as many goals in plan_batch: "
        f"{_first_difference(resume, fresh)}."
    )


def _first_difference(found: PyTree, expected: PyTree) -> str:
    """Where two trees with different signatures part."""
    if jax.tree.structure(found) != jax.tree.structure(expected):
        count = len(jax.tree.leaves(found)), len(jax.tree.leaves(expected))
        return f"expected another structure ({count[1]} arrays, got {count[0]})"
    pairs = zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    differ = [
        f"{jax.tree_util.keystr(path)} is {describe(x)}, expected {describe(y)}"
        for (path, x), y in pairs
        if (x.shape, x.dtype) != (y.shape, y.dtype)
    ]
    return differ[0]


def check_starts(problem: Problem) -> None:
    """Raises ValueError where one state is given for many goals, the commonest wrong batch."""
    start, goal = problem.start, problem.goal
    if not _compares_leaves(problem) or jax.tree.structure(start) != jax.tree.structure(goal):
        return
    pairs = list(zip(jax.tree.leaves(start), jax.tree.leaves(goal), strict=True))
    if pairs and all(s.shape == g.shape[1:] and g.ndim == s.ndim + 1 for s, g in pairs):
        goals = pairs[0][1].shape[0]
        raise ValueError(
            f"plan_batch: state {describe(start)} has no axis of goals, goal {describe(goal)} has "
            f"{goals}. To start all of them from one state pass jax.tree.map(lambda x: "
            f"jnp.broadcast_to(x, ({goals}, *x.shape)), state)."
        )
