from __future__ import annotations

import threading
import time

import pytest

from dgex_jax.data.ahead import MOST_WORKERS, in_order, usable_cores


def test_results_come_in_the_order_of_the_items() -> None:
    def make(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    for workers in (1, 3, None):
        assert list(in_order(make, range(20), workers)) == [item * item for item in range(20)]
    assert list(in_order(make, [], 2)) == []


def test_no_further_ahead_than_threads_and_one() -> None:
    taken: list[int] = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), workers=2)
    for used in range(1, 10):
        next(results)
        assert len(taken) <= used + 2
    results.close()
    assert len(taken) < 15


def test_works_ahead_on_another_thread() -> None:
    made = [threading.Event() for _ in range(3)]
    threads = set()

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
    def make(item: int) -> int:
        if item == 2:
            raise ValueError("item 2")
        return item

    results = in_order(make, range(10), workers=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(results)


def test_default_threads_are_few() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def make(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return item

    assert list(in_order(make, range(12))) == list(range(12))
    assert 1 <= most <= min(MOST_WORKERS, usable_cores())
