"""The bytes of one member of a remote archive, as a file at its places in the archive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from .errors import StreamClosedError
from .remote_ahead import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

# A seek forward of up to so many bytes reads over them: a request of its own would take longer.
_NEAR = 1 << 16
# Bytes that are asked for first after a seek: whoever seeks may not want all that follows.
_FIRST = 1 << 16

Fetch = Callable[[int, int], Generator[bytes, None, None]]


class MemberFile:
    """Reads within `extent`. To be used by one thread at a time; `close` can be called by any.

    Args:
        fetch: gives the bytes from one place to another, as they come.
        data: what is there already of the beginning.
        on_read: is told how many bytes have been read.
    """

    def __init__(self, extent: Extent, fetch: Fetch, data: bytes | None, on_read: Callable[[int], None] | None) -> None:
        self._extent = extent
        self._fetch = fetch
        self._on_read = on_read
        self._at = extent.start
        self._chunk = memoryview(data or b"")  # what is there, up to `_chunk_end`
        self._chunk_end = extent.start + len(self._chunk)
        self._chunks: Generator[bytes, None, None] | Iterator[bytes] = iter(())  # what follows that
        self._until = self._chunk_end  # where that ends
        self._jumped = False
        self._lock = threading.Lock()
        self.closed = False

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place in the archive."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place. Nothing is fetched before it is read."""
        self._at = offset + {0: 0, 1: self._at, 2: self._extent.limit}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes; fewer only where another member, or the directory, begins."""
        if size is not None and 0 <= size <= self._chunk_end - self._at and not self.closed:
            begin = len(self._chunk) - (self._chunk_end - self._at)
            if begin >= 0:  # all of it is there
                self._at += size
                return self._told(bytes(self._chunk[begin : begin + size]))
        left = max(0, self._extent.limit - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[bytes] = []
        with self._lock:
            try:
                while wanted and not self.closed:
                    part = self._some(wanted)
                    parts.append(part)
                    wanted -= len(part)
            finally:
                if self.closed:
                    self._end()
        if self.closed:
            raise StreamClosedError("this member, or its archive, has been closed")
        return self._told(parts[0] if len(parts) == 1 else b"".join(parts))

    def _told(self, data: bytes) -> bytes:
        if self._on_read is not None:
            self._on_read(len(data))
        return data

    def close(self) -> None:
        """End what is under way. A thread that reads meanwhile does so when it notices."""
        self.closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._lock.release()

    def _end(self) -> None:
        chunks, self._chunks = self._chunks, iter(())
        self._chunk, self._until = memoryview(b""), -1
        if isinstance(chunks, Generator):
            chunks.close()

    def _some(self, wanted: int) -> bytes:
        """At least a byte, and up to `wanted`, from where we are."""
        while not self._chunk_end - len(self._chunk) <= self._at < self._chunk_end:
            self._next_chunk(wanted)
        skipped = self._at - (self._chunk_end - len(self._chunk))
        part = bytes(self._chunk[skipped : skipped + wanted])
        self._at += len(part)
        return part

    def _next_chunk(self, wanted: int) -> None:
        if not (self._chunk_end <= self._at <= self._chunk_end + _NEAR and self._at < self._until):
            self._request(wanted)
        chunk = next(self._chunks)
        self._chunk = memoryview(chunk)
        self._chunk_end += len(chunk)

    def _request(self, wanted: int) -> None:
        jumped = self._at != self._until and self._at != self._extent.start
        self._end()
        extent = self._extent
        stop = extent.stop if self._at < extent.stop else extent.limit
        if jumped:
            stop = min(stop, self._at + max(wanted, _FIRST))
        self._chunks = self._fetch(self._at, stop)
        self._chunk_end, self._until = self._at, stop
