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

from experiments.models.sprites.scene import Scene, Sprite, rotate

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
        correction: network for the driven object: a kick and, where scenery stops it dead (one
            that coasts bounces), the share of its motion that is left.
        push: one network per turning object.
        onset: network for what the window's last displacement does not tell of the velocity of a
            driven object that coasts, as after a collision; None for one that does not.
    """

    drive: Array
    correction: Perceptron
    push: list[Perceptron]
    onset: Perceptron | None = None

    @staticmethod
    def random(key: Array, scene: Scene, drive: Array, width: int = 96) -> "Dynamics":
        """Fresh networks around a fitted `drive`."""
        first, *others = jax.random.split(key, 1 + len(scene.sprites))
        push = [
            Perceptron.random(k, (_push_inputs(s), width, width, 3))
            for k, s in zip(others, scene.sprites, strict=True)
            if s.kind.turns
        ]
        onset = None
        if scene.sprites[-1].kind.coasts:
            inputs = 4 + 2 * len(drive)
            onset = Perceptron.random(jax.random.fold_in(key, 1), (inputs, width, width, 2))
        kind = scene.sprites[-1].kind
        stops = kind.octaves and not kind.coasts
        sizes = (8 + 4 * kind.octaves, width, width, 3 if stops else 2)
        return Dynamics(drive, Perceptron.random(first, sizes), push, onset)

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
            position, last, drift, others = carry
            displacement, action = move
            displacement = displacement + drift
            place = waves(position, scene.sprites[-1].kind.octaves)
            seen = jnp.concatenate([position, place, 10 * displacement, 10 * last, action])
            free, displacement = displacement, self._corrected(displacement, seen)
            if self.onset is not None:
                drift = drift + displacement - free
            # What is driven stays in the picture, where actions beyond its border are cut off.
            moved = jnp.clip(position + displacement, -1.0, 1.0)
            displacement = moved - position
            path = jnp.stack([position, position + displacement / 2, moved])
            networks = iter(self.push)
            others = [
                self._pushed(next(networks), sprite, pose, path) if sprite.kind.turns else pose
                for sprite, pose in zip(scene.sprites, others, strict=False)
            ]
            latent = scene.join([*others, (moved, facing)])
            return (moved, displacement, drift, others), latent

        drift = jnp.zeros(2)
        if self.onset is not None:
            window = [position, 2 * (position - before), actions[0].reshape(-1)]
            drift = 0.1 * self.onset(jnp.concatenate(window))
        first = (position, (position - before) / len(actions[1]), drift, others)
        return jax.lax.scan(jax.checkpoint(step), first, (planned, actions[1]))[1]

    def _corrected(self, displacement: Array, seen: Array) -> Array:
        """The driven object's displacement [2] in an environment step, where it meets something."""
        found = self.correction(seen)
        if len(found) == 3:
            # A factor stops it dead; a sum would have to cancel every push, and leak a little.
            displacement = jax.nn.sigmoid(3.0 + 10 * found[2]) * displacement
        return displacement + 0.1 * found[:2]

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
        features.append(jax.vmap(lambda x: waves(x, sprite.kind.octaves))(local))
        flat = jnp.concatenate([f.reshape(-1) for f in features])
        gate = jnp.clip((jnp.max(contact) - OPEN) / OPEN, 0, 1)
        twist = gate * network(jnp.concatenate([flat, contact.reshape(-1), wall]))
        # The Cayley map keeps the direction on the circle and needs no cos or sin.
        half = 0.5 * twist[2]
        turn = jnp.stack([1 - half * half, 2 * half]) / (1 + half * half)
        return position + rotate(facing, twist[:2]), rotate(turn, facing)


def _push_inputs(sprite: Sprite) -> int:
    """Numbers that the network of a turning object reads: the path, contact along it, borders."""
    return 12 + 3 * (4 * sprite.kind.octaves + sprite.kind.blobs) + 4


def waves(position: Array, octaves: int) -> Array:
    """A place [2] as sines and cosines [4 * octaves], the longest one period over the frame."""
    if not octaves:
        return jnp.zeros(0)
    sine, cosine = jnp.sin(jnp.pi * position), jnp.cos(jnp.pi * position)
    sines, cosines = [], []
    for _ in range(octaves):
        sines, cosines = [*sines, sine], [*cosines, cosine]
        # Twice the angle: cheaper than its own sine and cosine.
        sine, cosine = 2 * sine * cosine, 1 - 2 * sine * sine
    found = jnp.stack([jnp.stack(sines, axis=-1), jnp.stack(cosines, axis=-1)])
    return found.reshape(-1)


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


def fit_coasting(latents: np.ndarray, actions: np.ndarray, every: int) -> np.ndarray:
    """`fit_drive` for an object that coasts and collides: its free motion alone.

    Within a window it often meets something, within one environment step seldom: the step
    `d' = r d + b a + c a_before` of its displacement is fitted to the steps that it fits best, and
    the window's motion follows from it, with the velocity that explains the last displacement.
    """
    position = latents[..., -2:].astype(np.float64)
    moved = np.diff(position, axis=1)
    x = np.stack([moved[:, :-1], actions[:, 1:], actions[:, :-1]], axis=-1).reshape(-1, 3)
    y = moved[:, 1:].reshape(-1)
    kept = np.ones(len(y), bool)
    for _ in range(20):
        step = np.linalg.lstsq(x[kept], y[kept], rcond=None)[0]
        errors = np.abs(x @ step - y)
        kept = errors <= np.quantile(errors, 0.7)
    # Rows: displacements as linear in the one before the window and in the window's actions.
    taken = np.eye(1 + 2 * every)[1:]
    rows = [np.eye(1 + 2 * every)[0]]
    for k in range(2 * every):
        before = taken[k - 1] if k else 0 * taken[0]
        rows.append(step[0] * rows[-1] + step[1] * taken[k] + step[2] * before)
    past, future = np.sum(rows[1 : every + 1], axis=0), np.stack(rows[every + 1 :])
    share = future[:, :1] / past[0]
    return np.concatenate([share, future[:, 1:] - share * past[1:]], axis=1)
