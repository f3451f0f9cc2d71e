"""A layout as a seekable, read-only binary file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from .errors import LimitError, PoisonedError

if TYPE_CHECKING:
    from typing_extensions import Buffer

Ranges = Callable[[int, int], Generator[bytes, None, None]]
# What a C library can number.
_MOST = (1 << 63) - 1
_BUFFER = 1 << 16


def open_ranges(ranges: Ranges, size: int) -> io.BufferedReader:
    """A file of `size` bytes, read from the iterators that `ranges` gives for (start, stop)."""
    if size > _MOST:
        raise LimitError(f"the archive has {size} bytes, and {_MOST} is the most that a file can have here")
    return io.BufferedReader(_RangeFile(ranges, size), _BUFFER)


class _RangeFile(io.RawIOBase):
    """One that has failed gives nothing more: what was on its way then is lost, and nothing may follow the hole."""

    mode = "rb"

    def __init__(self, ranges: Ranges, size: int) -> None:
        self._ranges = ranges
        self._size = size
        self._at = 0
        self._chunks: Generator[bytes, None, None] | None = None
        self._left = b""  # of the chunk that was asked for last
        self._in_a_row = False  # whether the last reading went on from the one before it
        self._failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._refuse_if_closed()
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._refuse_if_closed()
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        if whence not in bases:
            raise ValueError(f"whence={whence!r}: give os.SEEK_SET, os.SEEK_CUR or os.SEEK_END")
        place = bases[whence] + offset
        if place < 0:
            raise ValueError(f"there is no place {place} in a file")
        if place != self._at:
            self._at = place
            self._in_a_row = False
            self._drop()
        return place

    def readinto(self, buffer: Buffer, /) -> int:
        self._refuse_if_closed()
        if self._failure is not None:
            raise PoisonedError("reading this file failed before: open another") from self._failure
        with memoryview(buffer) as view, view.cast("B") as target:
            try:
                chunk = self._left or self._next(len(target))
            except BaseException as exc:
                self._failure = exc
                self._drop()
                raise
            count = min(len(chunk), len(target))
            target[:count] = chunk[:count]
        self._left = chunk[count:]
        self._at += count
        return count

    def _next(self, wanted: int) -> bytes:
        """What comes at this place; nothing at the end. After a jump no more is begun than is `wanted` now."""
        while self._at < self._size and wanted:
            if self._chunks is None:
                stop = self._size if self._in_a_row else min(self._size, self._at + wanted)
                self._chunks = self._ranges(self._at, stop)
                self._in_a_row = True
            chunk = next(self._chunks, b"")
            if chunk:
                return chunk
            self._chunks = None
        return b""

    def _drop(self) -> None:
        chunks, self._chunks, self._left = self._chunks, None, b""
        if chunks is not None:
            chunks.close()

    def close(self) -> None:
        """Close it, and the source that is open."""
        if not self.closed:
            try:
                self._drop()
            finally:
                super().close()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
