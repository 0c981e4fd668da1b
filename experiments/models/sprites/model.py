"""A visual world model: frames in, latents out, one model step, a goal distance, a probe to look.

model = load_model("pusht_pixels")
start, goal = model.encode(frames)                     # uint8 [2, 64, 64, 3]
grasp_jax.plan(model, start, goal, actions, key, context=..., objective=model.objective)
"""

import dataclasses
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

import grasp_jax
from experiments.models.checkpoint import write
from experiments.models.sprites.dynamics import Dynamics
from experiments.models.sprites.encoder import Encoder, encode
from experiments.models.sprites.scene import Kind, Scene, Sprite
from experiments.models.units import PlanningUnits


@dataclasses.dataclass(frozen=True)
class Config:
    """What the arrays of a model do not tell.

    Attributes:
        kinds: the scene's objects.
        size: pixels along one side of a frame.
        frameskip: environment steps in a model step.
        action_std: standard deviation of environment actions, the unit of planning actions.
        action_signs: of the actions along the frame's axes, where `y` points down.
        measured: numbers that the probe measures.
        width: of the dynamics' networks.
    """

    kinds: tuple[Kind, ...]
    size: int = 64
    frameskip: int = 5
    action_std: float = 1.0
    action_signs: tuple[int, int] = (1, 1)
    measured: int = 2
    width: int = 96


class VisualModel(PlanningUnits):
    """A world model over frames; itself the dynamics that `grasp_jax.plan` takes, with a context.

    Attributes:
        scene: what frames are made of.
        encoder: the first guess of a frame's latent.
        dynamics: how objects move.
        probe: [M, L + 1] from latents to simulator units, fitted after training, only to measure.
        config: sizes.
    """

    scene: Scene
    encoder: Encoder
    dynamics: Dynamics
    probe: Array
    config: Config = eqx.field(static=True)

    @property
    def history(self) -> int:
        """Frames in a window."""
        return 2

    @property
    def objective(self) -> grasp_jax.Objective:
        """The mean squared displacement of the objects' points, summed over objects."""
        return grasp_jax.Objective()

    def encode(self, frames: Array, batch: int = 16) -> Array:
        """Latents [n, L] of frames [n, S, S, 3] uint8, `batch` of them side by side."""

        def one(frame: Array) -> Array:
            return encode(self.scene, self.encoder, frame.astype(jnp.float32) / 255)

        return jax.lax.map(one, frames, batch_size=batch)

    def __call__(self, states: Array, actions: Array) -> Array:
        """The next latent [L], from a window of latents [2, L] and planning actions [2, P]."""
        return self.steps(states, actions)[-1]

    def steps(self, states: Array, actions: Array) -> Array:
        """The latents [frameskip, L] after each environment step of a model step."""
        scale = self.config.action_std * jnp.array(self.config.action_signs)
        taken = scale * actions.reshape(2, self.frameskip, 2)
        return self.dynamics.steps(self.scene, states, taken)

    def measure(self, latents: Array) -> Array:
        """Simulator quantities [..., M] of latents [..., L], as the probe reads them."""
        return latents @ self.probe[:, :-1].T + self.probe[:, -1]


def blank(config: Config) -> VisualModel:
    """A model of the right shapes."""
    key = jax.random.key(0)
    scene = Scene(
        jnp.zeros((config.size, config.size, 3)),
        tuple(Sprite.random(key, kind) for kind in config.kinds),
    )
    drive = jnp.zeros((config.frameskip, 1 + 2 * config.frameskip))
    dynamics = Dynamics.random(key, scene, drive, config.width)
    probe = jnp.zeros((config.measured, scene.latent_size + 1))
    return VisualModel(
        scene=scene,
        encoder=Encoder.random(key, scene),
        dynamics=dynamics,
        probe=probe,
        config=config,
    )


def save_model(model: VisualModel, path: pathlib.Path | str) -> None:
    """Writes arrays and config to a safetensors file; the encoder's in half precision.

    The encoder, nearly all of the file, makes a first guess that is then refined in the picture.
    """
    write(path, model, dataclasses.asdict(model.config), half=("encoder.",))
