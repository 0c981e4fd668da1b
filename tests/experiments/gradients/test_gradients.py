"""Are state gradients brittle: the descent, windows, derivatives, the summary."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients import __main__ as state_gradients
from experiments.gradients import brittleness
from tests.experiments.models.test_lewm import small_model


def test_descents_of_the_lifted_objective_fall_and_pin_the_goal() -> None:
    model = small_model()
    keys = jax.random.split(jax.random.key(3), 6)
    start, goal = (jax.random.normal(k, (2, 12)) for k in keys[:2])
    past, before = jax.random.normal(keys[2], (2, 1, 12)), jnp.zeros((2, 1, 10))
    states = jnp.concatenate([start[:, None], jax.random.normal(keys[3], (2, 3, 12))], axis=1)
    actions = 0.3 * jax.random.normal(keys[4], (2, 3, 10))
    cases = brittleness.Case(start, goal, past, before, states.at[:, -1].set(goal), actions)
    descent = brittleness.Descent(iterations=60, looks=3)
    for way in (brittleness.STOPPED, brittleness.FULL):
        found = brittleness.descend(model, cases, keys[:2], way, descent)
        assert found.residual.shape == (2, 4)
        assert np.all(np.isfinite(found.cost))
        np.testing.assert_allclose(found.states[:, -1], goal, rtol=1e-6)
        if way == brittleness.FULL:
            assert np.all(found.residual[:, -1] < found.residual[:, 0])
    fakes = brittleness.impostors(model, cases, 50)
    assert np.all(fakes.last < fakes.first)
    windows = brittleness.windows(cases, cases.states[:, 1:], 2)
    np.testing.assert_array_equal(windows[:, 0], jnp.stack([past[:, 0], start], axis=1))
    np.testing.assert_array_equal(windows[:, 2], cases.states[:, 1:3])
    taken = brittleness.action_windows(cases, actions, 2)
    found = brittleness.jacobians(model, windows[:, 1], taken[:, 1])
    exact = jax.jit(jax.jacobian(model))(windows[1, 1], taken[1, 1])[:, -1]
    np.testing.assert_allclose(found["state"][1], np.linalg.norm(exact, 2), rtol=1e-4)


def test_nearest_and_summary() -> None:
    library = np.eye(4)
    np.testing.assert_allclose(brittleness.nearest(3 * np.eye(4)[:2], library), 2, atol=1e-6)
    row = {"goal": 0, "true_residual": 1.0}
    for way, residual, won in (("stopped", 2.0, True), ("full", 0.5, False)):
        row |= {f"{way}_residual": [9.0, residual], f"{way}_success": won, f"{way}_claims": won}
    other = {**row, "goal": 1, "full_claims": True}
    found = {r["quantity"]: r for r in state_gradients.summarise([row, other])}
    assert "goal" not in found and found["full_residual"]["value"] == 0.5
    # Virtual states fit and the model's own rollout misses; or only the simulator's does.
    assert found["full_adversarial"]["value"] == found["full_exploited"]["value"] == 0.5
    assert found["stopped_adversarial"]["value"] == found["stopped_exploited"]["value"] == 0
    assert found["success: only stopped : only full"]["value"] == "2 : 0"
