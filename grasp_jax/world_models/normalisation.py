"""Between an environment's units and a world model's: pixels, actions, blocks, bounds."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

Numbers = jax.Array | np.ndarray | Sequence[float] | float

# Pixel statistics that ViT and DINOv2 encoders are trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normalisation:
    """What a world model's training did to frames and actions.

    A model step takes `block` environment actions of `a` numbers each, z-scored per number and
    stacked in order of time: `A = block · a`.

    Attributes:
      action_mean: Per number of an environment action, `[a]`.
      action_std: As `action_mean`, positive.
      block: Environment actions per model step.
      pixel_mean: Per channel, of pixels in [0, 1].
      pixel_std: As `pixel_mean`, positive.
    """

    action_mean: Numbers
    action_std: Numbers
    block: int = dataclasses.field(default=1, metadata={"static": True})
    pixel_mean: Numbers = IMAGENET_MEAN
    pixel_std: Numbers = IMAGENET_STD

    def __post_init__(self) -> None:
        count = self.block
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"Normalisation.block must be a positive int, got {count!r:.40}.")
        for kind in ("action", "pixel"):
            pair = getattr(self, f"{kind}_mean"), getattr(self, f"{kind}_std")
            shapes = [
                (len(x),) if isinstance(x, (tuple, list)) else jnp.shape(x)
                for x in pair
                if isinstance(x, (tuple, list, np.ndarray, jax.Array))
            ]
            if len(set(shapes)) > 1:
                raise ValueError(
                    f"Normalisation: {kind}_mean has shape {list(shapes[0])} and {kind}_std "
                    f"{list(shapes[1])}. Pass one number of each per {kind} channel."
                )

    @property
    def action_size(self) -> int:
        """`a`, numbers in one environment action."""
        return jnp.size(jnp.asarray(self.action_mean))

    @staticmethod
    def fit(actions: ArrayLike, block: int = 1) -> "Normalisation":
        """Statistics of recorded environment actions `[..., a]`; rows with a NaN are left out.

        Raises:
          TypeError: `block` is no int.
          ValueError: A number never changes, or `block` is below 1.
        """
        rows = np.asarray(actions, np.float64)
        rows = rows.reshape(-1, rows.shape[-1])
        rows = rows[np.isfinite(rows).all(axis=1)]
        # Not std == 0: rounding gives the same number 501 times a deviation of 1e-16.
        still = (rows == rows[:1]).all(axis=0)
        if still.any():
            raise ValueError(
                f"Normalisation.fit: actions[..., {int(np.argmax(still))}] never changes in "
                f"{len(rows)} finite rows. Drop that number, or pass action_std yourself."
            )
        if isinstance(block, bool) or not isinstance(block, int):
            raise TypeError(f"Normalisation.fit: block must be an int, got {block!r}.")
        if block < 1:
            raise ValueError(f"Normalisation.fit: block must be at least 1, got {block}.")
        mean, std = (x.astype(np.float32) for x in (rows.mean(axis=0), rows.std(axis=0)))
        return Normalisation(mean, std, block)

    def pixels(self, frames: ArrayLike) -> jax.Array:
        """Frames as encoders take them.

        Args:
          frames: `[..., height, width, 3]`, integers in 0..255 or floats in 0..1.

        Returns:
          `[..., 3, height, width]`, float32.

        Raises:
          ValueError: The last axis has another number of channels than `pixel_mean`, or floats
            exceed 1 (as long as they are numbers, not traced).
        """
        frames, mean = jnp.asarray(frames), jnp.asarray(self.pixel_mean, jnp.float32)
        if frames.ndim < 3 or frames.shape[-1] != len(mean):
            raise ValueError(
                f"Normalisation.pixels: expected [..., height, width, {len(mean)}], got "
                f"{list(frames.shape)}. Move the channels to the end."
            )
        floats = not jnp.issubdtype(frames.dtype, jnp.integer)
        if floats and frames.size and not isinstance(frames, Tracer) and frames.max() > 1.001:
            raise ValueError(
                "Normalisation.pixels: floating frames must lie in 0..1, got a maximum of "
                f"{float(frames.max()):.3g}. Pass integers in 0..255, or divide by 255."
            )
        scale = 255.0 if jnp.issubdtype(frames.dtype, jnp.integer) else 1.0
        scaled = (frames / scale - mean) / jnp.asarray(self.pixel_std, jnp.float32)
        return jnp.moveaxis(scaled, -1, -3)

    def to_model(self, actions: ArrayLike) -> jax.Array:
        """Environment actions `[..., T · block, a]` as model actions `[..., T, A]`."""
        actions = jnp.asarray(actions)
        size = self.action_size
        if actions.ndim < 2 or actions.shape[-1] != size or actions.shape[-2] % self.block:
            raise ValueError(
                f"Normalisation.to_model: expected [..., T * {self.block}, {size}], got "
                f"{list(actions.shape)}."
            )
        scaled = (actions - jnp.asarray(self.action_mean)) / jnp.asarray(self.action_std)
        return scaled.reshape(*actions.shape[:-2], -1, self.block * size)

    def to_environment(self, actions: ArrayLike) -> jax.Array:
        """Model actions `[..., T, A]` as environment actions `[..., T · block, a]`."""
        actions = jnp.asarray(actions)
        size = self.action_size
        if actions.ndim < 2 or actions.shape[-1] != self.block * size:
            raise ValueError(
                f"Normalisation.to_environment: expected [..., T, {self.block} * {size}], got "
                f"{list(actions.shape)}."
            )
        single = actions.reshape(*actions.shape[:-2], -1, size)
        return single * jnp.asarray(self.action_std) + jnp.asarray(self.action_mean)

    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Bounds of an environment action, `[]` or `[a]`, as bounds `[A]` for `plan(bounds=)`."""
        mean, std = jnp.asarray(self.action_mean), jnp.asarray(self.action_std)
        return (
            jnp.tile((jnp.asarray(low) - mean) / std, self.block),
            jnp.tile((jnp.asarray(high) - mean) / std, self.block),
        )
