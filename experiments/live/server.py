"""The local server: the page's files, a web socket per page, and the recorder.

It listens on the loopback address alone and refuses pages of other origins, so that no web site
can reach it through the browser. A page has a session of its own; the session ends with the page.
"""

import asyncio
import contextlib
import errno
import json
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from experiments.live import recorder, scene
from experiments.live.controls import describe, parse
from experiments.live.outbox import Outbox
from experiments.live.session import Session, Wish
from experiments.live.world import Handle, World, from_numbers, is_finite, numbers

HOST = "127.0.0.1"
MOST_SESSIONS = 4
_PAGE = pathlib.Path(__file__).parent / "page"
_PERIOD = 1 / 30
"""Seconds between two messages to a page, at least."""
_LARGEST = 64 * 2**20
_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"

Worlds = Mapping[str, Callable[[], World]]


class PortInUseError(OSError):
    """Another program listens there."""


class Live:
    """The application's state: which worlds there are, and the sessions of its pages."""

    def __init__(self, worlds: Worlds):
        """Makes it; no world is built before a page asks for it."""
        self.worlds = worlds
        self.sessions: set[Session] = set()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=_LARGEST, middlewares=[_own_pages_only])
        app.router.add_get("/", self._index)
        app.router.add_get("/socket", self._socket)
        app.router.add_post("/gif", _make_gif)
        app.router.add_static("/page", _PAGE)
        app.on_shutdown.append(self._close_all)
        return app

    async def _index(self, request: web.Request) -> web.FileResponse:
        del request
        return web.FileResponse(_PAGE / "index.html")

    async def _close_all(self, app: web.Application) -> None:
        del app
        await asyncio.gather(*(_close(session) for session in list(self.sessions)))

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=2**20)
        await socket.prepare(request)
        page = Page(self, socket)
        try:
            await page.talk()
        finally:
            await page.close()
        return socket


@web.middleware
async def _own_pages_only(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuses what another site's page, or another name of this address, asks for."""
    origin = request.headers.get("Origin")
    host = urlsplit(f"//{request.host}").hostname
    if host not in (HOST, "localhost") or (origin and urlsplit(origin).netloc != request.host):
        raise web.HTTPForbidden(text="This server answers to its own page alone.")
    response = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-cache"
    return response


async def _make_gif(request: web.Request) -> web.Response:
    """Frames of the view (PNG, fields named `frame`) to a GIF; `ms` is the time between two."""
    try:
        form = await request.post()
        frames = [f.file.read() for f in form.getall("frame", []) if isinstance(f, web.FileField)]
        milliseconds = float(str(form.get("ms", "100")))
        gif = await asyncio.to_thread(recorder.gif, frames, milliseconds)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return web.Response(body=gif, content_type="image/gif")


async def _close(session: Session) -> None:
    if not await asyncio.to_thread(session.close):
        logging.warning("A session in %s still compiles; it ends after that.", session.world.name)


class Page:
    """The conversation with one browser page."""

    def __init__(self, live: Live, socket: web.WebSocketResponse):
        """Makes it; `talk` begins."""
        self._live, self._socket = live, socket
        loop, self._something = asyncio.get_running_loop(), asyncio.Event()
        self._outbox = Outbox(lambda: _wake(loop, self._something))
        self._session: Session | None = None

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
        """Ends the page's session."""
        session, self._session = self._session, None
        if session is not None:
            await _close(session)
            self._live.sessions.discard(session)

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
        await self.close()
        if len(self._live.sessions) >= MOST_SESSIONS:
            raise ValueError(
                f"{MOST_SESSIONS} pages plan already, on the same cores. Close one and reload."
            )
        name = command.get("world") or next(iter(self._live.worlds))
        if name not in self._live.worlds:
            known = ", ".join(self._live.worlds)
            raise ValueError(f"there is no world {name!r:.40}; there are {known}.")
        self._outbox.show(phase="loading")
        world = await asyncio.to_thread(self._live.worlds[name])
        seed = _seed(command.get("seed"))
        state, goal = await asyncio.to_thread(world.task, seed)
        settings = next(iter(world.presets.values()))
        try:
            wanted = command.get("settings") or {}
            settings = world.presets.get(wanted.get("planner"), settings)
            settings = parse(wanted, settings, world.max_horizon)
            if command.get("state"):
                state = from_numbers(command["state"], state, "state")
            if command.get("goal"):
                goal = from_numbers(command["goal"], goal, "goal")
        except ValueError as error:
            self._outbox.say(f"From the address: {error}", "error")
        wish = Wish(settings, goal, playing=bool(command.get("playing", True)))
        self._session = Session(world, wish, state, self._outbox, seed)
        self._live.sessions.add(self._session)
        self._outbox.show(**_first_view(self._live.worlds, world, wish, seed))
        if len(self._live.sessions) > 1:
            count = len(self._live.sessions)
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
            session.configure(_settings(session, command.get("changes")))
        case other:
            raise ValueError(f"there is no command {other!r:.40}.")


def _settings(session: Session, changes: Any) -> Any:
    """The page's change; another planner brings its own preset."""
    world, before = session.world, session.wish.settings
    if isinstance(changes, dict) and isinstance(changes.get("planner"), str):
        if changes["planner"] not in world.presets:
            known = ", ".join(world.presets)
            raise ValueError(f"{world.title} has no planner {changes['planner']!r:.40}: {known}.")
        before = world.presets[changes["planner"]]
    return parse(changes, before, world.max_horizon)


def _dragged(session: Session, command: dict[str, Any]) -> tuple[int, Handle]:
    count = len(session.world.handles(session.wish.goal))
    number, x, y = command.get("handle"), command.get("x"), command.get("y")
    angle = command.get("angle")
    if number not in range(count) or isinstance(number, bool):
        raise ValueError(f"handle must be 0 to {count - 1}, got {number!r:.40}.")
    if not is_finite(x) or not is_finite(y) or not (angle is None or is_finite(angle)):
        raise ValueError("x, y and angle of a goal must be finite numbers.")
    return number, Handle(x, y, angle)


async def serve(live: Live, port: int) -> tuple[web.AppRunner, int]:
    """Begins to listen on the loopback address.

    Args:
      live: What to serve.
      port: 0 for any free one.

    Returns:
      The runner, to be cleaned up, and the port.

    Raises:
      PortInUseError: another program listens on it.
    """
    runner = web.AppRunner(live.application(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} of {HOST} is in use by another program. Pass another port, or "
                "--port=0 for any free one."
            ) from error
        raise
    return runner, runner.addresses[0][1]
