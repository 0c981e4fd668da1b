"""What a stable-worldmodel policy knows about its environments, as states of our world models.

`B` counts problems, `H` frames, `A` the numbers of a block of actions.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from grasp_jax._tree import PyTree, cost_dtype, take
from grasp_jax.integrations._convert import Model
from grasp_jax.integrations._torch import Tensor, as_tensor, floating
from grasp_jax.problem import Context
from grasp_jax.world_models import DinoWM, Normalization


def read(
    info: dict, model: Model, normalization: Normalization | None, frames: int
) -> dict[str, Tensor]:
    """The tensors of `info` that `states` takes, `[B, ...]`, checked, with at most `frames` frames.

    Raises:
      KeyError, TypeError, ValueError: Something is missing or has another shape.
    """
    drawn = normalization is not None
    proprio = ["proprio", "goal_proprio"] if _reads_proprio(model) else []
    missing = [name for name in ("pixels", "goal", *proprio) if name not in info]
    if missing:
        raise KeyError(
            f"PlannerSolver: info_dict has no {', '.join(missing)}; it has {', '.join(info)}. The "
            f"model reads frames and a goal frame{', and proprioception' if proprio else ''}."
        )
    found = {k: _frames(info[k], k, model, drawn) for k in ("pixels", "goal")}
    found |= {k: _numbers(info[k], k, model.config.proprio_size) for k in proprio}  # pyright: ignore
    problems, seen = found["pixels"].shape[:2]
    for name, x in found.items():
        times = 1 if name.startswith("goal") else seen
        if len(x) != problems or x.shape[1] < times:
            raise ValueError(
                f"PlannerSolver: {name} has shape {list(x.shape)}, but pixels {problems} problems "
                f"of {seen} frames."
            )
    if seen > 1 and frames > 1:
        found["past"] = _past(info, problems, seen, model.config.action_size)[:, 1 - frames :]
    found = {k: x[:, -1] if k.startswith("goal") else x for k, x in found.items()}
    kept = {k: x[:, -frames:] if k in ("pixels", "proprio") else x for k, x in found.items()}
    return {k: floating(x, plan_dtype(model)) for k, x in kept.items()}


def plan_dtype(model: Model) -> Any:
    """The dtype of frames, latents and actions: that of the weights, float32 at least."""
    return cost_dtype(next(iter(model.weights.values())).dtype)


def _reads_proprio(model: Model) -> bool:
    return isinstance(model, DinoWM) and model.config.proprio_size > 0


def _frames(x: Any, name: str, model: Model, drawn: bool) -> Tensor:
    """`[B, H, 3, s, s]`, or `[B, H, s, s, 3]` as drawn."""
    x, size = as_tensor(x, name), model.config.encoder.image
    normalized = tuple(x.shape[2:]) == (3, size, size) and x.is_floating_point()
    as_drawn = drawn and tuple(x.shape[2:]) == (size, size, 3)
    if x.ndim == 5 and as_drawn and x.is_floating_point() and x.numel() and x.max() > 1.001:
        raise ValueError(
            f"PlannerSolver: {name} holds floats up to {float(x.max()):.3g}. Frames as drawn must "
            "be integers in 0..255, or floats in 0..1: divide by 255."
        )
    if x.ndim == 5 and (normalized or as_drawn):
        return x
    raise ValueError(
        f"PlannerSolver: {name} must be normalized frames [B, H, 3, {size}, {size}], got {x.dtype} "
        f"{list(x.shape)}. Pass transform= with a normalization to the policy"
        + (
            ", "
            if drawn
            else f", or normalization= to PlannerSolver for [B, H, {size}, {size}, 3], "
        )
        + f"and image_shape=({size}, {size}) to the World."
    )


def _numbers(x: Any, name: str, size: int) -> Tensor:
    """`[B, H, size]`."""
    x = as_tensor(x, name)
    if x.ndim != 3 or x.shape[-1] != size or not x.is_floating_point():
        raise ValueError(
            f"PlannerSolver: {name} must be floating [B, H, {size}], got {x.dtype} {list(x.shape)}."
        )
    return x


def _past(info: dict, problems: int, seen: int, size: int) -> Tensor:
    """`[B, H-1, A]`, the blocks between the frames."""
    if "action_history" not in info:
        raise ValueError(
            f"PlannerSolver: pixels holds {seen} frames, and info_dict no action_history that says "
            "what was done between them. Set PlanConfig(history_len=1), or use a later "
            "stable-worldmodel."
        )
    past = as_tensor(info["action_history"], "action_history")
    if tuple(past.shape) != (problems, seen - 1, size):
        raise ValueError(
            f"PlannerSolver: action_history must be [{problems}, {seen - 1}, {size}], got "
            f"{list(past.shape)}."
        )
    return past


def pad_frames(given: dict[str, Tensor], frames: int) -> dict[str, Tensor]:
    """The same with `frames` frames: those before the oldest are copies of it, blocks are zero."""
    import torch  # pyright: ignore[reportMissingImports]

    missing, padded = frames - given["pixels"].shape[1], dict(given)
    if missing:
        for name in {"pixels", "proprio"} & set(given):
            x = given[name]
            padded[name] = torch.cat([x[:, :1].expand(-1, missing, *x.shape[2:]), x], dim=1)
        past = given["past"]
        padded["past"] = torch.cat([past.new_zeros(len(past), missing, past.shape[2]), past], dim=1)
    return padded


@functools.partial(jax.jit, static_argnames=("window",))
def states(
    model: Model,
    given: dict[str, jax.Array],
    seen: jax.Array | int,
    normalization: Normalization | None,
    window: int,
) -> tuple[PyTree, PyTree, Context | None]:
    """Start, goal and context of every problem.

    Args:
      model: The world model.
      given: `pixels` `[B, F, ...]`, `goal` `[B, ...]`, `past` `[B, F-1, A]` where `F > 1`;
        `proprio` `[B, F, n]` and `goal_proprio` `[B, n]` where the model reads them.
      seen: `[]` int, how many of the `F` frames are there; the first ones are not.
      normalization: Of frames as drawn.
      window: `h`, frames that one prediction reads.

    Returns:
      Leaves `[B, ...]`; of the context `[B, h-1, ...]`, or None for `h = 1`.
    """
    frames = _encode(model, given["pixels"], given.get("proprio"), normalization)
    goal = _encode(model, given["goal"], given.get("goal_proprio"), normalization)
    start = take(frames, (slice(None), -1))
    if window == 1:
        return start, goal, None
    problems, count = given["pixels"].shape[:2]
    blank = model.empty_context(window - count)
    blank = jax.tree.map(lambda x: jnp.broadcast_to(x, (problems, *x.shape)), blank)
    past = given["past"] if count > 1 else blank.actions[:, :0]
    there = jnp.broadcast_to(jnp.arange(count - 1) >= count - seen, (problems, count - 1))
    known = Context(take(frames, (slice(None), slice(-1))), past, there)
    join = functools.partial(jnp.concatenate, axis=1)
    return start, goal, jax.tree.map(lambda *x: join(x), blank, known)


def _encode(
    model: Model,
    frames: jax.Array,
    proprio: jax.Array | None,
    normalization: Normalization | None,
) -> PyTree:
    drawn = frames.shape[-3] != 3
    if drawn and normalization is not None:
        frames = normalization.pixels(frames)
    frames = frames.astype(plan_dtype(model))
    return model.encode(frames, proprio) if isinstance(model, DinoWM) else model.encode(frames)
