"""Checkpoint files: one rule for their dtypes, and clear words for damaged ones."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import grasp_jax
from grasp_jax.world_models import DinoWMConfig, LeWM, LeWMConfig, ViTConfig, weights
from tests.world_models import golden

HALVES = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


def golden_arrays() -> dict[str, np.ndarray]:
    arrays, _ = golden.load("lewm")
    return {k: np.ascontiguousarray(x) for k, x in arrays.items()}


def half_safetensors(folder: pathlib.Path, dtype: str) -> pathlib.Path:
    path = folder / "half.safetensors"
    save_file({k: x.astype(jnp.dtype(dtype)) for k, x in golden_arrays().items()}, str(path))
    return path


def recipe(model: LeWM, context: bool = True) -> grasp_jax.Plan:
    """The README's: frames to latents, latents to a plan, no word about dtypes."""
    start, goal = jax.jit(LeWM.encode)(model, golden.inputs(golden.LEWM)["pixels"][:2])
    return grasp_jax.plan(
        model,
        start,
        goal,
        jnp.zeros((4, 4)),
        jax.random.key(0),
        planner=grasp_jax.GD(learning_rate=0.1, iterations=3),
        objective=model.objective,
        context=model.empty_context() if context else None,
    )


@HALVES
def test_the_recipe_runs_on_half_precision_files(dtype: str, tmp_path: pathlib.Path):
    model = weights.load_lewm(half_safetensors(tmp_path, dtype))
    assert {x.dtype for x in model.weights.values()} == {jnp.dtype("float32")}
    plan = recipe(model)
    assert plan.status == grasp_jax.Status.OK and plan.actions.dtype == jnp.float32


@HALVES
def test_widening_is_exact(dtype: str, tmp_path: pathlib.Path):
    model = weights.load_lewm(half_safetensors(tmp_path, dtype))
    for name, x in weights.canonical(golden_arrays()).items():
        np.testing.assert_array_equal(model.weights[name], x.astype(jnp.dtype(dtype)))


@pytest.mark.parametrize(("dtype", "context"), [("bfloat16", True), ("float16", False)])
def test_the_recipe_runs_on_half_precision_weights_at_hand(dtype: str, context: bool):
    full = weights.load_lewm(golden_arrays())
    half = {k: np.asarray(x).astype(jnp.dtype(dtype)) for k, x in full.weights.items()}
    model = LeWM(jax.device_put(half), golden.LEWM)
    plan = recipe(model, context)
    assert plan.status == grasp_jax.Status.OK and plan.states.dtype == jnp.float32
    np.testing.assert_allclose(plan.cost, recipe(full, context).cost, rtol=0.05)


@HALVES
def test_every_kind_of_file_gives_the_same_weights(dtype: str, tmp_path: pathlib.Path):
    torch = pytest.importorskip("torch")
    tensors = {k: torch.as_tensor(x).to(getattr(torch, dtype)) for k, x in golden_arrays().items()}
    torch.save(tensors, tmp_path / "half.pt")
    models = [
        weights.load_lewm(source)
        for source in (half_safetensors(tmp_path, dtype), tmp_path / "half.pt", tensors)
    ]
    for other in models[1:]:
        for name, x in models[0].weights.items():
            assert other.weights[name].dtype == x.dtype == jnp.float32
            np.testing.assert_array_equal(other.weights[name], x)


def safetensors_of(**changes: np.ndarray) -> bytes:
    from safetensors.numpy import save

    return save(golden_arrays() | changes)


def archive(path: pathlib.Path) -> bytes:
    """As large as a PyTorch file, and an archive as one."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/data.pkl", b"\x80\x02}." * 300)
    return path.read_bytes()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 72000000\n"
PAGE = b"\n<!DOCTYPE html><html><body>Log in</body></html>"
DAMAGED = {
    "empty safetensors": ("w.safetensors", lambda _: b"", r"empty \(0 bytes\)\. Download"),
    "empty pt": ("w.pt", lambda _: b"", r"empty \(0 bytes\)\. Download"),
    "lfs safetensors": ("w.safetensors", lambda _: POINTER, r"pointer of \d+ bytes.*git lfs pull"),
    "lfs pt": ("w.pt", lambda _: POINTER, r"pointer of \d+ bytes.*git lfs pull"),
    "web page": ("w.pt", lambda _: PAGE, "is a web page of 48 bytes"),
    "header only": ("w.safetensors", lambda _: safetensors_of()[:5], "5 bytes is damaged"),
    "cut safetensors": ("w.safetensors", lambda _: safetensors_of()[:-9], "is damaged, or no"),
    "text": ("w.safetensors", lambda _: b"hello " * 40, "240 bytes is damaged, or no checkpoint"),
    "cut pt": ("w.pt", lambda p: archive(p / "a.zip")[:-40], "damaged.*its end is missing"),
    "pt as safetensors": ("w.safetensors", lambda p: archive(p / "a.zip"), "Rename it to w.pt"),
    "safetensors as pt": ("w.pt", lambda _: safetensors_of(), "Rename it to w.safetensors"),
    "no floats": (
        "w.safetensors",
        lambda _: safetensors_of(**{"pred_proj.net.3.bias": np.ones(16, np.int64)}),
        r"1 with broken numbers.*\n.*pred_proj.net.3.bias is int64, expected floats",
    ),
    "not finite": (
        "w.safetensors",
        lambda _: safetensors_of(
            **{"pred_proj.net.3.bias": np.array([np.nan, np.inf] + 14 * [1.0], np.float32)}
        ),
        r"1 with broken numbers.*\n.*pred_proj.net.3.bias has 2 of 16 that are not finite",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_say_what_they_are(case: str, tmp_path: pathlib.Path):
    name, content, message = DAMAGED[case]
    (tmp_path / name).write_bytes(content(tmp_path))
    with pytest.raises(ValueError, match=rf"(?s){name}.*{message}"):
        weights.load_lewm(tmp_path / name)


def _old(torch: Any, tensors: Any) -> bytes:
    import io

    file = io.BytesIO()
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize("keep", [60, 3000], ids=["in its names", "in its numbers"])
def test_damaged_files_of_older_pytorch(keep: int, tmp_path: pathlib.Path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pt"
    tensors = {k: torch.as_tensor(x) for k, x in golden_arrays().items()}
    path.write_bytes(_old(torch, tensors))
    weights.load_lewm(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"w\.pt of {keep} bytes is damaged, or no checkpoint"):
        weights.load_lewm(path)


def saved(folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    """A saved model, and its sizes."""
    path = folder / "mine.safetensors"
    weights.save(LeWM.random(jax.random.key(0), golden.LEWM), path)
    return path, json.loads(path.with_suffix(".json").read_text())


WRONG_SIZES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "a string": (lambda s: {**s, "depth": "2"}, "depth must be an int, got str: '2'"),
    "a float": (lambda s: {**s, "frames": 2.5}, "frames must be an int, got float"),
    "a bool": (lambda s: {**s, "frames": True}, "frames must be an int, got bool"),
    "negative": (lambda s: {**s, "heads": -1}, "heads must be at least 1, got -1"),
    "no encoder": (lambda s: {**s, "encoder": None}, "does not hold sizes as `save`"),
    "a field too many": (
        lambda s: {**s, "encoder": {**s["encoder"], "color": 1}},
        "does not hold sizes as `save`.*color",
    ),
    "eps": (lambda s: {**s, "encoder": {**s["encoder"], "eps": "small"}}, "eps must be a float"),
    "other sizes": (lambda s: {**s, "depth": 1}, r"Sizes are from mine\.json; pass config="),
}


@pytest.mark.parametrize("case", WRONG_SIZES)
def test_wrong_sizes_beside_a_file(case: str, tmp_path: pathlib.Path):
    change, message = WRONG_SIZES[case]
    path, sizes = saved(tmp_path)
    path.with_suffix(".json").write_text(json.dumps(change(sizes)))
    with pytest.raises(ValueError, match=rf"(?s)mine.*{message}"):
        weights.load_lewm(path)


def test_sizes_that_an_older_version_wrote(tmp_path: pathlib.Path):
    path, sizes = saved(tmp_path)
    sizes["encoder"]["table"] = sizes["encoder"].pop("pos_grid")
    path.with_suffix(".json").write_text(json.dumps(sizes))
    assert weights.load_lewm(path).config == golden.LEWM


@pytest.mark.parametrize("name", ["mine.json", "config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"depth": 2, ', "is no JSON: .*Mend it, or remove it"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"", "is empty"),
        (POINTER, "Git LFS pointer"),
    ],
)
def test_records_beside_a_file_that_are_no_json(
    name: str, content: bytes, message: str, tmp_path: pathlib.Path
):
    path, _ = saved(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        weights.load_lewm(path)


def test_arguments_of_wrong_types(tmp_path: pathlib.Path):
    path, _ = saved(tmp_path)
    for wrong in (None, 3, [path]):
        with pytest.raises(TypeError, match="path must be a file, a folder or a state_dict, got"):
            weights.load_lewm(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="config must be a LeWMConfig, got DinoWMConfig"):
        weights.load_lewm(path, DinoWMConfig())  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"LeWMConfig\.depth must be an int, got str: '6'"):
        LeWMConfig(depth="6")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"DinoWMConfig\.encoder must be a ViTConfig, got dict"):
        DinoWMConfig(encoder={})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"ViTConfig\.depth must be at least 1, got 0"):
        ViTConfig(depth=0)
    counts = dataclasses.replace(golden.LEWM, depth=np.int64(2))
    assert counts == golden.LEWM and type(counts.depth) is int


def test_a_tensor_of_another_rank_is_of_another_model(tmp_path: pathlib.Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_of(**{"predictor.pos_embedding": np.ones((3, 16), np.float32)}))
    with pytest.raises(
        ValueError, match=r"'predictor.pos_embedding' is \[3, 16\], expected 3 axes"
    ):
        weights.load_lewm(path)
