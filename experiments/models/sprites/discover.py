"""Learns a scene's sprites from a few hundred unlabelled frames, by analysis through synthesis.

Objects are added one at a time, the largest first. A new object is looked for where the scene so
far fails to explain the frames. Its shape is learned from one frame first, where any angle is
right, then from more and more frames, each joining at the angle that explains it best: fitting all
frames at once ends in shapes with a symmetry that the object does not have.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.models.sprites.scene import Kind, Scene, Sprite, pixel_centres

ANGLES = 24
GROWTH = (1, 3, 12, 48)  # frames that teach a turning object's shape, in stages before all do
STEPS = 20  # descent steps per compiled call
Report = Callable[[str, float], None]


class Found(NamedTuple):
    """A scene and the poses in it of the frames it was learned from.

    Attributes:
        scene: the scene.
        positions: [B, K, 2].
        directions: [B, K, 2], of any length.
    """

    scene: Scene
    positions: Array
    directions: Array

    def latents(self) -> Array:
        """[B, L]."""
        return jax.vmap(functools.partial(_latent, self.scene))(self.positions, self.directions)


def discover(
    frames: Array, kinds: tuple[Kind, ...], key: Array, report: Report = lambda *_: None
) -> Found:
    """Learns background, shapes and colours.

    Args:
        frames: [B, S, S, 3] RGB in [0, 1], a few hundred of different moments.
        kinds: the objects to look for, in drawing order, the most conspicuous first.
        key: PRNG key.
        report: called with a stage's name and its mean squared error.
    """
    background = jnp.asarray(np.median(np.asarray(frames), axis=0))
    count = len(frames)
    found = Found(
        Scene(background, ()),
        jnp.zeros((count, 0, 2)),
        jnp.zeros((count, 0, 2)),
    )
    for index, kind in enumerate(kinds):
        found = _add(found, frames, Sprite.random(jax.random.fold_in(key, index), kind))
        stages = (*GROWTH, count) if kind.turns else (count,)
        for used in stages:
            found, error = _learn(found, frames, used, 12 if used == count else 5)
            report(f"object {index + 1}, {used} frames", error)
    found = _repair(found, frames)
    found, error = _learn(found, frames, count, 12, search=False)
    report("all objects", error)
    return found


def _latent(scene: Scene, positions: Array, directions: Array) -> Array:
    lengths = jnp.sqrt(jnp.sum(directions**2, axis=-1, keepdims=True) + 1e-12)
    return scene.join(list(zip(positions, directions / lengths, strict=True)))


def _render(scene: Scene, positions: Array, directions: Array, every: int = 1) -> Array:
    return scene.render(_latent(scene, positions, directions), every)


def _unexplained(found: Found, frames: Array) -> Array:
    """[B, S, S] squared error of each pixel."""
    drawn = jax.vmap(functools.partial(_render, found.scene))(found.positions, found.directions)
    return jnp.sum((frames - drawn) ** 2, axis=-1)


def _where(error: Array, extent: float) -> Array:
    """[B, 2] where errors [B, S, S] pile up, at the scale of an object."""
    grid = pixel_centres(error.shape[-1])
    near = jnp.exp(-0.5 * ((grid[:, None] - grid) / (0.35 * extent)) ** 2)
    heat = jnp.einsum("byx,yi,xj->bij", error, near, near)
    heat = (heat / (heat.max(axis=(1, 2), keepdims=True) + 1e-9)) ** 16
    heat = heat / heat.sum(axis=(1, 2), keepdims=True)
    return jnp.stack(
        [jnp.einsum("byx,x->b", heat, grid), jnp.einsum("byx,y->b", heat, grid)], axis=-1
    )


def _add(found: Found, frames: Array, sprite: Sprite) -> Found:
    """The scene with one more object, where errors pile up, of the colour found there."""
    error = _unexplained(found, frames)
    position = _where(error, sprite.kind.extent)
    grid = pixel_centres(frames.shape[1])
    reach = 0.3 * sprite.kind.extent
    across = jnp.exp(-0.5 * ((grid - position[:, :1]) / reach) ** 2)
    down = jnp.exp(-0.5 * ((grid - position[:, 1:]) / reach) ** 2)
    weight = error * down[:, :, None] * across[:, None, :]
    colour = jnp.einsum("byx,byxc->c", weight, frames) / weight.sum()
    sprite = eqx.tree_at(lambda s: s.colour, sprite, colour)
    facing = jnp.broadcast_to(jnp.array([1.0, 0.0]), position.shape)
    return Found(
        Scene(found.scene.background, (*found.scene.sprites, sprite)),
        jnp.concatenate([found.positions, position[:, None]], axis=1),
        jnp.concatenate([found.directions, facing[:, None]], axis=1),
    )


def _coarse(frames: Array) -> Array:
    """[..., S/4, S/4, 3], so that poses are pulled from further away."""
    *batch, size, _, _ = frames.shape
    return frames.reshape(*batch, size // 4, 4, size // 4, 4, 3).mean(axis=(-4, -2))


def _error(found: Found, frames: Array, weights: Array) -> Array:
    drawn = jax.vmap(functools.partial(_render, found.scene))(found.positions, found.directions)
    fine = jnp.mean((frames - drawn) ** 2, axis=(1, 2, 3))
    coarse = jnp.mean((_coarse(frames) - _coarse(drawn)) ** 2, axis=(1, 2, 3))
    return jnp.sum(weights * (fine + coarse)) / jnp.sum(weights)


def _optimizer() -> optax.GradientTransformation:
    labels = Found("appearance", "positions", "directions")  # pyright: ignore[reportArgumentType]
    rates = {"appearance": 5e-3, "positions": 5e-3, "directions": 3e-2}
    return optax.multi_transform({k: optax.adam(v) for k, v in rates.items()}, labels)


@jax.jit
def _descend(found: Any, optimizer: optax.OptState, frames: Array, weights: Array):
    """STEPS steps; returns found, optimiser state and the error before the last one []."""

    def step(carry, _):
        found, state = carry
        error, gradient = jax.value_and_grad(_error)(found, frames, weights)
        # The median is a better background than what descent leaves behind moving objects.
        gradient = eqx.tree_at(lambda g: g.scene.background, gradient, replace_fn=jnp.zeros_like)
        updates, state = _optimizer().update(gradient, state, found)
        return (optax.apply_updates(found, updates), state), error

    (found, optimizer), errors = jax.lax.scan(step, (found, optimizer), None, length=STEPS)
    return found, optimizer, errors[-1]


@functools.partial(jax.jit, static_argnames="index")
def _best_angles(found: Found, frames: Array, index: int) -> Array:
    """[B, K, 2] directions, those of object `index` the best of ANGLES where one is better."""
    angles = jnp.arange(ANGLES) / ANGLES * 2 * jnp.pi
    circle = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)

    def one(frame: Array, positions: Array, directions: Array) -> Array:
        def error(direction: Array) -> Array:
            turned = directions.at[index].set(direction)
            drawn = _render(found.scene, positions, turned, 2)
            return jnp.mean((frame[::2, ::2] - drawn) ** 2)

        errors = jax.lax.map(error, circle)
        best = jnp.argmin(errors)
        better = errors[best] < 0.95 * error(directions[index])
        return directions.at[index].set(jnp.where(better, circle[best], directions[index]))

    return jax.lax.map(lambda x: one(*x), (frames, found.positions, found.directions))


def _learn(
    found: Any, frames: Array, used: int, rounds: int, search: bool = True
) -> tuple[Found, float]:
    """Descends on the first `used` frames, looking for better angles of the newest object."""
    weights = (jnp.arange(len(frames)) < used).astype(frames.dtype)
    turns = found.scene.sprites[-1].kind.turns and search and used > 1
    optimizer, error = _optimizer().init(found), jnp.inf
    for round_ in range(rounds):
        if turns and round_ in (0, 2):
            index = len(found.scene.sprites) - 1
            found = found._replace(directions=_best_angles(found, frames, index))
            optimizer = _optimizer().init(found)
        found, optimizer, error = _descend(found, optimizer, frames, weights)
    return found, float(error)


def _repair(found: Found, frames: Array) -> Found:
    """Looks again for every object of the worst explained frames, the others taken as they are."""
    for index, sprite in enumerate(found.scene.sprites):
        error = _unexplained(found, frames)
        bad = jnp.mean(error, axis=(1, 2))
        bad = bad > 3 * jnp.median(bad)
        without = found.positions.at[:, index].set(10.0)  # out of the frame
        position = _where(
            _unexplained(found._replace(positions=without), frames), sprite.kind.extent
        )
        moved = jnp.where(bad[:, None], position, found.positions[:, index])
        found = found._replace(positions=found.positions.at[:, index].set(moved))
        if sprite.kind.turns:
            found = found._replace(directions=_best_angles(found, frames, index))
    return found
