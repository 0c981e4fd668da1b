"""One's own world model on the live page, from a script or a notebook.

grasp_jax_live(dynamics, start, draw, goal=goal, action_size=2)
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grasp_jax
from experiments.live.controls import Settings
from experiments.live.conversation import Worlds
from experiments.live.server import HOST, Live, serve
from experiments.live.world import Handle, State, World, all_finite


class Server:
    """A live page that runs in a thread of its own until it is closed.

    Attributes:
      url: The page's address.
      worlds: Name to world.
    """

    def __init__(self, worlds: Worlds, port: int = 0):
        """Begins to serve.

        Raises:
          PortInUseError: another program listens on the port.
        """
        self.worlds = worlds
        self._live, self._loop = Live(worlds), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live", daemon=True)
        self._thread.start()
        try:
            self._runner, self.port = self._wait(serve(self._live, port))
        except BaseException:
            self._end()
            raise
        self.url = f"http://{HOST}:{self.port}"

    def close(self) -> None:
        """Ends every session and the server."""
        if self._thread.is_alive():
            self._wait(self._runner.cleanup())
            self._end()

    def wait(self) -> None:
        """Serves until the process is interrupted, then closes."""
        try:
            while self._thread.is_alive():
                self._thread.join(1.0)
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    @property
    def sessions(self) -> int:
        """Pages that plan now."""
        return len(self._live.sessions)

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def grasp_jax_live(
    dynamics: Any,
    start: State,
    draw: Callable[[State], str],
    *,
    action_size: int,
    goal: State | None = None,
    horizon: int = 30,
    bounds: tuple[Any, Any] = (-1.0, 1.0),
    objective: grasp_jax.Objective | None = None,
    simulate: Callable[[State, np.ndarray], State] | None = None,
    point: Callable[[State], tuple[float, float]] | None = None,
    place: Callable[[State, float, float], State] | None = None,
    tolerance: float = 0.05,
    view: tuple[float, float, float, float] = (-1.0, -1.0, 2.0, 2.0),
    backdrop: str = "",
    settings: Settings | None = None,
    title: str = "Your world",
    port: int = 0,
    block: bool = True,
) -> Server:
    """Opens a live page for a world model of one's own; prints its address.

    Args:
      dynamics: `F(state, action) -> next_state`, see `grasp_jax.plan`.
      start: The first state, a pytree of floating arrays.
      draw: A state (NumPy arrays) to a fragment of SVG, in the units of `view`; `currentColor` is
        the colour of the layer: the present state, the goal, virtual states, the rollout.
      action_size: `A`.
      goal: The first goal, a pytree like `start`; `start` itself by default, to be dragged away.
      horizon: `T`, the most steps that a plan looks ahead.
      bounds: `(low, high)` of actions.
      objective: The cost; squared distance to the goal by default.
      simulate: `(state, action [A]) -> next state`, where the plans are followed; by default the
        model itself.
      point: A state to `(x, y)`, where its line passes and its goal is held; by default the first
        two numbers of a state that is one array.
      place: `(goal, x, y) -> goal`, the goal dragged there; by default the first two numbers of
        the goal are replaced.
      tolerance: The goal is reached within this distance of `point`s, in the units of `view`.
      view: `(x, y, width, height)`, the part of the plane that is shown; `y` points down.
      backdrop: SVG behind everything.
      settings: What the controls say first.
      title: Of the page.
      port: 0 for any free one.
      block: Whether to serve until interrupted, as in a script; False returns at once, as in a
        notebook: call `close()` on what comes back.

    Returns:
      The server; its `url` is the page's address.

    Raises:
      ValueError: an argument cannot work; the message says which and what to do.
      PortInUseError: another program listens on the port.
    """
    start, goal = _numpy(start), _numpy(start if goal is None else goal)
    point, place = point or _first_two, place or _replace_first_two
    objective = grasp_jax.Objective() if objective is None else objective
    if not callable(draw):
        raise ValueError(f"draw must be callable as draw(state), got {draw!r:.60}.")
    _check_start(start, goal, point)
    _check_steps(action_size, horizon)
    fragment = draw(start)
    if not isinstance(fragment, str):
        raise ValueError(
            f"draw must return a fragment of SVG as a str, got {type(fragment).__name__}. "
            'Return something like \'<circle cx="0" cy="0" r="0.1" fill="currentColor"/>\'.'
        )
    step: Any = simulate or jax.jit(lambda state, action: dynamics(state, action))

    def act(state: State, action: np.ndarray) -> Sequence[State]:
        return [_numpy(step(state, jnp.asarray(action)))]

    def near(state: State, goal: State) -> bool:
        gap = np.subtract(point(state), point(goal))
        return bool(np.linalg.norm(gap) <= tolerance)

    def hold(goal: State) -> tuple[Handle, ...]:
        x, y = point(goal)
        return (Handle(float(x), float(y), None, 0.06 * max(view[2:])),)

    world = World(
        name="own",
        title=title,
        about="A world model of your own.",
        dynamics=dynamics,
        action_size=action_size,
        max_horizon=horizon,
        bounds=bounds,
        task=lambda seed: (start, goal),
        simulate=act,
        success=near,
        draw=draw,
        view=view,
        point=point,
        handles=hold,
        move=lambda g, number, handle: _numpy(place(g, handle.x, handle.y)),
        presets=_presets(settings, horizon),
        objective=objective,
        backdrop=backdrop,
    )
    server = Server({"own": lambda: world}, port)
    print(f"{title}: {server.url}", flush=True)
    if block:
        server.wait()
    return server


def _presets(settings: Settings | None, horizon: int) -> dict[str, Settings]:
    """The wanted settings first, then every planner's."""
    usual = (
        Settings("GRASP", "gradients", 16, horizon, 0.1, 0.3, 0.1),
        Settings("GRASP-author", "gradients", 20, horizon, 0.005, 0.3, 0.05),
        Settings("GD", "gradients", 20, horizon, 0.0, 0.5, 0.1),
        Settings("CEM", "none", 20, horizon, 0.0, 1.0),
        Settings("iCEM", "none", 20, horizon, 0.0, 1.0),
        Settings("MPPI", "none", 20, horizon, 0.0, 0.5),
    )
    wanted = {settings.planner: settings} if settings else {}
    return wanted | {s.planner: s for s in usual if s.planner not in wanted}


def _numpy(state: State) -> State:
    return jax.tree.map(np.asarray, state)


def _first_two(state: State) -> tuple[float, float]:
    flat = np.asarray(state).reshape(-1)
    return float(flat[0]), float(flat[1])


def _replace_first_two(goal: State, x: float, y: float) -> State:
    flat = np.array(goal)
    flat.reshape(-1)[:2] = x, y
    return flat


def _check_start(start: State, goal: State, point: Callable[[State], Any]) -> None:
    leaves = jax.tree.leaves(start)
    if not leaves or not all(np.issubdtype(x.dtype, np.floating) for x in leaves):
        kinds = ", ".join(str(x.dtype) for x in leaves) or "nothing"
        raise ValueError(f"start must be a pytree of floating arrays, got {kinds}. Use 0.0, not 0.")
    if jax.tree.structure(start) != jax.tree.structure(goal):
        raise ValueError("goal must be a pytree like start: the same keys and shapes.")
    if not all_finite(start) or not all_finite(goal):
        raise ValueError("start and goal must be finite, got NaN or infinity.")
    if point is _first_two and (len(leaves) != 1 or leaves[0].size < 2):
        raise ValueError(
            "point is needed: where on the page is a state that is not one array of at least two "
            "numbers? Pass point=lambda state: (x, y), and place=lambda goal, x, y: goal."
        )


def _check_steps(action_size: Any, horizon: Any) -> None:
    for name, value in (("action_size", action_size), ("horizon", horizon)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive int, got {value!r:.40}.")
