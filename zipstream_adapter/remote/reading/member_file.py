"""One member of a remote archive, as a file whose positions are offsets in the archive."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..._buffers import RangeFile
from ...errors import StreamClosedError
from ..objects import Chunks
from ..waiting import call_within
from .read_ahead import Extent

# Seeks forward by up to this many bytes read on: a new request would take longer.
_MAX_SKIP_BYTES = 1 << 16
# Bytes requested first after a seek: the caller may not want all that follows.
_SEEK_READ_BYTES = 1 << 16

FetchRange = Callable[[int, int], Chunks]


class MemberFile(RangeFile):
    """Reads the bytes within `extent`. Used by one thread at a time; any thread may call `close`.

    Args:
        extent: the member's extent.
        fetch: yields the bytes from one offset to another as they arrive.
        data: the first bytes of the extent, if they have been fetched already.
        on_read: called with the number of bytes of each read.

    Attributes:
        deadline: seconds that a read may take; None for no limit.
    """

    deadline: float | None = None

    def __init__(
        self, extent: Extent, fetch: FetchRange, data: bytes | None, on_read: Callable[[int], None] | None
    ) -> None:
        super().__init__(extent.limit)
        self._extent = extent
        self._fetch = fetch
        self._on_read = on_read
        self._at = extent.start
        self._chunk = memoryview(data or b"")  # bytes at hand, which end at `_chunk_end`
        self._chunk_end = extent.start + len(self._chunk)
        self._chunks: Chunks | None = None  # the response, from `_chunk_end` on
        self._request_end = self._chunk_end  # end of the range requested
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Offset of the next member, or of the central directory."""
        return self._size

    def _refuse_closed(self) -> None:
        raise StreamClosedError("this member, or its archive, has been closed")

    def _read(self, size: int) -> bytes | memoryview:
        """Return the next `size` bytes; fewer only if the next member or the central directory begins."""
        data: bytes | memoryview = self._at_hand(self._at, size)
        if len(data) < size:
            data = self._fetched(self._at, min(size, max(0, self._size - self._at)))
        if self._on_read is not None:
            self._on_read(len(data))
        return data

    def _at_hand(self, at: int, size: int) -> memoryview:
        """Return up to `size` bytes from offset `at` on, if they have been fetched."""
        skipped = at - (self._chunk_end - len(self._chunk))
        return self._chunk[skipped : skipped + size] if skipped >= 0 else self._chunk[:0]

    def _fetched(self, at: int, size: int) -> bytes:
        parts: list[bytes] = []
        stop = at + size
        with self._lock, call_within(self.deadline):
            try:
                while at < stop and not self.closed:
                    part = self._at_hand(at, stop - at)
                    if part:
                        parts.append(bytes(part))
                        at += len(part)
                    else:
                        self._next_chunk(at, stop - at)
            except BaseException as exc:
                self._end_request()  # the request may be in an undefined state: start anew
                if self.closed and isinstance(exc, Exception):
                    self._refuse_closed()
                raise
            finally:
                if self.closed:
                    self._end_request()
        if self.closed:
            self._refuse_closed()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """End the running request. Another thread that waits for it gets StreamClosedError."""
        super().close()
        chunks = vars(self).get("_chunks")
        if chunks is not None:
            chunks.close()
        if hasattr(self, "_lock") and self._lock.acquire(blocking=False):  # it is missing if __init__ was interrupted
            try:
                self._end_request()
            finally:
                self._lock.release()

    def _end_request(self) -> None:
        chunks, self._chunks = self._chunks, None
        self._chunk, self._request_end = memoryview(b""), -1
        if chunks is not None:
            chunks.close()

    def _next_chunk(self, at: int, wanted: int) -> None:
        if not (self._chunk_end <= at <= self._chunk_end + _MAX_SKIP_BYTES and at < self._request_end):
            self._request(at, wanted)
        assert self._chunks is not None
        if self.closed:  # by another thread, which did not see these chunks
            self._refuse_closed()
        chunk = next(self._chunks)
        self._chunk = memoryview(chunk)
        self._chunk_end += len(chunk)

    def _request(self, at: int, wanted: int) -> None:
        jumped = at != self._request_end and at != self._extent.start
        self._end_request()
        extent = self._extent
        stop = extent.stop if at < extent.stop else extent.limit
        if jumped:
            stop = min(stop, at + max(wanted, _SEEK_READ_BYTES))
        self._chunks = self._fetch(at, stop)
        self._chunk_end, self._request_end = at, stop
