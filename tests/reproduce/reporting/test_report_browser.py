"""The report in a real browser: it fits wide and narrow windows, and loads nothing but itself."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

pytestmark = pytest.mark.slow

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

HEIGHTS = """
const seen = one => one.checkVisibility({contentVisibilityAuto: true});
return [...document.querySelectorAll("details table")].map(
  one => seen(one) ? one.getBoundingClientRect().height : 0);
"""


def found(names, what):
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"needs {what}: none of {', '.join(names)} is on PATH")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Give a fresh headless Chromium."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="needs selenium: pip install 'dgex-jax[browser]'"
    )
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found(BROWSERS, "a Chromium")
    driver = found(("chromedriver",), "Chromium's driver")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(browser, request):  # noqa: ARG001 (without a browser nothing need be made)
    made = request.getfixturevalue("made")
    return (made.space.results / "report.html").as_uri()


def show(browser, address, width, scheme="light", media="screen"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
    browser.get(address)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(browser, address, width, scheme):
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


def test_dark_is_dark_and_figures_stay_on_white(browser, address):
    papers = []
    for scheme in ("light", "dark"):
        show(browser, address, 1280, scheme)
        papers.append(browser.execute_script(LAYOUT)["paper"])
        card = browser.execute_script(
            'return getComputedStyle(document.querySelector(".card")).backgroundColor'
        )
        assert card == "rgb(255, 255, 255)"
    assert papers[0] == "rgb(255, 255, 255)"
    assert max(map(int, papers[1].removeprefix("rgb(").removesuffix(")").split(","))) < 64


def test_the_banner_is_seen_first(browser, address):
    for width in WIDTHS:
        show(browser, address, width)
        box = browser.execute_script(
            'return document.querySelector(".banner").getBoundingClientRect().toJSON()'
        )
        assert box["top"] == 0
        assert box["width"] == pytest.approx(width, abs=20)
        assert box["bottom"] < HEIGHT / 3


def test_nothing_else_is_requested(browser, address):
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


def test_folded_tables_are_printed(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    show(browser, address, 1280)
    # The browser lays out what is folded or unfolded when it next draws.
    soon = WebDriverWait(browser, 10, poll_frequency=0.02)
    n_tables = len(browser.execute_script(HEIGHTS))
    assert n_tables > 4
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = false)")
    soon.until(lambda one: [*map(bool, one.execute_script(HEIGHTS))] == [False] * n_tables)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    soon.until(lambda one: [*map(bool, one.execute_script(HEIGHTS))] == [True] * n_tables)
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(pdf["data"]).startswith(b"%PDF")
