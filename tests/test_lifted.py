"""The lifted objective against independent restatements of the paper's, and its identities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

import grasp_jax
from grasp_jax import GRASP, Context, Objective, Problem, QuadraticControlCost, lifted, make_problem
from grasp_jax.rollout import rollout_cost
from tests.jaxprs import count_primitive
from tests.matrix import assert_close

T, D, A = 5, 3, 2
KEY = jax.random.key(3)
START = jnp.array([0.1, -0.2, 0.3])
GOAL = jnp.array([1.0, 0.5, -0.7])
W = 0.6 * jax.random.normal(jax.random.fold_in(KEY, 0), (3, D, D))
B = jax.random.normal(jax.random.fold_in(KEY, 1), (3, D, A))
STATES = jax.random.normal(jax.random.fold_in(KEY, 2), (T - 1, D))
ACTIONS = jax.random.normal(jax.random.fold_in(KEY, 3), (T, A))
PAST = Context(
    jax.random.normal(jax.random.fold_in(KEY, 4), (2, D)),
    jax.random.normal(jax.random.fold_in(KEY, 5), (2, A)),
)


def step(state: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.tanh(W[0] @ state + B[0] @ action) + 0.5 * state


def windowed(states: jax.Array, actions: jax.Array) -> jax.Array:
    h = states.shape[0]
    return jnp.tanh(
        jnp.einsum("hij,hj->i", W[:h], states) + jnp.einsum("hij,hj->i", B[:h], actions)
    )


def past(h: int) -> Context | None:
    """The last `h-1` frames."""
    return None if h == 1 else Context(PAST.states[3 - h :], PAST.actions[3 - h :])


def problem(h: int = 1, **changes: Any) -> Problem:
    arguments: dict[str, Any] = {
        "dynamics": step if h == 1 else windowed,
        "state": START,
        "goal": GOAL,
        "init_actions": ACTIONS,
        "context": past(h),
    }
    return make_problem(**(arguments | changes))


compiled = jax.jit(
    lifted.lifted_gradient, static_argnames=("stop_state_gradient", "time_batch_size")
)


def lifted_gradient(problem: Any, states: Any, *arguments: Any, **options: Any) -> Any:
    """`lifted.lifted_gradient` on `s_1..s_{T-1}`; the pinned last row is NaN, to see it unread."""
    padded = jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.full((1, *x.shape[1:]), jnp.nan, x.dtype)]), states
    )
    found = compiled(problem, padded, *arguments, **options)
    for x in jax.tree.leaves(found.states):
        assert isinstance(x, Tracer) or not x[-1].any()
    return found._replace(states=jax.tree.map(lambda x: x[:-1], found.states))


def predictions(h: int, states: jax.Array, actions: jax.Array) -> list[jax.Array]:
    """`F_t` for every `t`, by a loop over windows written out by hand."""
    before = past(h)
    all_states = [*([] if before is None else before.states), START, *states]
    all_actions = [*([] if before is None else before.actions), *actions]
    if h == 1:
        return [step(s, a) for s, a in zip(all_states, all_actions, strict=True)]
    windows = [
        (jnp.stack(all_states[t : t + h]), jnp.stack(all_actions[t : t + h])) for t in range(T)
    ]
    return [windowed(s, a) for s, a in windows]


def restated(
    h: int, gamma: float, states: jax.Array, actions: jax.Array, stop: bool = True
) -> jax.Array:
    """`Σ_t ||F(s̄_t, a_t) - s_{t+1}||² + γ Σ_t ||F(s̄_t, a_t) - g||²`."""
    inputs = jax.lax.stop_gradient(states) if stop else states
    following = [*states, GOAL]
    fits = predictions(h, inputs, actions)
    dynamics = jnp.sum((jnp.stack(fits) - jnp.stack(following)) ** 2)
    return dynamics + gamma * jnp.sum((jnp.stack(fits) - GOAL) ** 2)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("h", [1, 2, 3])
def test_gradients_equal_autodiff_of_a_restated_loss(h: int, stop: bool):
    gamma = 0.3
    found = lifted_gradient(problem(h), STATES, ACTIONS, gamma, stop)
    value, (states, actions) = jax.jit(
        jax.value_and_grad(lambda s, a: restated(h, gamma, s, a, stop), (0, 1))
    )(STATES, ACTIONS)
    assert_close(found.loss, value)
    assert_close(found.states, states, 1e-4)
    assert_close(found.actions, actions, 1e-4)
    assert_close(found.dynamics_residual, restated(h, 0.0, STATES, ACTIONS))
    assert found.finite


@pytest.mark.parametrize("h", [1, 3])
def test_the_state_gradient_is_the_closed_form(h: int):
    found = lifted_gradient(problem(h), STATES, ACTIONS, 0.7)
    fits = jnp.stack(predictions(h, STATES, ACTIONS))
    assert_close(found.states, 2 * (STATES - fits[:-1]))


@pytest.mark.parametrize("h, stop", [(1, True), (1, False), (3, True)])
@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_time_chunks_change_nothing(h: int, stop: bool, chunk: int):
    whole = lifted_gradient(problem(h), STATES, ACTIONS, 0.3, stop)
    pieces = lifted_gradient(problem(h), STATES, ACTIONS, 0.3, stop, time_batch_size=chunk)
    assert_close(pieces, whole, 1e-5)


def test_both_terms_pull_each_prediction_to_the_mean_of_next_state_and_goal():
    gamma = 0.6
    following = jnp.concatenate([STATES, GOAL[None]])
    means = (following + gamma * GOAL) / (1 + gamma)

    def compact(actions: jax.Array) -> jax.Array:
        fits = jnp.stack(predictions(1, STATES, actions))
        return (1 + gamma) * jnp.sum((fits - means) ** 2)

    found = lifted_gradient(problem(), STATES, ACTIONS, gamma)
    assert_close(found.actions, jax.jit(jax.grad(compact))(ACTIONS), 1e-4)
    constant = gamma / (1 + gamma) * jnp.sum((following - GOAL) ** 2)
    assert_close(found.loss, compact(ACTIONS) + constant, 1e-5)


def test_the_last_step_has_weight_one_plus_gamma_on_the_goal():
    gamma = 0.8
    found = lifted_gradient(problem(), STATES, ACTIONS, gamma)
    last = jax.grad(lambda a: jnp.sum((step(STATES[-1], a) - GOAL) ** 2))(ACTIONS[-1])
    assert_close(found.actions[-1], (1 + gamma) * last)


def test_a_horizon_of_one_is_the_last_step_alone():
    gamma = 0.8
    alone = problem(init_actions=ACTIONS[:1])
    found = lifted_gradient(alone, STATES[:0], ACTIONS[:1], gamma)
    slope = jax.grad(lambda a: jnp.sum((step(START, a) - GOAL) ** 2))(ACTIONS[0])
    assert_close(found.actions[0], (1 + gamma) * slope)
    assert found.states.shape == (0, D)


def test_the_action_cost_is_part_of_loss_and_gradient():
    objective = Objective(control_cost=QuadraticControlCost(jnp.array([0.5, 2.0])))
    plain = lifted_gradient(problem(), STATES, ACTIONS, 0.3)
    priced = lifted_gradient(problem(objective=objective), STATES, ACTIONS, 0.3)
    weight = jnp.array([0.5, 2.0])
    assert_close(priced.actions - plain.actions, 2 * weight * ACTIONS, 1e-4)
    assert_close(priced.loss - plain.loss, jnp.sum(weight * ACTIONS**2), 1e-4)


def test_a_distance_on_a_part_leaves_the_rest_of_the_last_state_free():
    # The goal has another structure than the state: two numbers under a name.
    objective = Objective(terminal_cost=lambda s, g: jnp.sum((s[:2] - g["corner"]) ** 2))
    goal = {"corner": jnp.array([0.3, -0.4])}
    gamma = 0.3

    def loss(states: jax.Array, actions: jax.Array) -> jax.Array:
        fits = predictions(1, jax.lax.stop_gradient(states), actions)
        dynamics = sum(jnp.sum((f - s) ** 2) for f, s in zip(fits[:-1], states, strict=True))
        goals = [jnp.sum((f[:2] - goal["corner"]) ** 2) for f in fits]
        return dynamics + gamma * sum(goals) + goals[-1]

    found = lifted_gradient(problem(goal=goal, objective=objective), STATES, ACTIONS, gamma)
    value, (states, actions) = jax.jit(jax.value_and_grad(loss, (0, 1)))(STATES, ACTIONS)
    assert_close((found.loss, found.states, found.actions), (value, states, actions), 1e-4)


def test_pytree_states_give_the_gradients_of_the_concatenated_state():
    def split(state: dict[str, jax.Array], action: jax.Array) -> dict[str, jax.Array]:
        following = step(jnp.concatenate([state["a"], state["b"][0]]), action)
        return {"a": following[:1], "b": following[None, 1:]}

    def tree(x: jax.Array) -> dict[str, jax.Array]:
        return {"a": x[..., :1], "b": x[..., None, 1:]}

    whole = lifted_gradient(problem(), STATES, ACTIONS, 0.3)
    parts = lifted_gradient(
        problem(dynamics=split, state=tree(START), goal=tree(GOAL)), tree(STATES), ACTIONS, 0.3
    )
    assert_close(parts.actions, whole.actions, 1e-5)
    assert_close(parts.states, tree(whole.states), 1e-5)
    assert_close(parts.loss, whole.loss, 1e-5)


def test_half_state_rate_without_goal_term_sweeps_states_onto_the_rollout():
    def sweep(count: int) -> grasp_jax.Plan:
        planner = GRASP(
            iterations=count,
            state_rate=0.5,
            action_rate=0.0,
            goal_weight=0.0,
            state_std=0.0,
            optimizer=optax.sgd,
            sync=None,
        )
        return grasp_jax.plan(step, START, GOAL, ACTIONS, KEY, planner=planner)

    found = sweep(T)
    assert_close(found.actions, ACTIONS, 0)
    assert_close(found.virtual_states, found.states[1:-1], 1e-6)
    # Sweep t fixes s_t: after T-2 of them the last virtual state is still behind.
    late = sweep(T - 2)
    assert late.virtual_states is not None
    assert_close(late.virtual_states[:-1], found.states[1:-2], 1e-6)
    assert jnp.abs(late.virtual_states[-1] - found.states[-2]).max() > 1e-3


@pytest.mark.parametrize("horizon", [2, 4, 8])
def test_lifted_smoothness_of_linear_models_does_not_grow_with_the_horizon(horizon: int):
    matrix_a, matrix_b = 1.5 * jnp.eye(D) + 0.3 * W[0], B[0]
    linear = make_problem(
        lambda s, a: matrix_a @ s + matrix_b @ a,
        START,
        GOAL,
        jnp.zeros((horizon, A)),
    )
    point, unravel = ravel_pytree((jnp.zeros((horizon - 1, D)), jnp.zeros((horizon, A))))

    def lifted_slope(z: jax.Array) -> jax.Array:
        found = lifted_gradient(linear, *unravel(z), 0.0, stop_state_gradient=False)
        return ravel_pytree((found.states, found.actions))[0]

    hessian = jax.jit(jax.jacfwd(lifted_slope))(point)
    norm = np.linalg.norm(np.hstack([matrix_a, matrix_b]), 2)
    assert np.linalg.eigvalsh(hessian).max() <= 2 * (1 + norm) ** 2 * 1.0001

    shooting = jax.jit(jax.hessian(lambda a: rollout_cost(linear, a.reshape(horizon, A))))(
        jnp.zeros(horizon * A)
    )
    power = np.linalg.matrix_power(np.asarray(matrix_a), horizon - 1) @ np.asarray(matrix_b)
    assert np.linalg.eigvalsh(shooting).max() >= 2 * np.linalg.norm(power, 2) ** 2 * 0.999


@pytest.mark.parametrize("h", [1, 2, 3])
def test_the_rollout_equals_a_hand_written_loop(h: int):
    states = [START]
    for t in range(T):
        known = jnp.stack([*states[1:], *[START] * (T - len(states))])[: T - 1]
        states.append(predictions(h, known, ACTIONS)[t])
    mine = problem(h)
    assert_close(grasp_jax.trajectory(mine, ACTIONS), jnp.stack(states), 1e-6)
    cost = jnp.sum((states[-1] - GOAL) ** 2)
    assert_close(grasp_jax.rollout_cost(mine, ACTIONS), cost, 1e-5)


@pytest.mark.parametrize("chunk", [None, 2])
def test_one_forward_of_the_model_and_no_derivative_in_its_state(chunk: int | None):
    # A marker that occurs nowhere else, and a model whose state derivative is poison.
    @jax.custom_jvp
    def poisoned(state: jax.Array) -> jax.Array:
        return state

    @poisoned.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        raise AssertionError("the model was differentiated in its state")

    def world(state: jax.Array, action: jax.Array) -> jax.Array:
        return jax.lax.erf_inv(0.1 * jnp.tanh(poisoned(state))) + B[0] @ action

    def gradient(states: jax.Array, actions: jax.Array, stop: bool = True) -> Any:
        return lifted_gradient(problem(dynamics=world), states, actions, 0.3, stop, chunk)

    jaxpr = jax.make_jaxpr(gradient)(STATES, ACTIONS)
    bodies = 1 if chunk is None else 2  # 5 terms by 2: the loop's body and the remainder's
    assert count_primitive(jaxpr, "erf_inv") == bodies
    with pytest.raises(AssertionError, match="differentiated in its state"):
        jax.make_jaxpr(lambda s, a: gradient(s, a, False))(STATES, ACTIONS)
