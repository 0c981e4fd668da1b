"""A learned state world model of Push-T: one call advances five environment steps.

The agent's motion is linear in (position, velocity, target) and is identified from data by least
squares. The block's motion per environment step is a small MLP on features of the agent's path
and of the walls in the block's frame, shared by the five environment steps of a model step.
Planning states are described in `pusht_planning_state`, whose names are offered here too.
"""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

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

DEFAULT_CHECKPOINT = pathlib.Path(__file__).parents[2] / "checkpoints" / "pusht_state.safetensors"


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
    """Writes the model's arrays to a safetensors file."""
    tensors = {"agent": np.asarray(model.agent)}
    for i, (w, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        tensors |= {f"weights.{i}": np.asarray(w), f"biases.{i}": np.asarray(b)}
    save_file(tensors, str(path))


def load_model(path: str | pathlib.Path = DEFAULT_CHECKPOINT) -> PushTStateModel:
    """Reads a model written by `save_model`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint of this model; the message names the tensor.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"no Push-T state model at {path}")
    try:
        tensors = load_file(str(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    depth = max(sum(k.startswith("weights.") for k in tensors), 1)
    names = {"agent", *(f"{kind}.{i}" for i in range(depth) for kind in ("weights", "biases"))}
    if missing := names - set(tensors):
        raise ValueError(f"{path} lacks the tensors {sorted(missing)}")
    if unknown := set(tensors) - names:
        raise ValueError(f"{path} holds unknown tensors {sorted(unknown)}")
    expected = {"agent": (len(PATH_TIMES), 2, 2)}
    fan_in = FEATURES
    for i in range(depth):
        fan_out = 3 if i == depth - 1 else tensors[f"weights.{i}"].shape[-1]
        expected |= {f"weights.{i}": (fan_in, fan_out), f"biases.{i}": (fan_out,)}
        fan_in = fan_out
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{path}: {name} has shape {tensors[name].shape}, expected {shape}")
    arrays = {k: jnp.asarray(v) for k, v in tensors.items()}
    layers = range(depth)
    return PushTStateModel(
        arrays["agent"],
        [arrays[f"weights.{i}"] for i in layers],
        [arrays[f"biases.{i}"] for i in layers],
    )
