"""A world model of a point maze: free motion, and what walls hold back, learned from recordings.

    F(s, a) = s + M a + MLP(W(s), W(s + M a), a)

`s` is the position `[2]`, `a` the mean of `frames` environment actions, `[2]`. `W` are the walls as
the model learned them: a grid of feature vectors over the maze, read by bilinear interpolation
where the point is and where it would be without walls. Nothing tells the model where walls are.
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

from experiments.environments.ogbench_data import Recording
from experiments.environments.ogbench_maze import STEP
from experiments.harness.files import write_text

FEATURES, HIDDEN, CELL = 6, 48, 1.0
MAX_MOVE = 3.0
"""Longer moves in a model step are teleports: chance that a deterministic model cannot hold."""

Weights = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MazeModel:
    """The dynamics `F(position, action)`, a callable pytree.

    Attributes:
      weights: `walls` `[H, W, FEATURES]`, `motion` `[2, 2]`, and the layers of the MLP.
      low: `[2]`, the position of the grid's first entry.
    """

    weights: Weights
    low: jax.Array

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The position `[2]` a model step after `state` `[2]` under `action` `[2]`."""
        w = self.weights
        free = w["motion"] @ action
        features = [self._walls(state), self._walls(state + free), action]
        hidden = jax.nn.silu(w["in"] @ jnp.concatenate(features) + w["in_bias"])
        hidden = jax.nn.silu(w["mid"] @ hidden + w["mid_bias"])
        return state + free + w["out"] @ hidden

    def _walls(self, position: jax.Array) -> jax.Array:
        """`[FEATURES]` at a position, bilinear between entries of the grid."""
        grid = self.weights["walls"]
        place = (position - self.low) / CELL
        last = jnp.array([grid.shape[1], grid.shape[0]], place.dtype) - 2
        corner = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, last)
        x, y = jnp.clip(place - corner, 0, 1)
        j, i = corner.astype(jnp.int32)
        left = grid[i, j] * (1 - y) + grid[i + 1, j] * y
        right = grid[i, j + 1] * (1 - y) + grid[i + 1, j + 1] * y
        return left * (1 - x) + right * x


def init(states: np.ndarray, frames: int, key: jax.Array) -> MazeModel:
    """A model that knows free motion and no walls, over the box of states `[n, 2]`."""
    low, high = states.min(0) - 2, states.max(0) + 2
    width, height = np.ceil((high - low) / CELL).astype(int) + 1
    keys = jax.random.split(key, 4)
    inputs = 2 * FEATURES + 2

    def layer(key: jax.Array, rows: int, columns: int) -> jax.Array:
        return jax.random.normal(key, (rows, columns)) / columns**0.5

    weights = {
        "walls": 0.3 * jax.random.normal(keys[0], (height, width, FEATURES)),
        "motion": STEP * frames * jnp.eye(2),
        "in": layer(keys[1], HIDDEN, inputs),
        "in_bias": jnp.zeros(HIDDEN),
        "mid": layer(keys[2], HIDDEN, HIDDEN),
        "mid_bias": jnp.zeros(HIDDEN),
        "out": 0.1 * layer(keys[3], 2, HIDDEN),
    }
    return MazeModel(weights, jnp.asarray(low, jnp.float32))


class Steps(NamedTuple):
    """Recorded model steps: `before` `[n, 2]`, mean `actions` `[n, 2]`, `after` `[n, 2]`."""

    before: Any
    actions: Any
    after: Any


def model_steps(data: Recording, frames: int) -> Steps:
    """Every window of `frames` recorded actions, without those that teleport."""
    count = data.actions.shape[1] - frames + 1
    sums = np.concatenate([np.zeros_like(data.actions[:, :1]), data.actions.cumsum(1)], 1)
    means = (sums[:, frames:] - sums[:, :-frames]) / frames
    before, after = data.states[:, :count], data.states[:, frames:]
    kept = np.linalg.norm(after - before, axis=-1) <= MAX_MOVE
    return Steps(before[kept], means[kept].astype(np.float32), after[kept])


def loss(model: MazeModel, steps: Steps) -> jax.Array:
    """Huber loss of one-step predictions, in units of 0.1: `[]`."""
    gaps = (jax.vmap(model)(steps.before, steps.actions) - steps.after) / 0.1
    return jnp.mean(optax.losses.huber_loss(gaps))


def fit(data: Recording, frames: int, updates: int, batch: int, seed: int) -> MazeModel:
    """Trains a model; Adam with one cosine from 0.01."""
    steps = model_steps(data, frames)
    model = init(steps.before, frames, jax.random.key(seed))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, updates))

    @functools.partial(jax.jit, donate_argnums=0)
    def many(carry: tuple, batches: Steps) -> tuple:
        def update(carry: tuple, batch: Steps) -> tuple:
            weights, state = carry
            gradient = jax.grad(lambda w: loss(MazeModel(w, model.low), batch))(weights)
            moves, state = optimizer.update(gradient, state, weights)
            return (optax.apply_updates(weights, moves), state), None

        return jax.lax.scan(update, carry, batches)[0]

    rng, chunk = np.random.default_rng(seed), 100
    carry = (model.weights, optimizer.init(model.weights))
    for _ in range(updates // chunk):
        rows = rng.integers(len(steps.before), size=(chunk, batch))
        carry = many(carry, Steps(*(x[rows] for x in steps)))
    return MazeModel(carry[0], model.low)


def save(path: pathlib.Path, model: MazeModel, facts: dict) -> None:
    """Writes the weights (half precision for the grid) and, beside them, how they came about."""
    kinds = {"walls": np.float16}
    arrays = {k: np.asarray(x).astype(kinds.get(k, np.float32)) for k, x in model.weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**arrays, "low": np.asarray(model.low, np.float32)}, str(path))
    write_text(path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")


def load(path: pathlib.Path) -> MazeModel:
    """Reads what `save` wrote."""
    arrays = {k: jnp.asarray(v, jnp.float32) for k, v in load_file(str(path)).items()}
    low = arrays.pop("low")
    return MazeModel(arrays, low)
