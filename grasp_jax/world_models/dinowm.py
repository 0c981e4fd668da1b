"""DINO-WM (PreJEPA): frozen DINOv2 patches, predicted by a frame-causal transformer.

The architecture of the public checkpoints, with or without proprioception, for planning. One frame
is a grid of patch features; the embeddings of proprioception and action are appended to each patch.
"""

import dataclasses

import jax
import jax.numpy as jnp

from grasp_jax._compile import usual_promotion
from grasp_jax._fields import Scalar
from grasp_jax._tree import PyTree, Record, cost_dtype
from grasp_jax.objectives import Objective, squares
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
    only_present,
    pointwise_conv,
    random_weights,
    window_mask,
)
from grasp_jax.world_models.vit import DINOV2_SMALL, ViTConfig, check_encoder, vit, vit_shapes

State = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DinoWMConfig:
    """Sizes of a DINO-WM; the defaults are those of stable-worldmodel's checkpoints.

    Attributes:
      action_size: `A`, numbers in a block of stacked environment actions.
      proprio_size: Numbers of proprioception per frame; 0 for a model without.
      embedding: Numbers that embed an action, and proprioception.
      frames: Longest window `h`.
      depth: Blocks of the predictor.
      heads: Attention heads of the predictor, 64 numbers each.
      hidden: Width of its feed-forward layers.
      encoder: The frozen image encoder; 224 pixels make 256 patches, 196 make DINO-WM's 196.
      action_block: Environment actions in `A` numbers, for noise on them. PyTorch checkpoints do
        not say it; stable-worldmodel's solver sets it.
    """

    action_size: int = 10
    proprio_size: int = 4
    embedding: int = 10
    frames: int = 3
    depth: int = 6
    heads: int = 16
    hidden: int = 2048
    encoder: ViTConfig = DINOV2_SMALL
    action_block: int = 1

    def __post_init__(self) -> None:
        check_sizes(self, may_be_zero=("proprio_size",))
        check_encoder(self)

    @property
    def patches(self) -> int:
        """`P`, patches per frame."""
        return (self.encoder.image // self.encoder.patch) ** 2

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every weight."""
        sizes = {"proprio": self.proprio_size} if self.proprio_size else {}
        sizes["action"] = self.action_size
        width = self.encoder.width + len(sizes) * self.embedding
        found: dict[str, tuple[int, ...]] = {
            **vit_shapes(self.encoder, "backbone"),
            "predictor.pos_embedding": (1, self.frames * self.patches, width),
            "predictor.transformer.norm.weight": (width,),
            "predictor.transformer.norm.bias": (width,),
        }
        for i in range(self.depth):
            block = block_shapes(width, self.heads, self.hidden, "0", "1")
            found |= {f"predictor.transformer.layers.{i}.{k}": s for k, s in block.items()}
        for name, size in sizes.items():
            found[f"extra_encoders.{name}.patch_embed.weight"] = (self.embedding, size, 1)
            found[f"extra_encoders.{name}.patch_embed.bias"] = (self.embedding,)
        return found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class PatchDistance(Record):
    """DINO-WM's goal cost: mean over patches, plus `α` times the mean over proprioception.

    Attributes:
      alpha: `α`, traced; ignored by models without proprioception.

    >>> goal = {"patches": jnp.zeros((4, 3)), "proprio": jnp.zeros((4, 2))}
    >>> float(PatchDistance(alpha=0.5)(jax.tree.map(jnp.ones_like, goal), goal))
    1.5
    """

    alpha: Scalar = 1.0

    def __call__(self, state: State, goal: State) -> jax.Array:
        """`[]`."""
        cost = jnp.mean(squares(state["patches"] - goal["patches"]))
        if "proprio" not in state:
            return cost
        # Every patch predicts its own copy; the authors read the first.
        return cost + self.alpha * jnp.mean(squares(state["proprio"][0] - goal["proprio"][0]))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DinoWM(PreparedModel):
    """A frozen DINO-WM; itself the dynamics that `plan` takes.

    A state is `{"patches": [P, width], "proprio": [P, embedding]}`, or the patches alone. It is
    called on windows with leaves `[h, ...]` and `[h, A]`, or on one of each.

    Attributes:
      weights: `{name: array}`, as in the PyTorch checkpoint.
      config: Sizes.

    >>> encoder = ViTConfig(width=16, depth=1, heads=1, hidden=16, patch=4, image=8, pos_grid=2)
    >>> model = DinoWM.random(
    ...     jax.random.key(0),
    ...     DinoWMConfig(action_size=2, proprio_size=3, depth=1, heads=1, encoder=encoder),
    ... )
    >>> state = model.encode(jnp.zeros((3, 8, 8)), jnp.zeros(3))
    >>> {name: x.shape for name, x in model(state, jnp.zeros(2)).items()}
    {'patches': (4, 16), 'proprio': (4, 10)}
    """

    weights: Weights
    config: DinoWMConfig = dataclasses.field(default=DinoWMConfig(), metadata={"static": True})

    @staticmethod
    def random(key: jax.Array, config: DinoWMConfig = DinoWMConfig()) -> "DinoWM":
        """A model with random weights of a sensible scale, for tests and timings."""
        return DinoWM(random_weights(key, config.shapes()), config)

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
        """The authors' goal cost, with `α = 1`."""
        return Objective(terminal_cost=PatchDistance())

    @usual_promotion
    def encode(self, pixels: jax.Array, proprio: jax.Array | None = None) -> State:
        """States of frames.

        Args:
          pixels: `[..., 3, height, width]`, normalized as in training.
          proprio: `[..., proprio_size]`, normalized; for models that have it.

        Returns:
          Leaves `[..., P, width]` and `[..., P, embedding]`.

        Raises:
          ValueError: frames of another shape; proprioception missing, or given to a model without.
        """
        check_pixels(pixels, self.config.encoder.image, "DinoWM.encode")
        lead, config = pixels.shape[:-3], self.config
        if (proprio is not None) != bool(config.proprio_size):
            raise ValueError(
                f"DinoWM.encode: this model has proprio_size={config.proprio_size}, got proprio="
                f"{None if proprio is None else list(proprio.shape)}."
            )
        frames = pixels.reshape(-1, *pixels.shape[-3:])
        tokens = jax.vmap(lambda x: vit(self.weights, "backbone", config.encoder, x))(frames)
        state = {"patches": tokens[:, 1:].reshape(*lead, config.patches, -1)}
        if proprio is not None:
            embedded = pointwise_conv(self.weights, "extra_encoders.proprio.patch_embed", proprio)
            shape = (*lead, config.patches, config.embedding)
            state["proprio"] = jnp.broadcast_to(embedded[..., None, :], shape)
        return state

    def empty_context(self, frames: int | None = None) -> Context:
        """A context for an episode's first moment; see `LeWM.empty_context`."""
        frames = self.config.frames - 1 if frames is None else frames
        dtype = cost_dtype(self.weights["predictor.pos_embedding"].dtype)
        sizes = {"patches": self.config.encoder.width}
        if self.config.proprio_size:
            sizes["proprio"] = self.config.embedding
        states = {k: jnp.zeros((frames, self.config.patches, n), dtype) for k, n in sizes.items()}
        actions = jnp.zeros((frames, self.config.action_size), dtype)
        return Context(states, actions, jnp.zeros(frames, bool))

    @usual_promotion
    def prepare_actions(self, actions: jax.Array) -> jax.Array:
        """Embedded actions: `[..., A]` to `[..., embedding]`."""
        return pointwise_conv(self.weights, "extra_encoders.action.patch_embed", actions)

    @usual_promotion
    def step_prepared(
        self, states: PyTree, prepared: jax.Array, present: jax.Array | None = None
    ) -> State:
        """The next state.

        Args:
          states: A window of states, leaves `[h, ...]`, or one.
          prepared: Prepared actions, `[h, embedding]` or `[embedding]`.
          present: `[h]` bool, which frames of the window are there; None: all.

        Raises:
          ValueError: The window is longer than `config.frames`.
        """
        if prepared.ndim == 1:
            states, prepared = jax.tree.map(lambda x: x[None], (states, prepared))
        check_window(len(prepared), self.config.frames, "DinoWM")
        patches, config = self.config.patches, self.config
        tiled = jnp.broadcast_to(
            prepared[:, None], (*states["patches"].shape[:2], prepared.shape[-1])
        )
        parts = [states["patches"], *([states["proprio"]] if config.proprio_size else []), tiled]
        frames = only_present(present, jnp.concatenate(parts, axis=-1))

        mask, places = window_mask(len(frames), present)
        table = self.weights["predictor.pos_embedding"][0].reshape(config.frames, patches, -1)
        x = (frames + table[places]).reshape(-1, frames.shape[-1])
        mask = jnp.repeat(jnp.repeat(mask, patches, 0), patches, 1)
        for i in range(config.depth):
            name = f"predictor.transformer.layers.{i}"
            # Nobody reads the older frames after the last block.
            rows = slice(-patches, None) if i == config.depth - 1 else slice(None)
            x = x[rows] + attention(self.weights, f"{name}.0", x, mask, config.heads, rows)
            x = x + feed_forward(self.weights, f"{name}.1", x)
        x = layer_norm(self.weights, "predictor.transformer.norm", x[-patches:])
        width = config.encoder.width
        following = {"patches": x[:, :width]}
        if config.proprio_size:
            following["proprio"] = x[:, width : width + config.embedding]
        return following
