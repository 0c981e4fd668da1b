"""Debian's Chromium without a window, driven by Selenium: what tests do on a page."""

import shutil
import time
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = "no browser here: apt-get install chromium chromium-driver"
PATIENCE = 90  # seconds; a compilation beside other work takes long
_FLAGS = (
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


def open_browser(profile):
    """A browser with an empty profile of its own."""
    from selenium import webdriver

    options: Any = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    return webdriver.Chrome(options=options, service=service)


def state(browser, name):
    return browser.execute_script(f"return live.state.{name}")


def wait(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen in {patience} s")


def reached(browser):
    return state(browser, "phase") == "reached"


def drag_goal(browser, x, y):
    """Drags the goal's first handle to a place in the world's units, by the mouse."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    view = browser.find_element(By.ID, "view")
    start, end = browser.execute_script(
        """
        const [svg, x, y] = arguments, box = svg.getBoundingClientRect(), h = live.view.handles[0];
        return [[h.x, h.y], [x, y]].map(([a, b]) => {
          const p = new DOMPoint(a, b).matrixTransform(svg.getScreenCTM());
          return [p.x - box.x - box.width / 2, p.y - box.y - box.height / 2].map(Math.round);
        });
        """,
        view,
        x,
        y,
    )
    by = [new - old for new, old in zip(end, start, strict=True)]
    chain = ActionChains(browser).move_to_element_with_offset(view, *start)
    chain.click_and_hold().move_by_offset(*by).release().perform()
