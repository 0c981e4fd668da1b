"""The conversation between page and server, by a web socket without a browser."""

import asyncio
import io
import threading
import time
from typing import Any

import pytest
from PIL import Image

aiohttp = pytest.importorskip("aiohttp", reason="the extra `live` is not installed")

from experiments.live import grasp_jax_live, recorder  # noqa: E402
from tests.experiments.live.worlds import OWN, START, draw, dynamics  # noqa: E402


@pytest.fixture(scope="module")
def server():
    live = grasp_jax_live(dynamics, START, draw, **OWN)
    yield live
    live.close()


def talk(server, commands, enough):
    """Sends commands, then listens until `enough(view, messages)`; returns both."""

    async def conversation():
        view, messages = {}, []
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{server.url}/socket") as s,
        ):
            for command in commands:
                await (s.send_str if isinstance(command, str) else s.send_json)(command)
            async with asyncio.timeout(60):
                while not enough(view, messages):
                    found = await s.receive_json()
                    view |= found.get("view", {})
                    messages += [m["text"] for m in found.get("messages", [])]
        return view, messages

    return asyncio.run(conversation())


def test_an_address_describes_a_view(server):
    command = {
        "do": "open",
        "settings": {"planner": "MPPI", "effort": 3},
        "goal": [0.5, -0.5],
        "state": [0.1, 0.2],
        "playing": False,
    }
    view, messages = talk(server, [command], lambda v, m: v.get("phase") == "paused")
    assert view["settings"]["planner"] == "MPPI"
    assert view["settings"]["effort"] == 3
    assert view["goalNumbers"] == [0.5, -0.5]
    assert view["stateNumbers"] == [0.1, 0.2]
    assert not messages


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (["{"], "Ignored"),
        ([{"do": "play"}], "no world is open"),
        ([{"do": "open", "world": "moon"}], "there is no world 'moon'; there are own"),
        ([{"do": "open", "seed": -1}], "seed must be a whole number"),
        ([{"do": "open", "goal": [1]}], "goal in the address must be 2 numbers"),
        ([{"do": "open", "settings": {"effort": 1e9}}], "effort must be a number from 1 to 80"),
        ([{"do": "open"}, {"do": "fly"}], "there is no command 'fly'"),
        ([{"do": "open"}, {"do": "goal", "handle": 3}], "handle must be 0 to 0, got 3"),
        ([{"do": "open"}, {"do": "goal", "handle": 0, "x": None}], "must be finite numbers"),
    ],
)
def test_bad_commands_are_told_and_do_no_harm(server, commands, message):
    _, messages = talk(server, commands, lambda v, m: m)
    assert message in messages[0]


def test_a_page_that_leaves_in_a_search_leaves_nothing(server):
    command = {"do": "open", "goal": [5.0, 5.0], "settings": {"effort": 80}}
    talk(server, [command], lambda v, m: v.get("rolloutLine"))
    end = time.monotonic() + 30
    while server.sessions and time.monotonic() < end:
        time.sleep(0.01)
    assert server.sessions == 0
    assert not [t for t in threading.enumerate() if t.name.startswith("live ")]


def test_other_sites_are_refused(server):
    async def status(headers):
        address = f"{server.url}/"
        async with (
            aiohttp.ClientSession() as client,
            client.get(address, headers=headers) as answer,
        ):
            return answer.status, answer.headers.get("Content-Security-Policy", "")

    assert asyncio.run(status({}))[0] == 200
    assert "default-src 'self'" in asyncio.run(status({}))[1]
    assert asyncio.run(status({"Origin": "https://example.com"}))[0] == 403
    assert asyncio.run(status({"Host": "example.com"}))[0] == 403


def picture(color, size=(20, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_gif_shows_its_frames():
    film: Any = Image.open(io.BytesIO(recorder.gif([picture("red"), picture("blue")], 100)))
    assert film.n_frames == 2
    colors = []
    for index in range(2):
        film.seek(index)
        colors.append(film.convert("RGB").getpixel((5, 5)))
    assert colors == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "1 to 400 frames, got 0"),
        ([b"no"], "a frame is no picture"),
        ([picture("red"), picture("red", (5, 5))], "all frames must have one size"),
    ],
)
def test_bad_recordings_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        recorder.gif(frames, 100)
