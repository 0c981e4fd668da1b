"""From a frame to the latent of a scene: a small network's guess, then descent on the error.

The network learns from the scene's own renderings at random poses, whose latents are known, so it
needs neither labels nor recorded frames. A few damped Gauss-Newton steps on the reconstruction then
take its guess to a small part of a pixel.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.models.sprites.scene import Scene, rotate
from experiments.models.units import over_devices

REFINEMENTS = 3
TURNS = 9  # angles at which a guess is tried
CHUNK = 50  # updates per compiled call


class Encoder(eqx.Module):
    """Patches of 4 x 4 pixels, merged twice, then two layers: matrix products only.

    Attributes:
        weights: matrices [in, out].
        biases: vectors [out].
    """

    weights: list[Array]
    biases: list[Array]

    @staticmethod
    def random(key: Array, scene: Scene, width: int = 256) -> "Encoder":
        """A fresh encoder for frames of the scene's size, a multiple of 16."""
        side = scene.size // 16
        sizes = [(48, 48), (192, 128), (512, 192), (192 * side * side, width)]
        sizes += [(width, width), (width, scene.latent_size)]
        keys = jax.random.split(key, len(sizes))
        weights = [
            jax.random.normal(k, s) * jnp.sqrt(2 / s[0]) for k, s in zip(keys, sizes, strict=True)
        ]
        weights[-1] = weights[-1] * 0.1
        return Encoder(weights, [jnp.zeros(s[1]) for s in sizes])

    def __call__(self, frame: Array) -> Array:
        """The guess [L] for a frame [S, S, 3] less the background."""
        x = 2 * frame
        for i, side in enumerate((4, 2, 2)):
            rows, columns, channels = x.shape
            x = x.reshape(rows // side, side, columns // side, side, channels)
            x = jnp.swapaxes(x, 1, 2).reshape(rows // side, columns // side, -1)
            x = jax.nn.relu(x @ self.weights[i] + self.biases[i])
        x = x.reshape(-1)
        for w, b in zip(self.weights[3:-1], self.biases[3:-1], strict=True):
            x = jax.nn.relu(x @ w + b)
        return x @ self.weights[-1] + self.biases[-1]


def tidy(scene: Scene, latent: Array) -> Array:
    """The latent [L] with its directions at their length."""
    return scene.join(scene.split(latent))


def refine(
    scene: Scene, frame: Array, latent: Array, steps: int = REFINEMENTS, every: int = 1
) -> Array:
    """Damped Gauss-Newton steps [L] on the squared error of the frame's reconstruction.

    A step that does not reduce the error is not taken, and damping grows after it. `every` looks at
    every so many rows and columns only.
    """

    def residual(latent: Array) -> Array:
        return (scene.render(latent, every) - frame[::every, ::every]).reshape(-1)

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        latent, damping = carry
        error, push = jax.linearize(residual, latent)
        slopes = jax.vmap(push)(jnp.eye(len(latent)))
        # Along a direction's length the frame does not change: damping keeps the system regular.
        system = slopes @ slopes.T + damping * jnp.eye(len(latent))
        moved = tidy(scene, latent - jnp.linalg.solve(system, slopes @ error))
        better = jnp.sum(residual(moved) ** 2) < jnp.sum(error**2)
        latent = jnp.where(better, moved, latent)
        return (latent, jnp.where(better, 0.3, 10.0) * damping), None

    (latent, _), _ = jax.lax.scan(step, (latent, jnp.asarray(1.0)), None, length=steps)
    return latent


def encode(scene: Scene, encoder: Encoder, frame: Array, steps: int = REFINEMENTS) -> Array:
    """The latent [L] of a frame [S, S, 3], RGB in [0, 1]."""
    latent = tidy(scene, encoder(frame - scene.background))
    if steps:
        # Turning about a guess that is off finds wrong angles; once it is refined, the right one.
        latent = refine(scene, frame, _turned(scene, frame, latent), steps, every=2)
        latent = refine(scene, frame, _turned(scene, frame, latent), steps)
    return latent


def _turned(scene: Scene, frame: Array, guess: Array) -> Array:
    """The guess [L], or the guess with one object turned, whichever explains the frame best."""
    poses = scene.split(guess)
    candidates = [guess]
    for index, sprite in enumerate(scene.sprites):
        if sprite.kind.turns:
            for k in range(1, TURNS):
                angle = 2 * jnp.pi * k / TURNS
                turn = jnp.array([jnp.cos(angle), jnp.sin(angle)])
                position, direction = poses[index]
                other = (position, rotate(turn, direction))
                candidates.append(scene.join([*poses[:index], other, *poses[index + 1 :]]))
    stacked = jnp.stack(candidates)
    errors = jax.vmap(lambda z: jnp.mean((scene.render(z, 2) - frame[::2, ::2]) ** 2))(stacked)
    return stacked[jnp.argmin(errors)]


def random_latents(scene: Scene, key: Array, count: int) -> Array:
    """[count, L] poses anywhere in the frame; half of them have their objects close together."""
    place, turn, gap, near = jax.random.split(key, 4)
    shape = (count, len(scene.sprites), 2)
    positions = jax.random.uniform(place, shape, minval=-1.0, maxval=1.0)
    close = positions[:, :1] + 0.3 * jax.random.normal(gap, shape)
    together = jax.random.bernoulli(near, 0.5, (count, 1, 1))
    positions = jnp.where(together, jnp.clip(close, -1, 1), positions)
    angles = jax.random.uniform(turn, shape[:2], maxval=2 * jnp.pi)
    directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)

    def join(positions: Array, directions: Array) -> Array:
        return scene.join(list(zip(positions, directions, strict=True)))

    return jax.vmap(join)(positions, directions)


def make_optimizer(rate: float, updates: int) -> optax.GradientTransformation:
    """Adam, warmed up, then along a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, updates // 20, updates, rate / 100)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def split_over_devices(batch: Array) -> Array:
    """A batch [n, ...] inside a program, split over all devices where they divide it."""
    split = over_devices(len(batch))
    return batch if split is None else jax.lax.with_sharding_constraint(batch, split)


@functools.partial(jax.jit, static_argnames=("optimizer", "batch"))
def train_chunk(
    encoder: Any,
    state: optax.OptState,
    scene: Scene,
    key: Array,
    optimizer: optax.GradientTransformation,
    batch: int,
) -> tuple[Any, optax.OptState, Array]:
    """CHUNK updates; returns encoder, optimiser state and the mean loss []."""

    def loss(encoder: Encoder, key: Array) -> Array:
        latents = split_over_devices(random_latents(scene, key, batch))
        pictures = jax.vmap(scene.render)(latents) - scene.background
        guesses = jax.vmap(encoder)(pictures)
        # Robust: an object may be out of sight behind another one.
        return jnp.mean(jnp.sqrt(jnp.sum((guesses - latents) ** 2, axis=-1) + 1e-4))

    def update(carry, key):
        encoder, state = carry
        value, gradient = jax.value_and_grad(loss)(encoder, key)
        updates, state = optimizer.update(gradient, state, encoder)
        return (optax.apply_updates(encoder, updates), state), value

    (encoder, state), losses = jax.lax.scan(update, (encoder, state), jax.random.split(key, CHUNK))
    return encoder, state, jnp.mean(losses)
