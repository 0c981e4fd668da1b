"""One page's loop: observe, search and show the search, act, again until the goal is reached.

A session has a thread of its own. The page's commands change its wishes under a lock; the thread
reads them between two chunks of a search, so that nothing waits longer than one chunk.
"""

import dataclasses
import itertools
import logging
import threading
import time
from typing import Any

import jax
import numpy as np

import grasp_jax
from experiments.live import compilation, scene
from experiments.live.controls import Settings
from experiments.live.outbox import Outbox
from experiments.live.planners import begin, choose
from experiments.live.world import Handle, State, Window, World, all_finite, numbers

_PATIENCE = 2.0
"""After so many horizons without success the next plan looks the whole horizon ahead again."""
_SHORTEST = 3
"""Fewest model steps that a plan looks ahead: the last ones correct what the model got wrong."""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the page wants.

    Attributes:
      settings: The controls.
      goal: The simulator's state to reach.
      playing: Whether plans are followed.
      steps: Model steps still to take while paused.
      version: Counts changes that make a search begin anew.
    """

    settings: Settings
    goal: State
    playing: bool = True
    steps: int = 0
    version: int = 0


class Session:
    """Plans and acts in one world until it is closed."""

    def __init__(self, world: World, wish: Wish, state: State, outbox: Outbox, seed: int = 0):
        """Makes a session; `start` begins.

        Args:
          world: The world.
          wish: What to begin with.
          state: The simulator's first state.
          outbox: Where pictures and messages go.
          seed: Of the searches.
        """
        self.world, self._outbox, self._seed = world, outbox, seed
        self._wish, self._changed = wish, threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"live {world.name}", daemon=True)
        self._counter = itertools.count()
        self._passed = [state]
        self._windows: list[tuple[State, np.ndarray]] = []
        self._guess = np.zeros((world.max_horizon, world.action_size), np.float32)
        self._taken = 0
        self._aim: State | None = None  # a goal on the way
        self._stopped = False  # reached or failed: waits for another wish
        self._served = wish.version

    def start(self) -> None:
        """Begins to plan, in a thread."""
        self._show_world()
        self._thread.start()

    def stop(self) -> None:
        """Ends after the present chunk."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self, timeout: float | None = None) -> bool:
        """Stops and waits for the thread's end; whether it has ended within the time."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._closed

    @property
    def wish(self) -> Wish:
        """What the page wants now."""
        with self._changed:
            return self._wish

    def configure(self, settings: Settings) -> None:
        """Other settings; the search begins anew."""
        self._change(settings=settings, anew=True)

    def play(self, playing: bool) -> None:
        """Follows plans, or only searches."""
        self._change(playing=playing, anew=self._stopped)
        self._outbox.show(playing=playing)

    def step(self) -> None:
        """While paused: takes as many model steps as are taken from plan to plan."""
        with self._changed:
            follow = self._wish.settings.follow
        self._change(playing=False, steps=follow, anew=self._stopped)
        self._outbox.show(playing=False)

    def move_goal(self, number: int, handle: Handle) -> None:
        """Drags the goal; what it looks like is shown at once."""
        with self._changed:
            goal = self.world.move(self._wish.goal, number, handle)
        self._change(goal=goal, anew=True)
        self._outbox.show(**scene.goal_parts(self.world, goal), goalNumbers=numbers(goal))

    def _change(self, anew: bool = False, **changes: Any) -> None:
        with self._changed:
            version = self._wish.version + anew
            self._wish = dataclasses.replace(self._wish, version=version, **changes)
            self._changed.notify_all()

    # The thread.

    def _run(self) -> None:
        done: int | None = None
        while True:
            with self._changed:
                while not self._closed and not self._has_work(done):
                    self._changed.wait()
                if self._closed:
                    return
                wish = self._wish
            try:
                done = self._round(wish)
            except Exception as error:
                logging.exception("A session in %s failed.", self.world.name)
                self._fail(f"{type(error).__name__}: {error!s:.400}")
                done = wish.version

    def _has_work(self, done: int | None) -> bool:
        """Whether something is wanted that a round has not done; `done` is its version."""
        wish = self._wish
        if wish.version != done:
            return True
        return (wish.playing or wish.steps > 0) and not self._stopped

    def _round(self, wish: Wish) -> int:
        """One plan, followed for some steps if that is wanted; the version it was made for."""
        if wish.version != self._served:
            self._served, self._taken = wish.version, 0
        if self._reached(wish.goal):
            return self._arrive(wish)
        self._stopped = False
        found = self._search(wish)
        if found is None:
            return -1
        if not np.isfinite(found.plan.cost):
            self._fail("the model returned NaN or infinity for every plan tried")
            return wish.version
        with self._changed:
            now = self._wish
            acting = now.playing or now.steps > 0
        if not acting:
            self._outbox.show(phase="paused")
            self._guess = np.asarray(found.plan.actions)
            return wish.version
        self._follow(found, wish)
        return wish.version

    def _arrive(self, wish: Wish) -> int:
        self._stopped = True
        self._taken = 0
        self._guess = np.zeros_like(self._guess)
        self._change(steps=0)
        self._outbox.show(
            phase="reached", reached=True, stateNumbers=numbers(self._passed[-1]), **scene.no_plan()
        )
        return wish.version

    def _fail(self, text: str) -> None:
        self._stopped = True
        self._change(playing=False, steps=0)
        self._outbox.show(phase="stopped", playing=False)
        self._outbox.say(f"Stopped: {text}. Change something or reset, then play again.", "error")

    def _reached(self, goal: State) -> bool:
        return bool(self.world.success(self._passed[-1], goal))

    def _search(self, wish: Wish) -> "Found | None":
        """Plans and shows every update; None where the wish changed meanwhile."""
        world, settings = self.world, wish.settings
        aim = self._aim_at(wish.goal)
        steps = self._steps_ahead(settings)
        key = jax.random.fold_in(jax.random.key(self._seed), next(self._counter))
        planner, chunk = choose(settings, world, self._recorded_way(wish))
        phase = "planning" if compilation.known(world.name, settings) else "compiling"
        self._outbox.show(phase=phase, reached=False)
        began, compiled = time.perf_counter(), compilation.seconds()
        search = begin(world, planner, self._window(), aim, self._guess, key, steps)
        if self._interrupted(wish):
            return None
        plan = None
        for update in range(settings.effort):
            # Only the last rows, because every new number of rows would compile.
            search = grasp_jax.advance(dataclasses.replace(search, metrics=()), chunk)
            plan = grasp_jax.read(search)
            cost = float(plan.cost)
            compilation.remember(world.name, settings)
            self._show_plan(plan, steps, cost, (update + 1) * chunk)
            if self._interrupted(wish):
                if np.isfinite(cost):
                    self._guess = np.asarray(plan.actions)
                return None
        assert plan is not None
        spent = time.perf_counter() - began - (compilation.seconds() - compiled)
        return Found(plan, steps, max(spent, 0.0))

    def _aim_at(self, goal: State) -> State:
        """What to plan for now; a goal on the way is shown, and always the whole horizon away."""
        if self.world.toward is None:
            return goal
        aim = self.world.toward(self._passed[-1], goal)
        if aim is not goal or self._aim is not None:
            self._taken = 0
        self._aim = None if aim is goal else aim
        self._outbox.show(aim="" if aim is goal else scene.drawn(self.world, aim))
        return aim

    def _recorded_way(self, wish: Wish) -> Any:
        """The recorded way to the goal where the planner goes along one; shown with its graph."""
        if wish.settings.planner != "GRASP-graph" or self.world.recorded is None:
            self._outbox.show(graph="", wayLine=[])
            return None
        recorded = self.world.recorded()
        way = recorded.way(self._passed[-1], wish.goal)
        self._outbox.show(graph=recorded.graph, wayLine=scene.way(self.world, way))
        return way

    def _interrupted(self, wish: Wish) -> bool:
        with self._changed:
            return self._closed or self._wish.version != wish.version

    def _steps_ahead(self, settings: Settings) -> int:
        """The horizon shrinks as the goal comes nearer, and starts over where it did not."""
        if self._taken >= _PATIENCE * settings.horizon:
            self._taken = 0
        shortest = min(max(_SHORTEST, settings.follow), settings.horizon)
        return max(settings.horizon - self._taken, shortest)

    def _window(self) -> Window:
        past = self._windows[-self.world.past :] if self.world.past else []
        return Window(self._passed[-1], [s for s, _ in past], [a for _, a in past])

    def _follow(self, found: "Found", wish: Wish) -> None:
        """Takes the first actions of a plan in the simulator."""
        self._outbox.show(phase="acting")
        count = min(wish.settings.follow, found.steps)
        actions = np.asarray(found.plan.actions)
        frames = 0
        for action in actions[:count]:
            before = self._passed[-1]
            states = list(self.world.simulate(before, action))
            self._windows = [*self._windows, (before, action)][-max(self.world.past, 1) :]
            frames += len(states)
            for state in states:
                if not all_finite(state):
                    self._fail("the world's next state has NaN or infinity")
                    return
                self._passed.append(state)
                self._show_world()
                if self._reached(wish.goal):
                    break
                if self._pause():
                    return
            if self._reached(wish.goal) or self._interrupted(wish):
                break
        self._taken += count
        self._guess = np.concatenate([actions[count:], np.zeros_like(actions[:count])])
        self._change(steps=max(self.wish.steps - count, 0))
        per_step = 1000 * found.seconds / max(frames, 1)
        self._outbox.show(planMs=1000 * found.seconds, stepMs=per_step)
        now = self.wish
        if not now.playing and now.steps == 0:
            self._outbox.show(phase="paused")

    def _pause(self) -> bool:
        """Leaves a picture on the screen for a while; whether the session was closed meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, self.world.pause)

    def _show_world(self) -> None:
        state = self._passed[-1]
        self._outbox.show(
            now=scene.drawn(self.world, state),
            trail=scene.trail(self.world, self._passed),
            steps=len(self._passed) - 1,
            stateNumbers=numbers(state),
        )

    def _show_plan(self, plan: grasp_jax.Plan, steps: int, cost: float, iteration: int) -> None:
        residual = float(np.asarray(plan.metrics.dynamics_residual)[-1])
        shown = [x if np.isfinite(x) else None for x in (cost, residual)]
        self._outbox.add_row(iteration, *shown)
        phase = "planning"
        if int(plan.status) == grasp_jax.Status.NON_FINITE:
            phase = "planning; some of the model's numbers are NaN or infinite"
        parts = scene.plan_parts(self.world, plan, steps) if np.isfinite(cost) else {}
        self._outbox.show(phase=phase, compiled=compilation.count(), ahead=steps, **parts)


@dataclasses.dataclass(frozen=True)
class Found:
    """A plan, the model steps it looks ahead, and the seconds it took, compiling apart."""

    plan: grasp_jax.Plan
    steps: int
    seconds: float
