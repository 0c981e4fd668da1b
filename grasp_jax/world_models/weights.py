"""Weights of PyTorch checkpoints in, safetensors out.

A checkpoint is a bare `state_dict` (`.pt`, `.pth`, `.ckpt`), a `.safetensors` file, or the
folder of a stable-worldmodel run. PyTorch is needed for the first kind only, and never runs
pickled code.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax.world_models._files import as_array, find_weights, read, read_json
from grasp_jax.world_models.dinowm import DinoWM, DinoWMConfig
from grasp_jax.world_models.lewm import LeWM, LeWMConfig
from grasp_jax.world_models.vit import ViTConfig

_Config = TypeVar("_Config", LeWMConfig, DinoWMConfig)

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

    Weights stored in shorter floats are widened to float32, exactly, whatever the kind of file, so
    that latents, costs and plans are float32. `mixed_precision(model)` computes in shorter floats.

    Args:
      path: A file or a run folder, see the module; or a `state_dict` at hand, which is copied.
      config: Sizes; read off the weights' shapes where None (64 numbers per attention head are
        assumed), or from the file that `save` wrote.

    Raises:
      ValueError: The file is damaged or of another kind; or names, shapes or numbers of its weights
        are not those of the model: the message lists all of them.
      TypeError: `path` or `config` is of another type.
      FileNotFoundError, ModuleNotFoundError: There is nothing to read, or nothing to read it with.
    """
    return LeWM(*_load(path, config, LeWMConfig, _lewm_sizes))


def load_dinowm(
    path: str | pathlib.Path | Mapping[str, Any], config: DinoWMConfig | None = None
) -> DinoWM:
    """A DINO-WM (PreJEPA) from a checkpoint; arguments, dtypes and errors as for `load_lewm`."""
    return DinoWM(*_load(path, config, DinoWMConfig, _dinowm_sizes))


def _load(
    source: str | pathlib.Path | Mapping[str, Any],
    config: _Config | None,
    kind: type[_Config],
    sizes: Callable[[Mapping[str, np.ndarray]], _Config],
) -> tuple[dict[str, jax.Array], _Config]:
    """The weights, checked, and their sizes: given, saved, or read off the shapes."""
    if config is not None and not isinstance(config, kind):
        raise TypeError(f"config must be a {kind.__name__}, got {type(config).__name__}.")
    origin = "config="
    if isinstance(source, Mapping):
        # Copied: the owner of the tensors may train them further.
        weights = {str(k): np.array(as_array(x)) for k, x in source.items()}
        path = pathlib.Path("the state_dict")
    else:
        path = find_weights(source)
        weights = read(path)
    weights = canonical(weights)
    if config is None:
        config, origin = _saved_config(path, kind), path.with_suffix(".json").name
        if config is None:
            config, origin = sizes(weights), "the shapes of the weights"
        _check_run(path, config)
    return _checked(weights, config.shapes(), path.name, origin), config


def save(model: LeWM | DinoWM, path: str | pathlib.Path) -> None:
    """Writes `path` (`.safetensors`) and its sizes beside it (`.json`), to load without PyTorch.

    Raises:
      ValueError: `path` has another suffix.

    >>> import tempfile
    >>> encoder = ViTConfig(width=16, depth=1, heads=1, hidden=16, patch=4, image=8, pos_grid=2)
    >>> sizes = LeWMConfig(action_size=2, latent=16, depth=1, heads=1, hidden=16, encoder=encoder)
    >>> model = LeWM.random(jax.random.key(0), sizes)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, folder + "/model.safetensors")
    ...     load_lewm(folder + "/model.safetensors").config == sizes
    True
    """
    from safetensors.numpy import save_file

    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save: path must end in .safetensors, got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(x) for name, x in model.weights.items()}, str(path))
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(model.config), indent=1))


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
    name: str,
    origin: str,
) -> dict[str, jax.Array]:
    """The weights as JAX arrays, or one error that lists everything wrong with them."""
    missing = [f"  missing: {n} {list(s)}" for n, s in shapes.items() if n not in weights]
    extra = [f"  extra: {n} {list(x.shape)}" for n, x in weights.items() if n not in shapes]
    shaped, broken = [], []
    for n in shapes.keys() & weights.keys():
        array, shape = weights[n], tuple(shapes[n])
        if array.shape != shape:
            shaped.append(f"  shape: {n} is {list(array.shape)}, expected {list(shape)}")
        elif not np.issubdtype(array.dtype, np.floating):
            broken.append(f"  numbers: {n} is {array.dtype}, expected floats")
        elif count := array.size - np.count_nonzero(np.isfinite(array)):
            broken.append(f"  numbers: {n} has {count} of {array.size} that are not finite")
    wrong = missing + extra + sorted(shaped) + sorted(broken)
    if wrong:
        raise ValueError(
            f"{name} does not hold the weights of this model: {len(missing)} missing, "
            f"{len(extra)} extra, {len(shaped)} of another shape, {len(broken)} with broken "
            f"numbers. Sizes are from {origin}; pass config= for others.\n" + "\n".join(wrong)
        )
    return {n: jnp.asarray(weights[n]) for n in shapes}


def _saved_config(path: pathlib.Path, kind: type[_Config]) -> _Config | None:
    """The sizes that `save` wrote beside a file, if it did."""
    beside = path.with_suffix(".json")
    if path.suffix != ".safetensors" or not beside.exists():
        return None
    sizes = read_json(beside)
    # Any other record beside it says nothing about sizes.
    if not isinstance(sizes, dict) or "encoder" not in sizes:
        return None
    sizes.setdefault("action_block", 1)  # not in files of before 0.2
    if wrong := sizes.keys() ^ {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(
            f"{beside.name} beside {path.name} holds the sizes of another kind of model than "
            f"{kind.__name__} (they differ in {', '.join(sorted(wrong))}). Load it with "
            "load_lewm or load_dinowm, whichever it was saved from."
        )
    try:
        # Versions before 0.2 wrote `table`.
        renamed = {"pos_grid" if k == "table" else k: v for k, v in sizes["encoder"].items()}
        return kind(**{**sizes, "encoder": ViTConfig(**renamed)})
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{beside.name} beside {path.name} does not hold sizes as `save` writes them: {error} "
            "Mend it, or remove it: sizes are then read off the weights."
        ) from error


def _check_run(path: pathlib.Path, config: LeWMConfig | DinoWMConfig) -> None:
    """Raises ValueError where a run's `config.json` tells of sizes that shapes do not show."""
    beside = path.parent / "config.json"
    # A state_dict at hand lies beside nothing.
    run = read_json(beside) if path.exists() and beside.exists() else {}
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


def _shape(weights: Mapping[str, np.ndarray], name: str, axes: int) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(
            f"the checkpoint holds no {name!r}; it begins with {', '.join(list(weights)[:3])}. "
            "Is it of another model?"
        )
    shape = weights[name].shape
    if len(shape) != axes:
        raise ValueError(
            f"the checkpoint's {name!r} is {list(shape)}, expected {axes} axes. Is it of another "
            "model?"
        )
    return shape


def _count(weights: Mapping[str, np.ndarray], prefix: str) -> int:
    """How many numbered layers there are below a prefix."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return 1 + max((int(m[1]) for n in weights if (m := pattern.match(n))), default=-1)


def _encoder_sizes(weights: Mapping[str, np.ndarray], name: str, default: ViTConfig) -> ViTConfig:
    layer = f"{name}.{default.names['layer']}"
    width, _, patch, _ = _shape(weights, f"{name}.embeddings.patch_embeddings.projection.weight", 4)
    pos_grid = round((_shape(weights, f"{name}.embeddings.position_embeddings", 3)[1] - 1) ** 0.5)
    return dataclasses.replace(
        default,
        width=width,
        depth=_count(weights, layer),
        heads=max(1, width // 64),
        hidden=_shape(weights, f"{layer}.0.mlp.fc1.weight", 2)[0],
        patch=patch,
        pos_grid=pos_grid,
        image=default.image if default.dinov2 else patch * pos_grid,
    )


def _lewm_sizes(weights: Mapping[str, np.ndarray]) -> LeWMConfig:
    _, frames, latent = _shape(weights, "predictor.pos_embedding", 3)
    layer = "predictor.transformer.layers"
    return LeWMConfig(
        action_size=_shape(weights, "action_encoder.patch_embed.weight", 3)[1],
        latent=latent,
        frames=frames,
        depth=_count(weights, layer),
        heads=_shape(weights, f"{layer}.0.attn.to_qkv.weight", 2)[0] // 192,
        hidden=_shape(weights, f"{layer}.0.mlp.net.1.weight", 2)[0],
        encoder=_encoder_sizes(weights, "encoder", LeWMConfig().encoder),
    )


def _dinowm_sizes(weights: Mapping[str, np.ndarray]) -> DinoWMConfig:
    layer, default = "predictor.transformer.layers", DinoWMConfig()
    encoder = _encoder_sizes(weights, "backbone", default.encoder)
    tokens = _shape(weights, "predictor.pos_embedding", 3)[1]
    side = round((tokens / default.frames) ** 0.5)
    proprio = "extra_encoders.proprio.patch_embed.weight"
    embedding, action_size, _ = _shape(weights, "extra_encoders.action.patch_embed.weight", 3)
    return DinoWMConfig(
        action_size=action_size,
        proprio_size=_shape(weights, proprio, 3)[1] if proprio in weights else 0,
        embedding=embedding,
        depth=_count(weights, layer),
        heads=_shape(weights, f"{layer}.0.0.to_qkv.weight", 2)[0] // 192,
        hidden=_shape(weights, f"{layer}.0.1.net.1.weight", 2)[0],
        encoder=dataclasses.replace(encoder, image=side * encoder.patch),
    )
