"""The PyTorch formulation that ours is timed against computes what ours computes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grasp_jax
from grasp_jax import GD, GRASP, make_problem
from grasp_jax.lifted import lifted_gradient
from grasp_jax.rollout import rollout_cost
from grasp_jax.world_models import LeWM
from tests.world_models.golden import LEWM

torch = pytest.importorskip("torch", reason="PyTorch is not installed", exc_type=ImportError)
from experiments.speed import textbook  # noqa: E402

T, FRAMES = 5, 3


@pytest.fixture(scope="module")
def case() -> dict[str, Any]:
    """A small LeWM in both forms, and one problem."""
    model = LeWM.random(jax.random.key(0), LEWM)
    random = np.random.default_rng(0).normal
    size, actions = LEWM.latent, LEWM.action_size
    arrays = {
        "start": random(size=size),
        "goal": random(size=size),
        "states": random(size=(T, size)),
        "actions": random(size=(T, actions)),
    }
    arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
    theirs = textbook.predictor(model.weights, LEWM.depth, LEWM.heads)
    return {"ours": model, "theirs": theirs, **arrays}


def tensors(case: dict[str, Any], *names: str) -> list[Any]:
    return [torch.tensor(case[name]) for name in names]


def problem(case: dict[str, Any], frames: int) -> Any:
    context = None if frames == 1 else case["ours"].empty_context(frames - 1)
    given = (jnp.asarray(case[k]) for k in ("start", "goal", "actions"))
    return make_problem(case["ours"], *given, objective=case["ours"].objective, context=context)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_predictor_is_ours(case: dict[str, Any], frames: int) -> None:
    latents, actions = case["states"][:frames], case["actions"][:frames]
    expected = jax.jit(case["ours"].__call__)(latents, actions)
    found = case["theirs"](torch.tensor(latents)[None], torch.tensor(actions)[None])[0, -1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [textbook.loop_loss, textbook.batched_loss])
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_the_lifted_loss_and_its_gradients_are_ours(case: dict[str, Any], frames: int, loss: Any):
    settings = textbook.Settings(lifted_frames=frames, goal_weight=0.3)
    start, goal, states, actions = tensors(case, "start", "goal", "states", "actions")
    search = textbook._search(states[:-1], actions, settings)
    found = loss(case["theirs"], search, start, goal, settings)
    found.backward()
    ours = jax.jit(lifted_gradient)(
        problem(case, frames), jnp.asarray(case["states"]), jnp.asarray(case["actions"]), 0.3
    )
    np.testing.assert_allclose(found.item(), ours.loss, rtol=1e-5)
    np.testing.assert_allclose(search.states.grad, ours.states[:-1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(search.actions.grad, ours.actions, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_the_rollout_and_its_gradient_are_ours(case: dict[str, Any], frames: int) -> None:
    start, goal, actions = tensors(case, "start", "goal", "actions")
    actions.requires_grad_()
    found = textbook.rollout_loss(case["theirs"], actions, start, goal, frames)
    found.backward()
    given = problem(case, frames)
    cost, gradient = jax.jit(jax.value_and_grad(rollout_cost, 1))(given, given.init_actions)
    np.testing.assert_allclose(found.item(), cost, rtol=1e-5)
    np.testing.assert_allclose(actions.grad, gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "loss", [textbook.batched_loss, pytest.param(textbook.loop_loss, marks=pytest.mark.slow)]
)
def test_a_whole_plan_is_ours(case: dict[str, Any], loss: Any) -> None:
    settings = textbook.Settings(8, state_noise=0.0, sync_every=8, sync_steps=4, lifted_frames=3)
    start, goal, actions = tensors(case, "start", "goal", "actions")
    found = textbook.plan(case["theirs"], start, goal, actions, settings, loss)
    planner = dataclasses.replace(
        GRASP(),
        iterations=8,
        state_std=None,
        sync_every=8,
        sync=GD(learning_rate=0.05, iterations=4),
    )
    given = problem(case, FRAMES)
    ours = grasp_jax.plan(
        case["ours"],
        given.state,
        given.goal,
        given.init_actions,
        jax.random.key(0),
        planner=planner,
        context=given.context,
        objective=case["ours"].objective,
    )
    # Ours hands on the best plan of a sync, which here is its last.
    np.testing.assert_allclose(found, ours.actions, atol=2e-3)
