from __future__ import annotations

import io
import sys

from dgex_jax.data import progress
from dgex_jax.data.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _run(show) -> None:
    reporter = Progress(show)
    with reporter.step("reading", 30) as tick:
        for _ in range(3):
            tick(10)


def test_silent_when_disabled(capsys) -> None:
    _run(show=False)
    assert capsys.readouterr() == ("", "")


def test_a_listener_gets_every_step() -> None:
    seen = []
    _run(lambda *news: seen.append(news))
    assert seen == [("reading", 10, 30), ("reading", 20, 30), ("reading", 30, 30)]


def test_plain_lines_are_rare(capsys, monkeypatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    _run(show=True)
    out, err = capsys.readouterr()
    assert out == ""
    # Made at 0 s, started at 6 s, ticks at 12, 18 and 24 s: the second is too early for a line.
    assert err.splitlines() == [
        "reading: 10 of 30 profiles, 2 a second, 12 s left",
        "reading: 30 of 30 profiles, 2 a second, 0 s left",
    ]


def test_short_runs_print_nothing_off_a_terminal(capsys) -> None:
    _run(show=True)
    assert capsys.readouterr() == ("", "")


def test_a_bar_with_rate_on_a_terminal(monkeypatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    _run(show=True)
    assert "reading: 100%" in terminal.getvalue()
    assert "profiles/s" in terminal.getvalue()


def test_a_rate_below_one_is_left_out(capsys, monkeypatch) -> None:
    clock = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress(show=True).step("fitting", 10, "fits") as tick:
        tick(2)
    assert capsys.readouterr().err == "fitting: 2 of 10 fits, 80 s left\n"
