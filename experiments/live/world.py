"""What the live page needs to know of a world: how it moves, how it looks, where its goal is held.

Two kinds of states meet here. The *simulator's* state is what is drawn, dragged and scored; the
*model's* state is what is planned through. `encode` and `decode` go from one to the other; for a
world that is its own model both are the identity.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import grasp_jax
from experiments.live.controls import Settings

State = Any
"""A pytree of floating arrays."""


class Handle(NamedTuple):
    """A place at which the goal is held and dragged.

    Attributes:
      x: In the units of the view.
      y: In the units of the view; SVG's y points down.
      angle: rad, or None for what cannot be turned.
      reach: How far from its place it can be gripped, in the units of the view.
    """

    x: float
    y: float
    angle: float | None = None
    reach: float = 0.0


class Window(NamedTuple):
    """What the simulator showed: its present state, and before it, oldest first.

    Attributes:
      state: The present state of the simulator.
      states: The states at earlier model steps.
      actions: `[A]` each, the planning actions taken in them.
    """

    state: State
    states: Sequence[State] = ()
    actions: Sequence[np.ndarray] = ()


class Recorded(NamedTuple):
    """What a recording of a world says of where one can go.

    Attributes:
      graph: Its steps as SVG.
      way: The simulator's state and a goal to the model's states `s_1..s_(T-1)` on the shortest
        recorded way, leaves `[T-1, ...]`.
    """

    graph: str
    way: Callable[[State, State], Any]


def no_context(window: Window) -> grasp_jax.Context | None:
    """For models that read the present frame alone."""
    del window
    return None


def identity(state: State) -> State:
    """For worlds that are their own model."""
    return state


@dataclasses.dataclass(frozen=True)
class World:
    """A world to plan in, live.

    Attributes:
      name: In the address of the page.
      title: On the page.
      about: A sentence or two on the page.
      dynamics: `F(state, action) -> next_state`, see `grasp_jax.plan`. One object for the life of
        the process: another would compile anew.
      action_size: `A`.
      max_horizon: `T`, the most model steps that a plan looks ahead.
      bounds: `(low, high)` of actions.
      task: A seed to the simulator's first state, and a goal of the same kind.
      simulate: The simulator's state and one planning action `[A]` to the states it passes, the
        last of them the next.
      success: `(state, goal) -> bool`, both the simulator's.
      draw: The simulator's state to a fragment of SVG; `currentColor` is the colour of the layer.
      view: `(x, y, width, height)`, the part of the plane that is shown.
      point: The simulator's state to `(x, y)`, joined by lines along a trajectory.
      handles: The goal to the places at which it is held.
      move: `(goal, number of the handle, where to) -> goal`.
      presets: Planner's name to the settings to begin with; the first is the first choice.
      encode: The simulator's state to the model's.
      decode: The model's states, leaves `[n, ...]`, to the simulator's, as far as the model knows.
      context: What a model with a window reads besides, see `grasp_jax.Context`.
      past: Model steps that `context` looks back.
      objective: See `grasp_jax.Objective`.
      smooth: The shape of noise on actions over time.
      toward: `(state, goal)`, both the simulator's, to what to plan for now: the goal itself where
        a plan can reach it, else a nearer one on the way. None: always the goal.
      recorded: Makes what GRASP-graph plans along, at its first use; None without a recording.
      backdrop: SVG behind everything: walls, frames.
      pause: Seconds that a simulator's state stays on the screen.
    """

    name: str
    title: str
    about: str
    dynamics: Any
    action_size: int
    max_horizon: int
    bounds: tuple[Any, Any]
    task: Callable[[int], tuple[State, State]]
    simulate: Callable[[State, np.ndarray], Sequence[State]]
    success: Callable[[State, State], bool]
    draw: Callable[[State], str]
    view: tuple[float, float, float, float]
    point: Callable[[State], tuple[float, float]]
    handles: Callable[[State], Sequence[Handle]]
    move: Callable[[State, int, Handle], State]
    presets: dict[str, Settings]
    encode: Callable[[State], State] = identity
    decode: Callable[[State], State] = identity
    context: Callable[[Window], grasp_jax.Context | None] = no_context
    past: int = 0
    objective: grasp_jax.Objective = grasp_jax.Objective()
    smooth: Any = grasp_jax.AR1(rho=0.9)
    toward: Callable[[State, State], State] | None = None
    recorded: Callable[[], Recorded] | None = None
    backdrop: str = ""
    pause: float = 0.03


def numbers(state: State) -> list[float]:
    """All numbers of a state, one after the other, for the page's address."""
    leaves = [np.asarray(x, np.float64).reshape(-1) for x in jax.tree.leaves(state)]
    return [round(x, 4) for x in np.concatenate(leaves).tolist()]


def from_numbers(found: Any, like: State, name: str) -> State:
    """The state with such numbers.

    Raises:
      ValueError: they are not as many finite numbers as `like` has.
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, like))
    size = sum(x.size for x in leaves)
    fits = isinstance(found, list) and len(found) == size
    if not fits or not all(is_finite(x) for x in found):
        raise ValueError(
            f"{name} in the address must be {size} numbers, comma between them, got "
            f"{found!r:.80}. Leave it out for the world's own."
        )
    ends = np.cumsum([x.size for x in leaves])[:-1]
    parts = np.split(np.asarray(found, np.float64), ends)
    restored = [p.reshape(x.shape).astype(x.dtype) for p, x in zip(parts, leaves, strict=True)]
    return structure.unflatten(restored)


def is_finite(value: Any) -> bool:
    """Whether it is a finite number, and no bool."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def all_finite(state: State) -> bool:
    """Whether every number of a state is."""
    return all(bool(np.isfinite(np.asarray(x)).all()) for x in jax.tree.leaves(state))
