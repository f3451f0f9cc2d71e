"""What has been read of an entry's iterable, in the hope that it would be little: all of it, or what to go on from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, GeneratorType, MethodType
from typing import Any

from .source import OpenSource, close_of

FUNCTIONS = (MethodType, FunctionType)
_NEVER_CLOSED = (list, tuple)


class Taken:
    """The beginning of an entry's source: an iterator of what was read, and of what follows.

    Attributes:
        item: the entry; chunks: what was read of it.
        is_whole: whether that is all, and the source is closed, with nothing to be said of it.
    """

    in_memory = False
    is_whole = False
    error: Exception | None = None  # comes after the chunks
    iterator: Iterator[Any] | None = None
    failed: Exception | None = None  # what calling it has raised
    other: tuple[Any, ...] = ()  # what calling it has given, where that is no generator

    def __init__(self, item: Any) -> None:
        self.item = item
        self.chunks: deque[Any] = deque()
        self.closing: list[Callable[[], object]] = []

    @property
    def data(self) -> bytes:
        """All of it, where it is whole."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    @classmethod
    def whole(cls, item: Any, data: bytes) -> Taken:
        """All of a source, which is closed."""
        taken = cls(item)
        taken.chunks.append(data)
        return taken

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


def take(item: Any, source: Any, limit: int, declared: int | None, is_awaited: Callable[[int], bool]) -> bytes | Taken:
    """Read `source` of the entry `item` to its end; not on where it is not small: `limit` bytes, or over `declared`.

    Nor where somebody waits for what there is of it: is_awaited is asked with the number of bytes. Returns all that
    there is, once it is closed; or what was read, and is to go on from.
    """
    taken = Taken(item)
    if isinstance(source, FUNCTIONS):
        try:
            source = source()
        except Exception as exc:
            taken.failed = exc
            return taken
        if type(source) is not GeneratorType:
            taken.other = (source,)
            return taken
    try:
        _read(taken, source, limit, declared, is_awaited)
    except Exception as exc:
        taken.error = exc
    except BaseException:
        taken.close()
        raise
    return taken.data if taken.is_whole else taken


def _read(taken: Taken, source: Any, limit: int, declared: int | None, is_awaited: Callable[[int], bool]) -> None:
    if type(source) is GeneratorType:
        iterator = taken.iterator = source
        taken.closing.append(source.close)
    else:
        if type(source) not in _NEVER_CLOSED and (close := close_of(source)) is not None:
            taken.closing.append(close)
        iterator = taken.iterator = iter(source)
        if iterator is not source and (close := close_of(iterator)) is not None:
            taken.closing.append(close)
    size, most, chunks = 0, limit if declared is None else min(limit, declared + 1), taken.chunks
    for chunk in iterator:
        chunks.append(chunk)
        if type(chunk) is not bytes:
            return
        size += len(chunk)
        if size >= most or is_awaited(size):
            return
    if type(source) is not GeneratorType:  # which is over
        taken.close()
    taken.is_whole = True
