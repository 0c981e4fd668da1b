"""Codes of a vector: what they keep, how they move, their training."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.models import checkpoint, load
from experiments.models.latent import code, code_run, compress, losses, movers, report
from experiments.models.latent.model import LatentModel
from experiments.models.lewm.networks import Dense, Perceptron
from tests.experiments.models.latents import VECTOR, model_of, videos


def test_a_code_of_scaled_axes_is_the_same_code_of_vectors() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([4.0, 2.0, 0.5, 0.1, 1e-3, 1e-3], np.float32)
    vectors = rng.standard_normal((400, 6)).astype(np.float32) * spread + 3
    axes = code.axes_of(vectors, 4, 0.01)
    scaled = jnp.asarray((vectors - axes.mean) @ axes.down)
    np.testing.assert_allclose(np.std(scaled, 0), spread[:4] / np.sqrt(spread[:4] ** 2 + 0.01), 0.1)
    np.testing.assert_allclose(scaled @ axes.up + axes.mean, vectors, atol=0.01)
    plain = code.Code.random(jax.random.key(0), 4, 3, 8)
    codes = plain.down(scaled)
    found = code.folded(plain, axes)
    np.testing.assert_allclose(found.down(jnp.asarray(vectors)), codes, atol=1e-4)
    back = plain.up(codes) @ axes.up + axes.mean
    np.testing.assert_allclose(found.up(codes), back, atol=1e-4)
    again = found.on(axes)
    np.testing.assert_allclose(again.down(scaled), codes, atol=1e-4)
    np.testing.assert_allclose(again.up(codes), plain.up(codes), atol=1e-4)


def test_of_codes_that_keep_as_much_the_one_that_changes_less_is_better() -> None:
    def layers(weight: np.ndarray) -> Perceptron:
        return Perceptron([Dense(jnp.asarray(weight, jnp.float32), jnp.zeros(2))])

    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    straight = code.Code(layers(np.eye(2)), layers(np.eye(2)))
    turned = code.Code(layers(turn), layers(turn.T))
    first = np.random.default_rng(0).standard_normal((64, 2))
    pairs = jnp.asarray(np.stack([first, first + np.array([0.3, 0.0])], 1), jnp.float32)
    key = jax.random.key(0)
    mover, actions = code.Mover.random(key, 2, 1, 4, 1), jnp.zeros((64, 1, 1))
    losses_found = [code.code_loss(c, mover, pairs, actions, key, 1.0) for c in (straight, turned)]
    assert losses_found[0][0] < losses_found[1][0] - 0.03
    assert losses_found[0][1][2] < losses_found[1][1][2]


def test_a_code_learns_from_what_its_motion_gets_wrong() -> None:
    key = jax.random.key(0)
    plain, mover = code.Code.random(key, 4, 3, 8), code.Mover.random(key, 3, 2, 8, 2)
    vectors, actions = jax.random.normal(key, (5, 6, 4)), jax.random.normal(key, (5, 5, 2))

    def last(plain: code.Code, mover: code.Mover) -> jax.Array:
        """The error of the last vector alone."""
        return code.code_loss(plain, mover, vectors, actions, key, 0.0)[1][1]

    codes = plain.down(vectors[:, :2])
    codes = codes + code.NOISE * jax.random.normal(key, codes.shape)
    for k in range(4):
        codes = jnp.concatenate([codes, mover(codes[:, -2:], actions[:, k : k + 2])[:, None]], 1)
    want = jnp.mean((plain.up(codes[:, -1]) - vectors[:, -1]) ** 2)
    np.testing.assert_allclose(last(plain, mover), want, rtol=1e-5)
    slopes = jax.grad(last, (0, 1))(plain, mover)
    for part in (slopes[0].down, slopes[0].up, slopes[1].enter, slopes[1].gates, slopes[1].leave):
        assert max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(part)) > 0


def test_several_motions_move_by_their_mean() -> None:
    movers = [code.Mover.random(jax.random.key(k), 3, 2, 8, 1) for k in range(3)]
    states, actions = jnp.ones((4, 2, 3)), jnp.ones((4, 2, 2))
    want = sum(mover(states, actions) for mover in movers) / 3
    np.testing.assert_allclose(code.Movers(movers)(states, actions), want, rtol=1e-5)


def test_a_motion_alone_learns_what_it_learns_beside_its_code() -> None:
    key = jax.random.key(0)
    plain, mover = code.Code.random(key, 4, 3, 8), code.Mover.random(key, 3, 2, 8, 2)
    vectors, actions = jax.random.normal(key, (5, 6, 4)), jax.random.normal(key, (5, 5, 2))
    together = code.code_loss(plain, mover, vectors, actions, key, 0.0)[1]
    seen = plain.down(vectors[:, :2])
    alone = code.motion_loss(mover, plain.up, seen, vectors[:, 2:], actions, key)[1]
    np.testing.assert_allclose(alone[1], together[1], rtol=1e-5)


def test_bounds_are_the_environments_or_what_the_data_held() -> None:
    assert model_of(VECTOR).bounds == (-5.0, 5.0)
    for limit, want in ((2.0, 2.0), (9.0, 5.0)):
        config = dataclasses.replace(VECTOR, action_limit=limit)
        model = dataclasses.replace(model_of(VECTOR), config=config)
        assert model.bounds == (-want, want)
    bounds = [load.load_model(name).bounds for name in ("pusht_code", "pusht_code@free")]
    assert bounds == [(-2.0, 2.0), (-5.0, 5.0)]


@pytest.mark.slow
def test_a_code_is_learned_in_parts_that_resume(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the command at a size of seconds: it stops, goes on, writes a model that plans."""
    data, start = tmp_path / "data", tmp_path / "start.safetensors"
    data.mkdir()
    states = np.concatenate([np.asarray(videos().states)] * 2)
    actions = np.concatenate([np.asarray(videos().actions)] * 2)
    np.savez(data / "shard_00000.npz", states=states, actions=actions, seed=0)
    checkpoint.write(start, model_of(VECTOR), dataclasses.asdict(VECTOR))
    monkeypatch.setattr(code_run, "HELD_OUT", 2)
    monkeypatch.setattr(code_run, "CHUNK", 2)
    output = tmp_path / "code.safetensors"
    words = {
        "start": start, "data": data, "trajectories": 6, "code": 3, "axes": 5, "width": 8,
        "depth": 1, "stages": "0:4:4:1e-2,1:4:2:1e-2,3:4:2:1e-2", "probe_updates": 2,
        "goals": 2, "work": tmp_path / "work", "output": output,
    }  # fmt: skip
    with flagsaver.flagsaver():
        compress.define_flags()
        given = [f"--{name}={value}" for name, value in words.items()]
        flags.FLAGS(["compress", *given, "--seconds=0.001"])
        with pytest.raises(SystemExit, match="run the same command"):
            compress.main([])
        assert not output.exists()
        flags.FLAGS(["compress", *given])
        flags.FLAGS["seconds"].value = None
        compress.main([])
    model = load.load_model(output)
    assert isinstance(model, LatentModel) and model.config.latent == 3
    found = json.loads(output.with_suffix(".json").read_text())
    assert [row["goals"] for row in found["goals"]] == [2, 2, 2]
    assert found["curves"]["world"][-1]["update"] == 8
    latents = model.encode(losses.frames_of(videos().states[0, :2]))
    assert latents.shape == (2, 3)
    assert model.decode(latents).shape == (2, 64, 64, 3)
    with pytest.raises(ValueError, match="metric must be latent or kept, got temporal"):
        load.load_model(f"{output}@temporal")
    _learn_more_motions(output, start, words)


def _learn_more_motions(
    first: pathlib.Path, vector: pathlib.Path, words: dict[str, object]
) -> None:
    """One of two by itself; then the other and the checkpoint, the first is not learned again."""
    output = first.with_name("movers.safetensors")
    given = {name: words[name] for name in ("data", "trajectories", "axes", "goals", "work")}
    given |= {"start": first, "vector": vector, "output": output, "action_limit": 2.0}
    given |= {"stages": "2:4:2:1e-2", "fresh": "1:4:2:1e-2,3:4:2:1e-2"}
    plans = first.with_name("plans")
    plans.mkdir()
    states, actions = (np.asarray(x)[:2] for x in videos()[:2])
    np.savez(plans / "plans_000000.npz", states=states[:, :41], actions=actions[:, :40])
    (plans / "settings.json").write_text(json.dumps({"environment": "pusht", "goals": 2}))
    given |= {"plans": plans, "share": 0.5}
    with flagsaver.flagsaver():
        movers.define_flags()
        told = [f"--{name}={value}" for name, value in given.items()]
        flags.FLAGS(["movers", *told, "--only=1"])
        movers.main([])
        assert not output.exists()
        flags.FLAGS["only"].value = None
        movers.main([])
    model = load.load_model(output)
    assert isinstance(model, LatentModel) and isinstance(model.predictor, code.Movers)
    assert len(model.predictor.movers) == 2 and model.bounds == (-2.0, 2.0)
    found = json.loads(output.with_suffix(".json").read_text())
    assert [found["curves"][f"mover_{k}"][-1]["update"] for k in range(2)] == [2, 4]
    assert found["data"] == "4 trajectories for training, 2 held out, 2 executed plans"
    errors = found["errors_on_scaled_axes_after_ten_steps"]
    assert set(errors) == {"mean", "0", "1"} and "executed_plans" in errors["mean"]


def test_codes_of_no_frame_cost_where_a_plan_is_to_be_kept_near_frames() -> None:
    model = load.load_model("pusht_code@kept")
    assert isinstance(model, LatentModel)
    cost = model.objective.running_cost
    assert cost is not None
    rng, states = np.random.default_rng(0), np.zeros((32, 10), np.float32)
    states[:, :2], states[:, 4:6] = rng.uniform(100, 400, (2, 32, 2))
    states[:, 6] = rng.uniform(-3, 3, 32)
    latents = jnp.asarray(report.encode_many(model, states))
    middles = (latents[:16] + latents[16:]) / 2
    frames, between = (np.mean(jax.vmap(cost)(x, x)) for x in (latents, middles))
    assert 3 * frames < between
