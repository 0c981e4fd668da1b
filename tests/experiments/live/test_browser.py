"""The page in a real browser: Debian's Chromium without a window, driven by Selenium.

`apt-get install chromium chromium-driver` and `pip install -e '.[live,test]'`; without a browser
these tests skip and say so.
"""

import base64
import io
import threading
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("aiohttp", reason="the extra `live` is not installed")
pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from experiments.live import grasp_jax_live
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
from tests.experiments.live.worlds import OWN, START, draw, dynamics

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)


@pytest.fixture(scope="module")
def server():
    live = grasp_jax_live(dynamics, START, draw, **OWN)
    yield live
    live.close()


@pytest.fixture
def browse(tmp_path):
    """Opens browsers, each with an empty profile of its own, and closes them at the end."""
    opened = []

    def browser():
        opened.append(open_browser(tmp_path / str(len(opened))))
        return opened[-1]

    yield browser
    for one in opened:
        one.quit()


def place_now(browser):
    return state(browser, "stateNumbers")


def test_a_new_user(server, browse):
    """Load, reach, drag the goal to three places, change planner and numbers, record, share."""
    browser = browse()
    browser.get(server.url)
    wait(lambda: reached(browser), "the first goal's success")
    assert place_now(browser) == pytest.approx([0.3, 0.2], abs=0.06)

    for goal in ((-0.4, -0.6), (0.6, -0.5), (0.1, 0.7)):
        drag_goal(browser, *goal)
        wait(lambda: not reached(browser), "a new search")
        wait(lambda: reached(browser), f"success at {goal}")
        assert place_now(browser) == pytest.approx(goal, abs=0.08)

    Select(browser.find_element(By.ID, "planner")).select_by_value("MPPI")
    wait(lambda: state(browser, "settings.planner") == "MPPI", "another planner")
    wait(lambda: state(browser, "phase") == "reached", "the end of compiling")
    drag_goal(browser, -0.6, 0.2)
    wait(lambda: not reached(browser), "a new search")
    wait(lambda: reached(browser), "success by MPPI")

    browser.find_element(By.ID, "record").click()
    drag_goal(browser, 0.5, 0.0)
    wait(lambda: not reached(browser), "a new search")
    wait(lambda: reached(browser), "success while recording")
    browser.find_element(By.ID, "record").click()
    wait(lambda: browser.find_element(By.ID, "film").is_displayed(), "the recording")
    film: Any = gif_of(browser)
    assert film.format == "GIF"
    assert film.n_frames >= 3
    assert film.width == 420

    wait(lambda: "planner=MPPI" in browser.current_url, "the address")
    shared = browse()
    shared.get(browser.current_url)
    wait(lambda: state(shared, "settings.planner") == "MPPI", "the shared view")
    goal = shared.execute_script("return live.state.goalNumbers")
    assert goal == pytest.approx([0.5, 0.0], abs=0.03)
    errors = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert not errors


def gif_of(browser):
    """The recording, as an open picture."""
    text = browser.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(",")[1]);
        reader.readAsDataURL(live.recorder.film);
        """
    )
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_pause_step_and_reset(server, browse):
    browser = browse()
    browser.get(f"{server.url}/#paused=1&goal=0.9,0.9")
    wait(lambda: state(browser, "phase") == "paused", "a search that is not followed")
    assert browser.find_element(By.ID, "steps").text == "0"
    assert browser.find_element(By.CSS_SELECTOR, "#view .rollout polyline")
    browser.find_element(By.ID, "step").click()
    wait(lambda: browser.find_element(By.ID, "steps").text == "2", "two steps of one plan")
    browser.find_element(By.ID, "reset").click()
    wait(lambda: browser.find_element(By.ID, "steps").text == "0", "the start")
    browser.find_element(By.ID, "play").click()
    wait(lambda: reached(browser), "success after the pause")
    assert place_now(browser) == pytest.approx([0.9, 0.9], abs=0.06)


def test_a_browser_that_goes_away_leaves_no_session(server, browse):
    first, second = browse(), browse()
    for browser in (first, second):
        browser.get(f"{server.url}/#goal=0.9,-0.9&effort=30")
        wait(lambda b=browser: state(b, "phase") == "planning", "a search")
    wait(lambda: server.sessions == 2, "two sessions")
    note = second.find_element(By.ID, "messages").text
    assert "2 pages plan at once" in note
    first.quit()
    wait(lambda: server.sessions == 1, "the end of the first session")
    wait(lambda: reached(second), "success of the other page")
    second.get("about:blank")
    wait(lambda: server.sessions == 0, "the end of all sessions")
    assert not [t for t in threading.enumerate() if t.name.startswith("live ")]
