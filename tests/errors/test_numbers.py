"""A model that returns NaN or infinity for one goal, one sample or one step harms nothing else."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    LatCo,
    MultiStart,
    Plan,
    Planner,
    Problem,
    Status,
    StepContext,
    StepInfo,
    White,
    make_problem,
)
from grasp_jax.arguments import as_bounds
from grasp_jax.rollout import rollout_cost
from tests import matrix
from tests.matrix import PLANNERS, assert_same, every_kind, every_program, key

T, A = 4, 2
BOUNDS = (-0.7, 0.6)
GUESS = jnp.linspace(-0.2, 0.2, T * A).reshape(T, A)
START, GOAL = jnp.array([0.0, 0.1, 0.0]), jnp.array([0.6, -0.4, 0.0])


def world(weights: jax.Array, state: jax.Array, action: jax.Array) -> jax.Array:
    """Two positions, and a third number that counts time and carries `weights[0]`'s poison.

    `weights`: the poison, and where it strikes: `state[2]` at or above `weights[1]` (a time), or
    the first action above `weights[2]`.
    """
    poison, time, limit = weights
    moved = state[:2] + 0.3 * jnp.tanh(action) + 0.05 * jnp.sin(state[1::-1])
    strikes = (state[2] >= time) | (action[0] > limit)
    return jnp.concatenate([jnp.where(strikes, poison, moved), state[2:] + 0.0 * moved[:1]])


def model(poison: float = np.nan, time: float = np.inf, limit: float = np.inf) -> Any:
    """One compiled program for every kind of poison: it is a traced weight."""
    return jax.tree_util.Partial(world, jnp.array([poison, time, limit]))


def solve(name: str, dynamics: Any, **changes: Any) -> Plan:
    arguments: dict[str, Any] = {
        "state": START,
        "goal": GOAL,
        "init_actions": GUESS,
        "key": key(),
        "bounds": BOUNDS,
    }
    return grasp_jax.plan(dynamics, **(arguments | changes), planner=PLANNERS[name])


@functools.cache
def clean(name: str) -> Plan:
    return solve(name, model())


def is_inside(actions: jax.Array) -> bool:
    return bool(jnp.all((actions >= BOUNDS[0]) & (actions <= BOUNDS[1])))


@every_program
def test_the_clean_model_is_ok(name: str):
    assert clean(name).status == Status.OK


@every_program
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_always_broken_gives_the_guess_back(name: str, poison: float):
    found = solve(name, model(poison, time=-1.0))
    assert found.status == Status.FAILED
    assert_same(found.actions, GUESS)
    assert is_inside(found.actions)
    assert jnp.all(found.metrics.best_cost == jnp.inf)
    outside = solve(name, model(poison, time=-1.0), init_actions=GUESS + 5)
    assert_same(outside.actions, jnp.broadcast_to(as_bounds(BOUNDS, GUESS)[1], GUESS.shape))


@every_program
def test_a_broken_start_or_goal_or_guess_fails_without_raising(name: str):
    assert solve(name, model(), state=START.at[0].set(jnp.nan)).status == Status.FAILED
    assert solve(name, model(), goal=GOAL.at[0].set(jnp.inf)).status == Status.FAILED


@every_program
def test_actions_that_break_the_model_are_reported_and_never_returned(name: str):
    # From 0.02 up the first action breaks the model; the guess and the way to the goal hold both.
    guess = jnp.full((T, A), 0.015)
    found = solve(name, model(limit=0.02), init_actions=guess)
    assert jnp.isfinite(found.cost) and jnp.all(jnp.isfinite(found.states))
    assert found.status == Status.NON_FINITE
    assert jnp.all(found.actions[:, 0] <= 0.02) and is_inside(found.actions)
    problem = make_problem(model(limit=0.02), START, GOAL, guess, bounds=BOUNDS)
    assert found.cost <= grasp_jax.rollout_cost(problem, guess)


@every_program
def test_a_broken_guess_is_left_behind_once_a_finite_plan_is_found(name: str):
    # The guess breaks the model at its last step only, by its action.
    guess = GUESS.at[-1, 0].set(0.3)
    found = solve(name, model(limit=0.25), init_actions=guess)
    assert found.status in (Status.NON_FINITE, Status.FAILED)
    if name in ("CEM", "ICEM", "MPPI", "GD dino_wm", "MultiStart GD"):
        assert found.status == Status.NON_FINITE
        assert jnp.isfinite(found.cost) and jnp.all(found.actions[:, 0] <= 0.25)
    elif found.status == Status.FAILED:
        assert_same(found.actions, guess)


@every_kind
def test_one_broken_goal_leaves_the_others_bitwise_unchanged(name: str):
    times = jnp.array([0.0, 1.0, 0.0, 0.0])
    starts = jnp.concatenate([jnp.tile(START[:2], (4, 1)), times[:, None]], axis=1)
    goals = jnp.stack([GOAL, GOAL, -GOAL, 0.5 * GOAL]).at[:, 2].set(times)

    def batch(time: float) -> Plan:
        return grasp_jax.plan_batch(
            model(time=time), starts, goals, GUESS, key(), planner=PLANNERS[name], bounds=BOUNDS
        )

    healthy, broken = batch(np.inf), batch(0.5)
    assert healthy.status.tolist() == [Status.OK] * 4
    assert broken.status.tolist() == [Status.OK, Status.FAILED, Status.OK, Status.OK]
    for b in (0, 2, 3):
        mine = [jax.tree.map(lambda x, b=b: x[b] if x.ndim else x, p) for p in (healthy, broken)]
        assert_same(*mine)
    assert_same(broken.actions[1], GUESS)


@pytest.mark.parametrize("name", ["GRASP", "GRASP sync=None", "LatCo", "LatCoGN"])
def test_one_broken_step_of_the_lifted_phase_is_reported(name: str):
    # Virtual states on a line to a goal whose third number passes 0.6: only late steps break.
    found = solve(name, model(time=0.6), goal=GOAL.at[2].set(1.0))
    assert found.status == Status.NON_FINITE
    assert jnp.isfinite(found.cost) and jnp.all(jnp.isfinite(found.states))
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(found.virtual_states))


@pytest.mark.parametrize("name", ["GRASP sync=None", "GRASP"])
def test_steps_before_the_broken_one_move_as_ever(name: str):
    goal = GOAL.at[2].set(1.0)
    planner = grasp_jax.GRASP(iterations=1, state_std=0.0, action_rate=0.1, sync=None)

    def moved(time: float) -> Any:
        problem = make_problem(model(time=time), START, goal, GUESS)
        return matrix.searched(planner, problem)[1].inner

    healthy, broken = moved(np.inf), moved(0.6)
    # s_3 = 0.75 breaks the fourth prediction alone.
    assert_same(healthy.actions[:3], broken.actions[:3])
    assert_same(healthy.states, broken.states)
    assert_same(broken.actions[3], GUESS[3])


@every_kind
def test_a_nan_gradient_at_a_finite_cost_does_not_spread(name: str):
    # d/dx sqrt(x²) is NaN at 0: where the rollout meets its goal exactly in one number.
    def distance(state: jax.Array, goal: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sqrt((state - goal) ** 2))

    objective = grasp_jax.Objective(terminal_cost=distance)
    found = solve(name, model(), objective=objective)
    assert jnp.isfinite(found.cost) and jnp.all(jnp.isfinite(found.actions))
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(found.virtual_states))
    gradient = name not in ("CEM", "ICEM", "MPPI")
    assert found.status == (Status.NON_FINITE if gradient else Status.OK)


@pytest.mark.parametrize(
    "planner",
    [
        CEM(num_samples=40, num_elites=40, iterations=1, std=0.3),
        ICEM(num_samples=40, num_elites=40, num_kept=2, iterations=1, std=0.3),
        MPPI(num_samples=40, iterations=1, std=0.3),
    ],
    ids=lambda p: type(p).__name__,
)
def test_broken_samples_weigh_nothing(planner: Any):
    found, search = matrix.searched(planner, make_problem(model(limit=0.2), START, GOAL, GUESS * 0))
    mean = search.inner.mean
    assert jnp.all(jnp.isfinite(mean)) and jnp.all(mean[:, 0] <= 0.2)
    assert found.status == Status.NON_FINITE
    # With limits nobody reaches the mean is another one: the broken samples did matter.
    _, whole = matrix.searched(planner, make_problem(model(), START, GOAL, GUESS * 0))
    assert jnp.abs(whole.inner.mean - mean).max() > 1e-4


@pytest.mark.parametrize(
    "planner",
    [
        GD(learning_rate=1e3, iterations=5),
        GRASP(iterations=6, state_rate=1e3, action_rate=1e3, sync_every=3),
        LatCo(learning_rate=1e3, iterations=5),
    ],
    ids=lambda p: type(p).__name__,
)
def test_steps_that_explode_stay_inside_the_bounds_and_never_worsen_the_plan(planner: Any):
    found = grasp_jax.plan(model(), START, GOAL, GUESS, key(), planner=planner, bounds=BOUNDS)
    guess = grasp_jax.rollout_cost(make_problem(model(), START, GOAL, GUESS, bounds=BOUNDS), GUESS)
    assert is_inside(found.actions) and found.cost <= guess


def clipped_adam(rate: Any) -> optax.GradientTransformation:
    return optax.chain(optax.clip(1.0), optax.adam(rate))


def test_gradients_too_large_to_square_need_an_optimizer_that_clips():
    # Adam's second moment overflows at a slope of 1e25 and never comes back: its rates are zero
    # from then on. The cure is any optax chain as the factory.
    def steep(state: jax.Array, action: jax.Array) -> jax.Array:
        cliff = 1e25 * jnp.maximum(action[0] - 0.5, 0)
        return state + 0.1 * action.sum() + (cliff - jax.lax.stop_gradient(cliff))

    guess = jnp.full((T, A), 0.55)
    planner = GD(learning_rate=0.1, iterations=40, optimizer=clipped_adam)
    found = grasp_jax.plan(steep, START, START, guess, key(), planner=planner)
    assert jnp.all(found.actions[:, 0] < 0.5)
    stuck = grasp_jax.plan(
        steep, START, START, guess, key(), planner=GD(learning_rate=0.1, iterations=40)
    )
    assert_same(stuck.actions[:, 0], guess[:, 0])


def test_adam_in_half_precision_does_not_break_on_a_gradient_of_zero():
    # The second action does nothing: its gradient is exactly 0, and float16 has no 1e-8.
    half = jnp.float16
    found = grasp_jax.plan(
        lambda s, a: s + a[:1],
        jnp.zeros(1, half),
        jnp.ones(1, half),
        jnp.zeros((3, 2), half),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.1, iterations=10),
    )
    assert jnp.isfinite(found.actions).all() and found.cost < 0.5


@pytest.mark.parametrize("name", ["GD", "GRASP", "CEM", "LatCoGN", "Chain"])
def test_costs_beyond_the_range_of_half_precision_are_costs(name: str):
    # 400² is infinite in float16: costs are float32 beside half-precision states.
    half = jnp.float16
    found = grasp_jax.plan(
        lambda s, a: s + a.astype(half),
        jnp.zeros(2, half),
        jnp.full(2, 400, half),
        jnp.zeros((3, 2)),
        jax.random.key(0),
        planner=PLANNERS[name],
    )
    assert found.status == Status.OK and found.cost.dtype == jnp.float32
    assert found.states.dtype == half and found.cost < 2 * 400**2


def test_a_starting_guess_of_nan_starts_from_zero():
    broken = GUESS.at[1].set(jnp.nan)
    found, clean = (solve("GD", model(), init_actions=a) for a in (broken, GUESS.at[1].set(0)))
    assert_same(found.actions, clean.actions)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Leap(Planner):
    """Proposes the zero plan at once; what it would do next is given."""

    present: float = 0.0
    iterations: int = dataclasses.field(default=1, metadata={"static": True})

    def init(self, problem: Problem, key: jax.Array) -> jax.Array:
        return jnp.zeros(())

    def step(self, problem: Problem, state: jax.Array, context: StepContext) -> Any:
        still = jnp.zeros_like(problem.init_actions)
        return state, StepInfo.of(still, rollout_cost(problem, still), jnp.asarray(True), 4)

    def actions(self, problem: Problem, state: jax.Array) -> jax.Array:
        return jnp.full_like(problem.init_actions, self.present)


@pytest.mark.parametrize(
    ("planner", "status"),
    [
        (MultiStart(Leap(), num_starts=4, start_std=3.0, noise=White()), Status.NON_FINITE),
        (
            MultiStart(Leap(), num_starts=4, start_std=3.0, noise=White(), resample_every=1),
            Status.NON_FINITE,
        ),
        (Chain(Leap(0.9), Leap()), Status.NON_FINITE),
        (MultiStart(Leap(), num_starts=4, start_std=0.01, noise=White()), Status.OK),
        (Chain(Leap(0.3), Leap()), Status.OK),
    ],
)
def test_a_rollout_that_broke_between_iterations_is_reported(planner: Any, status: Status):
    found = grasp_jax.plan(model(limit=0.8), START, GOAL, GUESS, key(), planner=planner)
    assert found.status == status and jnp.isfinite(found.cost)


@pytest.mark.parametrize(("rate", "fits"), [(0.5, False), (0.01, True)])
def test_a_broken_rollout_of_latco_is_reported(rate: float, fits: bool):
    def step(state: jax.Array, action: jax.Array) -> jax.Array:
        return jnp.where(state > 1.2, jnp.nan, state + action)

    problem = make_problem(step, jnp.zeros(1), jnp.ones(1), jnp.zeros((4, 1)))
    planner = LatCo(learning_rate=rate, evaluate_every=1)
    context = StepContext(key(), jnp.asarray(0), problem.init_actions, jnp.asarray(jnp.inf))
    _, found = jax.jit(planner.step)(problem, planner.init(problem, key()), context)
    assert bool(jnp.isfinite(found.cost)) == bool(found.finite) == fits
