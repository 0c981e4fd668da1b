"""What worlds that are planned in through 64 x 64 frames share."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.live.world import Window
from experiments.models.load import load_model
from experiments.models.sprites.model import VisualModel
from experiments.planning.tasks import Task

FIRST_SEED = 5000
"""Tasks of the page, of all worlds; far from the seeds of every table."""


@jax.jit
def _encode_frames(model: VisualModel, frames: jax.Array) -> jax.Array:
    return model.encode(frames)


def _encoder(model: VisualModel, render: Callable[[Any], Any]) -> Callable[[np.ndarray], Any]:
    """The simulator's state to the model's latent of its frame; remembers the last ones."""

    @functools.lru_cache(maxsize=64)
    def of_bytes(buffer: bytes, size: int) -> np.ndarray:
        state = np.frombuffer(buffer, np.float64, size)
        return np.asarray(_encode_frames(model, jnp.asarray(render(state[None]))))[0]

    def encode(state: np.ndarray) -> np.ndarray:
        state = np.ascontiguousarray(state, np.float64)
        return of_bytes(state.tobytes(), state.size)

    return encode


def visual(checkpoint: str, render: Callable[[Any], Any]) -> dict[str, Any]:
    """The fields of a world that is planned in through a sprite model over 64 x 64 frames."""
    model = load_model(checkpoint)
    assert isinstance(model, VisualModel)
    encode = _encoder(model, render)

    def context(window: Window) -> grasp_jax.Context:
        if not window.states:
            return grasp_jax.Context.repeat(jnp.asarray(encode(window.state)), 1, model.action_size)
        frames = jnp.stack([jnp.asarray(encode(s)) for s in window.states])
        return grasp_jax.Context(frames, jnp.stack([jnp.asarray(a) for a in window.actions]))

    return {
        "dynamics": model,
        "bounds": model.bounds,
        "encode": encode,
        "context": context,
        "past": 1,
        "objective": model.objective,
    }


def maze(task: Task, steps: int) -> dict[str, Any]:
    """What Wall and PointMaze share: tasks of so many simulator steps, and the task's own rules."""
    model, read = load_model(task.checkpoint), measured(task.checkpoint)
    assert isinstance(model, VisualModel)

    def draw_task(seed: int) -> tuple[np.ndarray, np.ndarray]:
        goals = task.goals(1, steps, FIRST_SEED + seed, "report")
        return goals.start[0], goals.goal[0]

    def simulate(state: np.ndarray, action: np.ndarray) -> list[np.ndarray]:
        taken = model.to_environment(action[None])
        return list(task.execute(state[None], taken[None])[0, 1:])

    return {
        **visual(task.checkpoint, task.render),
        "action_size": model.action_size,
        "task": draw_task,
        "simulate": simulate,
        "success": lambda state, goal: bool(task.success(state, goal)),
        "decode": lambda latents: read(np.asarray(latents, np.float64)),
        "smooth": grasp_jax.AR1(rho=0.9, action_block=model.frameskip),
    }


def measured(checkpoint: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the probe of a sprite model reads from its latents."""
    probe = np.asarray(load_model(checkpoint).probe)  # pyright: ignore[reportArgumentType]
    return lambda latents: latents @ probe[:, :-1].T + probe[:, -1]
