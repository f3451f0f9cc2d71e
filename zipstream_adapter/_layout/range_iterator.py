"""RangeIterator: the iterator that `ZipLayout.iter_range` returns."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..errors import PoisonedError


class RangeIterator(Generator[bytes, None, None]):
    """The chunks of a range. After a failure or an interrupt, each call raises PoisonedError.

    A plain generator would end after a failure as if it were complete, and an interrupt between two bytecodes could
    lose a chunk.
    """

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._failure: BaseException | None = None

    def __next__(self) -> bytes:
        if self._failure is not None:
            raise PoisonedError("this range failed before, and is incomplete: ask for it again") from self._failure
        try:
            chunk = next(self._chunks, b"")
            if chunk:
                return chunk
        except BaseException as exc:
            self._failure = exc
            self._chunks.close()
            raise
        raise StopIteration

    def send(self, value: Any, /) -> bytes:
        """Return the next chunk; `value` is ignored."""
        return self.__next__()

    def throw(self, *error: Any) -> bytes:
        """Raise `error` at the current position of the range."""
        return self._chunks.throw(*error)

    def close(self) -> None:
        """Close the range and the open source."""
        self._chunks.close()
