"""`Scaled`: other units, same plan; and with scales of 1 the planner inside."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import CEM, GD, GRASP, ICEM, MPPI, Chain, LatCo, MultiStart, Scaled
from grasp_jax.planners.scaled import is_lifted
from tests import matrix

KEY = jax.random.key(3)
PLANNERS: dict[str, Any] = {
    "GD": GD(learning_rate=0.1, iterations=6),
    "GRASP": GRASP(iterations=6, sync_every=3, sync=GD(learning_rate=0.1, iterations=2)),
    "CEM": CEM(num_samples=8, num_elites=3, iterations=4, std=0.5),
    "ICEM": ICEM(num_samples=8, num_elites=3, num_kept=2, iterations=4, std=0.5),
    "MPPI": MPPI(num_samples=8, iterations=4),
    "LatCo": LatCo(iterations=6, evaluate_every=2),
    "Chain": Chain(
        LatCo(iterations=4, evaluate_every=2),
        MultiStart(GD(learning_rate=0.1, iterations=3), num_starts=2, start_std=0.3),
    ),
}
FAST = ("GD", "CEM", "LatCo")
every_planner = pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in PLANNERS]
)
# The law is for every planner of the test matrix.
every_planner_there_is = pytest.mark.parametrize(
    "name",
    [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in matrix.PLANNERS],
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cart:
    """Position and speed of a mass, in units of `place`, `speed` and `push` of the plain ones.

    Units are traced, so that all of them share one program.
    """

    place: jax.Array = dataclasses.field(default_factory=lambda: jnp.array(1.0))
    speed: jax.Array = dataclasses.field(default_factory=lambda: jnp.array(1.0))
    push: jax.Array = dataclasses.field(default_factory=lambda: jnp.array(1.0))

    def __call__(self, state: dict[str, jax.Array], action: jax.Array) -> dict[str, jax.Array]:
        place, speed = state["place"] / self.place, state["speed"] / self.speed
        speed = 0.9 * speed + 0.3 * jnp.tanh(action / self.push)
        place = place + 0.5 * speed + 0.05 * jnp.sin(place)
        return {"place": place * self.place, "speed": speed * self.speed}

    def state(self, place: float, speed: float) -> dict[str, jax.Array]:
        return {
            "place": jnp.array([place, -place]) * self.place,
            "speed": jnp.array([speed, speed]) * self.speed,
        }

    def distance(self, state: Any, goal: Any, weight: float = 1.0) -> jax.Array:
        place = jnp.sum(((state["place"] - goal["place"]) / self.place) ** 2)
        return weight * (place + jnp.sum(((state["speed"] - goal["speed"]) / self.speed) ** 2))

    def effort(self, actions: jax.Array) -> jax.Array:
        return 0.01 * jnp.sum((actions / self.push) ** 2)

    def plan(self, planner: Any, bound: float | None = None) -> grasp_jax.Plan:
        return grasp_jax.plan(
            self,
            self.state(0.3, 0.1),
            self.state(1.5, 0.0),
            jnp.full((5, 2), 0.1) * self.push,
            KEY,
            planner=planner,
            bounds=(-0.8 * self.push, 0.6 * self.push) if bound is None else (-bound, bound),
            objective=grasp_jax.Objective(
                jax.tree_util.Partial(Cart.distance, self),
                jax.tree_util.Partial(Cart.effort, self),
                jax.tree_util.Partial(Cart.distance, self, weight=0.01),
            ),
        )


OTHER = Cart(place=jnp.array(256.0), speed=jnp.array(1 / 16), push=jnp.array(8.0))
"""Powers of two, so that the change of units itself rounds nothing."""


@pytest.mark.parametrize("planner", [PLANNERS["GD"], PLANNERS["LatCo"]], ids=["GD", "LatCo"])
def test_goals_of_whole_numbers_stay_what_they_are(planner: Any):
    """Bug: they were cut to whole numbers of search units."""

    def found(goal: jax.Array) -> grasp_jax.Plan:
        cost = grasp_jax.Objective(terminal_cost=lambda s, g: jnp.sum((s - g) ** 2))
        problem = grasp_jax.make_problem(
            lambda s, a: s + a, jnp.zeros(2), goal, jnp.zeros((4, 2)), bounds=(-2, 2),
            objective=cost,
        )  # fmt: skip
        return grasp_jax.solve(problem, KEY, planner=Scaled(planner))

    whole, floating = found(jnp.array([3, 5])), found(jnp.array([3.0, 5.0]))
    chex.assert_trees_all_close(whole, floating, rtol=1e-5, atol=1e-5)


def test_a_large_state_of_which_little_moves_fits_half_precision():
    """Bug: 400 over a scale of 0.005 is infinite in float16."""
    start = jnp.full(6000, 400.0, jnp.float16)
    problem = grasp_jax.make_problem(
        lambda s, a: s.at[0].add(a[0].astype(s.dtype)),
        start,
        start.at[0].add(2.0),
        jnp.zeros((3, 1)),
        bounds=(-1.0, 1.0),
    )
    planner = GRASP(iterations=2, sync=GD(learning_rate=0.1, iterations=5), sync_every=2)
    found = grasp_jax.solve(problem, KEY, planner=Scaled(planner))
    assert found.status == grasp_jax.Status.OK and found.cost < 4.0


def test_what_never_moves_counts_as_it_is():
    """Neither the rollouts nor the goal say in what a constant part of the state counts."""
    start = {"x": jnp.zeros(2), "fixed": jnp.full(3, 400.0)}
    problem = grasp_jax.make_problem(
        lambda s, a: {**s, "x": s["x"] + 0.3 * a},
        start,
        start | {"x": jnp.ones(2)},
        jnp.zeros((4, 2)),
        bounds=(-1.0, 1.0),
    )
    planner = Scaled(PLANNERS["LatCo"])
    scales = jax.jit(planner.init)(problem, KEY).scales
    assert scales.state["fixed"] == 1 and scales.state["x"] != 1
    assert grasp_jax.solve(problem, KEY, planner=planner).status == grasp_jax.Status.OK


@every_planner_there_is
def test_other_units_give_the_same_plan(name: str) -> None:
    units, scaled = OTHER, Scaled(matrix.PLANNERS[name])
    plain, other = Cart().plan(scaled), units.plan(scaled)
    chex.assert_trees_all_close(other.actions / units.push, plain.actions, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(other.cost, plain.cost, rtol=2e-4)
    if plain.virtual_states is not None:
        assert other.virtual_states is not None
        for leaf, unit in (("place", units.place), ("speed", units.speed)):
            np.testing.assert_allclose(
                other.virtual_states[leaf] / unit, plain.virtual_states[leaf], rtol=1e-3, atol=1e-4
            )


def test_without_it_other_units_give_another_plan() -> None:
    plain, other = Cart().plan(PLANNERS["CEM"]), OTHER.plan(PLANNERS["CEM"])
    assert float(jnp.max(jnp.abs(other.actions / OTHER.push - plain.actions))) > 0.05


@every_planner
def test_scales_of_one_are_the_planner_itself(name: str) -> None:
    alone = Cart().plan(PLANNERS[name])
    found = Cart().plan(Scaled(PLANNERS[name], action_scale=1.0, state_scale=1.0))
    # Not bit for bit: a product with a traced 1 is compiled into other sums.
    chex.assert_trees_all_close(found, alone, rtol=1e-5, atol=1e-6)


def test_explicit_scales_are_multiples() -> None:
    half = Scaled(CEM(num_samples=8, num_elites=3, iterations=4, std=1.0), action_scale=0.5)
    chex.assert_trees_all_close(
        Cart().plan(half).actions, Cart().plan(PLANNERS["CEM"]).actions, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"Scaled.action_scale must be above 0 and finite"):
        Scaled(GD(), action_scale=scale)
    with pytest.raises(ValueError, match=r"Scaled.state_scale must be above 0 and finite"):
        Scaled(GRASP(), state_scale=scale)


def test_a_scale_for_every_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Scaled.action_scale must be a number or one for each"):
        Cart().plan(Scaled(PLANNERS["GD"], action_scale=jnp.ones((5, 2))))


@pytest.mark.parametrize(
    ("name", "planner"),
    [
        ("action_scale", Scaled(Scaled(PLANNERS["GD"], action_scale=0.1), action_scale=0.5)),
        ("action_scale", Scaled(Scaled(PLANNERS["GD"], action_scale=0.1))),
        ("action_scale", Scaled(grasp_jax.portfolio(), action_scale=0.5)),
        ("state_scale", Scaled(Scaled(PLANNERS["LatCo"]), state_scale=2.0)),
        (
            "state_scale",
            Scaled(MultiStart(Scaled(PLANNERS["GRASP"], state_scale=3.0), num_starts=2)),
        ),
    ],
)
def test_scales_in_scales_are_refused(name: str, planner: Any) -> None:
    """Bug: they were multiplied, or the one outside did nothing."""
    with pytest.raises(ValueError, match=rf"Scaled\.{name} must be given once"):
        Cart().plan(planner)


def test_scaled_twice_is_scaled() -> None:
    once = Scaled(PLANNERS["GD"])
    found, expected = Cart().plan(Scaled(once)).actions, Cart().plan(once).actions
    matrix.assert_close(found, expected, 1e-5)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Learned(Cart):
    """The cart as a model that knows in which unit its training actions counted."""

    training_action_std: Any = 0.25


@pytest.mark.parametrize(
    ("std", "bound", "scale"),
    [
        (0.25, 1.0, 0.25),
        (jnp.array([0.5, 0.25]), 1.0, jnp.array([0.5, 0.25])),
        (7.0, 1.0, 1.0),  # the bounds are narrower than the data
        (7.0, float("inf"), 7.0),
    ],
)
def test_a_learned_model_is_searched_in_the_unit_of_its_data(
    std: Any, bound: float, scale: Any
) -> None:
    found = Learned(training_action_std=std).plan(Scaled(PLANNERS["CEM"]), bound)
    expected = Cart().plan(Scaled(PLANNERS["CEM"], action_scale=jnp.asarray(scale)), bound)
    chex.assert_trees_all_close(found.actions, expected.actions, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("std", [float("nan"), 0.0])
def test_a_traced_unit_of_the_data_that_is_none_is_left_out(std: float) -> None:
    found = Learned(training_action_std=jnp.asarray(std)).plan(Scaled(PLANNERS["CEM"]))
    expected = Cart().plan(Scaled(PLANNERS["CEM"]))
    chex.assert_trees_all_close(found.actions, expected.actions, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("std", [-1.0, float("inf"), (1.0, 0.0), jnp.ones(3), "one"])
def test_a_unit_of_the_data_that_cannot_be_one_is_refused(std: Any) -> None:
    with pytest.raises(ValueError, match=r"training_action_std must be a positive number, or one"):
        Learned(training_action_std=std).plan(Scaled(PLANNERS["CEM"]))


def test_a_scale_of_the_callers_stands_above_the_models() -> None:
    asked = Scaled(PLANNERS["CEM"], action_scale=jnp.asarray(0.5))
    found = Learned(training_action_std=-1.0).plan(asked)
    chex.assert_trees_all_close(found.actions, Cart().plan(asked).actions, rtol=1e-5, atol=1e-6)


def test_no_bounds_no_way_to_go_and_no_spread() -> None:
    """Without bounds, at the goal, in a world that stands still: finite, and it stays there."""
    found = grasp_jax.plan(
        lambda s, a: s + 0 * jnp.sum(a),
        jnp.ones(2),
        jnp.ones(2),
        jnp.zeros((4, 1)),
        KEY,
        planner=Scaled(PLANNERS["LatCo"]),
    )
    assert found.status == grasp_jax.Status.OK
    assert np.all(np.isfinite(found.actions))


def test_a_context_and_a_prepared_model_are_scaled_too() -> None:
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Pushed(grasp_jax.PreparedModel):
        unit: jax.Array

        def prepare_actions(self, actions: jax.Array) -> jax.Array:
            return jnp.tanh(actions)

        def step_prepared(self, states: Any, prepared: Any, present: Any = None) -> Any:
            return states[-1] + self.unit * (prepared[-1] + 0.1 * states[0] / self.unit)

    def plan(unit: float) -> grasp_jax.Plan:
        context = grasp_jax.Context.repeat(jnp.full(2, 0.5) * unit, 2, 2)
        return grasp_jax.plan(
            Pushed(jnp.asarray(unit)),
            jnp.full(2, 0.5) * unit,
            jnp.ones(2) * unit,
            jnp.zeros((4, 2)),
            KEY,
            planner=Scaled(PLANNERS["LatCo"]),
            bounds=(-1.0, 1.0),
            context=context,
        )

    chex.assert_trees_all_close(plan(64.0).actions, plan(1.0).actions, rtol=1e-4, atol=1e-5)


def test_a_goal_that_is_no_state() -> None:
    objective = grasp_jax.Objective(lambda s, g: jnp.square(s["place"][0] - g))

    def plan(unit: float) -> grasp_jax.Plan:
        cart = Cart(place=jnp.asarray(unit))
        return grasp_jax.plan(
            cart,
            cart.state(0.3, 0.1),
            jnp.asarray(unit),
            jnp.zeros((5, 2)),
            KEY,
            planner=Scaled(PLANNERS["LatCo"]),
            bounds=(-1.0, 1.0),
            objective=objective,
        )

    chex.assert_trees_all_close(plan(32.0).actions, plan(1.0).actions, rtol=1e-4, atol=1e-5)


def test_which_planners_are_lifted() -> None:
    lifted = [GRASP(), LatCo(), MultiStart(GRASP()), Chain(GD(), LatCo()), Scaled(GRASP())]
    assert all(is_lifted(p) for p in lifted)
    assert not any(is_lifted(p) for p in (GD(), CEM(), MultiStart(GD()), Scaled(ICEM())))


def test_counts_the_probes() -> None:
    problem = grasp_jax.make_problem(
        Cart(), Cart().state(0.0, 0.0), Cart().state(1.0, 0.0), jnp.zeros((5, 2))
    )
    assert Scaled(PLANNERS["LatCo"]).extra_evals(problem) == (40, 0)
    assert Scaled(PLANNERS["GD"]).extra_evals(problem) == (0, 0)


def test_a_batch_scales_every_goal_by_itself() -> None:
    cart, scaled = Cart(), Scaled(PLANNERS["LatCo"])
    states = jax.tree.map(lambda x: jnp.stack([x, x]), cart.state(0.3, 0.1))
    goals = jax.tree.map(lambda *x: jnp.stack(x), cart.state(1.5, 0.0), cart.state(9.0, 0.0))
    both = grasp_jax.plan_batch(
        cart, states, goals, jnp.zeros((5, 2)), KEY, planner=scaled, bounds=(-1.0, 1.0)
    )
    alone = grasp_jax.plan(
        cart,
        cart.state(0.3, 0.1),
        cart.state(9.0, 0.0),
        jnp.zeros((5, 2)),
        jax.random.fold_in(KEY, 1),
        planner=scaled,
        bounds=(-1.0, 1.0),
    )
    np.testing.assert_allclose(both.actions[1], alone.actions, rtol=1e-4, atol=1e-5)
