"""Importing weights: stored outputs of the PyTorch models, names, shapes, files."""

import json
import pathlib
import re
import subprocess
import sys
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import grasp_jax
from grasp_jax import _tree
from grasp_jax.world_models import DinoWM, LeWM, LeWMConfig, PatchDistance, ViTConfig, weights
from tests.world_models import golden

KINDS = pytest.mark.parametrize("kind", ["lewm", "dinowm"])
RANDOM = {"lewm": LeWM.random, "dinowm": DinoWM.random}
LOAD = {"lewm": weights.load_lewm, "dinowm": weights.load_dinowm}


def stored(kind: str, folder: pathlib.Path, change: Any = dict) -> pathlib.Path:
    """A safetensors file of the golden weights, after `change`."""
    path = folder / "checkpoint.safetensors"
    arrays, _ = golden.load(kind)
    save_file({k: np.ascontiguousarray(v) for k, v in change(arrays).items()}, str(path))
    return path


def outputs(kind: str, model: Any) -> dict[str, jax.Array]:
    """What the golden file holds, computed by our model."""
    x = golden.inputs(golden.CONFIGS[kind])
    actions = jnp.asarray(x["actions"])
    if kind == "lewm":
        latents = model.encode(jnp.asarray(x["pixels"]))
        return {"latents": latents, "prediction": model(latents, actions)}
    states = model.encode(jnp.asarray(x["pixels"]), jnp.asarray(x["proprio"]))
    tiled = jnp.broadcast_to(model.prepare_actions(actions)[:, None], (*states["proprio"].shape,))
    following = model(states, actions)
    return {
        "latents": jnp.concatenate([states["patches"], states["proprio"], tiled], axis=-1),
        "prediction": jnp.concatenate([following["patches"], following["proprio"]], axis=-1),
    }


@KINDS
def test_stored_outputs_of_the_pytorch_models(kind: str, tmp_path: pathlib.Path):
    model = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    _, expected = golden.load(kind)
    for name, found in jax.jit(outputs, static_argnums=0)(kind, model).items():
        wanted = expected[name][..., : found.shape[-1]]
        assert np.abs(found - wanted).max() <= 1e-5
        assert np.abs(wanted).max() > 0.3


@KINDS
def test_sizes_are_read_off_the_shapes(kind: str, tmp_path: pathlib.Path):
    path = stored(kind, tmp_path)
    model = LOAD[kind](path)
    expected = golden.CONFIGS[kind]
    for field in ("action_size", "depth", "heads", "hidden", "frames"):
        assert getattr(model.config, field) == getattr(expected, field)
    assert model.config.encoder.image == expected.encoder.image
    assert model.config.encoder.depth == expected.encoder.depth


@KINDS
def test_a_saved_model_comes_back_without_torch(kind: str, tmp_path: pathlib.Path):
    model = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    weights.save(model, tmp_path / "mine.safetensors")
    again = LOAD[kind](tmp_path / "mine.safetensors")
    assert again.config == model.config
    for name, array in model.weights.items():
        assert (again.weights[name] == array).all()
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from grasp_jax.world_models import weights\n"
        f"weights.load_{kind}({str(tmp_path / 'mine.safetensors')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@KINDS
def test_sizes_that_were_saved_before_there_were_blocks_are_read(kind: str, tmp_path: pathlib.Path):
    """Bug: the new field was missed, and the file refused."""
    model = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    weights.save(model, tmp_path / "mine.safetensors")
    beside = tmp_path / "mine.json"
    sizes = json.loads(beside.read_text())
    del sizes["action_block"]
    beside.write_text(json.dumps(sizes))
    assert LOAD[kind](tmp_path / "mine.safetensors").config == model.config


def older(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names of transformers 4."""
    found = {}
    for name, array in arrays.items():
        name = re.sub(r"^encoder\.layers\.", "encoder.encoder.layer.", name)
        if name.startswith(("encoder.", "backbone.")):
            for new, old in (("q", "query"), ("k", "key"), ("v", "value")):
                name = name.replace(f"attention.{new}_proj", f"attention.attention.{old}")
            name = name.replace("attention.o_proj", "attention.output.dense")
        if name.startswith("encoder."):
            name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        found[name] = array
    return found


@KINDS
@pytest.mark.parametrize(
    "change", [older, lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()}]
)
def test_older_names_and_wrappers(kind: str, change: Any, tmp_path: pathlib.Path):
    plain = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    changed = LOAD[kind](stored(kind, tmp_path, change), golden.CONFIGS[kind])
    assert changed.weights.keys() == plain.weights.keys()
    for name, array in plain.weights.items():
        assert (changed.weights[name] == array).all()


def test_one_error_lists_everything_that_is_wrong(tmp_path: pathlib.Path):
    def spoil(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = dict(arrays)
        del arrays["encoder.layernorm.bias"], arrays["pred_proj.net.3.weight"]
        arrays["decoder.weight"] = np.zeros((2, 3), np.float32)
        arrays["predictor.transformer.norm.bias"] = np.zeros(7, np.float32)
        return arrays

    with pytest.raises(
        ValueError, match="2 missing, 1 extra, 1 of another shape, 0 with"
    ) as caught:
        weights.load_lewm(stored("lewm", tmp_path, spoil), golden.LEWM)
    for line in (
        "missing: encoder.layernorm.bias [16]",
        "missing: pred_proj.net.3.weight [16, 24]",
        "extra: decoder.weight [2, 3]",
        "shape: predictor.transformer.norm.bias is [7], expected [16]",
    ):
        assert line in str(caught.value)


def test_a_model_of_another_kind_is_recognized(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match=r"holds no 'action_encoder.*Is it of another model"):
        weights.load_lewm(stored("dinowm", tmp_path))
    mine = tmp_path / "mine.safetensors"
    weights.save(weights.load_lewm(stored("lewm", tmp_path)), mine)
    with pytest.raises(ValueError, match=r"another kind of model than DinoWMConfig .*latent"):
        weights.load_dinowm(mine)


def test_files_that_are_not_there_or_not_weights(tmp_path: pathlib.Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        weights.load_lewm(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match=r"holds no weights\*\.pt"):
        weights.load_lewm(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"expected \.safetensors or one of \.pt"):
        weights.load_lewm(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        model = weights.load_lewm(stored("lewm", tmp_path), golden.LEWM)
        weights.save(model, tmp_path / "model.npz")


def test_pytorch_files_need_torch_and_never_run_code(tmp_path: pathlib.Path, monkeypatch: Any):
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as file:
        file.writestr("weights/data.pkl", b"")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        with pytest.raises(ModuleNotFoundError, match=r"grasp_jax\[interop\]"):
            weights.load_lewm(tmp_path / "weights.pt")
    torch = pytest.importorskip("torch")

    class Bomb:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (tmp_path / "exploded",)

    torch.save({"bomb": Bomb()}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"pickled objects.*torch\.save\(model\.state_dict"):
        weights.load_lewm(tmp_path / "weights.pt")
    assert not (tmp_path / "exploded").exists()


def test_a_run_folder_holds_its_newest_weights(tmp_path: pathlib.Path):
    torch = pytest.importorskip("torch")
    arrays, _ = golden.load("lewm")
    for epoch in (1, 2):
        scaled = {k: torch.as_tensor(v) * epoch for k, v in arrays.items()}
        torch.save(scaled, tmp_path / f"weights_epoch_{epoch}.pt")
    (tmp_path / "config.json").write_text("{}")
    model = weights.load_lewm(tmp_path, golden.LEWM)
    name = "predictor.transformer.norm.weight"
    assert np.allclose(model.weights[name], 2 * arrays[name])


@KINDS
def test_a_runs_config_contradicts_what_shapes_do_not_show(kind: str, tmp_path: pathlib.Path):
    stored(kind, tmp_path).rename(tmp_path / "weights.safetensors")
    config = tmp_path / "config.json"
    predictor = {"heads": golden.CONFIGS[kind].heads, "dim_head": 64, "num_frames": 3}
    for wrapped in ({"predictor": predictor}, {"model": {"predictor": predictor}}, {}):
        config.write_text(json.dumps(wrapped))
        LOAD[kind](tmp_path)
    for name, value in (("heads", 2), ("dim_head", 32), ("num_frames", 4)):
        config.write_text(json.dumps({"predictor": {**predictor, name: value}}))
        with pytest.raises(ValueError, match=rf"config\.json.*says {name}={value}"):
            LOAD[kind](tmp_path)


@KINDS
def test_a_state_dict_at_hand_reads_no_config_and_odd_configs_say_nothing(
    kind: str, tmp_path: pathlib.Path, monkeypatch: Any
):
    path = stored(kind, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"predictor": {"heads": 99}}))
    monkeypatch.chdir(tmp_path)
    LOAD[kind](dict(golden.load(kind)[0]))
    for odd in ({"model": "lewm"}, {"model": {"predictor": "small"}}, ["lewm"]):
        (tmp_path / "config.json").write_text(json.dumps(odd))
        LOAD[kind](path)


@KINDS
def test_frames_and_windows_of_another_shape_are_refused(kind: str, tmp_path: pathlib.Path):
    model = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    side = model.config.encoder.image
    with pytest.raises(ValueError, match=rf"encode: pixels must be \[\.\.\., 3, {side}, {side}\]"):
        model.encode(jnp.zeros((2, side, side, 3)))
    most = model.config.frames
    past = model.empty_context(most)
    states = jax.tree.map(lambda x: jnp.concatenate([x, jnp.ones_like(x[:1])]), past.states)
    with pytest.raises(ValueError, match=rf"at most {most} frames, got {most + 1}: pass a context"):
        model(states, jnp.zeros((most + 1, past.actions.shape[1])))


def with_nan(array: np.ndarray, where: Any) -> np.ndarray:
    array = array.copy()
    array[where] = np.nan
    return array


@KINDS
def test_only_frames_said_to_be_missing_are(kind: str, tmp_path: pathlib.Path):
    """Broken numbers must show, not pass for a frame that is not there."""
    model = LOAD[kind](stored(kind, tmp_path), golden.CONFIGS[kind])
    past, call = model.empty_context(), jax.jit(type(model).__call__)
    states = jax.tree.map(lambda x: np.concatenate([x, np.ones_like(x[:1])]), past.states)
    actions = jnp.zeros((3, past.actions.shape[1]))
    present = jnp.array([False, False, True])
    alone = call(model, _tree.take(states, -1), actions[-1])
    expected = call(model, states, actions, present)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), alone, expected)
    everything = call(model, states, actions)
    assert any(
        np.abs(x - y).max() > 1e-3
        for x, y in zip(jax.tree.leaves(everything), jax.tree.leaves(expected), strict=True)
    )
    for frame, mask in ((-1, None), (-1, present), (0, None)):
        broken = jax.tree.map(lambda x, i=frame: with_nan(x, (i, ..., 0)), states)
        found = call(model, broken, actions, mask)
        assert not any(np.isfinite(x).any() for x in jax.tree.leaves(found))
    hidden = jax.tree.map(lambda x: with_nan(x, slice(2)), states)
    jax.tree.map(np.testing.assert_array_equal, call(model, hidden, actions, present), expected)


@KINDS
def test_an_empty_context_plans_under_debug_nans_and_infs(kind: str):
    model = RANDOM[kind](jax.random.key(0), golden.CONFIGS[kind])
    context = model.empty_context()
    start = jax.tree.map(lambda x: jnp.full(x.shape[1:], 0.1), context.states)
    goal = jax.tree.map(jnp.zeros_like, start)
    with jax.debug_nans(True), jax.debug_infs(True):
        plan = grasp_jax.plan(
            model,
            start,
            goal,
            jnp.zeros((3, 4)),
            jax.random.key(0),
            planner=grasp_jax.GD(learning_rate=0.05, iterations=1),
            bounds=(-1.0, 1.0),
            objective=model.objective,
            context=context,
        )
        assert plan.status == grasp_jax.Status.OK
        window = jax.tree.map(lambda x: jnp.stack([x] * 3), start)
        assert _tree.all_finite(model(window, jnp.zeros((3, 4)), jnp.arange(3) > 0))


def test_planning_needs_windows_of_the_right_size(tmp_path: pathlib.Path):
    model = weights.load_dinowm(stored("dinowm", tmp_path), golden.DINOWM)
    x = golden.inputs(golden.DINOWM)
    states = jax.jit(DinoWM.encode)(model, x["pixels"], x["proprio"])
    start, goal = (_tree.take(states, i) for i in (0, 1))
    for context in (None, model.empty_context(), model.empty_context(1)):
        plan = grasp_jax.plan(
            model,
            start,
            goal,
            jnp.zeros((4, 4)),
            jax.random.key(0),
            planner=grasp_jax.GD(learning_rate=0.05, iterations=2),
            objective=model.objective,
            context=context,
        )
        assert plan.status == grasp_jax.Status.OK
    with pytest.raises(ValueError, match=r"proprio_size=3, got proprio=None"):
        model.encode(jnp.asarray(x["pixels"]))


def test_patch_distances_are_squared_in_float32():
    state = {"patches": jnp.full((2, 3), 300.0, jnp.float16)}
    goal = {"patches": jnp.zeros((2, 3), jnp.float16)}
    assert PatchDistance()(state, goal) == 90000.0


def test_sizes_that_cannot_be_are_told():
    with pytest.raises(ValueError, match="latent=16 must be the encoder's width, 192"):
        LeWMConfig(latent=16)
    with pytest.raises(ValueError, match="image must be a multiple of patch"):
        ViTConfig(image=30, patch=14)
