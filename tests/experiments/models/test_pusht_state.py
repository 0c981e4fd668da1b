"""The Push-T state model: its interface, its shipped checkpoint, and its training."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from experiments.environments.pusht.goals import sample_goals
from experiments.models.pusht_state import model as psm
from experiments.models.pusht_state import train as trainer
from experiments.models.pusht_state.report import open_loop, open_loop_report
from experiments.models.pusht_state.segments import load_data, mirror
from experiments.models.runs import Stage, parse_stage


@pytest.fixture(scope="module")
def model() -> psm.PushTStateModel:
    return psm.load_model()


@functools.cache
def goals(horizon: int):
    return sample_goals(40, horizon, seed=11, split="tune")


def odd_states() -> np.ndarray:
    """Random, off-circle, touching, overlapping, walled and degenerate planning states."""
    rng = np.random.default_rng(0)
    sim = np.zeros((64, 10), np.float32)
    sim[:, [0, 1, 4, 5]] = rng.uniform(0, 512, (64, 4))
    sim[:, 2:4] = rng.normal(scale=100, size=(64, 2))
    sim[:, 6] = rng.uniform(-4, 4, 64)
    sim[16:32, 0:2] = sim[16:32, 4:6] + rng.normal(scale=30, size=(16, 2))
    states = psm.encode(sim)
    states[::3, 4:6] *= rng.uniform(0, 3, (22, 1))
    states[0] = 0
    states[1, 4:6] = 0
    states[2, 0:2] = states[2, 2:4]
    return states.astype(np.float32)


def test_one_step_is_finite_and_on_the_circle_and_so_are_its_gradients(model):
    states = jnp.asarray(odd_states())
    actions = jax.random.normal(jax.random.key(0), (len(states), psm.ACTION_SIZE))
    weight = jax.random.normal(jax.random.key(1), (psm.STATE_SIZE,))

    def projected(model, state, action):
        after = model(state, action)
        return after @ weight, after

    step = jax.vmap(jax.grad(projected, argnums=(0, 1, 2), has_aux=True), (None, 0, 0))
    gradients, after = jax.jit(step)(model, states, actions)
    assert after.shape == states.shape and after.dtype == jnp.float32
    assert np.isfinite(after).all()
    np.testing.assert_allclose(np.linalg.norm(after[:, 4:6], axis=1), psm.ANGLE_RADIUS, rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_gradients_match_finite_differences_in_float64(model):
    with jax.enable_x64(True):
        state = jnp.asarray(psm.encode(goals(60).start[0]), jnp.float64)
        action = jnp.asarray(psm.stack_actions(goals(60).actions[0])[0], jnp.float64)
        assert model(state, action).dtype == jnp.float64
        gradient = jax.jit(jax.jacrev(model, argnums=1))(state, action)
        nudge = 1e-6 * jnp.eye(psm.ACTION_SIZE)
        step = jax.jit(jax.vmap(model, (None, 0)))
        numeric = (step(state, action + nudge) - step(state, action - nudge)).T / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)


def test_a_distant_agent_leaves_the_block_alone(model):
    sim = np.array([60, 60, 0, 0, 350, 350, 0.3, 0, 0, 0], np.float32)
    after = model(jnp.asarray(psm.encode(sim)), jnp.zeros(psm.ACTION_SIZE))
    np.testing.assert_allclose(psm.decode(after)["block"], [350, 350], atol=1e-3)
    np.testing.assert_allclose(psm.decode(after)["angle"], 0.3, atol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_encode_and_decode_are_inverse(kind):
    sim = np.random.default_rng(0).uniform(-3, 3, (5, 7, 10)).astype(np.float32)
    parts = psm.decode(psm.encode(kind(sim)))
    np.testing.assert_allclose(parts["agent"], sim[..., 0:2], atol=1e-4)
    np.testing.assert_allclose(parts["velocity"], sim[..., 2:4], atol=1e-4)
    np.testing.assert_allclose(parts["block"], sim[..., 4:6], atol=1e-4)
    np.testing.assert_allclose(parts["angle"], sim[..., 6], atol=1e-4)


def test_actions_split_and_stack():
    actions = np.random.default_rng(0).normal(size=(3, 4, psm.ACTION_SIZE))
    split = psm.split_actions(actions)
    assert split.shape == (3, 20, 2)
    np.testing.assert_allclose(split[0, 1], psm.ACTION_STD * actions[0, 0, 2:4])
    np.testing.assert_allclose(psm.stack_actions(split), actions)


def test_success_rule_and_goal_distance():
    goal = psm.encode(np.array([100, 100, 0, 0, 200, 200, 3.1, 0, 0, 0], np.float64))

    def moved(**change):
        sim = np.array([100, 100, 50, 0, 200, 200, 3.1, 0, 0, 0], np.float64)
        for index, value in change.items():
            sim[int(index[1:])] += value
        return psm.encode(sim)

    assert psm.predicted_success(moved(), goal)
    assert psm.predicted_success(moved(_0=14, _4=14), goal)  # 19.8 px together
    assert not psm.predicted_success(moved(_0=15, _4=15), goal)
    assert psm.predicted_success(moved(_6=0.34), goal)  # across the wrap
    assert not psm.predicted_success(moved(_6=0.36), goal)
    assert psm.goal_distance(moved(), goal) == pytest.approx(0)  # velocity is free
    assert psm.goal_distance(moved(_4=50), goal) == pytest.approx(0.25)


def test_save_and_load_are_exact(model, tmp_path):
    psm.save_model(model, tmp_path / "m.safetensors")
    again = psm.load_model(tmp_path / "m.safetensors")
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_names_what_is_wrong(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match=r"m\.safetensors"):
        psm.load_model(path)
    path.write_text("not a checkpoint")
    with pytest.raises(ValueError, match="not a safetensors file"):
        psm.load_model(path)
    good = load_file(str(psm.DEFAULT_CHECKPOINT))
    save_file({k: v for k, v in good.items() if k != "biases.1"}, str(path))
    with pytest.raises(ValueError, match=r"biases\.1: None, expected \(64,\)"):
        psm.load_model(path)
    save_file(good | {"weights.1": np.zeros((3, 3), np.float32)}, str(path))
    with pytest.raises(ValueError, match=r"weights\.1|biases\.1"):
        psm.load_model(path)


@pytest.mark.parametrize(("horizon", "agreement"), [(20, 0.9), (60, 0.9)])
def test_shipped_checkpoint_predicts_fresh_trajectories(model, horizon, agreement):
    fresh = goals(horizon)
    first = jnp.asarray(psm.encode(fresh.start), jnp.float32)
    final = open_loop(model, first, jnp.asarray(psm.stack_actions(fresh.actions)))
    truth = psm.encode(fresh.goal)
    position, angle = psm.errors(np.asarray(final), truth)
    assert np.median(position) < 1.0
    assert np.degrees(np.median(angle)) < 0.5
    assert np.mean(psm.predicted_success(np.asarray(final), truth)) >= agreement


def test_the_model_moves_the_agent_as_the_simulator_does(model):
    fresh = goals(60)
    first = jnp.asarray(psm.encode(fresh.start), jnp.float32)
    final = open_loop(model, first, jnp.asarray(psm.stack_actions(fresh.actions)))
    np.testing.assert_allclose(psm.decode(final)["agent"], fresh.goal[:, :2], atol=0.05)
    np.testing.assert_allclose(psm.decode(final)["velocity"], fresh.goal[:, 2:4], atol=0.5)


def test_mirrored_data_has_the_same_physics():
    """The simulator itself confirms the augmentation."""
    from experiments.environments.pusht.fast import FastPushT

    fresh = goals(20)
    states, actions = mirror(jnp.asarray(fresh.start[:8]), jnp.asarray(fresh.actions[:8]))
    expected = mirror(jnp.asarray(fresh.goal[:8]), jnp.asarray(fresh.actions[:8]))[0]
    reached = [
        FastPushT().execute(np.asarray(s, np.float64), np.asarray(a))[-1]
        for s, a in zip(states, actions, strict=True)
    ]
    error = np.abs(np.stack(reached) - expected)[:, :2]
    assert np.median(error) < 0.5


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory) -> pathlib.Path:
    from experiments.environments.pusht.fast import FastPushT

    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.3, 0.3, (8, 80, 2)).astype(np.float32)
    starts = np.tile(np.array([256, 200, 0, 0, 256, 256, 0, 0, 0, 0], np.float64), (8, 1))
    starts[:, 0] += rng.uniform(-50, 50, 8)
    states = np.stack(
        [FastPushT().execute(s, a) for s, a in zip(starts, actions, strict=True)]
    ).astype(np.float32)
    np.savez(directory / "shard_00000.npz", states=states, actions=actions)
    return directory


def test_resumed_training_equals_uninterrupted_training(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHUNK", 4)
    data, held_out = load_data(str(tiny_data))
    stages = [Stage(1, 16, 8, 1e-3), Stage(4, 8, 8, 1e-3)]
    run = functools.partial(trainer.train, data, held_out, stages, (8,), 0)
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", max_chunks=1)
    run(tmp_path / "parts", max_chunks=2)
    parts = run(tmp_path / "parts")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="other flags"):
        trainer.train(data, held_out, stages, (4,), 0, tmp_path / "parts")


def test_missing_data_and_bad_stages_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"environments\.pusht\.collect"):
        load_data(str(tmp_path))
    with pytest.raises(ValueError, match="multiple"):
        parse_stage("1:16:150:1e-3", trainer.CHUNK)


def test_report_has_every_horizon(model):
    states = np.zeros((3, 121, 10), np.float32)
    states[..., 0:2], states[..., 4:6] = 100, 300
    report = open_loop_report(model, states, np.zeros((3, 120, 2), np.float32))
    assert set(report) == {"20", "40", "60", "80"}
    assert all(row["agreement"] == 1.0 and row["px_p90"] < 0.01 for row in report.values())
