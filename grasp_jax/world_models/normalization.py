"""Between an environment's units and a world model's: pixels, actions, blocks, bounds."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from grasp_jax._compile import usual_promotion
from grasp_jax._tree import Record

Numbers = jax.Array | np.ndarray | Sequence[float] | float

# Pixel statistics that ViT and DINOv2 encoders are trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


_LEAVES = ("action_mean", "action_std", "pixel_mean", "pixel_std")


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, eq=False)
class Normalization(Record):
    """What a world model's training did to frames and actions.

    A model step takes `action_block` environment actions of `a` numbers each, z-scored per number
    and stacked in order of time: `A = action_block · a`.

    Attributes:
      action_mean: Per number of an environment action, `[a]`, finite.
      action_std: As `action_mean`, positive and finite.
      action_block: Environment actions per model step.
      pixel_mean: Per channel, of pixels in [0, 1].
      pixel_std: As `pixel_mean`, positive and finite.

    Raises:
      TypeError, ValueError: A count or a number is not as said here (traced numbers pass).

    >>> import numpy as np
    >>> norm = Normalization([0.0, 1.0], [1.0, 2.0], action_block=2)
    >>> norm.to_model(np.array([[0.5, 5.0], [0.0, 1.0]]))
    Array([[0.5, 2. , 0. , 0. ]], dtype=float32)
    >>> norm.to_environment(norm.to_model(np.array([[0.5, 5.0], [0.0, 1.0]])))
    Array([[0.5, 5. ],
           [0. , 1. ]], dtype=float32)
    """

    action_mean: Numbers
    action_std: Numbers
    _: dataclasses.KW_ONLY
    action_block: int = 1
    pixel_mean: Numbers = IMAGENET_MEAN
    pixel_std: Numbers = IMAGENET_STD

    def __post_init__(self) -> None:
        count = self.action_block
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(
                f"Normalization.action_block must be a positive int, got {count!r:.40}."
            )
        for kind in ("action", "pixel"):
            mean, std = (f"{kind}_{part}" for part in ("mean", "std"))
            shapes = [
                (len(x),) if isinstance(x, (tuple, list)) else np.shape(x)
                for x in (getattr(self, mean), getattr(self, std))
                if isinstance(x, (tuple, list, np.ndarray, jax.Array))
            ]
            if len(set(shapes)) > 1:
                raise ValueError(
                    f"Normalization: {mean} has shape {list(shapes[0])} and {std} "
                    f"{list(shapes[1])}. Pass one number of each per {kind} channel."
                )
            _check_numbers(getattr(self, mean), mean, positive=False)
            _check_numbers(getattr(self, std), std, positive=True)

    def tree_flatten_with_keys(self) -> tuple[Any, int]:
        """The statistics as leaves, `action_block` as structure."""
        keys = map(jax.tree_util.GetAttrKey, _LEAVES)
        return [(k, getattr(self, k.name)) for k in keys], self.action_block

    @classmethod
    def tree_unflatten(cls, action_block: int, leaves: Sequence[Any]) -> "Normalization":
        """Without the constructor's checks: JAX also puts gradients and axes into a structure."""
        made = object.__new__(cls)
        for name, value in (("action_block", action_block), *zip(_LEAVES, leaves, strict=True)):
            object.__setattr__(made, name, value)
        return made

    @property
    def action_size(self) -> int:
        """`a`, numbers in one environment action."""
        mean = self.action_mean
        return len(mean) if isinstance(mean, (tuple, list)) else int(np.size(mean))

    @staticmethod
    def fit(actions: ArrayLike, *, action_block: int = 1) -> "Normalization":
        """Statistics of recorded environment actions.

        Args:
          actions: `[..., a]`; rows with a number that is not finite are left out.
          action_block: Environment actions per model step.

        Raises:
          ValueError: A number never changes, or spreads too little or too much for float32; there
            is no last axis; `action_block` is no positive int.
        """
        rows = np.asarray(actions, np.float64)
        if not rows.ndim or not rows.shape[-1]:
            raise ValueError(
                f"Normalization.fit: actions must be [..., a], got {list(rows.shape)}."
            )
        rows = rows.reshape(-1, rows.shape[-1])
        rows = rows[np.isfinite(rows).all(axis=1)]
        # Not std == 0: rounding gives the same number 501 times a deviation of 1e-16.
        still = (rows == rows[:1]).all(axis=0)
        if still.any():
            raise ValueError(
                f"Normalization.fit: actions[..., {int(np.argmax(still))}] never changes in "
                f"{len(rows)} finite rows. Drop that number, or pass action_std yourself."
            )
        with np.errstate(over="ignore", under="ignore"):
            mean, std = (x.astype(np.float32) for x in (rows.mean(axis=0), rows.std(axis=0)))
        broken = ~(np.isfinite(mean) & np.isfinite(std) & (std > 0))
        if broken.any():
            i = int(np.argmax(broken))
            raise ValueError(
                f"Normalization.fit: actions[..., {i}] has the deviation {rows[:, i].std():.3g} "
                f"around {rows[:, i].mean():.3g}, beyond float32. Rescale that number."
            )
        return Normalization(mean, std, action_block=action_block)

    @usual_promotion
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
        if frames.ndim < 3 or frames.shape[-1] != mean.size:
            raise ValueError(
                f"Normalization.pixels: expected [..., height, width, {mean.size}], got "
                f"{list(frames.shape)}. Move the channels to the end."
            )
        floats = not jnp.issubdtype(frames.dtype, jnp.integer)
        if floats and frames.size and not isinstance(frames, Tracer) and frames.max() > 1.001:
            raise ValueError(
                "Normalization.pixels: floating frames must lie in 0..1, got a maximum of "
                f"{float(frames.max()):.3g}. Pass integers in 0..255, or divide by 255."
            )
        scale = 255.0 if jnp.issubdtype(frames.dtype, jnp.integer) else 1.0
        scaled = (frames / scale - mean) / jnp.asarray(self.pixel_std, jnp.float32)
        return jnp.moveaxis(scaled, -1, -3)

    @usual_promotion
    def to_model(self, actions: ArrayLike) -> jax.Array:
        """Environment actions `[..., T · action_block, a]` as model actions `[..., T, A]`.

        Raises:
          ValueError: `actions` has another shape.
        """
        actions, size = jnp.asarray(actions), self.action_size
        if actions.ndim < 2 or actions.shape[-1] != size or actions.shape[-2] % self.action_block:
            raise ValueError(
                f"Normalization.to_model: expected [..., T * {self.action_block}, {size}], got "
                f"{list(actions.shape)}."
            )
        scaled = (actions - jnp.asarray(self.action_mean)) / jnp.asarray(self.action_std)
        return scaled.reshape(*actions.shape[:-2], -1, self.action_block * size)

    @usual_promotion
    def to_environment(self, actions: ArrayLike) -> jax.Array:
        """Model actions `[..., T, A]` as environment actions `[..., T · action_block, a]`.

        Raises:
          ValueError: `actions` has another shape.
        """
        actions, size = jnp.asarray(actions), self.action_size
        if actions.ndim < 2 or actions.shape[-1] != self.action_block * size:
            raise ValueError(
                f"Normalization.to_environment: expected [..., T, {self.action_block} * {size}], "
                f"got {list(actions.shape)}."
            )
        single = actions.reshape(*actions.shape[:-2], -1, size)
        return single * jnp.asarray(self.action_std) + jnp.asarray(self.action_mean)

    @usual_promotion
    def bounds(self, low: ArrayLike, high: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Bounds of an environment action, `[]` or `[a]`, as bounds `[A]` for `plan(bounds=)`."""
        mean, std = jnp.asarray(self.action_mean), jnp.asarray(self.action_std)
        return (
            jnp.tile((jnp.asarray(low) - mean) / std, self.action_block),
            jnp.tile((jnp.asarray(high) - mean) / std, self.action_block),
        )


def _check_numbers(value: Any, name: str, positive: bool) -> None:
    """Raises ValueError unless numbers are finite, and positive where they must be.

    What is traced passes.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves(value)):
        return
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Normalization.{name} must be a number or an array of them, got "
            f"{type(value).__name__}: {value!r:.60}."
        ) from error
    wrong = ~np.isfinite(numbers) | ((numbers <= 0) & positive)
    if wrong.any():
        raise ValueError(
            f"Normalization.{name} must be {'positive and finite' if positive else 'finite'}, got "
            f"{numbers[wrong].flat[0]:.3g}"
            + (". A number that never changes has no deviation: pass 1." if positive else ".")
        )
