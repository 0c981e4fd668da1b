"""The conversation with one browser page: commands in, pictures and messages out."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from experiments.live import scene
from experiments.live.controls import Settings, describe, parse
from experiments.live.outbox import Outbox
from experiments.live.session import Session, Wish
from experiments.live.world import Handle, World, from_numbers, is_finite, numbers

MOST_SESSIONS = 4
_PERIOD = 1 / 30
"""Seconds between two messages to a page, at least."""

Worlds = Mapping[str, Callable[[], World]]


class Page:
    """The conversation with one browser page."""

    def __init__(self, worlds: Worlds, sessions: set[Session], socket: web.WebSocketResponse):
        """Makes it; `talk` begins. `sessions` are those of all pages."""
        self._worlds, self._sessions, self._socket = worlds, sessions, socket
        self._something = asyncio.Event()
        self._outbox = self._new_outbox()
        self._session: Session | None = None
        self._endings: set[asyncio.Task[None]] = set()

    async def talk(self) -> None:
        """Answers until the page goes away."""
        sender = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    await self._receive(message.data)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender

    async def close(self) -> None:
        """Ends the page's sessions."""
        self._end_session()
        await asyncio.gather(*self._endings)

    def _new_outbox(self) -> Outbox:
        """One for each session, so that one that still ends has nowhere to write to."""
        loop = asyncio.get_running_loop()
        return Outbox(lambda: _wake(loop, self._something))

    def _end_session(self) -> None:
        """The next session need not wait until the last one has compiled what it began."""
        session, self._session = self._session, None
        if session is None:
            return
        session.stop()

        async def forget() -> None:
            await asyncio.to_thread(session.close)
            self._sessions.discard(session)

        task = asyncio.create_task(forget())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _send(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            found = self._outbox.take()
            if found:
                await self._socket.send_str(json.dumps(found, allow_nan=False))
            await asyncio.sleep(_PERIOD)

    async def _receive(self, text: str) -> None:
        try:
            command = json.loads(text)
            if not isinstance(command, dict):
                raise ValueError("a command must be an object")
            if command.get("do") == "open":
                await self._open(command)
            elif self._session is None:
                raise ValueError("no world is open")
            else:
                _obey(self._session, command)
        except ValueError as error:
            self._outbox.say(f"Ignored: {error!s:.300}", "error")
        except Exception as error:
            logging.exception("A command of the page failed.")
            self._outbox.say(f"{type(error).__name__}: {error!s:.300}", "error")

    async def _open(self, command: dict[str, Any]) -> None:
        """A fresh session, as the page's address describes it."""
        self._end_session()
        self._outbox = self._new_outbox()
        others = sum(not s.stopping for s in self._sessions)
        if others >= MOST_SESSIONS:
            raise ValueError(
                f"{MOST_SESSIONS} pages plan already, on the same cores. Close one and reload."
            )
        name = command.get("world") or next(iter(self._worlds))
        if name not in self._worlds:
            known = ", ".join(self._worlds)
            raise ValueError(f"there is no world {name!r:.40}; there are {known}.")
        self._outbox.show(phase="loading")
        world = await asyncio.to_thread(self._worlds[name])
        seed = _seed(command.get("seed"))
        state, goal = await asyncio.to_thread(world.task, seed)
        settings = next(iter(world.presets.values()))
        try:
            wanted = command.get("settings") or {}
            settings = changed(world, settings, wanted)
            if command.get("state"):
                state = from_numbers(command["state"], state, "state")
            if command.get("goal"):
                goal = from_numbers(command["goal"], goal, "goal")
        except ValueError as error:
            self._outbox.say(f"From the address: {error}", "error")
        wish = Wish(settings, goal, playing=bool(command.get("playing", True)))
        self._session = Session(world, wish, state, self._outbox, seed)
        self._sessions.add(self._session)
        self._outbox.show(**_first_view(self._worlds, world, wish, seed))
        if others:
            count = others + 1
            self._outbox.say(f"{count} pages plan at once and share the cores: each is slower.")
        self._session.start()


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Sets the loop's event from another thread, unless the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _seed(found: Any) -> int:
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 10**6:
        raise ValueError(f"seed must be a whole number from 0 to 999999, got {found!r:.40}.")
    return found


def _first_view(worlds: Worlds, world: World, wish: Wish, seed: int) -> dict[str, Any]:
    """All that a page has to know of a world, once."""
    return {
        "world": {
            "name": world.name,
            "title": world.title,
            "about": world.about,
            "box": list(world.view),
            "backdrop": world.backdrop,
            "seed": seed,
            "worlds": list(worlds),
            "planners": list(world.presets),
        },
        "controls": describe(world.max_horizon),
        "settings": vars(wish.settings),
        "playing": wish.playing,
        "reached": False,
        "goalNumbers": numbers(wish.goal),
        **scene.no_plan(),
        **scene.goal_parts(world, wish.goal),
    }


def _obey(session: Session, command: dict[str, Any]) -> None:
    """Passes a command on to a session.

    Raises:
      ValueError: it is unknown, or its arguments cannot be.
    """
    match command.get("do"):
        case "play":
            session.play(True)
        case "pause":
            session.play(False)
        case "step":
            session.step()
        case "goal":
            session.move_goal(*_dragged(session, command))
        case "settings":
            session.configure(changed(session.world, session.wish.settings, command.get("changes")))
        case other:
            raise ValueError(f"there is no command {other!r:.40}.")


def changed(world: World, before: Settings, changes: Any) -> Settings:
    """The settings after a page's change; another planner brings its own preset.

    Raises:
      ValueError: a setting is unknown, or its value cannot be.
    """
    if isinstance(changes, dict) and isinstance(changes.get("planner"), str):
        if changes["planner"] not in world.presets:
            known = ", ".join(world.presets)
            raise ValueError(f"{world.title} has no planner {changes['planner']!r:.40}: {known}.")
        before = world.presets[changes["planner"]]
    return parse(changes, before, world.max_horizon)


def _dragged(session: Session, command: dict[str, Any]) -> tuple[int, Handle]:
    """Which handle of the goal is dragged, and where to."""
    count = len(session.world.handles(session.wish.goal))
    number, angle = command.get("handle"), command.get("angle")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < count:
        raise ValueError(f"handle must be 0 to {count - 1}, got {number!r:.40}.")
    place = [command.get("x"), command.get("y"), 0.0 if angle is None else angle]
    if not all(is_finite(v) for v in place):
        raise ValueError("x, y and angle of a goal must be finite numbers.")
    x, y, turned = map(float, place)  # pyright: ignore[reportArgumentType]
    return number, Handle(x, y, None if angle is None else turned)
