"""Pages in a real browser, where one is installed."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # root, as in a container, has no sandbox
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)
WIDTHS = (1280, 390)
HEIGHT = 900

LAYOUT = """
const page = document.documentElement;
const shut = [...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  return box.right > page.clientWidth + 1 && box.width && !one.closest(".scroll, .skip");
});
return {
  scroll: page.scrollWidth, client: page.clientWidth, ink: getComputedStyle(document.body).color,
  paper: getComputedStyle(document.body).backgroundColor, beyond: shut.map(one => one.outerHTML),
  images: [...document.images].map(
    one => [one.complete, one.naturalWidth, one.clientWidth, one.closest("div").clientWidth]),
};
"""


def found(names, what):
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"needs {what}: none of {', '.join(names)} is on PATH")
    return path


@contextmanager
def opened_browser(profile):
    """Give a fresh headless Chromium."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="needs selenium: pip install 'dgex-jax[browser]'"
    )
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found(BROWSERS, "a Chromium")
    driver = found(("chromedriver",), "Chromium's driver")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as opened:
        yield opened


def show(browser, address, width, scheme="light", media="screen"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
    browser.get(address)


def assert_fits(browser, address, width, scheme) -> None:
    """The page scrolls in no width, and its pictures are there."""
    show(browser, address, width, scheme)
    layout = browser.execute_script(LAYOUT)
    assert layout["scroll"] <= layout["client"] <= width
    assert layout["beyond"] == []
    assert layout["images"]
    for complete, natural, shown, room in layout["images"]:
        assert complete
        assert natural > 0
        assert 0 < shown <= room
    assert browser.get_log("browser") == []


def assert_alone(browser, address) -> None:
    """The page asks for nothing but itself."""
    browser.get_log("performance")
    show(browser, address, 1280)
    events = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    requested = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert address in requested
    assert {one for one in requested if not one.startswith("data:")} == {address}
