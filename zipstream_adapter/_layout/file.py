"""open_ranges: a layout as a seekable, read-only binary file."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

from .._buffers import MOST, ChunkedFile
from ..errors import LimitError, PoisonedError

Ranges = Callable[[int, int], Generator[bytes, None, None]]
_BUFFER = 1 << 16


def _guarded(name: str) -> Any:
    method = getattr(io.BufferedReader, name)

    @wraps(method)
    def guarded(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        except (TypeError, ValueError):  # of the arguments; a source that raises them has failed the raw file already
            raise
        except BaseException as exc:
            self.raw.fail(exc)
            raise

    return guarded


def open_ranges(ranges: Ranges, size: int) -> io.BufferedReader:
    """Open a file of `size` bytes.

    ranges: returns an iterator of the bytes from `start` to `stop`.
    """
    if size > MOST:
        raise LimitError(f"the archive has {size} bytes, and {MOST} is the most for a file: use iter_range")
    return _BufferedRanges(_LayoutFile(ranges, size), _BUFFER)


class _BufferedRanges(io.BufferedReader):
    """A buffered reader that fails for good if a method is interrupted, because buffered bytes are then lost."""

    read, read1, readline = (_guarded(name) for name in ("read", "read1", "readline"))
    readinto, readinto1, peek = (_guarded(name) for name in ("readinto", "readinto1", "peek"))


class _LayoutFile(ChunkedFile):
    """The raw file. After a failure it gives no more data: bytes that were on their way are lost."""

    def __init__(self, ranges: Ranges, size: int) -> None:
        super().__init__(size)
        self._ranges = ranges
        self._in_a_row = False  # whether the last read continued where the one before it ended
        self._failure: BaseException | None = None

    def _open(self, wanted: int) -> Generator[bytes, None, None]:
        """Return the chunks from the position on. After a seek, no more than `wanted` bytes are begun."""
        stop = self._size if self._in_a_row else min(self._size, self._at + wanted)
        self._in_a_row = True
        return self._ranges(self._at, stop)

    def _read(self, size: int) -> memoryview:
        if self._failure is not None:
            raise PoisonedError("reading this file failed before: open another") from self._failure
        try:
            return super()._read(size)
        except BaseException as exc:
            self.fail(exc)
            raise

    def _fill(self, target: memoryview) -> int:
        try:
            return super()._fill(target)
        except BaseException as exc:
            self.fail(exc)
            raise

    def _move(self, place: int) -> None:
        try:
            super()._move(place)
            self._in_a_row = False
        except BaseException as exc:
            self._failure = exc  # the buffer's idea of the position may be wrong now
            raise

    def fail(self, exc: BaseException) -> None:
        """Give no more data."""
        self._failure = self._failure or exc
        self._drop()
