"""The public PyTorch models, with random weights, to hold ours against.

The predictors are those of the released `stable-worldmodel`, whose model files are loaded one by
one: the package itself imports simulators, databases and torchvision. The encoders are those of
`transformers`.
"""

import importlib.util
import pathlib
import sys
import types
from typing import Any


def why_not() -> str | None:
    """Why the reference cannot be loaded here, or None if it can."""
    try:
        import einops  # noqa: F401  # pyright: ignore[reportMissingImports]
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]
        import transformers  # noqa: F401  # pyright: ignore[reportMissingImports]

        modules()
    except Exception as error:  # a broken installation raises anything
        return f"{type(error).__name__}: {error}"
    return None


def modules() -> tuple[Any, Any, Any, Any]:
    """`lewm.lewm`, `lewm.module`, `prejepa.prejepa` and `prejepa.module` of stable-worldmodel."""
    root = _root()
    names = ["lewm.module", "lewm.lewm", "prejepa.module", "prejepa.prejepa"]
    found = {name: _load(root, name) for name in names}
    return found[names[1]], found[names[0]], found[names[3]], found[names[2]]


def _root() -> pathlib.Path:
    spec = importlib.util.find_spec("stable_worldmodel")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("stable-worldmodel is not installed")
    return pathlib.Path(spec.origin).parent / "wm"


def _load(root: pathlib.Path, name: str) -> Any:
    """One file as a module of a package that is not imported."""
    package, _, stem = name.partition(".")
    parent = f"_reference_{package}"
    if parent not in sys.modules:
        sys.modules[parent] = types.ModuleType(parent)
        sys.modules[parent].__path__ = [str(root / package)]
    full = f"{parent}.{stem}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, root / package / f"{stem}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


def lewm(config: Any) -> Any:
    """stable-worldmodel's LeWM with random weights, in evaluation mode; `config` is ours."""
    model, parts, _, _ = modules()
    return _lewm(config, model.LeWM, parts)


def pldm(config: Any) -> Any:
    """The same of its PLDM."""
    root = _root()
    parts = _load(root, "pldm.module")
    return _lewm(config, _load(root, "pldm.pldm").PLDM, parts)


def _lewm(config: Any, kind: Any, parts: Any) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import ViTConfig, ViTModel  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    sizes, d = config.encoder, config.latent
    encoder = ViTModel(
        ViTConfig(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.depth,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.hidden,
            image_size=sizes.image,
            patch_size=sizes.patch,
        ),
        add_pooling_layer=False,
    )
    mlp = {"input_dim": d, "output_dim": d, "hidden_dim": config.hidden}
    predictor = getattr(parts, "ARPredictor", None) or parts.Predictor
    found = kind(
        encoder,
        predictor(
            num_frames=config.frames,
            depth=config.depth,
            heads=config.heads,
            mlp_dim=config.hidden,
            input_dim=d,
            hidden_dim=d,
            output_dim=d,
            dropout=0.1,
        ),
        parts.Embedder(input_dim=config.action_size, smoothed_dim=config.action_size, emb_dim=d),
        parts.MLP(**mlp, norm_fn=torch.nn.BatchNorm1d),
        parts.MLP(**mlp, norm_fn=torch.nn.BatchNorm1d),
    )
    return _randomize(found)


def dinowm(config: Any) -> Any:
    """stable-worldmodel's PreJEPA with random weights, in evaluation mode; `config` is ours."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers import Dinov2Config, Dinov2Model  # pyright: ignore[reportMissingImports]

    _, _, model, parts = modules()
    torch.manual_seed(1)
    sizes = config.encoder
    encoder = Dinov2Model(
        Dinov2Config(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.depth,
            num_attention_heads=sizes.heads,
            mlp_ratio=sizes.hidden // sizes.width,
            image_size=sizes.pos_grid * sizes.patch,
            patch_size=sizes.patch,
        )
    )
    inputs = {"proprio": config.proprio_size} if config.proprio_size else {}
    extra = {
        name: parts.Embedder(in_chans=size, emb_dim=config.embedding)
        for name, size in {**inputs, "action": config.action_size}.items()
    }
    predictor = parts.CausalPredictor(
        num_patches=config.patches,
        num_frames=config.frames,
        dim=sizes.width + len(extra) * config.embedding,
        depth=config.depth,
        heads=config.heads,
        mlp_dim=config.hidden,
        dropout=0.1,
    )
    found = model.PreJEPA(
        encoder, predictor, torch.nn.ModuleDict(extra), history_size=config.frames
    )
    return _randomize(found)


def _randomize(model: Any) -> Any:
    """Weights that leave no branch silent: AdaLN-zero and layer scales start at constants."""
    import torch  # pyright: ignore[reportMissingImports]

    with torch.no_grad():
        for name, x in model.state_dict().items():
            if name.endswith("running_var"):
                x.copy_(1 + 0.3 * torch.rand_like(x))
            elif name.endswith("running_mean"):
                x.copy_(0.1 * torch.randn_like(x))
            elif x.is_floating_point() and ("adaLN_modulation" in name or x.ndim == 1):
                x.add_(0.1 * torch.randn_like(x))
    return model.eval()
