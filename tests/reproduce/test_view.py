"""What a person sees of the grid, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from dgex_jax.config import NetworkConfig
from reproduce import grid as view_module
from reproduce.grid import GridView

SMALL, LARGE = NetworkConfig(1, 8, 0.1), NetworkConfig(3, 8, 0.1)
COSTS = [(SMALL, 1.0), (LARGE, 3.0)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(view_module.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_first_last_and_every_ten_seconds(clock) -> None:
    stream = io.StringIO()
    view = GridView(COSTS, 30, stream)
    for done in range(1, 31):
        clock[0] += 1.0
        view.epoch(SMALL, done, f"epoch {done}/30")
    view.close()
    lines = stream.getvalue().splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["1/30", "11/30", "21/30", "30/30"]
    assert lines[0] == "[1/2, ? left] D-GEX-10%-8x1  epoch 1/30"
    assert lines[-1] == "[1/2, 1:30 left] D-GEX-10%-8x1  epoch 30/30"


def test_time_left_is_weighted_by_cost_and_leaves_out_what_was_done_before(clock) -> None:
    view = GridView([*COSTS, (NetworkConfig(2, 8, 0.1), 2.0)], 10, io.StringIO())
    assert view.left() != view.left()  # NaN: nothing is known yet
    view.skip(NetworkConfig(2, 8, 0.1))
    assert view.left() != view.left()
    # It goes on after its third epoch; the first one seen here holds a compilation.
    clock[0] += 50.0
    view.epoch(SMALL, 4, "")
    assert view.left() != view.left()
    # Then five are to go, of cost 1, and ten of cost 3.
    clock[0] += 2.0
    view.epoch(SMALL, 5, "")
    assert view.left() == pytest.approx(2.0 * (5 + 30))
    clock[0] += 6.0
    view.epoch(LARGE, 1, "")
    assert view.left() == pytest.approx(8.0 / 4 * (5 + 27))


def test_a_terminal_has_a_living_line_a_network_and_one_for_the_grid(clock) -> None:
    stream = Terminal()
    view = GridView(COSTS, 2, stream)
    for number, (network, done) in enumerate(
        [(SMALL, 1), (LARGE, 1), (SMALL, 2), (LARGE, 2)], start=1
    ):
        clock[0] += 20.0
        view.epoch(network, done, f"line {number}")
    view.close()
    shown = stream.getvalue()
    for text in (
        "D-GEX-10%-8x1  line 1",
        "D-GEX-10%-8x3  line 2",
        "D-GEX-10%-8x1  line 3\n",
        "D-GEX-10%-8x3  line 4\n",
        "1/2 networks",
        "2/2 networks",
    ):
        assert text in shown
    assert re.search(r"1/2 networks, 0:30 left\|.*\|  62%", shown)
