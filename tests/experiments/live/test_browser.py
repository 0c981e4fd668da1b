"""The page in a real browser: Debian's Chromium without a window, driven by Selenium.

`apt-get install chromium chromium-driver` and `pip install -e '.[live,test]'`; without a browser
these tests skip and say so.
"""

import base64
import io
import shutil
import threading
import time

import pytest
from PIL import Image

pytest.importorskip("aiohttp", reason="the extra `live` is not installed")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

from experiments.live import grasp_jax_live  # noqa: E402
from tests.experiments.live.worlds import OWN, START, draw, dynamics  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser here: apt-get install chromium chromium-driver"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1240,980",
)
PATIENCE = 90  # seconds; a compilation beside other work takes long


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
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={tmp_path / str(len(opened))}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=DRIVER)
        opened.append(webdriver.Chrome(options=options, service=service))
        return opened[-1]

    yield browser
    for one in opened:
        one.quit()


def state(browser, name):
    return browser.execute_script(f"return live.state.{name}")


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {PATIENCE} s")


def reached(browser):
    return state(browser, "phase") == "reached"


def drag_goal(browser, x, y):
    """Drags the goal to a place in the world's units, by the mouse."""
    view = browser.find_element(By.ID, "view")
    size = view.size["width"]  # of the square [-1, 1]²
    at = browser.execute_script("return [live.view.handles[0].x, live.view.handles[0].y]")
    from_centre = [round(v * size / 2) for v in at]
    by = [round((new - old) * size / 2) for new, old in zip((x, y), at, strict=True)]
    chain = ActionChains(browser).move_to_element_with_offset(view, *from_centre)
    chain.click_and_hold().move_by_offset(*by).release().perform()


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
    film = gif_of(browser)
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
