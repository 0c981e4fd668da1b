"""Vision transformers as image encoders: ViT (LeWM) and DINOv2 (DINO-WM), one frame at a time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grasp_jax.world_models._layers import (
    Weights,
    attend,
    check_sizes,
    gelu,
    layer_norm,
    linear,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes of an encoder; the defaults are LeWM's ViT-Tiny/14 at 224 pixels.

    Attributes:
      width: Numbers per token.
      depth: Blocks.
      heads: Attention heads.
      hidden: Width of the feed-forward layers.
      patch: Pixels along a patch's edge.
      image: Pixels along the image's edge.
      pos_grid: Patches along the edge of the learned grid of positions; interpolated if it differs
        from `image / patch`.
      eps: Of the layer normalizations.
      dinov2: DINOv2's names, and its scaled residual branches.
    """

    width: int = 192
    depth: int = 12
    heads: int = 3
    hidden: int = 768
    patch: int = 14
    image: int = 224
    pos_grid: int = 16
    eps: float = 1e-12
    dinov2: bool = False

    def __post_init__(self) -> None:
        check_sizes(self)
        if not (isinstance(self.eps, float) and 0 < self.eps < 1):
            raise ValueError(f"ViTConfig.eps must be a float in (0, 1), got {self.eps!r:.40}.")
        if not isinstance(self.dinov2, bool):
            raise TypeError(f"ViTConfig.dinov2 must be True or False, got {self.dinov2!r:.40}.")
        if self.image % self.patch or self.width % self.heads:
            raise ValueError(
                "ViTConfig: image must be a multiple of patch, and width of heads, got "
                f"image={self.image}, patch={self.patch}, width={self.width}, heads={self.heads}."
            )

    @property
    def names(self) -> dict[str, str]:
        """Where a block's norms are, and how layers are counted."""
        if self.dinov2:
            return {"layer": "encoder.layer", "before": "norm1", "after": "norm2"}
        return {"layer": "layers", "before": "layernorm_before", "after": "layernorm_after"}


DINOV2_SMALL = ViTConfig(
    width=384, depth=12, heads=6, hidden=1536, pos_grid=37, eps=1e-6, dinov2=True
)
"""DINOv2-S/14, whose positions were learned at 518 pixels."""


def check_encoder(config: Any) -> None:
    """Raises TypeError unless the field `encoder` of a model's sizes holds those of an encoder."""
    if not isinstance(config.encoder, ViTConfig):
        raise TypeError(
            f"{type(config).__name__}.encoder must be a ViTConfig, got "
            f"{type(config.encoder).__name__}: {config.encoder!r:.40}."
        )


def vit_shapes(config: ViTConfig, name: str) -> dict[str, tuple[int, ...]]:
    """Name to shape of every weight of an encoder, in the names of transformers 5."""
    w, names = config.width, config.names
    found: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, w),
        "embeddings.position_embeddings": (1, config.pos_grid**2 + 1, w),
        "embeddings.patch_embeddings.projection.weight": (w, 3, config.patch, config.patch),
        "embeddings.patch_embeddings.projection.bias": (w,),
        "layernorm.weight": (w,),
        "layernorm.bias": (w,),
    }
    for i in range(config.depth):
        block: dict[str, tuple[int, ...]] = {
            "mlp.fc1.weight": (config.hidden, w),
            "mlp.fc1.bias": (config.hidden,),
            "mlp.fc2.weight": (w, config.hidden),
            "mlp.fc2.bias": (w,),
        }
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            block |= {f"attention.{part}.weight": (w, w), f"attention.{part}.bias": (w,)}
        for norm in (names["before"], names["after"]):
            block |= {f"{norm}.weight": (w,), f"{norm}.bias": (w,)}
        if config.dinov2:
            block |= {"layer_scale1.lambda1": (w,), "layer_scale2.lambda1": (w,)}
        found |= {f"{names['layer']}.{i}.{k}": s for k, s in block.items()}
    return {f"{name}.{k}": s for k, s in found.items()}


def vit(weights: Weights, name: str, config: ViTConfig, pixels: jax.Array) -> jax.Array:
    """The tokens of one image: class token first, then patches row by row.

    Args:
      weights: The model's; the encoder's begin with `name`.
      name: Prefix.
      config: Sizes.
      pixels: `[3, image, image]`, normalized.

    Returns:
      `[1 + patches, width]`.
    """
    side, patch = config.image // config.patch, config.patch
    blocks = pixels.reshape(3, side, patch, side, patch).transpose(1, 3, 0, 2, 4)
    kernel = weights[f"{name}.embeddings.patch_embeddings.projection.weight"]
    patches = blocks.reshape(side * side, -1) @ kernel.reshape(config.width, -1).T
    patches = patches + weights[f"{name}.embeddings.patch_embeddings.projection.bias"]
    x = jnp.concatenate([weights[f"{name}.embeddings.cls_token"][0], patches])
    x = x + _positions(weights[f"{name}.embeddings.position_embeddings"][0], config)
    for i in range(config.depth):
        x = _block(weights, f"{name}.{config.names['layer']}.{i}", config, x)
    return layer_norm(weights, f"{name}.layernorm", x, config.eps)


def _block(weights: Weights, name: str, config: ViTConfig, x: jax.Array) -> jax.Array:
    """One pre-norm block on `[n, width]`."""
    normed = layer_norm(weights, f"{name}.{config.names['before']}", x, config.eps)
    rows = (linear(weights, f"{name}.attention.{part}_proj", normed) for part in "qkv")
    q, k, v = (jnp.swapaxes(y.reshape(len(x), config.heads, -1), 0, 1) for y in rows)
    mixed = linear(weights, f"{name}.attention.o_proj", attend(q, k, v, None))
    x = x + _scaled(weights, f"{name}.layer_scale1", mixed)
    normed = layer_norm(weights, f"{name}.{config.names['after']}", x, config.eps)
    hidden = gelu(linear(weights, f"{name}.mlp.fc1", normed))
    return x + _scaled(weights, f"{name}.layer_scale2", linear(weights, f"{name}.mlp.fc2", hidden))


def _scaled(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    scale = weights.get(f"{name}.lambda1")
    return x if scale is None else x * scale


def _positions(table: jax.Array, config: ViTConfig) -> jax.Array:
    """The table of positions `[1 + table², width]` at the image's own number of patches."""
    side = config.image // config.patch
    if side == config.pos_grid:
        return table
    grid = table[1:].reshape(config.pos_grid, config.pos_grid, -1)
    resize = jnp.asarray(cubic_resize(config.pos_grid, side), table.dtype)
    grid = jnp.einsum("ij,kl,jld->ikd", resize, resize, grid)
    return jnp.concatenate([table[:1], grid.reshape(side * side, -1)])


def cubic_resize(old: int, new: int) -> np.ndarray:
    """`[new, old]` weights of bicubic interpolation as in PyTorch: `a = -0.75`, half pixels."""
    a = -0.75
    center = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(center).astype(int) - 1
    matrix = np.zeros((new, old))
    for tap in range(4):
        distance = np.abs(center - (first + tap))
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * distance * a - 4 * a
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), weight)
    return matrix
