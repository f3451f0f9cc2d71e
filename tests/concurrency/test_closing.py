"""Closing: each thing is closed once, the last one first, whatever some of them raise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from weakref import WeakSet

import pytest

from zipstream_adapter._concurrency.closing import Closing, snapshot


class Thing:
    def __init__(self, name: str, said: list[str], error: BaseException | None = None) -> None:
        self.name, self._said, self._error = name, said, error

    def __eq__(self, other: object) -> bool:
        raise AssertionError("nothing foreign is compared")

    __hash__ = None  # type: ignore[assignment]

    def close(self) -> None:
        self._said.append(self.name)
        if self._error is not None:
            raise self._error


def test_all_are_closed_once_the_last_first() -> None:
    said: list[str] = []
    closing = Closing()
    closing.add(Thing("a", said))
    closing.add(object())
    closing.callback(lambda: said.append("b"))
    assert closing.made(lambda: Thing("c", said)).name == "c"
    closing.close()
    closing.close()
    del closing
    assert said == ["c", "b", "a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_rest_is_closed_where_one_raises(error: type[BaseException]) -> None:
    said: list[str] = []
    closing = Closing()
    for name in "abc":
        closing.add(Thing(name, said, error(name) if name != "a" else None))
    with pytest.raises(error) as caught:
        closing.close()
    assert said == ["c", "b", "a"]
    assert str(caught.value) == "b" and str(caught.value.__context__) == "c"


def test_what_is_not_made_is_not_closed() -> None:
    def fails(error: Exception) -> Callable[[], None]:
        def function() -> None:
            raise error

        return function

    closing = Closing()
    with pytest.raises(OSError, match="no such"):
        closing.made(fails(OSError("no such")))
    with pytest.raises(RuntimeError, match="StopIteration"):
        closing.made(fails(StopIteration()))
    closing.close()


def test_what_is_dropped_is_closed() -> None:
    said: list[str] = []
    closing = Closing()
    closing.add(Thing("a", said))
    del closing
    assert said == ["a"]


def test_threads_that_close_at_a_time_close_each_thing_once() -> None:
    for _ in range(50):
        said: list[str] = []
        closing, here = Closing(), threading.Barrier(3)
        for number in range(100):
            closing.add(Thing(str(number), said))

        def close(closing: Closing = closing, here: threading.Barrier = here) -> None:
            here.wait(60)
            closing.close()

        threads = [threading.Thread(target=close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(int, said)) == [*range(100)]


class Context:
    def __init__(self, said: list[str], error: BaseException | None = None) -> None:
        self._said, self._error = said, error

    def __enter__(self) -> str:
        if self._error is not None:
            raise self._error
        self._said.append("enter")
        return "given"

    def __exit__(self, *args: object) -> None:
        assert args == (None, None, None)
        self._said.append("exit")

    def close(self) -> None:
        self._said.append("close")


@pytest.mark.parametrize("held", [False, True])
def test_what_was_entered_is_left_and_not_closed(held: bool) -> None:
    said: list[str] = []
    closing = Closing()
    context = closing.made(lambda: Context(said)) if held else Context(said)
    assert closing.entered(context) == "given"
    assert said == ["enter"]
    closing.close()
    closing.close()
    assert said == ["enter", "exit"]


@pytest.mark.parametrize("error", [ValueError, StopIteration])
def test_what_could_not_be_entered_is_closed(error: type[Exception]) -> None:
    said: list[str] = []
    closing = Closing()
    with pytest.raises((ValueError, RuntimeError)):
        closing.entered(Context(said, error()))
    closing.close()
    assert said == ["close"]


class Node:
    pass


def test_a_snapshot_is_taken_of_a_set_that_grows_meanwhile() -> None:
    kept = [Node(), Node()]
    things = WeakSet(kept)

    class Growing:
        """Another thread adds one during the first iteration."""

        def __iter__(self) -> Iterator[Node]:
            for thing in things:
                if len(kept) == 2:
                    kept.append(Node())
                    things.add(kept[-1])
                yield thing

    assert set(snapshot(Growing())) == set(kept)
    assert set(snapshot(things)) == set(kept)
