"""Arrays of the PyTorch reference on tiny models, stored so that parity needs no PyTorch.

python -m tests.world_models.golden          # writes them anew; needs the reference
"""

import dataclasses
import pathlib

import numpy as np

from grasp_jax.world_models import DinoWMConfig, LeWMConfig, ViTConfig

FOLDER = pathlib.Path(__file__).parent / "golden"
LEWM = LeWMConfig(
    action_size=4,
    latent=16,
    depth=2,
    heads=1,
    hidden=24,
    encoder=ViTConfig(width=16, depth=2, heads=2, hidden=24, patch=4, image=8, pos_grid=2),
)
DINOWM = DinoWMConfig(
    action_size=4,
    proprio_size=3,
    embedding=2,
    depth=2,
    heads=1,
    hidden=24,
    encoder=ViTConfig(
        width=16, depth=2, heads=2, hidden=32, patch=4, image=8, pos_grid=3, eps=1e-6, dinov2=True
    ),
)


def inputs(config: LeWMConfig | DinoWMConfig) -> dict[str, np.ndarray]:
    """Frames, actions and, for DINO-WM, proprioception of a window of three."""
    random = np.random.default_rng(0).standard_normal
    found = {
        "pixels": random((3, 3, config.encoder.image, config.encoder.image)),
        "actions": random((3, config.action_size)),
    }
    if isinstance(config, DinoWMConfig):
        found["proprio"] = random((3, config.proprio_size))
    return {name: x.astype(np.float32) for name, x in found.items()}


def main() -> None:
    """Runs the reference and stores weights, latents and predictions."""
    import torch  # pyright: ignore[reportMissingImports]

    from experiments.models import reference

    FOLDER.mkdir(exist_ok=True)
    with torch.no_grad():
        model, x = reference.lewm(LEWM), inputs(LEWM)
        given = {k: torch.as_tensor(x[n])[None] for k, n in _LEWM_INPUTS.items()}
        found = model.encode(given)
        outputs = {"latents": found["emb"][0]}
        outputs["prediction"] = model.predict(found["emb"], found["act_emb"])[0, -1]
        _store("lewm", model, outputs)

        model, x = reference.dinowm(DINOWM), inputs(DINOWM)
        given = {k: torch.as_tensor(v)[None] for k, v in x.items()}
        given["action"] = given.pop("actions")
        latents = model.encode(given)["emb"]
        outputs = {"latents": latents[0], "prediction": model.predict(latents)[0, -1]}
        _store("dinowm", model, outputs)


_LEWM_INPUTS = {"pixels": "pixels", "action": "actions"}


def _store(name: str, model: object, outputs: dict) -> None:
    """Weights and outputs in one file, in the names of the reference."""
    arrays = {f"weights/{k}": v.numpy() for k, v in model.state_dict().items()}  # type: ignore
    arrays |= {k: v.numpy() for k, v in outputs.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights and outputs of a stored model."""
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    stored = {k.removeprefix("weights/"): v for k, v in arrays.items() if k.startswith("weights/")}
    return stored, {k: v for k, v in arrays.items() if not k.startswith("weights/")}


CONFIGS = {"lewm": LEWM, "dinowm": DINOWM}


if __name__ == "__main__":
    main()
    for config in CONFIGS.values():
        print(dataclasses.asdict(config))
