"""Learned motion of a scene's objects: one model step is several environment steps.

The driven object (the scene's last) moves linearly in what the window shows, its last displacement
and the actions before and after it, which is exact for linear motion whose velocity no frame
shows; a small network corrects this where it meets something. An object that turns is moved by the
driven one alone: a small network reads the path of the driven object in the turning object's own
frame, through Gaussians at the blobs of the learned shape, so that contact is where shapes meet.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.pixels.sprites import Scene, Sprite, rotate

REACH = 0.07  # how far from a blob contact features and the gate look, in frame coordinates
OPEN = 0.05  # contact at which an object may begin to move
BORDER = 0.9  # where the frame's border begins to be felt


class Perceptron(eqx.Module):
    """Layers of tanh; the last is linear and starts small.

    Attributes:
        weights: matrices [in, out].
        biases: vectors [out].
    """

    weights: list[Array]
    biases: list[Array]

    @staticmethod
    def random(key: Array, sizes: tuple[int, ...]) -> "Perceptron":
        """A fresh one with the given widths, input and output included."""
        keys = jax.random.split(key, len(sizes) - 1)
        shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
        weights = [jax.random.normal(k, (m, n)) * np.sqrt(1.5 / m) for k, m, n in shapes]
        weights[-1] = weights[-1] * 0.05
        return Perceptron(weights, [jnp.zeros(n) for n in sizes[1:]])

    def __call__(self, x: Array) -> Array:
        """[in] to [out]."""
        last = len(self.weights) - 1
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ w + b
            x = jnp.tanh(x) if i < last else x
        return x


class Dynamics(eqx.Module):
    """Motion of a scene's objects.

    Attributes:
        drive: [N, 1 + 2N] displacement of the driven object in each of N environment steps, linear
            in its last displacement, the last N actions and the next N.
        correction: network for the driven object.
        push: one network per turning object.
    """

    drive: Array
    correction: Perceptron
    push: list[Perceptron]

    @staticmethod
    def random(key: Array, scene: Scene, drive: Array, width: int = 96) -> "Dynamics":
        """Fresh networks around a fitted `drive`."""
        first, *others = jax.random.split(key, 1 + len(scene.sprites))
        push = [
            Perceptron.random(k, (12 + 3 * s.kind.blobs + 4, width, width, 3))
            for k, s in zip(others, scene.sprites, strict=True)
            if s.kind.turns
        ]
        return Dynamics(drive, Perceptron.random(first, (8, width, width, 2)), push)

    def steps(self, scene: Scene, states: Array, actions: Array) -> Array:
        """The latents after each environment step.

        Args:
            scene: the objects.
            states: [2, L], the last latent and the present one.
            actions: [2, N, 2], environment actions taken in them.

        Returns:
            [N, L].
        """
        before = scene.split(states[0])[-1][0]
        *others, (position, facing) = scene.split(states[1])
        inputs = jnp.concatenate([(position - before)[None], actions[0], actions[1]])
        planned = self.drive @ inputs

        def step(carry, move):
            position, last, others = carry
            displacement, action = move
            seen = jnp.concatenate([position, 10 * displacement, 10 * last, action])
            displacement = displacement + 0.1 * self.correction(seen)
            moved = position + displacement
            path = jnp.stack([position, position + displacement / 2, moved])
            networks = iter(self.push)
            others = [
                self._pushed(next(networks), sprite, pose, path) if sprite.kind.turns else pose
                for sprite, pose in zip(scene.sprites, others, strict=False)
            ]
            latent = scene.join([*others, (moved, facing)])
            return (moved, displacement, others), latent

        first = (position, (position - before) / len(actions[1]), others)
        return jax.lax.scan(jax.checkpoint(step), first, (planned, actions[1]))[1]

    def _pushed(
        self, network: Perceptron, sprite: Sprite, pose: tuple[Array, Array], path: Array
    ) -> tuple[Array, Array]:
        """The pose of a turning object after the driven one has moved along `path` [3, 2]."""
        position, facing = pose
        back = facing * jnp.array([1.0, -1.0])
        local = rotate(back, path - position)
        blobs = sprite.shape()[0]
        gaps = jnp.sum((local[:, None] - blobs) ** 2, axis=-1)
        contact = jnp.exp(-gaps / (2 * REACH**2))
        corners = position + rotate(facing, blobs)
        beyond = jnp.sign(corners) * jax.nn.relu(jnp.abs(corners) - BORDER)
        inward = rotate(back, beyond)
        wall = jnp.concatenate(
            [
                10 * jnp.sum(inward, axis=0),
                100 * jnp.sum(blobs[:, :1] * inward[:, 1:] - blobs[:, 1:] * inward[:, :1])[None],
                10 * jnp.max(jnp.abs(beyond))[None],
            ]
        )
        features = [2 * local, 10 * (local[1:] - local[0]), 10 * (path[2] - path[0])[None]]
        flat = jnp.concatenate([f.reshape(-1) for f in features])
        gate = jnp.clip((jnp.max(contact) - OPEN) / OPEN, 0, 1)
        twist = gate * network(jnp.concatenate([flat, contact.reshape(-1), wall]))
        # The Cayley map keeps the direction on the circle and needs no cos or sin.
        half = 0.5 * twist[2]
        turn = jnp.stack([1 - half * half, 2 * half]) / (1 + half * half)
        return position + rotate(facing, twist[:2]), rotate(turn, facing)


def fit_drive(latents: np.ndarray, actions: np.ndarray, every: int) -> np.ndarray:
    """Least squares for `Dynamics.drive`, alike along both axes of the frame.

    Args:
        latents: [n, T + 1, L].
        actions: [n, T, 2].
        every: `N`.

    Returns:
        [N, 1 + 2N].
    """
    position = latents[..., -2:]
    starts = np.arange(every, actions.shape[1] - every + 1)
    last = (position[:, starts] - position[:, starts - every])[..., None, :]
    window = np.stack([actions[:, starts + k] for k in range(-every, every)], axis=2)
    inputs = np.concatenate([last, window], axis=2)
    rows = []
    for k in range(every):
        # An action moves nothing before it is taken.
        used = 1 + every + k + 1
        x = np.moveaxis(inputs[:, :, :used], 2, -1).reshape(-1, used)
        y = (position[:, starts + k + 1] - position[:, starts + k]).reshape(-1)
        solution = np.linalg.lstsq(x.astype(np.float64), y.astype(np.float64), rcond=None)[0]
        rows.append(np.concatenate([solution, np.zeros(1 + 2 * every - used)]))
    return np.stack(rows)
