"""What has been read of an entry's iterable, in the hope that it would be little: all of it, or what to go on from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, GeneratorType, MethodType
from typing import Any

from .source import OpenSource, close_of

FUNCTIONS = (MethodType, FunctionType)
_NEVER_CLOSED = (list, tuple)


class Beginning:
    """The beginning of an entry's source.

    Attributes:
        item: the entry; chunks: what was read of it.
        is_whole: whether that is all, and the source is closed, with nothing to be said of it.
    """

    in_memory = False

    def __init__(self, item: Any) -> None:
        self.item = item
        self.is_whole = False
        self.chunks: deque[Any] = deque()
        self.error: Exception | None = None  # comes after them

    @property
    def data(self) -> bytes:
        """All of it, where it is whole."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    def put(self, chunk: Any, size: int, limit: int, declared: int | None) -> int:
        """Keep a chunk; returns how many bytes there are by now, or -1 where this is nothing small."""
        self.chunks.append(chunk)
        if type(chunk) is not bytes:
            return -1
        size += len(chunk)
        return -1 if size >= limit or (declared is not None and size > declared) else size


class Taken(Beginning):
    """That of an iterable; an iterator of what was read, and of what follows."""

    def __init__(self, item: Any) -> None:
        super().__init__(item)
        self.iterator: Iterator[Any] | None = None
        self.closing: list[Callable[[], object]] = []
        self.failed: Exception | None = None  # what calling it has raised
        self.other: tuple[Any, ...] = ()  # what calling it has given, where that is no generator

    def open(self) -> OpenSource:
        """Its turn has come, in the way of all others."""
        if self.failed is not None:
            raise self.failed
        return OpenSource(self.item, given=self.other or (self,))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.chunks:
            return self.chunks.popleft()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return next(self.iterator or iter(()))

    def close(self) -> None:
        """Close the iterator, and what it iterates over."""
        while self.closing:
            try:
                self.closing.pop()()
            except BaseException:
                self.close()
                raise


def take(item: Any, source: Any, limit: int, declared: int | None, is_awaited: Callable[[int], bool]) -> Taken:
    """Read `source` of the entry `item` to its end; not on where it is not small: `limit` bytes, or over `declared`.

    Nor where somebody waits for what there is of it: is_awaited is asked with the number of bytes.
    """
    taken = Taken(item)
    try:
        if isinstance(source, FUNCTIONS):
            source = source()
            if type(source) is not GeneratorType:
                taken.other = (source,)
                return taken
    except Exception as exc:
        taken.failed = exc
        return taken
    try:
        _read(taken, source, limit, declared, is_awaited)
    except Exception as exc:
        taken.error = exc
    except BaseException:
        taken.close()
        raise
    return taken


def _read(taken: Taken, source: Any, limit: int, declared: int | None, is_awaited: Callable[[int], bool]) -> None:
    if type(source) not in _NEVER_CLOSED:
        close = close_of(source)
        if close is not None:
            taken.closing.append(close)
    iterator = taken.iterator = iter(source)
    if iterator is not source and (close := close_of(iterator)) is not None:
        taken.closing.append(close)
    size = 0
    for chunk in iterator:
        size = taken.put(chunk, size, limit, declared)
        if size < 0 or is_awaited(size):
            return
    taken.close()
    taken.is_whole = True
