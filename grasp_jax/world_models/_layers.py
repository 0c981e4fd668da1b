"""Layers of the transformers that people plan through, on weights named as PyTorch names them.

A model's weights are one flat dict, `{"predictor.transformer.norm.weight": array, ...}`, in
PyTorch's layouts, so that importing a checkpoint is a check of names and shapes.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Weights = Mapping[str, jax.Array]


def part(weights: Weights, prefix: str) -> dict[str, jax.Array]:
    """The weights whose names begin with `prefix` and a dot, by the rest of their names."""
    return {
        n.removeprefix(f"{prefix}."): x for n, x in weights.items() if n.startswith(f"{prefix}.")
    }


def linear(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """`x Wᵀ + b`, `[..., in]` to `[..., out]`; the bias may be absent."""
    # Contracts the stored axes: on CPU a transposed copy in a rollout costs six times the product.
    y = jax.lax.dot_general(x, weights[f"{name}.weight"], (((x.ndim - 1,), (1,)), ((), ())))
    bias = weights.get(f"{name}.bias")
    return y if bias is None else y + bias


def pointwise_conv(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """A convolution over time of kernel size 1, channels last: `[..., in]` to `[..., out]`."""
    return x @ weights[f"{name}.weight"][:, :, 0].T + weights[f"{name}.bias"]


def normalize(x: jax.Array, eps: float) -> jax.Array:
    """Layer normalization over the last axis, without scale and shift."""
    centered = x - jnp.mean(x, axis=-1, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.mean(jnp.square(centered), axis=-1, keepdims=True) + eps)


def layer_norm(weights: Weights, name: str, x: jax.Array, eps: float = 1e-5) -> jax.Array:
    """Layer normalization over the last axis."""
    return normalize(x, eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def batch_norm(weights: Weights, name: str, x: jax.Array, eps: float = 1e-5) -> jax.Array:
    """Batch normalization in evaluation mode: a fixed affine map of the last axis."""
    scale = weights[f"{name}.weight"] * jax.lax.rsqrt(weights[f"{name}.running_var"] + eps)
    return (x - weights[f"{name}.running_mean"]) * scale + weights[f"{name}.bias"]


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU (by erf), PyTorch's default."""
    # Not jax.nn.gelu, whose erfc takes longer and differs in far tails only.
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Scaled dot-product attention.

    Args:
      q: `[heads, n, d]`.
      k: `[heads, m, d]`.
      v: `[heads, m, d]`.
      mask: `[n, m]` bool, which keys a query sees; each sees at least one. None for all.

    Returns:
      `[n, heads * d]`.
    """
    # Heads lead, so that XLA:CPU copies once: with `[n, heads, d]` this takes three times as long.
    scores = jnp.einsum("hnd,hmd->hnm", q, k) / q.shape[-1] ** 0.5
    if mask is not None:
        # As far down as goes, not -inf: callers may have set jax_debug_infs.
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    mixed = jnp.einsum("hnm,hmd->hnd", jax.nn.softmax(scores, axis=-1), v)
    return jnp.swapaxes(mixed, 0, 1).reshape(mixed.shape[1], -1)


def window_mask(size: int, present: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Which frames of a window see which, and where each stands in the table of positions.

    Args:
      size: `h`.
      present: `[h]` bool, which frames are there; None: all.

    Returns:
      `[h, h]` bool, row by row what a frame sees: those that are there, none after itself; `[h]`
      int32, places that count only the frames that are there.
    """
    order = jnp.arange(size)
    before = order[:, None] >= order
    if present is None:
        return before, order
    places = jnp.maximum(jnp.cumsum(present) - 1, 0)
    return before & present | (order[:, None] == order), places


def only_present(present: jax.Array | None, x: jax.Array) -> jax.Array:
    """`x` `[h, ...]` with zeros for the frames that are not there."""
    if present is None:
        return x
    return jnp.where(present.reshape(-1, *(1 for _ in x.shape[1:])), x, 0)


def attention(
    weights: Weights,
    name: str,
    x: jax.Array,
    mask: jax.Array | None,
    heads: int,
    queries: slice = slice(None),
) -> jax.Array:
    """Normalization, multi-head attention with one matrix for q, k and v, output projection.

    Args:
      weights: The model's.
      name: Prefix of `norm`, `to_qkv` and `to_out.0`.
      x: `[n, width]`.
      mask: `[n, n]` bool, see `attend`.
      heads: Heads of equal size.
      queries: Which rows are wanted; the others serve as keys and values only.

    Returns:
      `[len(queries), width]`.
    """
    x = layer_norm(weights, f"{name}.norm", x)
    if len(x) == 1:
        # A lone row attends to itself alone, whatever its query and key are.
        width = weights[f"{name}.to_qkv.weight"].shape[0] // 3
        value = {"v.weight": weights[f"{name}.to_qkv.weight"][2 * width :]}
        return linear(weights, f"{name}.to_out.0", linear(value, "v", x))
    together = linear(weights, f"{name}.to_qkv", x).reshape(len(x), 3, heads, -1)
    q, k, v = jnp.transpose(together, (1, 2, 0, 3))
    mixed = attend(q[:, queries], k, v, None if mask is None else mask[queries])
    return linear(weights, f"{name}.to_out.0", mixed)


def feed_forward(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """Normalization, wide layer, GELU, narrow layer: `[..., width]` to the same."""
    hidden = linear(weights, f"{name}.net.1", layer_norm(weights, f"{name}.net.0", x))
    return linear(weights, f"{name}.net.4", gelu(hidden))


def projection(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """Two layers with batch normalization and GELU between: `[..., in]` to `[..., out]`."""
    hidden = batch_norm(weights, f"{name}.net.1", linear(weights, f"{name}.net.0", x))
    return linear(weights, f"{name}.net.3", gelu(hidden))


def block_shapes(
    width: int, heads: int, hidden: int, attn: str, mlp: str
) -> dict[str, tuple[int, ...]]:
    """Shapes of a transformer block with heads of 64; `attn` and `mlp` are its parts' names."""
    inner = 64 * heads
    return {
        f"{attn}.norm.weight": (width,),
        f"{attn}.norm.bias": (width,),
        f"{attn}.to_qkv.weight": (3 * inner, width),
        f"{attn}.to_out.0.weight": (width, inner),
        f"{attn}.to_out.0.bias": (width,),
        f"{mlp}.net.0.weight": (width,),
        f"{mlp}.net.0.bias": (width,),
        f"{mlp}.net.1.weight": (hidden, width),
        f"{mlp}.net.1.bias": (hidden,),
        f"{mlp}.net.4.weight": (width, hidden),
        f"{mlp}.net.4.bias": (width,),
    }


def random_weights(key: jax.Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, jax.Array]:
    """Random weights of given shapes: matrices scaled by their fan-in, norms near identity."""
    found = {}
    for i, (name, shape) in enumerate(shapes.items()):
        noise = jax.random.normal(jax.random.fold_in(key, i), shape)
        if name.endswith("running_var"):
            found[name] = 1 + 0.2 * jnp.abs(noise)
        elif len(shape) == 1:
            center = 1.0 if name.endswith("weight") or name.endswith("lambda1") else 0.0
            found[name] = center + 0.1 * noise
        else:
            fan_in = max(math.prod(shape[1:]), 1)
            found[name] = noise * (0.02 if "embedding" in name or "token" in name else fan_in**-0.5)
    return found


def check_pixels(pixels: jax.Array, image: int, name: str) -> None:
    """Raises ValueError unless frames are `[..., 3, image, image]`; `name` is of the caller.

    Channels that come last would be cut into patches all the same.
    """
    if pixels.shape[-3:] != (3, image, image):
        raise ValueError(
            f"{name}: pixels must be [..., 3, {image}, {image}], got "
            f"{list(pixels.shape)}. Normalization.pixels makes them of frames "
            "[..., height, width, 3]; resize frames before."
        )


def check_window(frames: int, most: int, name: str) -> None:
    """Raises ValueError for a window longer than the model's table of positions."""
    if frames > most:
        raise ValueError(
            f"{name} reads windows of at most {most} frames, got {frames}: pass a context of at "
            f"most {most - 1}."
        )


def check_sizes(config: Any, may_be_zero: tuple[str, ...] = ()) -> None:
    """Raises TypeError or ValueError unless the sizes of a record are sizes, and keeps them as int.

    Args:
      config: A frozen dataclass of sizes, `int` fields, beside others of any type.
      may_be_zero: Which of them may be 0.
    """
    for field in dataclasses.fields(config):
        if field.type not in (int, "int"):
            continue
        name, value = f"{type(config).__name__}.{field.name}", getattr(config, field.name)
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}: {value!r:.40}.")
        least = 0 if field.name in may_be_zero else 1
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
        object.__setattr__(config, field.name, int(value))
