"""Noise on the actions of a model that stacks several of the environment's in one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import grasp_jax
from grasp_jax import AR1, CEM, GD, GRASP, Colored, Hops, MultiStart, Scaled, world_models
from grasp_jax.prepared import environment_actions_per_step
from grasp_jax.proposals import FromPolicy
from tests.matrix import assert_same
from tests.world_models import golden

T, BLOCK = 4, 3
SGD = GD(learning_rate=0.1, iterations=2)


def one_step(state: jax.Array, action: jax.Array) -> jax.Array:
    return state + 0.2 * jnp.tanh(action)


STACKED = world_models.StackedActions(one_step, BLOCK)


def solve(planner: grasp_jax.Planner, dynamics: Any = STACKED) -> jax.Array:
    problem = grasp_jax.make_problem(
        dynamics, jnp.zeros(2), jnp.ones(2), jnp.zeros((T, 2 * BLOCK)), bounds=(-1.0, 1.0)
    )
    return grasp_jax.solve(problem, jax.random.key(0), planner=planner).actions


def starts(block: int | None) -> MultiStart:
    still = GD(learning_rate=0.0, iterations=1)
    return MultiStart(still, num_starts=6, start_std=0.5, noise=AR1(action_block=block))


PLANNERS = {
    "starts": starts,
    "hops": lambda block: Hops(planner=SGD, iterations=2, noise=AR1(action_block=block)),
    "sampler": lambda block: CEM(
        num_samples=8, num_elites=3, iterations=2, std=0.5, noise=Colored(action_block=block)
    ),
    "sync": lambda block: GRASP(
        iterations=4, sync=SGD, sync_every=2, sync_std=0.3, sync_noise=AR1(action_block=block)
    ),
    "one start": lambda block: GD(
        learning_rate=0.1, iterations=5, start_std=0.5, noise=AR1(action_block=block)
    ),
    "scaled": lambda block: Scaled(starts(block)),
}


# `scaled` has the starts inside, and hops draw as syncs do.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in ("starts", "hops"))) for n in PLANNERS],
)
def test_it_runs_over_environment_steps_where_the_model_says_how_many(name: str):
    found = solve(PLANNERS[name](None))
    assert_same(found, solve(PLANNERS[name](BLOCK)))
    assert jnp.abs(found - solve(PLANNERS[name](1))).max() > 1e-3


def test_stacks_of_stacks_hold_the_actions_of_both():
    inner = world_models.StackedActions(one_step, 3)
    assert environment_actions_per_step(world_models.StackedActions(inner, 2)) == 6


class Plain:
    """A model that is no pytree."""

    environment_actions_per_step: int | None = BLOCK

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        return STACKED(state, action)


def test_search_units_and_policies_know_it_too():
    model = Plain()
    assert_same(solve(Scaled(starts(None)), model), solve(Scaled(starts(BLOCK)), model))
    problem = grasp_jax.make_problem(
        model, jnp.zeros(2), jnp.ones(2), jnp.zeros((T, 2 * BLOCK)), bounds=(-1.0, 1.0)
    )

    def proposed(block: int | None) -> jax.Array:
        still = FromPolicy(policy=lambda s, g: jnp.zeros(6), noise=AR1(action_block=block))
        return still(problem, jax.random.key(0))

    assert_same(proposed(None), proposed(BLOCK))
    assert jnp.abs(proposed(None) - proposed(1)).max() > 1e-3


def test_imported_models_say_what_their_sizes_say():
    lewm = world_models.LeWM({}, dataclasses.replace(golden.LEWM, action_block=2))
    dinowm = world_models.DinoWM({}, dataclasses.replace(golden.DINOWM, action_block=2))
    assert [environment_actions_per_step(model) for model in (lewm, dinowm)] == [2, 2]


def test_a_model_that_says_nothing_stacks_nothing():
    plain = jax.tree_util.Partial(lambda s, a: STACKED(s, a))
    assert_same(solve(starts(None), plain), solve(starts(1), plain))
    assert environment_actions_per_step(plain) == 1
    unknown = Plain()
    unknown.environment_actions_per_step = None
    assert environment_actions_per_step(unknown) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        world_models.mixed_precision,
        lambda m: world_models.MeanEnsemble(jax.tree.map(lambda x: jnp.stack([x, x]), m)),
        lambda m: world_models.ActionRepeat(m, 2),
    ],
    ids=["precision", "ensemble", "repeat"],
)
def test_wrapped_models_say_it_too(wrap: Any):
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Model:
        gain: jax.Array
        environment_actions_per_step: int = dataclasses.field(
            default=BLOCK, metadata={"static": True}
        )

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + self.gain * jnp.tanh(action).reshape(BLOCK, 2).sum(axis=0)

    assert environment_actions_per_step(wrap(Model(jnp.array(0.2)))) == BLOCK


@pytest.mark.parametrize("block", [4, 0, 2.0, True])
def test_a_block_that_cannot_be_is_refused(block: Any):
    class Model:
        environment_actions_per_step = block

        def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
            return state + action[:2]

    with pytest.raises(ValueError, match=r"actions_per_step, .*divides their 6 numbers, got"):
        solve(SGD, Model())
