"""Bytes-like objects, iterators, and seekable files over data that is made or fetched."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable, Generator, Iterator
from operator import index
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer


# Larger objects in memory are yielded in pieces of this many bytes, so that no consumer gets a huge chunk.
LARGEST_PIECE = 1 << 20


# Items that are addresses (numpy's arrays of objects, pointers of ctypes), in a format as of PEP 3118. Names of fields
# stand between colons, and Z before a letter is a complex number.
_FIELD_NAMES, _ADDRESSES = re.compile(":[^:]*:"), re.compile("[OPXz&]|Z(?![fdg])")


def view_of(data: Buffer) -> memoryview:
    """Return a view of `data`. Raises TypeError if it is no buffer, or one of addresses, which are not its data."""
    view = memoryview(data)
    if view.format != "B" and _ADDRESSES.search(_FIELD_NAMES.sub("", view.format)):
        raise TypeError(f"the items of this {type(data).__name__} are addresses of objects, not data")
    return view


def flat_view(data: Buffer) -> memoryview:
    """Return the bytes of `data`, of any shape and format, as a one-dimensional view. Copies only if needed.

    Raises TypeError as `view_of`.
    """
    view = view_of(data)
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # not contiguous, of an unusual format, or empty
        return memoryview(view.tobytes())


def slices(view: memoryview, step: int) -> Generator[memoryview, None, None]:
    """Yield a flat `view` in pieces of `step` bytes. Each piece is released at the next request, and `view` at the end.

    They are released explicitly, because a traceback could keep them alive and their owner could then not resize or
    close the buffer.
    """
    with view:
        for at in range(0, len(view), step):
            with view[at : at + step] as piece:
                yield piece


def close_of(thing: Any) -> Callable[[], object] | None:
    """Return the ``close`` method of `thing`, or None."""
    close = getattr(thing, "close", None)
    return close if callable(close) else None


def close_items(items: Iterator[Any]) -> None:
    """Close an iterator of entries, if it has a ``close`` method."""
    close = close_of(items)
    if close is not None:
        close()


# The largest file offset of C libraries (64 bits, signed).
MOST = (1 << 63) - 1


def place_for(offset: int, whence: int, at: int, size: int) -> int:
    """Return the position that a seek leads to, in a file of `size` bytes whose position is `at`.

    It may be beyond the end, as in any file.

    Raises OSError (EINVAL) if the position is negative or 2**63 or more, ValueError for an unknown `whence`, and
    TypeError if `operator.index` does not accept an argument.
    """
    place = _position(offset, whence, at, size)
    if not 0 <= place <= MOST:
        raise OSError(errno.EINVAL, f"seek({offset}, {whence}): position {place} is outside 0 to 2**63 - 1")
    return place


def place_within(offset: int, whence: int, at: int, size: int) -> int:
    """Like `place_for`, but clamp the position to 0 to `size`, as `zipfile` does for members."""
    return min(max(0, _position(offset, whence, at, size)), size)


def _position(offset: int, whence: int, at: int, size: int) -> int:
    offset, whence = index(offset), index(whence)
    if not os.SEEK_SET <= whence <= os.SEEK_END:
        raise ValueError(f"whence={whence!r}: give os.SEEK_SET, os.SEEK_CUR or os.SEEK_END")
    return (0, at, size)[whence] + offset


def target_of(buffer: Buffer) -> memoryview:
    """Return the bytes of a `buffer` to read into, as a flat view.

    Raises TypeError if it is read-only, so that no data is read and lost.
    """
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError(f"readinto() needs a writable buffer, not {type(buffer).__name__}")
    return view.cast("B") if view.nbytes else memoryview(bytearray())


class RangeFile(io.RawIOBase):
    """A read-only, seekable file of `size` bytes. Subclasses define `_read`."""

    mode = "rb"
    _find_place = staticmethod(place_for)

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def _read(self, size: int) -> bytes | memoryview:
        """Return the next bytes at `_at`, up to `size`; none at the end. The caller moves `_at`."""
        raise NotImplementedError

    def _move(self, place: int) -> None:
        """Move to another position."""
        self._at = place

    def _refuse_closed(self) -> None:
        """Called if the file is closed: raise ValueError, as files do."""
        raise ValueError("I/O operation on closed file")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        if self.closed:
            self._refuse_closed()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if self.closed:
            self._refuse_closed()
        place = self._find_place(offset, whence, self._at, self._size)
        if place != self._at:
            self._move(place)
        return place

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, as they arrive; b"" at the end."""
        if self.closed:
            self._refuse_closed()
        size = -1 if size is None else index(size)
        if size < 0:
            return self.readall()
        data = bytes(self._read(size))
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(max(1, self._size - self._at)), b""))

    def readinto(self, buffer: Buffer, /) -> int:
        if self.closed:
            self._refuse_closed()
        with target_of(buffer) as target:
            return self._fill(target)

    def _fill(self, target: memoryview) -> int:
        data = self._read(len(target))
        count = len(data)
        target[:count] = data
        self._at += count
        return count


class ChunkedFile(RangeFile):
    """A file whose data comes in chunks. Subclasses define `_open`."""

    _chunks: Generator[Buffer, None, None] | None = None
    _chunk = memoryview(b"")  # the last chunk, which ends at `_chunk_end`
    _chunk_end = 0

    def _open(self, wanted: int) -> Generator[Buffer, None, None]:
        """Return the chunks from `_at` on, of which `wanted` bytes are read now."""
        raise NotImplementedError

    def _read(self, size: int) -> memoryview:
        # The position alone says which bytes of the chunk are left: an interrupt before it moves loses none.
        while size and self._chunk_end <= self._at < self._size:
            if self._chunks is None:
                self._chunks, self._chunk_end = self._open(size), self._at
            self._chunk = memoryview(next(self._chunks, b""))
            self._chunk_end += len(self._chunk)
            if not self._chunk:
                self._chunks = None
        left = max(0, self._chunk_end - self._at)
        return self._chunk[len(self._chunk) - left :][:size]

    def _drop(self) -> None:
        """Close the chunks, even in the middle."""
        chunks, self._chunks, self._chunk, self._chunk_end = self._chunks, None, memoryview(b""), 0
        if chunks is not None:
            chunks.close()

    def _move(self, place: int) -> None:
        self._drop()
        super()._move(place)

    def close(self) -> None:
        """Close the file and its chunks."""
        if not self.closed:
            try:
                self._drop()
            finally:
                super().close()
