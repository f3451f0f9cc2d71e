"""Work on threads, with its results in order: how much of it is in flight."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from zipstream_adapter._concurrency import ordered
from zipstream_adapter._concurrency.ordered import InOrder, Workers


@pytest.fixture(autouse=True)
def _busy_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cores, and workers that begin nothing: work runs in its caller's thread once the caller has to wait."""
    monkeypatch.setattr(ordered, "usable_cores", lambda: 3)
    monkeypatch.setattr(Workers, "submit", lambda *_: Future[Any]())


def most_in_flight(order: InOrder[int], size: int) -> int:
    """Start one work of size 100, and works of `size` until one has to wait. Returns how many did not."""
    assert order.start(lambda: 0, 100) == []
    for number in range(1, 1000):
        if results := order.start(lambda: -1, size):
            assert results[0] == 0, "not the oldest"
            order.close()
            return number
    raise AssertionError("no limit")


@pytest.mark.parametrize(("size", "most"), [(100, 4), (50, 7), (10, 31)])
def test_small_works_do_not_wait_behind_a_large_one(size: int, most: int) -> None:
    assert most_in_flight(InOrder(Workers(), 100), size) == most


def test_sizes_do_not_count_unless_the_largest_is_known() -> None:
    assert most_in_flight(InOrder(Workers()), 1) == 4
    assert most_in_flight(InOrder(Workers()), 0) == 4


def test_no_more_workers_are_busy_than_were_asked_for() -> None:
    assert most_in_flight(InOrder(Workers(2), 100), 1) == 2
    with ThreadPoolExecutor(1) as executor:
        assert most_in_flight(InOrder(Workers(2, executor), 100), 1) == 3
