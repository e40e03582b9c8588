"""A model card in a real browser: it fits, is searched by keyboard, runs no script but its own."""

from __future__ import annotations

import dataclasses

import pytest

from dgex_jax.model.card import write_card
from dgex_jax.model.model import write_model
from tests.browsing import WIDTHS, assert_alone, assert_fits, opened_browser, show

pytestmark = pytest.mark.slow
EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

ROWS = (
    'return [...document.querySelectorAll(".long tbody tr")].map(one => one.cells[0].textContent)'
)
STATUS = 'return document.querySelector(".long [role=status]").textContent'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Give a fresh headless Chromium."""
    with opened_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory, new_model):  # noqa: ARG001 (made for a browser alone)
    folder, model = tmp_path_factory.mktemp("card"), new_model(half_sizes=(40, 41))
    symbols = (EVIL, *(f"GENE{n:02d}" for n in range(1, 81)))
    targets = dataclasses.replace(model.targets, symbols=symbols)
    write_model(folder / "model", dataclasses.replace(model, targets=targets))
    write_card(folder / "model", folder / "card.html")
    return (folder / "card.html").as_uri()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window(browser, address, width, scheme):
    assert_fits(browser, address, width, scheme)


def test_nothing_else_is_requested_or_run(browser, address):
    assert_alone(browser, address)
    assert browser.title != "owned"
    assert len(browser.find_elements("css selector", ".long img")) == 0


def test_genes_are_searched_and_sorted_by_keyboard(browser, address):
    from selenium.webdriver.common.keys import Keys

    show(browser, address, 390)
    assert browser.execute_script(STATUS) == "1 to 25 of 81 target genes"
    find = browser.find_element("css selector", ".long input")
    find.send_keys("gene07, GENE31")
    assert sorted(browser.execute_script(ROWS)) == ["GENE07", "GENE31"]
    find.send_keys(Keys.CONTROL, "a")
    find.send_keys("qqq")
    assert browser.execute_script(STATUS) == "no target genes found"
    find.send_keys(Keys.CONTROL, "a")
    find.send_keys(Keys.DELETE)
    symbol = browser.find_element("css selector", ".long thead button")
    symbol.send_keys(Keys.ENTER)
    assert browser.execute_script(ROWS)[:2] == [EVIL, "GENE01"]
    symbol.send_keys(Keys.ENTER)
    assert browser.execute_script(ROWS)[:2] == ["GENE80", "GENE79"]
    head = browser.find_element("css selector", ".long thead th")
    assert head.get_attribute("aria-sort") == "descending"
    browser.find_element("css selector", "[data-turn='1']").send_keys(Keys.ENTER)
    assert browser.execute_script(STATUS) == "26 to 50 of 81 target genes"
    assert browser.execute_script(ROWS)[0] == "GENE55"
    select = browser.find_element("css selector", ".long select")
    select.send_keys("t")
    low = int(browser.execute_script(STATUS).split(" of ")[1].split()[0])
    select.send_keys("the o")
    assert browser.execute_script(STATUS).endswith(f"of {81 - low} target genes")
