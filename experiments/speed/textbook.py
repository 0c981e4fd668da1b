"""GRASP as one writes it down in PyTorch, to time ours against: Adam, autograd, one step at a time.

The author's loop (Psenka et al. 2026) on LeWM's predictor: virtual states and actions descend the
lifted objective, and every `K` iterations a few Adam steps go through the serial rollout. The
lifted loss comes in two forms with the same value: a Python loop over the `T` terms, and all terms
in one batch. Nothing is jitted; the layers are PyTorch's own.

`D` is the latent size, `A` the action size, `T` the horizon, `h` the frames a prediction reads.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

Tensor = Any


@dataclasses.dataclass(frozen=True)
class Predictor:
    """LeWM's predictor and action encoder.

    Attributes:
      weights: `{name: tensor}`, as in a checkpoint.
      depth: Transformer blocks.
      heads: Attention heads.
    """

    weights: Mapping[str, Tensor]
    depth: int = 6
    heads: int = 16

    def linear(self, name: str, x: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Layer normalization with scale and shift."""
        w, b = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], w, b)

    def embed(self, actions: Tensor) -> Tensor:
        """Actions `[B, n, A]` to `[B, n, D]`."""
        w, b = (self.weights[f"action_encoder.patch_embed.{k}"] for k in ("weight", "bias"))
        x = F.conv1d(actions.transpose(1, 2), w, b).transpose(1, 2)
        x = F.silu(self.linear("action_encoder.embed.0", x))
        return self.linear("action_encoder.embed.2", x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Causal attention within windows `[B, n, D]`."""
        qkv = self.linear(f"{name}.to_qkv", self.norm(f"{name}.norm", x)).chunk(3, dim=-1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in qkv)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.linear(f"{name}.to_out.0", mixed.transpose(1, 2).flatten(2))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        """Normalization and two layers."""
        x = self.linear(f"{name}.net.1", self.norm(f"{name}.net.0", x))
        return self.linear(f"{name}.net.4", F.gelu(x))

    def __call__(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The latent after each frame of windows: `[B, n, D]` and `[B, n, A]` to `[B, n, D]`."""
        condition = F.silu(self.embed(actions))
        x = latents + self.weights["predictor.pos_embedding"][:, : latents.shape[1]]
        for i in range(self.depth):
            name = f"predictor.transformer.layers.{i}"
            parts = self.linear(f"{name}.adaLN_modulation.1", condition).chunk(6, dim=-1)
            shift, scale, gate, shift_2, scale_2, gate_2 = parts
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
            x = x + gate * self.attention(f"{name}.attn", normed * (1 + scale) + shift)
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6)
            x = x + gate_2 * self.mlp(f"{name}.mlp", normed * (1 + scale_2) + shift_2)
        x = self.linear("pred_proj.net.0", self.norm("predictor.transformer.norm", x))
        w = {k: self.weights[f"pred_proj.net.1.{k}"] for k in ("weight", "bias")}
        stats = (self.weights[f"pred_proj.net.1.running_{k}"] for k in ("mean", "var"))
        x = F.batch_norm(x.flatten(0, 1), *stats, **w).unflatten(0, x.shape[:2])
        return self.linear("pred_proj.net.3", F.gelu(x))


def predictor(weights: Mapping[str, Any], depth: int, heads: int) -> Predictor:
    """A predictor from arrays that NumPy can read, such as `LeWM.weights`."""
    import numpy as np

    copies = {name: torch.tensor(np.asarray(x)) for name, x in weights.items()}
    return Predictor(copies, depth, heads)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The author's numbers.

    Attributes:
      iterations: Lifted iterations.
      state_rate: Adam's rate for the virtual states.
      action_rate: Adam's rate for the actions.
      goal_weight: `γ`.
      state_noise: `σ`.
      sync_every: `K`.
      sync_steps: `J`.
      sync_rate: Adam's rate in the sync.
      lifted_frames: `h` in the lifted phase; the author's code feeds one frame.
      sync_frames: `h` in the sync.
    """

    iterations: int = 750
    state_rate: float = 0.1
    action_rate: float = 0.005
    goal_weight: float = 1.0
    state_noise: float = 0.005
    sync_every: int = 50
    sync_steps: int = 10
    sync_rate: float = 0.05
    lifted_frames: int = 1
    sync_frames: int = 3


@dataclasses.dataclass(frozen=True)
class Search:
    """Variables and their optimisers, changed in place.

    Attributes:
      states: Virtual states `s_1..s_{T-1}`, `[T-1, D]`.
      actions: `[T, A]`.
      state_adam: Of the states.
      action_adam: Of the actions.
    """

    states: Tensor
    actions: Tensor
    state_adam: Any
    action_adam: Any


Loss = Callable[..., Any]


def begin(start: Tensor, goal: Tensor, actions: Tensor, settings: Settings) -> Search:
    """Virtual states on the straight line from `start` `[D]` to `goal` `[D]`."""
    along = torch.arange(1, len(actions))[:, None] / len(actions)
    return _search(start + along * (goal - start), actions.clone(), settings)


def _search(states: Tensor, actions: Tensor, settings: Settings) -> Search:
    states, actions = (x.detach().requires_grad_() for x in (states, actions))
    return Search(
        states,
        actions,
        torch.optim.Adam([states], lr=settings.state_rate),
        torch.optim.Adam([actions], lr=settings.action_rate),
    )


def loop_loss(
    model: Predictor, search: Search, start: Tensor, goal: Tensor, settings: Settings
) -> Tensor:
    """The lifted objective `[]`, one of the `T` terms after the other."""
    trajectory, loss = [start, *search.states, goal], torch.zeros(())
    for t in range(len(search.actions)):
        first = max(0, t + 1 - settings.lifted_frames)
        window = torch.stack(trajectory[first : t + 1]).detach()[None]
        predicted = model(window, search.actions[None, first : t + 1])[0, -1]
        loss = loss + (predicted - trajectory[t + 1]).square().sum()
        loss = loss + settings.goal_weight * (predicted - goal).square().sum()
    return loss


def batched_loss(
    model: Predictor, search: Search, start: Tensor, goal: Tensor, settings: Settings
) -> Tensor:
    """The same number, all `T` windows in one batch."""
    steps = len(search.actions)
    times = torch.arange(steps)
    trajectory = torch.cat([start[None], search.states, goal[None]])
    # Short windows are filled up at their end, which causal attention does not read.
    first = (times + 1 - settings.lifted_frames).clamp(min=0)
    windows = (first[:, None] + torch.arange(settings.lifted_frames)).clamp(max=steps - 1)
    predicted = model(trajectory[windows].detach(), search.actions[windows])[times, times - first]
    loss = (predicted - trajectory[1:]).square().sum()
    return loss + settings.goal_weight * (predicted - goal).square().sum()


def lifted_iteration(
    model: Predictor,
    search: Search,
    start: Tensor,
    goal: Tensor,
    settings: Settings,
    loss: Loss = loop_loss,
) -> None:
    """One update of states and actions; `loss` is `loop_loss` or `batched_loss`."""
    search.state_adam.zero_grad()
    search.action_adam.zero_grad()
    loss(model, search, start, goal, settings).backward()
    search.state_adam.step()
    search.action_adam.step()
    with torch.no_grad():
        search.states.add_(settings.state_noise * torch.randn_like(search.states))


def rollout_loss(
    model: Predictor, actions: Tensor, start: Tensor, goal: Tensor, frames: int
) -> Tensor:
    """`||s_T - g||²` `[]` of the serial rollout of `[T, A]` actions."""
    trajectory = [start]
    for t in range(len(actions)):
        first = max(0, t + 1 - frames)
        window = torch.stack(trajectory[first:])[None]
        trajectory.append(model(window, actions[None, first : t + 1])[0, -1])
    return (trajectory[-1] - goal).square().sum()


def sync_step(
    model: Predictor, actions: Tensor, adam: Any, start: Tensor, goal: Tensor, settings: Settings
) -> None:
    """One Adam step on `actions` through the serial rollout."""
    adam.zero_grad()
    rollout_loss(model, actions, start, goal, settings.sync_frames).backward()
    adam.step()


def synchronise(
    model: Predictor, search: Search, start: Tensor, goal: Tensor, settings: Settings
) -> Search:
    """`J` steps of sync; the virtual states stay, all optimisers start anew."""
    actions = search.actions.detach().clone().requires_grad_()
    adam = torch.optim.Adam([actions], lr=settings.sync_rate)
    for _ in range(settings.sync_steps):
        sync_step(model, actions, adam, start, goal, settings)
    return _search(search.states, actions, settings)


def plan(
    model: Predictor,
    start: Tensor,
    goal: Tensor,
    actions: Tensor,
    settings: Settings = Settings(),
    loss: Loss = loop_loss,
) -> Tensor:
    """The author's plan: `[T, A]` actions after `settings.iterations`."""
    search = begin(start, goal, actions, settings)
    for iteration in range(settings.iterations):
        lifted_iteration(model, search, start, goal, settings, loss)
        if (iteration + 1) % settings.sync_every == 0:
            search = synchronise(model, search, start, goal, settings)
    return search.actions.detach()
