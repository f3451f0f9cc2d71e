"""Close things exactly once, even if a signal handler raises between any two bytecodes.

A signal handler can raise between two bytecodes of Python code, but not within a call of C code. So a single C iterator
removes a thing from the list and closes it, and a single C call creates a thing and adds it to the list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat, starmap
from operator import call, itemgetter
from typing import Any, TypeVar

T = TypeVar("T")


def snapshot(things: Iterable[T]) -> list[T]:
    """Return the current `things`, a set or a view of a dict, weak or not, that other threads may change meanwhile.

    Not an iterator, as the values of a weak dict are: after the change, it would give nothing more.
    """
    while True:
        try:
            return list(things)
        except RuntimeError:  # its size changed during the iteration
            continue


class Closing:
    """Things to close, last in, first out. Things without a ``close`` method are skipped."""

    __slots__ = ("_things",)

    def __init__(self) -> None:
        self._things: dict[int, Any] = {}  # by number, so that popping a missing one gives None

    def add(self, thing: Any) -> None:
        """Close `thing` later."""
        self._things[len(self._things)] = thing

    def callback(self, function: Callable[[], object]) -> None:
        """Call `function` later."""
        self.add(_Function(function))

    def instead(self, thing: Any, function: Callable[[], object] | None) -> None:
        """Call `function` later instead of closing `thing`. With None, neither is done."""
        closer = None if function is None else _Function(function)
        for number, each in reversed(self._things.items()):
            if each is thing:
                self._things[number] = closer
                return
        self.add(closer)

    def made(self, function: Callable[[], T]) -> T:
        """Call `function` and return its result, which is closed later."""
        things = self._things
        number = len(things)
        things.update(zip((number,), map(call, (function,)), strict=False))
        if number not in things:
            raise RuntimeError(f"{function!r} raised StopIteration")  # as a generator does
        thing: T = things[number]
        return thing

    def entered(self, context: Any) -> Any:
        """What entering `context` gives; it is left later, in the place of closing it."""
        kind = type(context)
        entered: list[tuple[Any, Any]] = []  # (context, what it gave), once it was entered
        nothing = repeat(None)
        leaving = starmap(kind.__exit__, zip(map(itemgetter(0), entered), nothing, nothing, nothing, strict=False))
        self.instead(context, partial(deque, leaving, 0))
        try:
            entered.extend(zip((context,), map(kind.__enter__, (context,)), strict=False))
            if not entered:
                raise RuntimeError(f"{context!r} raised StopIteration")
        except BaseException:
            if not entered:
                self.add(context)  # which may have a method that closes what was begun
            raise
        return entered[0][1]

    def take(self, things: list[Any]) -> None:
        """Move the `things` out of their list and close them later."""
        self._things.update(enumerate(map(things.pop, repeat(0, len(things))), len(self._things)))

    def close(self) -> None:
        """Close all things, even if some of them raise. Further calls, also on other threads, close the rest."""
        things = self._things
        if things:
            popped = map(things.pop, range(len(things) - 1, -1, -1), repeat(None))
            try:
                for _ in map(call, filter(callable, map(getattr, popped, repeat("close"), repeat(None)))):
                    pass
            except BaseException:
                self.close()
                raise

    def __del__(self) -> None:
        if hasattr(self, "_things"):  # missing if __init__ was interrupted
            self.close()  # in case an interrupt ended the owner's close()


class _Function:
    __slots__ = ("close",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.close = function
