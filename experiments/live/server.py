"""The local server: the page's files, a web socket per page, and the recorder.

It listens on the loopback address alone and refuses pages of other origins, so that no web site
can reach it through the browser. A page has a session of its own; the session ends with the page.
"""

import asyncio
import errno
import logging
import pathlib
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from experiments.live import recorder
from experiments.live.conversation import Page, Worlds
from experiments.live.session import Session

HOST = "127.0.0.1"
_PAGE = pathlib.Path(__file__).parent / "page"
_LAST_WAIT = 5.0
"""Seconds that the end of the server waits for a session."""
_LARGEST = 64 * 2**20
_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'"


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
        ends = [asyncio.to_thread(s.close, _LAST_WAIT) for s in list(self.sessions)]
        if not all(await asyncio.gather(*ends)):
            logging.warning("A session is still compiling; it ends with this process.")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=2**20)
        await socket.prepare(request)
        page = Page(self.worlds, self.sessions, socket)
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
