"""Progress is shown where it helps, and other threads change neither order nor errors."""

from __future__ import annotations

import io
import os
import sys
import threading
import time

import pytest

from dgex_jax.io import progress
from dgex_jax.io.progress import MOST_WORKERS, Behind, Progress, in_order


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read(show) -> None:
    reporter = Progress(show)
    with reporter.step("reading", 30) as tick:
        for _ in range(3):
            tick(10)


@pytest.mark.parametrize("show", [False, True])
def test_silent_when_disabled_or_quick(capsys, show) -> None:
    read(show)
    assert capsys.readouterr() == ("", "")


def test_a_listener_gets_every_step() -> None:
    seen = []
    read(lambda *news: seen.append(news))
    assert seen == [("reading", 10, 30), ("reading", 20, 30), ("reading", 30, 30)]


def test_plain_lines_are_rare(capsys, monkeypatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    read(show=True)
    # Made at 0 s, started at 6 s, ticks at 12, 18 and 24 s: the second is too early for a line.
    assert capsys.readouterr().err.splitlines() == [
        "reading: 10 of 30 profiles, 2 a second, 12 s left",
        "reading: 30 of 30 profiles, 2 a second, 0 s left",
    ]


def test_a_rate_below_one_is_left_out(capsys, monkeypatch) -> None:
    clock = iter([0.0, 0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress(show=True).step("fitting", 10, "fits") as tick:
        tick(2)
    assert capsys.readouterr().err == "fitting: 2 of 10 fits, 80 s left\n"


def test_a_bar_with_rate_on_a_terminal(monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    read(show=True)
    assert "reading: 100%" in terminal.getvalue()
    assert "profiles/s" in terminal.getvalue()


def test_results_come_in_the_order_of_the_items() -> None:
    def make(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    for workers in (1, 3, None):
        assert list(in_order(make, range(20), workers)) == [item * item for item in range(20)]
    assert list(in_order(make, [], 2)) == []


def test_no_further_ahead_than_threads_and_one() -> None:
    taken: list[int] = []
    items = (taken.append(item) or item for item in range(50))
    results = in_order(lambda item: item, items, workers=2)
    for used in range(1, 10):
        next(results)
        assert len(taken) <= used + 2
    results.close()
    assert len(taken) < 15


def test_works_ahead_on_another_thread() -> None:
    made, threads = [threading.Event() for _ in range(3)], set()

    def make(item: int) -> int:
        threads.add(threading.get_ident())
        made[item].set()
        return item

    results = in_order(make, range(3), workers=1)
    assert next(results) == 0
    assert made[1].wait(5)
    assert threading.get_ident() not in threads
    results.close()


def test_an_error_comes_when_its_turn_comes() -> None:
    results = in_order(lambda item: 1 // (2 - item), range(10), workers=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_default_threads_are_few() -> None:
    threads = set()

    def make(item: int) -> int:
        threads.add(threading.get_ident())
        time.sleep(0.005)
        return item

    assert list(in_order(make, range(12))) == list(range(12))
    assert 1 <= len(threads) <= min(MOST_WORKERS, os.cpu_count())


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_all_is_written_in_order_by_another_thread(ahead) -> None:
    written, threads = [], set()

    def write(block: int) -> None:
        time.sleep(0.002 * (block % 3))
        written.append(block)
        threads.add(threading.get_ident())

    with Behind(write, ahead) as put:
        for block in range(20):
            put(block)
            assert block + 1 - len(written) <= ahead + 1
    assert written == list(range(20))
    assert len(threads - {threading.get_ident()}) == 1


@pytest.mark.parametrize("last", [3, 9])
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_after_an_error_nothing_more_is_written(error, last) -> None:
    written: list[int] = []

    def write(block: int) -> None:
        if block == last:
            raise error
        written.append(block)

    def write_all() -> None:
        with Behind(write) as put:
            for block in range(10):
                put(block)

    with pytest.raises(type(error)):
        write_all()
    assert written == list(range(last))


def test_what_waits_is_given_up_when_the_caller_fails(monkeypatch) -> None:
    begun, go_on, written = threading.Event(), threading.Event(), []

    def write(block: int) -> None:
        begun.set()
        go_on.wait(10)
        written.append(block)

    def fail() -> None:
        with Behind(write) as put:
            put(1)
            put(2)
            begun.wait(10)
            monkeypatch.setattr(put, "close", lambda: (go_on.set(), Behind.close(put)))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert written == [1]


def test_settled_is_done_and_closed_has_done_what_was_handed_over() -> None:
    done: list[int] = []

    def work(piece: int) -> None:
        time.sleep(0.01)
        if piece == 3:
            raise OSError("full")
        done.append(piece)

    hand_over = Behind(work, 1)
    for piece in (1, 2):
        hand_over(piece)
    hand_over.settle()
    assert done == [1, 2]
    hand_over(3)
    with pytest.raises(OSError, match="full"):
        hand_over.settle()
    hand_over.settle()
    hand_over(4)
    hand_over.close()
    other = Behind(done.append)
    other(5)
    other.close()
    assert done == [1, 2, 5]
