"""Worlds that come with the page, in a real browser: goals are dragged, graphs are drawn.

Minutes: `pytest -m slow tests/experiments/live/test_worlds_in_browser.py`. With LIVE_SCREENSHOTS
set to a folder the page is photographed while it plans and when it has arrived.
"""

import os
import pathlib

import pytest

pytest.importorskip("aiohttp", reason="the extra `live` is not installed")
pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from experiments.live.plug import Server
from experiments.live.worlds import WORLDS
from tests.experiments.live.browser import (
    CHROMIUM,
    DRIVER,
    MISSING,
    drag_goal,
    open_browser,
    reached,
    state,
    wait,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
FOLDER = os.environ.get("LIVE_SCREENSHOTS")
SECONDS = 150  # for a goal, on a core that is shared
PLACES = ((14.0, 48.0), (50.0, 14.0), (12.0, 12.0))
"""In both rooms of Wall."""
PUSHED = ((280.0, 240.0), (180.0, 320.0), (330.0, 180.0))
"""Where the block's centre is dragged, px."""
_BEYOND = ((-0.7, 0.7), (0.7, -0.7), (-0.6, -0.6))
ROLLED = {
    "ball_u_trap": _BEYOND,
    "ball_two_rooms": _BEYOND,
    "pointmaze": ((-1.0, 1.0), (1.0, 0.0), (-1.0, -1.0)),
}
"""Where a ball's goal is dragged: beyond walls."""


def photograph(browser, name):
    if FOLDER:
        pathlib.Path(FOLDER).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(pathlib.Path(FOLDER) / f"{name}.png"))


def lines(browser, layer):
    """Whether a layer of the view holds a line."""
    found = browser.execute_script(
        f"return document.querySelectorAll('#view .{layer} polyline, #view .{layer} path').length"
    )
    return found > 0


def held(browser):
    """Where the page holds the goal."""
    return browser.execute_script("return live.view.handles.map((h) => [h.x, h.y])")


@pytest.fixture
def page(tmp_path):
    """Opens a world of its own server; both are closed at the end."""
    server, browser = Server(WORLDS, 0), open_browser(tmp_path)

    def opened(address):
        browser.get(f"{server.url}/#{address}")
        return browser

    yield opened
    browser.quit()
    server.close()


def test_three_drags_are_reached(page):
    browser = page("world=wall&planner=GRASP")
    wait(lambda: lines(browser, "rollout"), "the first plan", 240)
    for number, place in enumerate(PLACES):
        drag_goal(browser, *place)
        wait(lambda: state(browser, "phase") == "planning", "a new search", SECONDS)
        wait(lambda: lines(browser, "virtual"), "virtual states", SECONDS)
        photograph(browser, f"wall_{number}")
        wait(lambda: reached(browser), f"success at {place}", SECONDS)
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.mark.parametrize("world", ["pusht", "pusht_pixels"])
def test_push_t_reaches_three_dragged_goals(page, world):
    browser = page(f"world={world}&planner=GRASP")
    wait(lambda: lines(browser, "rollout"), "the first plan", 240)
    for number, place in enumerate(PUSHED):
        drag_goal(browser, *place)
        wait(lambda: state(browser, "phase") == "planning", "a new search", SECONDS)
        wait(lambda: lines(browser, "virtual"), "virtual states", SECONDS)
        photograph(browser, f"{world}_{number}")
        # The agent's goal moved with the block's, and so did the ring that holds it.
        assert held(browser)[1] == pytest.approx(state(browser, "goalNumbers")[:2], abs=0.1)
        wait(lambda: reached(browser), f"success at {place}", SECONDS)
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.mark.parametrize("world", ["ball_u_trap", "ball_two_rooms", "pointmaze"])
def test_a_ball_reaches_three_dragged_goals(page, world):
    browser = page(f"world={world}&planner=GRASP")
    wait(lambda: lines(browser, "rollout"), "the first plan", 240)
    for number, place in enumerate(ROLLED[world]):
        drag_goal(browser, *place)
        wait(lambda: state(browser, "phase") == "planning", "a new search", SECONDS)
        photograph(browser, f"{world}_{number}")
        wait(lambda: reached(browser), f"success at {place}", SECONDS)


def test_a_recorded_graph_and_its_way_are_drawn(page):
    browser = page("world=ball_two_rooms&planner=GRASP-graph")
    wait(lambda: lines(browser, "graph") and lines(browser, "way"), "the graph", 240)
    wait(lambda: lines(browser, "rollout"), "the first plan", 240)
    photograph(browser, "ball_graph")
    wait(lambda: reached(browser), "success along the way", SECONDS)
