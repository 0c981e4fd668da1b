"""Random combinations of everything that a caller may choose, against a rollout of our own."""

import dataclasses
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import (
    CEM,
    GD,
    GRASP,
    ICEM,
    MPPI,
    Chain,
    Hops,
    LatCo,
    LatCoGaussNewton,
    MultiStart,
    Status,
)

KEY = jax.random.key(0)
_GD = GD(learning_rate=0.05, iterations=2)
_CEM = CEM(num_samples=4, num_elites=2, iterations=2, std=0.3)
PLANNERS = {
    "GD": _GD,
    "GRASP": GRASP(iterations=2, action_rate=0.05, sync=_GD, sync_every=2),
    "GRASP alone": GRASP(iterations=2, action_rate=0.05, sync=None),
    "CEM": _CEM,
    "ICEM": ICEM(num_samples=4, num_elites=2, num_kept=1, iterations=2, std=0.3),
    "MPPI": MPPI(num_samples=4, iterations=2, std=0.3),
    "LatCo": LatCo(iterations=2, evaluate_every=2),
    "LatCoGN": LatCoGaussNewton(iterations=1),
    "MultiStart": MultiStart(_GD, num_starts=2, start_std=0.2),
    "Chain": Chain(_CEM, _GD),
    "Hops": Hops(planner=_GD, iterations=2, std=0.2),
}
STATES: dict[str, Any] = {
    "array": np.array([0.1, -0.2, 0.3]),
    "scalar": np.array(0.2),
    "dict": {"x": np.array([0.1, 0.2]), "y": np.full((2, 2), -0.1)},
    "nested": (np.array([0.3]), {"z": [np.array(0.1), np.array([0.2, 0.0])]}),
}


def windowed(frames: Any, actions: jax.Array) -> Any:
    """Reads the oldest and the newest frame, and all actions between them."""
    push = 0.3 * jnp.tanh(actions.astype(jnp.float32)).mean(0).sum()

    def one(x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        return (0.7 * wide[-1] + 0.2 * wide[0] + push).astype(x.dtype)

    return jax.tree.map(one, frames)


def single(state: Any, action: jax.Array) -> Any:
    return windowed(jax.tree.map(lambda x: x[None], state), action[None])


def effort(actions: jax.Array) -> jax.Array:
    return 0.1 * jnp.sum(actions.astype(jnp.float32) ** 2)


def on_the_way(state: Any, goal: Any) -> jax.Array:
    del goal
    squares = [jnp.sum(x.astype(jnp.float32) ** 2) for x in jax.tree.leaves(state)]
    return 0.1 * jnp.sum(jnp.stack(squares))


@dataclasses.dataclass(frozen=True)
class Case:
    """One combination."""

    planner: str
    steps: int
    window: int
    dtype: str
    state: str
    horizon: int | None
    control_cost: bool
    running_cost: bool
    bounds: tuple[Any, Any] | None
    door: str

    def problem(self, goals: int | None = None) -> grasp_jax.Problem:
        """The problem; with `goals` so many equal ones."""
        start = jax.tree.map(lambda x: x.astype(self.dtype), STATES[self.state])
        goal = jax.tree.map(lambda x: x + np.asarray(0.5, x.dtype), start)
        past, rows = None, {"state": start, "goal": goal}
        if self.window > 1:
            repeat = [start] * (self.window - 1)
            frames = jax.tree.map(lambda *x: np.stack(x), *repeat)
            past = grasp_jax.Context(frames, jnp.full((self.window - 1, 2), 0.1, self.dtype))
        if goals is not None:
            many = jax.tree.map(lambda x: np.stack([x] * goals), (start, goal, past))
            rows, past = {"state": many[0], "goal": many[1]}, many[2]
        return grasp_jax.make_problem(
            single if self.window == 1 else windowed,
            **rows,
            init_actions=np.full((self.steps, 2), 0.05, self.dtype),
            bounds=self.bounds,
            objective=grasp_jax.Objective(
                control_cost=effort if self.control_cost else None,
                running_cost=on_the_way if self.running_cost else None,
            ),
            context=past,
            horizon=self.horizon,
            batched=goals is not None,
        )

    def plan(self) -> grasp_jax.Plan:
        """Through the door."""
        planner = PLANNERS[self.planner]
        if self.door == "batch":
            found = grasp_jax.solve(self.problem(2), KEY, planner=planner, goal_batch_size=1)
            return jax.tree.map(lambda x: x[1], found)
        problem = self.problem()
        if self.door == "compiled":
            program = grasp_jax.compile_plan(problem, KEY, planner=planner)
            return program(problem.state, problem.goal, problem.init_actions, KEY)
        if self.door == "pieces":
            search = grasp_jax.start(problem, KEY, planner=planner)
            for _ in range(planner.iterations):
                search = grasp_jax.advance(search, 1)
            return grasp_jax.read(search)
        if self.door == "jit":
            return jax.jit(lambda p: grasp_jax.solve(p, KEY, planner=planner))(problem)
        return grasp_jax.solve(problem, KEY, planner=planner)


@st.composite
def cases(draw: Any) -> Case:
    steps = draw(st.integers(1, 4))
    bounds = [None, (-0.3, 0.3), (np.array([0.02, -0.2]), 0.1), (-np.inf, np.array([0.2, 0.3]))]
    return Case(
        planner=draw(st.sampled_from(list(PLANNERS))),
        steps=steps,
        window=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(["float32", "float32", "bfloat16"])),
        state=draw(st.sampled_from(list(STATES))),
        horizon=draw(st.one_of(st.none(), st.integers(1, steps))),
        control_cost=draw(st.booleans()),
        running_cost=draw(st.booleans()),
        bounds=draw(st.sampled_from(bounds)),
        door=draw(st.sampled_from(["plan", "batch", "compiled", "pieces", "jit"])),
    )


def wide(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def rolled(case: Case, actions: np.ndarray) -> Any:
    """States `[T+1, ...]` in NumPy, in float64."""
    start = wide(jax.tree.map(lambda x: x.astype(case.dtype), STATES[case.state]))
    frames, moves = [start] * case.window, [np.full(2, wide(np.full((), 0.1, case.dtype)))]
    moves, states = moves * (case.window - 1), [start]
    for t, action in enumerate(actions):
        moves.append(action)
        if t < (case.horizon or case.steps):
            push = 0.3 * np.tanh(np.stack(moves[-case.window :])).mean(0).sum()
            first, last = frames[-case.window], frames[-1]
            frames.append(jax.tree.map(lambda a, b, p=push: 0.7 * b + 0.2 * a + p, first, last))
        states.append(frames[-1])
    return jax.tree.map(lambda *x: np.stack(x), *states)


def cost(case: Case, states: Any, actions: np.ndarray) -> float:
    """The objective of states `[T+1, ...]`."""
    end = case.horizon or case.steps
    total = 0.0
    for x, start in zip(jax.tree.leaves(states), jax.tree.leaves(STATES[case.state]), strict=True):
        goal = wide(start.astype(case.dtype) + np.asarray(0.5, case.dtype))
        total += np.sum((x[-1] - goal) ** 2)
        total += case.running_cost * 0.1 * np.sum(x[1 : end + 1] ** 2)
    return total + case.control_cost * 0.1 * np.sum(actions[:end] ** 2)


def check(case: Case) -> None:
    """What holds for every plan."""
    found = case.plan()
    actions, end = wide(found.actions), case.horizon or case.steps
    low, high = (-np.inf, np.inf) if case.bounds is None else case.bounds
    assert Status(int(found.status)) == Status.OK
    assert found.actions.shape == (case.steps, 2) and found.actions.dtype == case.dtype
    assert {str(x.dtype) for x in jax.tree.leaves(found.states)} == {case.dtype}
    assert found.cost.dtype == jnp.float32
    assert np.all((actions >= low) & (actions <= high))
    # From the goal's step on: zero, or the bound nearest to it, and states that stand still.
    problem = case.problem()
    rest = jnp.clip(jnp.zeros(2, case.dtype), problem.low, problem.high)
    np.testing.assert_array_equal(actions[end:], np.broadcast_to(wide(rest), (case.steps - end, 2)))
    for x in jax.tree.leaves(wide(found.states)):
        np.testing.assert_array_equal(x[end:], np.broadcast_to(x[end], x[end:].shape))
    digits = 1e-5 if case.dtype == "float32" else 0.02
    expected = rolled(case, actions)
    for x, y in zip(jax.tree.leaves(found.states), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(wide(x), y, rtol=digits, atol=digits)
    np.testing.assert_allclose(
        found.cost, cost(case, wide(found.states), actions), rtol=1e-3, atol=1e-5
    )
    guess = np.clip(np.full((case.steps, 2), wide(np.full((), 0.05, case.dtype))), low, high)
    guess[end:] = actions[end:]
    before = cost(case, rolled(case, guess), guess)
    assert found.cost <= before * (1 + digits) + digits


@hypothesis.given(cases())
@hypothesis.settings(max_examples=8)
def test_any_combination_gives_a_sound_plan(case: Case):
    check(case)


@pytest.mark.slow
@hypothesis.given(cases())
@hypothesis.settings(max_examples=200)
def test_many_combinations_give_sound_plans(case: Case):
    check(case)
