"""Weights of PyTorch checkpoints in, safetensors out.

A checkpoint is a bare `state_dict` (`.pt`, `.pth`, `.ckpt`), a `.safetensors` file, or the
folder of a stable-worldmodel run. PyTorch is needed for the first kind only, and never runs
pickled code.
"""

import dataclasses
import json
import pathlib
import pickle
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax.world_models.dinowm import DinoWM, DinoWMConfig
from grasp_jax.world_models.lewm import LeWM, LeWMConfig
from grasp_jax.world_models.vit import ViTConfig

_Config = TypeVar("_Config", LeWMConfig, DinoWMConfig)
_PICKLED = (".pt", ".pth", ".ckpt", ".bin")

# Buffers that hold no weights: batch counters, attention masks, DINOv2's training-only token.
_DROPPED = re.compile(r"num_batches_tracked$|transformer\.layers\.\d+\.0\.bias$|mask_token$")

# transformers 4 names on the left, 5 on the right.
_RENAMED = (
    (r"^encoder\.encoder\.layer\.", "encoder.layers."),
    (r"attention\.attention\.query\.", "attention.q_proj."),
    (r"attention\.attention\.key\.", "attention.k_proj."),
    (r"attention\.attention\.value\.", "attention.v_proj."),
    (r"attention\.output\.dense\.", "attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(layers?\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)


def load_lewm(
    path: str | pathlib.Path | Mapping[str, Any], config: LeWMConfig | None = None
) -> LeWM:
    """A LeWM or PLDM from a checkpoint.

    Args:
      path: A file or a run folder, see the module; or a `state_dict` at hand, which is copied.
      config: Sizes; read off the weights' shapes where None (64 numbers per attention head are
        assumed), or from the file that `save` wrote.

    Raises:
      ValueError: Names or shapes are not those of the model; the message lists all of them.
      FileNotFoundError, ModuleNotFoundError: There is nothing to read, or nothing to read it with.
    """
    weights, path = _given(path)
    if config is None:
        config = _saved_config(path, LeWMConfig) or _lewm_sizes(weights)
        _check_run(path, config)
    return LeWM(_checked(weights, config.shapes(), path, "LeWM"), config)


def load_dinowm(
    path: str | pathlib.Path | Mapping[str, Any], config: DinoWMConfig | None = None
) -> DinoWM:
    """A DINO-WM (PreJEPA) from a checkpoint; arguments and errors as for `load_lewm`."""
    weights, path = _given(path)
    if config is None:
        config = _saved_config(path, DinoWMConfig) or _dinowm_sizes(weights)
        _check_run(path, config)
    return DinoWM(_checked(weights, config.shapes(), path, "DINO-WM"), config)


def _given(
    source: str | pathlib.Path | Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], pathlib.Path]:
    """Arrays by our names, and the file they are from, for messages."""
    if isinstance(source, Mapping):
        # Copied: the owner of the tensors may train them further.
        arrays = {k: np.array(_numpy(x)) for k, x in source.items()}
        return canonical(arrays), pathlib.Path("the state_dict")
    path = find_weights(source)
    return canonical(read(path)), path


def save(model: LeWM | DinoWM, path: str | pathlib.Path) -> None:
    """Writes `path` (`.safetensors`) and its sizes beside it (`.json`), to load without PyTorch."""
    from safetensors.numpy import save_file

    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save: path must end in .safetensors, got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(x) for name, x in model.weights.items()}, str(path))
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(model.config), indent=1))


def find_weights(path: str | pathlib.Path) -> pathlib.Path:
    """The file of weights that `path` is, or the newest `weights*` of a folder."""
    path = pathlib.Path(path)
    if path.is_dir():
        found = [p for kind in ("pt", "safetensors") for p in path.glob(f"weights*.{kind}")]
        if not found:
            raise FileNotFoundError(
                f"{path} holds no weights*.pt and no weights*.safetensors. Pass the file itself."
            )
        return max(found, key=lambda p: (p.stat().st_mtime, p.name))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    return path


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint, by the names they have there."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(str(path))
    if path.suffix not in _PICKLED:
        raise ValueError(f"{path.name}: expected .safetensors or one of {', '.join(_PICKLED)}.")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading a PyTorch checkpoint needs PyTorch: pip install 'grasp_jax[interop]', or "
            "convert the checkpoint to safetensors where PyTorch is installed."
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} holds more than weights: pickled objects, whose code is never run here. "
            "Where its package is installed, load it and torch.save(model.state_dict(), path)."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(torch.is_tensor(x) for x in loaded.values()):
        raise ValueError(f"{path.name} holds no state_dict of tensors. Save model.state_dict().")
    return {name: _numpy(x) for name, x in loaded.items()}


def _numpy(tensor: Any) -> np.ndarray:
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16.
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def canonical(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays under transformers 5 names, without wrappers' prefixes and buffers."""
    found = {}
    for name, array in weights.items():
        name = re.sub(r"^(?:module\.|model\.)+", "", name.replace("_orig_mod.", ""))
        if _DROPPED.search(name):
            continue
        for old, new in _RENAMED:
            name = re.sub(old, new, name)
        found[name] = array
    return found


def _checked(
    weights: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    path: pathlib.Path,
    kind: str,
) -> dict[str, jax.Array]:
    """The weights as JAX arrays, or one error that lists everything wrong with them."""
    missing = [f"  missing: {n} {list(s)}" for n, s in shapes.items() if n not in weights]
    extra = [f"  extra: {n} {list(x.shape)}" for n, x in weights.items() if n not in shapes]
    shaped = [
        f"  shape: {n} is {list(weights[n].shape)}, expected {list(s)}"
        for n, s in shapes.items()
        if n in weights and tuple(weights[n].shape) != tuple(s)
    ]
    wrong = missing + extra + shaped
    if wrong:
        raise ValueError(
            f"{path.name} does not hold the weights of this {kind}: {len(missing)} missing, "
            f"{len(extra)} extra, {len(shaped)} of another shape. Pass config= for other sizes.\n"
            + "\n".join(wrong)
        )
    return {name: jnp.asarray(weights[name]) for name in shapes}


def _saved_config(path: pathlib.Path, kind: type[_Config]) -> _Config | None:
    """The sizes that `save` wrote beside a file, if it did."""
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.exists():
        return None
    sizes = json.loads(beside.read_text())
    if "encoder" not in sizes:
        return None
    if wrong := sizes.keys() ^ {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(
            f"{beside.name} beside {path.name} holds the sizes of another kind of model than "
            f"{kind.__name__} (they differ in {', '.join(sorted(wrong))}). Load it with "
            "load_lewm or load_dinowm, whichever it was saved from."
        )
    return kind(**{**sizes, "encoder": ViTConfig(**sizes["encoder"])})


def _check_run(path: pathlib.Path, config: LeWMConfig | DinoWMConfig) -> None:
    """Raises ValueError where a run's `config.json` tells of sizes that shapes do not show."""
    beside = path.parent / "config.json"
    # A state_dict at hand lies beside nothing.
    run = json.loads(beside.read_text()) if path.exists() and beside.exists() else {}
    predictor = _part(_part(run, "model") or run, "predictor")
    for name, mine in (("heads", config.heads), ("dim_head", 64), ("num_frames", config.frames)):
        if predictor.get(name, mine) != mine:
            raise ValueError(
                f"{beside.name} beside {path.name} says {name}={predictor[name]} of the predictor, "
                f"its weights were read as {name}={mine}. Pass config= with the right sizes; "
                "attention heads are of 64 numbers here."
            )


def _part(run: Any, name: str) -> dict[str, Any]:
    """A part of a run's settings, empty where it is not there or no record of its own."""
    found = run.get(name) if isinstance(run, dict) else None
    return found if isinstance(found, dict) else {}


def _shape(weights: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(
            f"the checkpoint holds no {name!r}; it begins with {', '.join(list(weights)[:3])}. "
            "Is it of another model?"
        )
    return weights[name].shape


def _count(weights: Mapping[str, np.ndarray], prefix: str) -> int:
    """How many numbered layers there are below a prefix."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return 1 + max((int(m[1]) for n in weights if (m := pattern.match(n))), default=-1)


def _encoder_sizes(weights: Mapping[str, np.ndarray], name: str, default: ViTConfig) -> ViTConfig:
    layer = f"{name}.{default.names['layer']}"
    width, _, patch, _ = _shape(weights, f"{name}.embeddings.patch_embeddings.projection.weight")
    table = round((_shape(weights, f"{name}.embeddings.position_embeddings")[1] - 1) ** 0.5)
    return dataclasses.replace(
        default,
        width=width,
        depth=_count(weights, layer),
        heads=max(1, width // 64),
        hidden=_shape(weights, f"{layer}.0.mlp.fc1.weight")[0],
        patch=patch,
        table=table,
        image=default.image if default.dinov2 else patch * table,
    )


def _lewm_sizes(weights: Mapping[str, np.ndarray]) -> LeWMConfig:
    _, frames, latent = _shape(weights, "predictor.pos_embedding")
    layer = "predictor.transformer.layers"
    return LeWMConfig(
        action_size=_shape(weights, "action_encoder.patch_embed.weight")[1],
        latent=latent,
        frames=frames,
        depth=_count(weights, layer),
        heads=_shape(weights, f"{layer}.0.attn.to_qkv.weight")[0] // 192,
        hidden=_shape(weights, f"{layer}.0.mlp.net.1.weight")[0],
        encoder=_encoder_sizes(weights, "encoder", LeWMConfig().encoder),
    )


def _dinowm_sizes(weights: Mapping[str, np.ndarray]) -> DinoWMConfig:
    layer, default = "predictor.transformer.layers", DinoWMConfig()
    encoder = _encoder_sizes(weights, "backbone", default.encoder)
    tokens = _shape(weights, "predictor.pos_embedding")[1]
    side = round((tokens / default.frames) ** 0.5)
    proprio = weights.get("extra_encoders.proprio.patch_embed.weight")
    embedding, action_size, _ = _shape(weights, "extra_encoders.action.patch_embed.weight")
    return DinoWMConfig(
        action_size=action_size,
        proprio_size=0 if proprio is None else proprio.shape[1],
        embedding=embedding,
        depth=_count(weights, layer),
        heads=_shape(weights, f"{layer}.0.0.to_qkv.weight")[0] // 192,
        hidden=_shape(weights, f"{layer}.0.1.net.1.weight")[0],
        encoder=dataclasses.replace(encoder, image=side * encoder.patch),
    )
