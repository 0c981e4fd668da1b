"""Are state gradients of a learned latent model brittle? Measured where the claim lives.

Off the data, a model's gradient in its state input need not mean anything: a descent may find
states that predict whatever is asked for, and never occur. Here the lifted objective alone (no
sync, no goal term) is descended from the straight line with and without those gradients, and single
states are searched that the model maps onto a far goal.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

import grasp_jax
from experiments.models.latent.model import LatentModel
from experiments.models.lewm.model import SmallLeWM
from grasp_jax import make_problem
from grasp_jax.lifted import lifted_gradient, predict
from grasp_jax.rollout import rollout_cost, trajectory

Latents = SmallLeWM | LatentModel
"""The models whose state gradients are measured."""

STOPPED, FULL = "stopped", "full"


@dataclasses.dataclass(frozen=True)
class Descent:
    """Adam on the lifted objective; the rates are the author's.

    Attributes:
        iterations: gradient steps.
        state_rate: of the virtual states.
        action_rate: of the actions.
        noise: standard deviation of white noise on the straight line.
        goal_weight: `γ`, of the dense goal term.
        looks: at how many moments, evenly spaced, to measure.
    """

    iterations: int = 750
    state_rate: float = 0.1
    action_rate: float = 0.005
    noise: float = 0.005
    goal_weight: float = 0.0
    looks: int = 15


class Case(NamedTuple):
    """A planning problem whose solution is known, leaves of one goal, or [n, ...] of several.

    Attributes:
        start: [D].
        goal: [D].
        past: [h - 1, D], latents before the start.
        past_actions: [h - 1, P].
        states: [T + 1, D], latents of the true frames from start to goal.
        actions: [T, P], which led there.
    """

    start: Array
    goal: Array
    past: Array
    past_actions: Array
    states: Array
    actions: Array


class Found(NamedTuple):
    """Where a descent ended, and what it saw on the way.

    Attributes:
        states: [T, D], virtual states; the last row is the goal.
        actions: [T, P].
        rollout: [T + 1, D], what the model says of the actions.
        residual: [looks + 1], the lifted objective, the first of them at the start.
        cost: [looks + 1], the squared distance of the rollout's end to the goal.
    """

    states: Array
    actions: Array
    rollout: Array
    residual: Array
    cost: Array


def context_of(model: Latents, cases: Case) -> grasp_jax.Context | None:
    """What came before, for models that read it."""
    return grasp_jax.Context(cases.past, cases.past_actions) if model.history > 1 else None


def problem_of(model: Latents, case: Case) -> Any:
    """The planning problem, from zero actions."""
    return make_problem(
        model,
        case.start,
        case.goal,
        jnp.zeros_like(case.actions),
        bounds=model.bounds,
        objective=model.objective,
        context=context_of(model, case),
    )


def descend(model: Latents, cases: Case, keys: Array, how: str, descent: Descent) -> Found:
    """Descends the lifted objective of cases [n, ...] with stopped or with full state gradients.

    It is GRASP without a sync, looked at on its way.
    """
    planner = grasp_jax.GRASP(
        iterations=descent.iterations,
        state_rate=descent.state_rate,
        action_rate=descent.action_rate,
        goal_weight=descent.goal_weight,
        state_std=None,
        init_states=grasp_jax.StraightLine(std=descent.noise),
        sync=None,
        stop_state_gradient=how == STOPPED,
    )
    search = grasp_jax.start(
        grasp_jax.make_problem(
            model,
            cases.start,
            cases.goal,
            jnp.zeros_like(cases.actions),
            bounds=model.bounds,
            objective=model.objective,
            context=context_of(model, cases),
            batched=True,
        ),
        keys,
        planner=planner,
    )
    looks = [_look(model, cases, search.state.inner)]
    for _ in range(descent.looks):
        search = grasp_jax.advance(search, descent.iterations // descent.looks)
        looks.append(_look(model, cases, search.state.inner))
    rollouts, residuals, costs = zip(*looks, strict=True)
    end = search.state.inner
    residual, cost = jnp.stack(residuals, axis=1), jnp.stack(costs, axis=1)
    return Found(end.states, end.actions, rollouts[-1], residual, cost)


@jax.jit
def _look(model: Latents, cases: Case, at: Any) -> tuple[Array, Array, Array]:
    """Rollouts [n, T + 1, D], lifted residuals [n] and rollouts' costs [n] at a planner's state."""

    def one(case: Case, at: Any) -> tuple[Array, Array, Array]:
        problem = problem_of(model, case)
        residual = lifted_gradient(problem, at.states, at.actions, 0.0).dynamics_residual
        return trajectory(problem, at.actions), residual, rollout_cost(problem, at.actions)

    return jax.vmap(one)(cases, at)


def windows(cases: Case, states: Array, history: int) -> Array:
    """The T windows [n, T, h, D] that predictions read, virtual states s_1..s_T being [n, T, D]."""
    seen = jnp.concatenate([cases.past, cases.start[:, None], states[:, :-1]], axis=1)
    steps = states.shape[1]
    return jnp.stack([seen[:, t : t + history] for t in range(steps)], axis=1)


def action_windows(cases: Case, actions: Array, history: int) -> Array:
    """The windows of actions [n, T, h, P]."""
    taken = jnp.concatenate([cases.past_actions, actions], axis=1)
    return jnp.stack([taken[:, t : t + history] for t in range(actions.shape[1])], axis=1)


@jax.jit
def jacobians(model: Latents, states: Array, actions: Array) -> dict[str, Array]:
    """Norms [n] of the derivatives of a prediction, from windows [n, h, D] and [n, h, P].

    `state` and `action` are spectral norms in the present state and the action to take;
    `state_frobenius` is the root of the sum of all squared entries.
    """

    def one(states: Array, actions: Array) -> dict[str, Array]:
        in_state, in_action = jax.jacrev(model, argnums=(0, 1))(states, actions)
        in_state, in_action = in_state[:, -1], in_action[:, -1]
        return {
            "state": jnp.linalg.norm(in_state, 2),
            "state_frobenius": jnp.linalg.norm(in_state),
            "action": jnp.linalg.norm(in_action, 2),
        }

    return jax.lax.map(lambda x: one(*x), (states, actions), batch_size=32)


class Impostor(NamedTuple):
    """States that the model maps onto a goal, leaves [n, ...].

    Attributes:
        state: [D], found by descent from the start.
        first: [], ||F(s, a) - g||² at the start.
        last: [], the same at the end.
    """

    state: Array
    first: Array
    last: Array


@functools.partial(jax.jit, static_argnames=("iterations", "rate"))
def impostors(model: Latents, cases: Case, iterations: int = 500, rate: float = 0.02) -> Impostor:
    """Descends ||F(s, a) - g||² over the present state alone, from the start, actions as recorded.

    The action is the last that was recorded, whose true predecessor state is `states[-2]`.
    """
    optimizer = optax.adam(rate)

    def one(case: Case) -> Impostor:
        taken = jnp.concatenate([case.past_actions, case.actions])[-model.history :]

        def gap(state: Array) -> Array:
            seen = jnp.concatenate([case.past, state[None]])
            return jnp.sum((model(seen, taken) - case.goal) ** 2)

        def iterate(carry: Any, _: None) -> tuple[Any, None]:
            state, memory = carry
            change, memory = optimizer.update(jax.grad(gap)(state), memory, state)
            return (optax.apply_updates(state, change), memory), None

        carry = (case.start, optimizer.init(case.start))
        (state, _), _ = jax.lax.scan(iterate, carry, length=iterations)
        return Impostor(state, gap(case.start), gap(state))

    return jax.vmap(one)(cases)


@jax.jit
def residual_of(model: Latents, cases: Case) -> Array:
    """The lifted objective [n] at the true latents and actions: what the model's own error is."""

    def one(case: Case) -> Array:
        problem = problem_of(model, case)
        found = predict(problem, case.states[1:], case.actions)
        return jnp.sum((found - case.states[1:]) ** 2)

    return jax.vmap(one)(cases)


def nearest(queries: NDArray[Any], library: NDArray[Any]) -> NDArray[np.float64]:
    """Distance of each query [..., D] to the nearest of the data's latents [m, D]: [...]."""
    flat = queries.reshape(-1, queries.shape[-1])
    squares = np.sum(library**2, axis=1)
    found = []
    for part in np.array_split(flat, max(1, len(flat) // 200)):
        gaps = np.sum(part**2, axis=1)[:, None] + squares - 2 * part @ library.T
        found.append(np.sqrt(np.maximum(gaps.min(axis=1), 0)))
    return np.concatenate(found).reshape(queries.shape[:-1])
