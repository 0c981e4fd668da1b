"""What the pictures claim, on cases whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gallery import conditioning, landscape
from experiments.gallery.distances import summary
from experiments.gallery.sources import Way, pusht_model, pusht_start, pusht_step, pusht_tasks


@pytest.mark.parametrize("steps", [2, 7, 40])
@pytest.mark.parametrize("alpha", [1.08, 1.0, 0.5, -0.9])
def test_closed_forms_are_the_singular_values(alpha, steps):
    a = np.full((steps, 1, 1), alpha)
    b = np.full((steps, 1, 1), 0.3)
    serial = np.linalg.svd(conditioning.serial_jacobian(a, b), compute_uv=False)
    lifted = np.linalg.svd(conditioning.lifted_jacobian(a, b), compute_uv=False)
    np.testing.assert_allclose(serial, conditioning.serial_closed(alpha, 0.3, steps))
    known = np.sort(conditioning.lifted_closed(alpha, 0.3, steps))[::-1]
    np.testing.assert_allclose(lifted, known, rtol=1e-9)


def test_jacobians_are_those_of_the_residuals():
    """Both against a rollout of a random linear system, one step at a time."""
    rng = np.random.default_rng(0)
    steps, size, width = 5, 3, 2
    a, b = rng.normal(size=(steps, size, size)), rng.normal(size=(steps, size, width))
    actions = rng.normal(size=(steps, width))
    states = [np.zeros(size)]
    for t in range(steps):
        states.append(a[t] @ states[t] + b[t] @ actions[t])
    serial = conditioning.serial_jacobian(a, b) @ actions.reshape(-1)
    np.testing.assert_allclose(serial, states[-1])
    variables = np.concatenate([actions.reshape(-1), np.concatenate(states[1:-1])])
    residual = (conditioning.lifted_jacobian(a, b) @ variables).reshape(steps, size)
    # The last row compares with the goal, which is data.
    residual[-1] -= states[-1]
    np.testing.assert_allclose(residual, 0, atol=1e-12)


def test_lifted_conditioning_does_not_grow_and_serial_grows():
    rows = conditioning.linear((16, 80))
    by = {(r["jacobian"], r["horizon"]): r["condition"] for r in rows}
    assert by["lifted", 80] < 1.02 * by["lifted", 16]
    assert by["serial", 80] > 50 * by["serial", 16]


def test_a_grid_s_dents_are_counted():
    x = np.linspace(-3, 3, 61)
    bowl = x[:, None] ** 2 + x[None] ** 2
    assert landscape.dents(bowl) == 1
    assert landscape.dents(np.cos(2 * np.pi * x)[:, None] + np.cos(2 * np.pi * x)[None]) == 36


def test_the_plan_in_the_middle_solves_both_problems():
    start, _, actions = pusht_tasks(1, 8)
    begin = pusht_start(start[0])
    changes = np.zeros((2, 8, 2), np.float32)
    changes[1] = 0.3
    losses = jax.jit(landscape.losses)
    serial, lifted = losses(pusht_model(), begin, actions[0], jnp.asarray(changes))
    assert serial[0] == pytest.approx(0, abs=1e-9)
    assert lifted[0] == pytest.approx(0, abs=1e-9)
    assert serial[1] > 0.01
    assert lifted[1] > 0.01


def test_five_steps_are_one_step_of_the_model():
    """The step of the pictures is the step inside the planning model."""
    from experiments.models.pusht_state import coordinates as psm

    start, _, actions = pusht_tasks(1, 5)
    model, state = pusht_model(), pusht_start(start[0])
    step = jax.jit(pusht_step)
    for action in actions[0]:
        state = step(model, state, action)
    stacked = psm.stack_actions(actions[0])[0]
    whole = model(psm.encode(start[0]).astype(np.float32), stacked)
    np.testing.assert_allclose(state[0:2], whole[0:2], atol=1e-5)
    np.testing.assert_allclose(psm.ANGLE_RADIUS * state[6:8], whole[4:6], atol=1e-5)


def test_a_way_that_first_leaves_its_goal_is_counted():
    gaps = np.array([[3.0, 4.0, 2.0, 0.0], [3.0, 2.0, 1.0, 0.5], [3.0, 3.2, 1.0, 0.0]])
    found = summary(Way("a way", gaps, 0.5, "m"))
    assert found["share_that_first_leaves_the_goal"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["share_of_moving_steps_away"] == pytest.approx(2 / 9, abs=1e-4)
    assert found["reached"] == 1
