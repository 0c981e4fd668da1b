"""Callers who forbid JAX's promotions in their own code can plan all the same."""

import collections.abc
import contextlib

import jax
import jax.numpy as jnp

import grasp_jax
from grasp_jax import GD, world_models
from tests.matrix import (
    ACTIONS,
    BOUNDS,
    GOAL,
    OBJECTIVE,
    PLANNERS,
    START,
    WORLD,
    assert_same,
    every_planner,
    key,
    solve,
    solved,
    stacked,
)


@contextlib.contextmanager
def strictly() -> collections.abc.Iterator[None]:
    """No promotion of ranks or dtypes."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@every_planner
def test_planners_plan_equally(name: str):
    expected = solved(name)
    with strictly():
        assert_same(solve(name), expected)


def test_so_do_batches_searches_compiled_plans_and_control_loops():
    planner, settings = PLANNERS["GRASP"], {"bounds": BOUNDS, "objective": OBJECTIVE}
    batch = stacked(START, START), stacked(GOAL, GOAL), ACTIONS, key()
    one = START, GOAL, ACTIONS, key()

    def everything() -> list:
        search = grasp_jax.start(WORLD, *one, planner=planner, **settings)
        begun = grasp_jax.start_batch(WORLD, *batch, planner=planner, **settings)
        compiled = grasp_jax.compile_plan(WORLD, *one, planner=planner, **settings)
        controller = grasp_jax.MPC(WORLD, GD(learning_rate=0.1, iterations=2), replan_every=2)
        return [
            grasp_jax.plan_batch(WORLD, *batch, planner=planner, goal_batch_size=1, **settings),
            grasp_jax.read(grasp_jax.advance(search, 3)),
            grasp_jax.read(grasp_jax.advance(begun, 3)),
            compiled(*one),
            controller.step(controller.init(ACTIONS, key()), START, GOAL),
        ]

    expected = everything()
    with strictly():
        assert_same(everything(), expected)


def test_so_do_the_world_models():
    encoder = world_models.ViTConfig(width=32, depth=1, heads=1, hidden=32, image=28, table=2)
    sizes = world_models.LeWMConfig(latent=32, depth=1, heads=1, hidden=32, encoder=encoder)
    model, frames = world_models.LeWM.random(key(), sizes), jnp.ones((2, 3, 28, 28))
    start, goal = model.encode(frames)
    arguments = model, start, goal, jnp.zeros((2, 10)), key()
    following = model(start, jnp.zeros(10))
    expected = grasp_jax.plan(*arguments, planner=GD(learning_rate=0.1, iterations=2))
    with strictly():
        assert_same(model.encode(frames), jnp.stack([start, goal]))
        assert_same(model(start, jnp.zeros(10)), following)
        assert_same(grasp_jax.plan(*arguments, planner=GD(learning_rate=0.1, iterations=2)), expected)
