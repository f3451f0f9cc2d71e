"""Work on threads whose results come in order: how much of it is in flight."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

import pytest

from zipstream_adapter._concurrency import ordered
from zipstream_adapter._concurrency.ordered import InOrder, Workers


class Hand(Executor):
    """Begins all work at once, and ends it when the test says so, or when its result is asked for."""

    def __init__(self) -> None:
        self.flying: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = _Asked(self)
        future.set_running_or_notify_cancel()
        self.flying.append((future, partial(work, *args)))
        return future

    def end(self, future: Future[Any]) -> None:
        ((at, work),) = [(at, work) for at, (each, work) in enumerate(self.flying) if each is future]
        del self.flying[at]
        future.set_result(work())


class _Asked(Future[Any]):
    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self._hand = hand

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self._hand.end(self)
        return super().result(timeout)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "usable_cores", lambda: 2)


def in_flight(sizes: list[int], workers: int | None, room: int) -> list[int]:
    """How many items are in flight after each of those with `sizes` was started."""
    hand = Hand()
    order: InOrder[int] = InOrder(Workers(workers, hand, room))
    results, found = [], []
    for number, size in enumerate(sizes):
        results += order.start(partial(int, number), size)
        found.append(len(hand.flying))
    assert results + order.finish() == list(range(len(sizes)))
    return found


def test_without_room_their_number_counts() -> None:
    assert in_flight([1] * 6, None, 0) == [1, 2, 3, 3, 3, 3]


def test_with_room_more_are_in_flight_as_long_as_they_are_small() -> None:
    assert in_flight([1] * 6, None, 5) == [1, 2, 3, 4, 5, 5]
    # Large ones are not more than without room, and small ones behind them wait until these are done.
    assert in_flight([9] * 5, None, 10) == [1, 2, 3, 3, 3]
    assert in_flight([9, 1, 1, 1, 1, 9], None, 11) == [1, 2, 3, 3, 4, 3]


def test_fewer_workers_than_threads_have_no_room() -> None:
    assert in_flight([1] * 5, 1, 100) == [1, 2, 2, 2, 2]
    assert in_flight([1] * 5, 2, 100) == [1, 2, 3, 4, 5]


def test_work_of_unknown_size_has_no_room() -> None:
    hand = Hand()
    order: InOrder[int] = InOrder(Workers(None, hand, 1 << 40))
    for _ in range(6):
        order.start(int)
    assert len(hand.flying) == 3
    order.finish()
