"""The report in a real browser: it fits wide and narrow windows, and loads nothing but itself."""

from __future__ import annotations

import base64

import pytest

from tests.browsing import HEIGHT, LAYOUT, WIDTHS, assert_alone, assert_fits, opened_browser, show

pytestmark = pytest.mark.slow

HEIGHTS = """
const seen = one => one.checkVisibility({contentVisibilityAuto: true});
return [...document.querySelectorAll("details table")].map(
  one => seen(one) ? one.getBoundingClientRect().height : 0);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Give a fresh headless Chromium."""
    with opened_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(browser, request):  # noqa: ARG001 (without a browser nothing need be made)
    made = request.getfixturevalue("made")
    return (made.space.results / "report.html").as_uri()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window(browser, address, width, scheme):
    assert_fits(browser, address, width, scheme)


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
    assert_alone(browser, address)


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
