"""A learned state world model of Push-T: one call advances five environment steps.

The agent's motion is linear in (position, velocity, target) and is identified from data by least
squares. The block's motion per environment step is a small MLP on features of the agent's path
and of the walls in the block's frame, shared by the five environment steps of a model step.
Planning states are described in `pusht_planning_state`, whose names are offered here too.
"""

import functools
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

import grasp_jax
from experiments.models.checkpoint import checkpoint_path, fill, read, write
from experiments.models.pusht_state.coordinates import (
    ACTION_SIZE,
    ACTION_STD,
    ANGLE_RADIUS,
    FRAMESKIP,
    PIXELS,
    STATE_SIZE,
    VELOCITY_SCALE,
    decode,
    encode,
    errors,
    goal_distance,
    predicted_success,
    split_actions,
    stack_actions,
)
from experiments.models.pusht_state.features import (
    ARENA,
    COG,
    FEATURES,
    PATH_TIMES,
    agent_path,
    block_features,
    rotate,
    unit,
)

__all__ = [
    "ACTION_SIZE",
    "ACTION_STD",
    "ANGLE_RADIUS",
    "FRAMESKIP",
    "PIXELS",
    "STATE_SIZE",
    "VELOCITY_SCALE",
    "PushTStateModel",
    "decode",
    "encode",
    "errors",
    "fit_agent",
    "goal_distance",
    "init_model",
    "load_model",
    "predicted_success",
    "save_model",
    "split_actions",
    "stack_actions",
    "step_gate",
]

DEFAULT_CHECKPOINT = checkpoint_path("pusht_state")


class PushTStateModel(eqx.Module):
    """One model step = five environment steps of Push-T.

    Attributes:
        agent: [len(PATH_TIMES), 2, 2] maps of (position - target, velocity * 0.1 s) from the start
            of an environment step to each path time.
        weights: matrices [in, out] of the MLP.
        biases: vectors [out] of the MLP.
    """

    agent: Array
    weights: list[Array]
    biases: list[Array]

    @property
    def frameskip(self) -> int:
        """Environment steps in a model step."""
        return FRAMESKIP

    @property
    def history(self) -> int:
        """States in a window."""
        return 1

    @property
    def action_size(self) -> int:
        """Numbers in a planning action."""
        return ACTION_SIZE

    @property
    def bounds(self) -> tuple[float, float]:
        """Of planning actions; environment actions lie in [-1, 1]."""
        return -1 / ACTION_STD, 1 / ACTION_STD

    @property
    def environment_actions_per_step(self) -> int:
        """Environment actions in a planning action."""
        return self.frameskip

    @property
    def training_action_std(self) -> float:
        """Planning actions count in the deviation of the data's."""
        return 1.0

    @property
    def objective(self) -> grasp_jax.Objective:
        """Squared distance of all but the velocity."""
        return grasp_jax.Objective(terminal_cost=goal_distance)

    def encode(self, states: Any) -> Any:
        """Planning states [..., 8] of simulator states [..., 10]."""
        return encode(states)

    def to_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """Planning actions [..., T, 10] to environment actions [..., 5 T, 2]."""
        return np.clip(split_actions(np.asarray(actions)), -1, 1)

    def from_environment(self, actions: ArrayLike) -> NDArray[np.float32]:
        """The inverse of `to_environment`."""
        return stack_actions(np.asarray(actions))

    def measure(self, states: Any) -> Any:
        """Planning states [..., 8] as they are."""
        return states

    def __call__(self, state: Array, action: Array) -> Array:
        """Advances one state by five environment steps.

        Args:
            state: [8] planning state; its (cos, sin) entries may lie off the circle.
            action: [10] five stacked relative actions in units of ACTION_STD.

        Returns:
            [8] next planning state, its (cos, sin) entries on the circle.
        """
        c, s = unit(state[4], state[5])
        cog = state[2:4] + rotate(c, s, jnp.asarray(COG, state.dtype))

        # Recomputing each step in the backward pass halves its time on CPU: the residuals would
        # not fit the cache. The scan also compiles three times faster than five copies.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def step(carry: tuple[Array, ...], displacement: Array) -> tuple[tuple[Array, ...], None]:
            position, velocity, cog, c, s = carry
            return self.environment_step(position, velocity, cog, c, s, displacement), None

        carry, _ = jax.lax.scan(
            step,
            (state[0:2], state[6:8], cog, c, s),
            (action * ACTION_STD).reshape(FRAMESKIP, 2),
        )
        position, velocity, cog, c, s = carry
        block = cog - rotate(c, s, jnp.asarray(COG, state.dtype))
        return jnp.concatenate([position, block, ANGLE_RADIUS * jnp.stack([c, s]), velocity])

    def environment_step(
        self, position: Array, velocity: Array, cog: Array, c: Array, s: Array, displacement: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Advances one environment step.

        Args:
            position: [2] agent position.
            velocity: [2] agent velocity.
            cog: [2] centre of gravity of the block.
            c: [] cosine of the block's angle; with s on the circle.
            s: [] sine of the block's angle.
            displacement: [2] the target's offset from the agent.

        Returns:
            The first five arguments, one environment step later.
        """
        path, final_velocity = agent_path(self.agent, position, velocity, displacement)
        features, gate = block_features(path, velocity, cog, c, s)
        twist = gate * self.mlp(features)
        # The Cayley map keeps the rotation on the circle and needs no cos or sin.
        half = 0.5 * twist[2]
        scale = 1.0 / (1.0 + half * half)
        dc, ds = (1.0 - half * half) * scale, 2.0 * half * scale
        cog = cog + rotate(c, s, twist[:2])
        return path[-1], final_velocity, cog, dc * c - ds * s, ds * c + dc * s

    def mlp(self, x: Array) -> Array:
        """Features [FEATURES] to the block's twist [3]: cog displacement in its frame, angle."""
        last = len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ w.astype(x.dtype) + b.astype(x.dtype)
            x = jnp.tanh(x) if i < last else x
        return x


def step_gate(agent: Array, state: Array, action: Array) -> Array:
    """Gate [] of one environment step: 0 where the model cannot move the block.

    Args:
        agent: [len(PATH_TIMES), 2, 2] from `fit_agent`.
        state: [10] simulator state.
        action: [2] environment action.
    """
    x = encode(state)
    c, s = x[4] / ANGLE_RADIUS, x[5] / ANGLE_RADIUS
    cog = x[2:4] + rotate(c, s, jnp.asarray(COG, x.dtype))
    return block_features(agent_path(agent, x[0:2], x[6:8], action)[0], x[6:8], cog, c, s)[1]


def init_model(key: Array, agent: np.ndarray, widths: tuple[int, ...]) -> PushTStateModel:
    """A fresh model.

    Args:
        key: PRNG key.
        agent: [len(PATH_TIMES), 2, 2] from `fit_agent`.
        widths: hidden widths of the MLP.

    Returns:
        A float32 model whose block hardly moves yet.
    """
    sizes = (FEATURES, *widths, 3)
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    weights = [jax.random.normal(k, (m, n)) * np.sqrt(1.5 / m) for k, m, n in shapes]
    weights[-1] = weights[-1] * 0.05
    biases = [jnp.zeros(n) for n in sizes[1:]]
    return PushTStateModel(jnp.asarray(agent, jnp.float32), weights, biases)


def fit_agent(states: np.ndarray | Array, actions: np.ndarray | Array) -> np.ndarray:
    """Identifies the agent's linear motion by least squares.

    Args:
        states: [..., T + 1, 10] simulator states.
        actions: [..., T, 2] environment actions.

    Returns:
        [len(PATH_TIMES), 2, 2] float64 maps of (position - target, velocity * 0.1 s).
    """
    s = np.asarray(states, np.float64)
    actions = np.asarray(actions, np.float64)
    target = np.clip(s[..., :-1, 0:2] + PIXELS * actions, 0.0, PIXELS * ARENA)
    velocity = PIXELS / VELOCITY_SCALE * s[..., 2:4]
    before = np.stack([s[..., :-1, 0:2] - target, velocity[..., :-1, :]], -1).reshape(-1, 2)
    after = np.stack([s[..., 1:, 0:2] - target, velocity[..., 1:, :]], -1).reshape(-1, 2)
    values, vectors = np.linalg.eig(np.linalg.lstsq(before, after, rcond=None)[0].T)
    powers = [(vectors * values.astype(complex) ** t) @ np.linalg.inv(vectors) for t in PATH_TIMES]
    return np.stack(powers).real


def save_model(model: PushTStateModel, path: str | pathlib.Path = DEFAULT_CHECKPOINT) -> None:
    """Writes the model's arrays and widths to a safetensors file."""
    write(path, model, {"widths": [len(bias) for bias in model.biases[:-1]]})


def load_model(path: str | pathlib.Path = DEFAULT_CHECKPOINT) -> PushTStateModel:
    """Reads a model written by `save_model`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of this model; the message names the tensor.
    """
    path, tensors, config = read(path)
    # The shipped file is older than its kind's config.
    widths = config.get("widths") if config else None
    if widths is None:
        layers = sorted(name for name in tensors if name.startswith("weights."))
        widths = [tensors[name].shape[-1] for name in layers[:-1]]
    agent = np.zeros((len(PATH_TIMES), 2, 2))
    key = jax.random.key(0)
    return fill(lambda: init_model(key, agent, tuple(widths)), path, tensors)
