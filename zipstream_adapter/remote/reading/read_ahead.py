"""Extents of members in an archive, and read-ahead of small members.

A program that reads thousands of small members one after another would wait for a response each time. If it opens them
in archive order, several are fetched with one request: from the third on, twice as many bytes as were read in that
order, and at least 256 KiB, which take little longer than the response itself. A member that is opened out of order is
fetched alone.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple
from zipfile import ZipInfo

from ..._concurrency.threads import Lease
from ..._format.records import LOCAL
from ...errors import BadArchiveError
from ..objects import RemoteObject
from .parts import BufferedPart

# Most bytes of a member, with its header, that is fetched together with others.
SMALL_MEMBER_BYTES = 1 << 20
# Most bytes of a member that is fetched when it is opened, before it is known whether it will be read.
TINY_MEMBER_BYTES = 1 << 16
_MIN_READAHEAD_BYTES = 1 << 18
_MIN_IN_ORDER = 3  # members to open in order before others are fetched with the next
# The extra field of a local file header can be longer than in the central directory header. To allow for it, a
# hundredth of the member's size is fetched in addition, within these limits.
_MIN_SLACK_BYTES, _MAX_SLACK_BYTES = 256, 1 << 16


class Extent(NamedTuple):
    """Position of a member in the archive, in bytes.

    Attributes:
        start: offset of the local file header.
        stop: end of the range to fetch. An estimate from the central directory, which does not give the size of the
            local file header.
        limit: upper bound of the member's end: the start of the next member or of the central directory.
    """

    start: int
    stop: int
    limit: int


class Extents:
    """Extents of all members of an archive.

    Args:
        infos: the members.
        directory: offset of the central directory.
        where: the archive's name in errors.
    """

    def __init__(self, infos: Iterable[ZipInfo], directory: int, where: str) -> None:
        # A header that points behind the central directory, or before the archive, has no member and ends none.
        places = sorted(
            (info.header_offset, info.compress_size) for info in infos if 0 <= info.header_offset < directory
        )
        self._offsets = array("Q", (place for place, _ in places))
        self._sizes = array("Q", (size for _, size in places))
        self._directory = directory
        self._where = where

    def of(self, info: ZipInfo) -> Extent:
        """Return the extent of `info`'s member. Raises BadArchiveError if the central directory begins within it."""
        start = info.header_offset
        limit = self.after(start)
        if not 0 <= start <= self._directory - LOCAL.size - info.compress_size:
            raise BadArchiveError(
                f"{self._where} is broken: member {info.filename!r} is said to begin at byte {start} and to have "
                f"{info.compress_size} bytes, but the central directory begins at byte {self._directory}"
            )
        slack = min(max(_MIN_SLACK_BYTES, info.compress_size // 100), _MAX_SLACK_BYTES)
        head = LOCAL.size + len(info.orig_filename.encode("utf-8", "replace")) + len(info.extra)
        return Extent(start, min(limit, start + head + slack + info.compress_size), limit)

    def around(self, at: int) -> Extent | None:
        """Return the extent of the member that contains byte `at`; None if no member does."""
        index = bisect_right(self._offsets, at) - 1
        if index < 0 or at >= self._directory:
            return None
        start = self._offsets[index]
        limit = self.after(start)
        # Without the name's length, the largest slack covers it.
        return Extent(start, min(limit, start + LOCAL.size + _MAX_SLACK_BYTES + self._sizes[index]), limit)

    def after(self, start: int) -> int:
        """Return the offset of the next member after `start`, or of the central directory."""
        at = bisect_right(self._offsets, start)
        return self._offsets[at] if at < len(self._offsets) else self._directory

    def past_empty(self, start: int) -> int:
        """Return the offset of the first member from `start` on that has data: programs skip directories."""
        at = bisect_left(self._offsets, start)
        while at < len(self._offsets) and not self._sizes[at]:
            at += 1
        return self._offsets[at] if at < len(self._offsets) else self._directory

    def group_end(self, start: int, max_size: int) -> int:
        """Return the end of a run of small members that begins at `start`, of up to `max_size` bytes.

        Returns `start` if the run is empty.
        """
        end = start
        while end < self._directory:
            stop = self.after(end)
            if stop - end > SMALL_MEMBER_BYTES or stop - start > max_size:
                break
            end = stop
        return end


class ReadAhead:
    """Fetches small members ahead of a program that opens them in archive order.

    Args:
        source: the archive.
        extents: the extents of its members.
        window: parts fetched at a time.
        part_size: most bytes of a part. Up to `window` parts are in memory.
        threads: the threads that fetch parts.
    """

    def __init__(self, source: RemoteObject, extents: Extents, window: int, part_size: int, threads: Lease) -> None:
        self._source = source
        self._extents = extents
        self._window = window
        self._part_size = part_size
        self._threads = threads
        self._lock = threading.Lock()
        self._parts: list[BufferedPart] = []
        self._planned_end = -1  # end of the last planned part
        self._next_start = -1  # offset of the next member in order
        self._next_after_stray = -1  # the same after a member opened out of order
        self._in_order_count = 0
        self._opened_bytes = 0  # bytes of the members opened in order
        self._read_bytes = 0  # bytes read of those

    def member(self, extent: Extent) -> bytes | None:
        """Return all or the first bytes of a small member; None if the member must be fetched as it is read."""
        with self._lock:
            part = self._find_part(extent)
            begun = part is not None
            if part is not None:
                self._advance(extent)
            else:
                part = self._open_unfetched(extent)
            self._fetch_ahead()
        if part is None:
            is_tiny = extent.stop - extent.start <= TINY_MEMBER_BYTES
            return self._source.read(extent.start, extent.stop) if is_tiny else None
        try:
            if not begun and (self._window < 2 or not part.start_on(self._threads)):
                part.run()
            return part.read(extent.start, extent.limit) or None
        except BaseException:
            with self._lock:
                if part in self._parts:
                    self._parts.remove(part)
            part.drop()  # other readers that wait for the part must fetch their members themselves
            raise

    def note_read(self, size: int) -> None:
        """Record that `size` bytes of a member over `TINY_MEMBER_BYTES` were read."""
        self._read_bytes += size

    def close(self) -> None:
        """Drop everything that was fetched ahead."""
        with self._lock:
            parts, self._parts = self._parts, []
        for part in parts:
            part.drop()

    def _find_part(self, extent: Extent) -> BufferedPart | None:
        for part in self._parts:
            if part.start <= extent.start and extent.limit <= part.stop:
                return part
        return None

    def _open_unfetched(self, extent: Extent) -> BufferedPart | None:
        """Record that a member was opened that no part contains. Returns a new part if it was in order."""
        if extent.start == self._next_after_stray != self._next_start:  # a new sequence begins
            self._in_order_count, self._opened_bytes, self._read_bytes = 1, 0, 0
            self._next_start, self._planned_end = self._next_after_stray, -1
        if extent.start != self._next_start:
            self._next_after_stray = self._extents.past_empty(extent.limit)
            return None
        self._advance(extent)
        size, reach = extent.limit - extent.start, self._readahead_size()
        if not reach or size > SMALL_MEMBER_BYTES:
            return None
        end = self._extents.group_end(extent.start, min(self._part_size, size + reach))
        return self._new_part(extent.start, max(end, extent.limit))

    def _advance(self, extent: Extent) -> None:
        self._in_order_count += 1
        self._opened_bytes += extent.limit - extent.start
        if extent.limit - extent.start <= TINY_MEMBER_BYTES:
            self._read_bytes += extent.limit - extent.start  # counts as read: it is fetched in any case
        if extent.start >= self._next_start:
            self._next_start = self._extents.past_empty(extent.limit)

    def _readahead_size(self) -> int:
        """Return how many bytes may be fetched ahead now."""
        if self._in_order_count < _MIN_IN_ORDER or 2 * self._read_bytes < self._opened_bytes:
            return 0
        return min(max(_MIN_READAHEAD_BYTES, 2 * self._read_bytes), self._part_size * max(1, self._window - 1))

    def _fetch_ahead(self) -> None:
        """Start the next parts on threads before their members are opened. Does nothing if `window` is 1."""
        reach = self._readahead_size()
        if self._window < 2 or not reach:
            return
        at = max(self._planned_end, self._next_start)
        until = self._next_start + reach
        # Wait until half a part is free, or each member would get a part of its own.
        while 2 * (until - at) >= min(reach, self._part_size):
            end = self._extents.group_end(at, min(self._part_size, until - at))
            if end == at:
                return
            part = self._new_part(at, end)
            if not part.start_on(self._threads):
                self._parts.remove(part)
                return
            at = part.stop

    def _new_part(self, start: int, stop: int) -> BufferedPart:
        room = self._part_size * self._window - (stop - start)
        while self._parts and sum(part.stop - part.start for part in self._parts) > room:
            self._parts.pop(0).drop()
        part = BufferedPart(self._source, start, stop)
        self._parts.append(part)
        self._planned_end = stop
        return part
