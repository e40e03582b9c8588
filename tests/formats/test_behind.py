"""Writing in a thread changes neither the order nor what an error leaves."""

from __future__ import annotations

import threading
import time

import pytest

from dgex_jax.formats.behind import Behind


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_all_is_written_in_order_by_another_thread(ahead: int) -> None:
    written, threads = [], set()

    def write(block: int) -> None:
        time.sleep(0.002 * (block % 3))
        written.append(block)
        threads.add(threading.get_ident())

    with Behind(write, ahead) as put:
        for block in range(20):
            put(block)
    assert written == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_caller_is_never_further_ahead_than_asked_for() -> None:
    written: list[int] = []

    def write(block: int) -> None:
        time.sleep(0.005)
        written.append(block)

    with Behind(write, 2) as put:
        for block in range(10):
            put(block)
            assert block + 1 - len(written) <= 3


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_after_an_error_nothing_more_is_written(error: BaseException) -> None:
    written: list[int] = []

    def write(block: int) -> None:
        if block == 3:
            raise error
        written.append(block)

    def write_all() -> None:
        with Behind(write) as put:
            for block in range(10):
                put(block)

    with pytest.raises(type(error)):
        write_all()
    assert written == [0, 1, 2]


def test_an_error_in_the_last_block_is_not_lost() -> None:
    def write(block: int) -> None:
        raise OSError(f"full at {block}")

    def write_one() -> None:
        with Behind(write) as put:
            put(1)

    with pytest.raises(OSError, match="full at 1"):
        write_one()


def test_what_waits_is_given_up_when_the_caller_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    written = []

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
    assert done == [1, 2]
    other = Behind(done.append)
    other(5)
    other.close()
    assert done == [1, 2, 5]
