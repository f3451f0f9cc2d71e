"""Which bytes of an archive a member needs, and which small members come together in one request.

A program that reads thousands of small members one after another would wait for as many answers. So those that lie
behind one another, and are opened in that order, come several at a time: from the third on, and twice as many bytes
ahead as have been read that way, but at least 256 KiB, which take little longer than the answer. What is opened out of
order comes by itself, and nothing beside it.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple
from zipfile import ZipInfo

from .errors import BadArchiveError
from .parallel import Lease
from .records import LOCAL
from .remote_object import RemoteObject
from .remote_parts import PartInMemory

# Bytes of a member, with its header, up to which others can come with it; and up to which it is fetched when it is
# opened, before it is known whether it will be read.
SMALL, TINY = 1 << 20, 1 << 16
_LEAST_AHEAD = 1 << 18
_IN_ORDER = 3  # members that have to be opened in order before others come with the next
# A local header's extra can be longer than its row in the directory has it. Bytes that are fetched for that: of the
# member's own, a hundredth.
_LEAST_SLACK, _MOST_SLACK = 256, 1 << 16


class Extent(NamedTuple):
    """Where a member lies.

    Attributes:
        start: where its local header begins.
        stop: what is fetched of it: by what the directory says, which knows little of the local header.
        limit: where it ends at the latest: where another one, or the directory, begins.
    """

    start: int
    stop: int
    limit: int


class Extents:
    """Where the members of an archive lie. directory: where that begins."""

    def __init__(self, infos: Iterable[ZipInfo], directory: int, where: str) -> None:
        places = sorted((max(0, info.header_offset), info.compress_size) for info in infos)
        self._offsets = array("Q", (place for place, _ in places))
        self._sizes = array("Q", (size for _, size in places))
        self._directory = directory
        self._where = where

    def of(self, info: ZipInfo) -> Extent:
        """Where `info`'s member lies."""
        start = info.header_offset
        limit = self.after(start)
        if not 0 <= start <= self._directory - LOCAL.size - info.compress_size:
            raise BadArchiveError(
                f"{self._where} is broken: member {info.filename!r} is said to begin at byte {start} and to have "
                f"{info.compress_size} bytes, and the directory begins at byte {self._directory}"
            )
        slack = min(max(_LEAST_SLACK, info.compress_size // 100), _MOST_SLACK)
        head = LOCAL.size + len(info.orig_filename.encode("utf-8", "replace")) + len(info.extra)
        return Extent(start, min(limit, start + head + slack + info.compress_size), limit)

    def around(self, at: int) -> Extent | None:
        """Where the member lies that byte `at` belongs to; None in front of the first, and from the directory on."""
        index = bisect_right(self._offsets, at) - 1
        if index < 0 or at >= self._directory:
            return None
        start = self._offsets[index]
        limit = self.after(start)
        # Its name is not known here.
        return Extent(start, min(limit, start + LOCAL.size + _MOST_SLACK + self._sizes[index]), limit)

    def after(self, start: int) -> int:
        """Where the next member begins, or the directory."""
        at = bisect_right(self._offsets, start)
        return self._offsets[at] if at < len(self._offsets) else self._directory

    def past_empty(self, start: int) -> int:
        """Where the first member begins, from that at `start` on, that has data: programs pass over directories."""
        at = bisect_left(self._offsets, start)
        while at < len(self._offsets) and not self._sizes[at]:
            at += 1
        return self._offsets[at] if at < len(self._offsets) else self._directory

    def group_end(self, start: int, most: int, largest: int) -> int:
        """Where members end that begin at `start`, none longer than `largest`, `most` bytes altogether; or `start`."""
        end = start
        while end < self._directory:
            stop = self.after(end)
            if stop - end > largest or stop - start > most:
                break
            end = stop
        return end


class ReadAhead:
    """The small members of an archive, and how far ahead of the program they are fetched.

    Args:
        window, part_size: parts under way at a time, and bytes of each, at most: all that is kept in memory.
    """

    def __init__(self, source: RemoteObject, extents: Extents, window: int, part_size: int, threads: Lease) -> None:
        self._source = source
        self._extents = extents
        self._window = window
        self._part_size = part_size
        self._threads = threads
        self._lock = threading.Lock()
        self._parts: list[PartInMemory] = []
        self._planned = -1  # where the last of those ends that are in order
        self._next = -1  # where the member begins that would be in order
        self._stray = -1  # likewise, after one that was not
        self._in_order = 0
        self._opened = 0  # bytes of the members that were opened in order
        self._read = 0  # and of those, what was read

    def member(self, extent: Extent) -> bytes | None:
        """All of a small member, or the beginning of it; None of one that is to be fetched as it is read."""
        with self._lock:
            part = self._find(extent)
            begun = part is not None
            if part is not None:
                self._move_on(extent)
            else:
                part = self._follow(extent)
            self._fetch_ahead()
        if part is None:
            return self._source.read(extent.start, extent.stop) if extent.stop - extent.start <= TINY else None
        try:
            if not begun and (self._window < 2 or not part.start_on(self._threads)):
                part.run()
            return part.read(extent.start, extent.limit) or None
        except BaseException:
            with self._lock:
                if part in self._parts:
                    self._parts.remove(part)
            part.drop()  # others may wait for it, and are to fetch what is theirs
            raise

    def note_read(self, size: int) -> None:
        """Take note of `size` bytes that were read of a member that is not tiny."""
        self._read += size

    def close(self) -> None:
        """Let go of all that was fetched ahead."""
        with self._lock:
            parts, self._parts = self._parts, []
        for part in parts:
            part.drop()

    def _find(self, extent: Extent) -> PartInMemory | None:
        for part in self._parts:
            if part.start <= extent.start and extent.limit <= part.stop:
                return part
        return None

    def _follow(self, extent: Extent) -> PartInMemory | None:
        """Note that a member is opened that has not been fetched; a part that begins with it, where it is in order."""
        if extent.start == self._stray != self._next:  # it is another order now
            self._in_order, self._opened, self._read, self._next, self._planned = 1, 0, 0, self._stray, -1
        if extent.start != self._next:
            self._stray = self._extents.past_empty(extent.limit)
            return None
        self._move_on(extent)
        size, reach = extent.limit - extent.start, self._reach()
        if not reach or size > SMALL:
            return None
        end = self._extents.group_end(extent.start, min(self._part_size, size + reach), SMALL)
        return self._part(extent.start, max(end, extent.limit))

    def _move_on(self, extent: Extent) -> None:
        self._in_order += 1
        self._opened += extent.limit - extent.start
        if extent.limit - extent.start <= TINY:
            self._read += extent.limit - extent.start  # it is fetched, whatever becomes of it
        if extent.start >= self._next:
            self._next = self._extents.past_empty(extent.limit)

    def _reach(self) -> int:
        """How many bytes may be fetched ahead now."""
        if self._in_order < _IN_ORDER or 2 * self._read < self._opened:
            return 0
        return min(max(_LEAST_AHEAD, 2 * self._read), self._part_size * max(1, self._window - 1))

    def _fetch_ahead(self) -> None:
        """With threads to do it, have the next parts begun before their members are asked for."""
        reach = self._reach()
        if self._window < 2 or not reach:
            return
        at = max(self._planned, self._next)
        until = self._next + reach
        # Not before there is room for half a part: else each member would have one of its own.
        while 2 * (until - at) >= min(reach, self._part_size):
            end = self._extents.group_end(at, min(self._part_size, until - at), SMALL)
            if end == at:
                return
            part = self._part(at, end)
            if not part.start_on(self._threads):
                self._parts.remove(part)
                return
            at = part.stop

    def _part(self, start: int, stop: int) -> PartInMemory:
        room = self._part_size * self._window - (stop - start)
        while self._parts and sum(part.stop - part.start for part in self._parts) > room:
            self._parts.pop(0).drop()
        part = PartInMemory(self._source, start, stop)
        self._parts.append(part)
        self._planned = stop
        return part
