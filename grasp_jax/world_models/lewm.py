"""LeWM: latents of a ViT's class token, predicted by a causal transformer on the last frames.

The architecture of the public LeWM and PLDM checkpoints (the same names and shapes), frozen, for
planning. One frame is one latent; actions steer every block by AdaLN-zero.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from grasp_jax._compile import usual_promotion
from grasp_jax._tree import cost_dtype
from grasp_jax.objectives import Objective, squared_distance
from grasp_jax.prepared import PreparedModel
from grasp_jax.problem import Context
from grasp_jax.world_models._layers import (
    Weights,
    attention,
    block_shapes,
    check_pixels,
    check_sizes,
    check_window,
    feed_forward,
    layer_norm,
    linear,
    normalize,
    only_present,
    part,
    pointwise_conv,
    projection,
    random_weights,
    window_mask,
)
from grasp_jax.world_models.vit import ViTConfig, check_encoder, vit, vit_shapes


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeWMConfig:
    """Sizes of a LeWM; the defaults are those of the public checkpoints.

    Attributes:
      action_size: `A`, numbers in a block of stacked environment actions.
      latent: `D`.
      frames: Longest window `h`.
      depth: Blocks of the predictor.
      heads: Attention heads of the predictor, 64 numbers each.
      hidden: Width of its feed-forward layers and of both projections.
      encoder: The image encoder.
      action_block: Environment actions in `A` numbers, for noise on them. PyTorch checkpoints do
        not say it; stable-worldmodel's solver sets it.
    """

    action_size: int = 10
    latent: int = 192
    frames: int = 3
    depth: int = 6
    heads: int = 16
    hidden: int = 2048
    encoder: ViTConfig = ViTConfig()
    action_block: int = 1

    def __post_init__(self) -> None:
        check_sizes(self)
        check_encoder(self)
        if self.encoder.width != self.latent:
            raise ValueError(
                f"LeWMConfig: latent={self.latent} must be the encoder's width, "
                f"{self.encoder.width}: a latent is the encoder's class token, projected."
            )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every weight."""
        d, hidden = self.latent, self.hidden
        found = {
            **vit_shapes(self.encoder, "encoder"),
            "predictor.pos_embedding": (1, self.frames, d),
            "predictor.transformer.norm.weight": (d,),
            "predictor.transformer.norm.bias": (d,),
            "action_encoder.patch_embed.weight": (self.action_size, self.action_size, 1),
            "action_encoder.patch_embed.bias": (self.action_size,),
            "action_encoder.embed.0.weight": (4 * d, self.action_size),
            "action_encoder.embed.0.bias": (4 * d,),
            "action_encoder.embed.2.weight": (d, 4 * d),
            "action_encoder.embed.2.bias": (d,),
        }
        for i in range(self.depth):
            block = {
                **block_shapes(d, self.heads, hidden, "attn", "mlp"),
                "adaLN_modulation.1.weight": (6 * d, d),
                "adaLN_modulation.1.bias": (6 * d,),
            }
            found |= {f"predictor.transformer.layers.{i}.{k}": s for k, s in block.items()}
        for name in ("projector", "pred_proj"):
            widths = {"net.0.weight": (hidden, d), "net.3.weight": (d, hidden), "net.3.bias": (d,)}
            per_unit = ("net.0.bias", "net.1.weight", "net.1.bias")
            per_unit += ("net.1.running_mean", "net.1.running_var")
            widths |= dict.fromkeys(per_unit, (hidden,))
            found |= {f"{name}.{k}": s for k, s in widths.items()}
        return found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class LeWM(PreparedModel):
    """A frozen LeWM; itself the dynamics that `plan` takes.

    Plan with `context=model.empty_context()` (or with real frames) to let the predictor read a
    window, without one to show it the present frame alone. It is called on windows `[h, D]` of
    latents and `[h, A]` of actions, or on one of each, and returns the next latent `[D]`.

    Attributes:
      weights: `{name: array}`, as in the PyTorch checkpoint.
      config: Sizes.

    >>> encoder = ViTConfig(width=16, depth=1, heads=1, hidden=16, patch=4, image=8, pos_grid=2)
    >>> sizes = LeWMConfig(action_size=2, latent=16, depth=1, heads=1, hidden=16, encoder=encoder)
    >>> model = LeWM.random(jax.random.key(0), sizes)
    >>> latents = model.encode(jnp.zeros((3, 3, 8, 8)))  # 3 frames
    >>> model(latents, jnp.zeros((3, 2))).shape  # the latent after them
    (16,)
    >>> model.empty_context().present  # no frames before now
    Array([False, False], dtype=bool)
    """

    weights: Weights
    config: LeWMConfig = dataclasses.field(default=LeWMConfig(), metadata={"static": True})

    @staticmethod
    def random(key: jax.Array, config: LeWMConfig = LeWMConfig()) -> "LeWM":
        """A model with random weights of a sensible scale, for tests and timings."""
        return LeWM(random_weights(key, config.shapes()), config)

    @property
    def environment_actions_per_step(self) -> int:
        """See `grasp_jax.prepared.environment_actions_per_step`."""
        return self.config.action_block

    @property
    def training_action_std(self) -> float:
        """Training z-scores actions, see `grasp_jax.prepared.training_action_std`."""
        return 1.0

    @property
    def objective(self) -> Objective:
        """The authors' goal cost: the squared distance of the last latent to the goal's."""
        return Objective(terminal_cost=squared_distance)

    @usual_promotion
    def encode(self, pixels: jax.Array) -> jax.Array:
        """Latents of frames.

        Args:
          pixels: `[..., 3, height, width]`, normalized as in training.

        Returns:
          `[..., D]`.

        Raises:
          ValueError: frames of another shape.
        """
        check_pixels(pixels, self.config.encoder.image, "LeWM.encode")
        frames = pixels.reshape(-1, *pixels.shape[-3:])
        tokens = jax.vmap(lambda x: vit(self.weights, "encoder", self.config.encoder, x))(frames)
        latents = projection(self.weights, "projector", tokens[:, 0])
        return latents.reshape(*pixels.shape[:-3], -1)

    def empty_context(self, frames: int | None = None) -> Context:
        """A context for an episode's first moment: no frames before now.

        Windows start short and grow as the plan goes on, as in the authors' rollout.

        Args:
          frames: How many frames before now the plan's windows have room for, at most (and by
            default) `config.frames - 1`.
        """
        frames = self.config.frames - 1 if frames is None else frames
        dtype = cost_dtype(self.weights["predictor.pos_embedding"].dtype)
        latents = jnp.zeros((frames, self.config.latent), dtype)
        actions = jnp.zeros((frames, self.config.action_size), dtype)
        return Context(latents, actions, jnp.zeros(frames, bool))

    @usual_promotion
    def prepare_actions(self, actions: jax.Array) -> list[jax.Array]:
        """All that the predictor reads of actions: `[..., A]` to one `[..., 6, D]` per block."""
        w, config = self.weights, self.config
        x = pointwise_conv(w, "action_encoder.patch_embed", actions)
        x = jax.nn.silu(linear(w, "action_encoder.embed.0", x))
        x = jax.nn.silu(linear(w, "action_encoder.embed.2", x))
        # A list, not an array: XLA compiles kernels that are alike once, but what cuts a block's
        # share out of an array differs from block to block.
        blocks = [
            linear(w, f"predictor.transformer.layers.{i}.adaLN_modulation.1", x)
            for i in range(config.depth)
        ]
        return [block.reshape(*block.shape[:-1], 6, config.latent) for block in blocks]

    @usual_promotion
    def step_prepared(
        self, states: jax.Array, prepared: list[jax.Array], present: jax.Array | None = None
    ) -> jax.Array:
        """The next latent `[D]`.

        Args:
          states: Latents `[h, D]` or `[D]`.
          prepared: Prepared actions, `depth x [h, 6, D]` or `[6, D]`.
          present: `[h]` bool, which frames of the window are there; None: all.

        Raises:
          ValueError: The window is longer than `config.frames`.
        """
        if states.ndim == 1:
            states, prepared = states[None], [block[None] for block in prepared]
        check_window(len(states), self.config.frames, "LeWM")
        mask, places = window_mask(len(states), present)
        x = only_present(present, states) + self.weights["predictor.pos_embedding"][0, places]
        conditions = [only_present(present, c) for c in prepared]
        for i in range(self.config.depth):
            block = part(self.weights, f"predictor.transformer.layers.{i}")
            # Nobody reads the other rows after the last block.
            last = i == self.config.depth - 1
            x = _block(block, x, conditions[i], mask, self.config.heads, last)
        x = layer_norm(self.weights, "predictor.transformer.norm", x[-1])
        return projection(self.weights, "pred_proj", x)


# Compiled apart so that six blocks are traced as one; XLA inlines them.
@functools.partial(jax.jit, static_argnames=("heads", "last"))
def _block(
    weights: Weights, x: jax.Array, condition: jax.Array, mask: jax.Array, heads: int, last: bool
) -> jax.Array:
    """One AdaLN-zero block on `[h, D]`; `condition` `[h, 6, D]`; of the last only the last row."""
    rows = slice(-1, None) if last else slice(None)
    shift, scale, gate, shift_2, scale_2, gate_2 = jnp.moveaxis(condition, 1, 0)
    steered = normalize(x, 1e-6) * (1 + scale) + shift
    mixed = attention(weights, "attn", steered, mask, heads, rows)
    x = x[rows] + gate[rows] * mixed
    steered = normalize(x, 1e-6) * (1 + scale_2[rows]) + shift_2[rows]
    return x + gate_2[rows] * feed_forward(weights, "mlp", steered)
