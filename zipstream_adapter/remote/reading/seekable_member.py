"""Deflated members in which a caller seeks by their index (SOZip), if they have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO
from zipfile import ZIP_DEFLATED, ZipInfo

from ..._buffers import RangeFile, place_within
from ..._compression.crc32 import fastest_crc32
from ..._compression.decoders import inflate_chunk
from ..._format.records import ENCRYPTED_FLAG
from ..._format.sozip import SeekPoints, find_index, least_tail
from ...errors import BadArchiveError
from ..waiting import call_within
from .member_file import MemberFile
from .read_ahead import TINY_MEMBER_BYTES

# Bytes of data that are read and dropped on a seek forward: two requests, for the index and the data, take longer.
NEAR_BYTES = 1 << 20
# An index is not fetched if more bytes than this follow the member, because one is held in memory.
_MAX_TAIL_BYTES = 64 << 20
# Most bytes of data to inflate at a time, unless a chunk has more.
_MAX_RUN_BYTES = 1 << 22


def index_range(info: ZipInfo, limit: int) -> tuple[int, int] | None:
    """Return the range of the archive that may have the index of the member `info`; None if there is no room for one.

    limit: offset of the next member or of the central directory.
    """
    if info.compress_type != ZIP_DEFLATED or info.flag_bits & ENCRYPTED_FLAG:
        return None
    begin, least = least_tail(info)
    return (begin, limit) if least <= limit <= begin + _MAX_TAIL_BYTES else None


class SeekableMember(RangeFile):
    """File over the data of a deflated member. Nothing is fetched before it is read.

    The data is read from the beginning, as by `zipfile`, until the caller seeks far. Then the index is fetched, and
    chunks are read by it from then on: each must inflate to its size. Without a valid index, or after a chunk that does
    not, the data is read as by `zipfile`, from the beginning.

    Args:
        file: the member, from its local file header on.
        info: its central directory header.
        open_plain: opens it as `zipfile` does, over `file`, which stays open.
        open_tail: opens the range that may have the index.
        label: names the member in errors.
    """

    mode = "r"
    _find_place = staticmethod(place_within)
    _file: MemberFile | None = None
    _plain: IO[bytes] | None = None
    _tail: MemberFile | None = None

    def __init__(
        self,
        file: MemberFile,
        info: ZipInfo,
        open_plain: Callable[[], IO[bytes]],
        open_tail: Callable[[], MemberFile],
        label: str,
    ) -> None:
        super().__init__(info.file_size)
        self.name = info.filename
        self._file = file
        self._info = info
        self._open_plain = open_plain
        self._open_tail = open_tail
        self._label = label
        self._plain_at = 0
        self._points: SeekPoints | None = None
        self._is_searched = False
        self._run, self._run_at = b"", 0  # data of the last chunks read
        self._crc = 0
        self._checked = 0  # bytes covered by `_crc`
        self._crc32 = fastest_crc32()

    def _read(self, size: int) -> bytes | memoryview:
        assert self._file is not None
        size = min(size, self._size - self._at)
        if size <= 0:
            return b""
        with call_within(self._file.deadline):
            if not self._is_searched and not 0 <= self._at - self._plain_at <= NEAR_BYTES:
                self._search()
            data = self._by_index(size) if self._points is not None else None
            return self._as_zipfile(size) if data is None else data

    def _search(self) -> None:
        """Fetch the index, if there is one."""
        self._tail = self._tail or self._open_tail()
        begin = self._tail.tell()
        tail = self._tail.read(self._tail.limit - begin)
        self._tail.close()
        self._points = find_index(tail, begin, self._info)
        self._is_searched = True

    def _as_zipfile(self, size: int) -> bytes:
        if self._plain is None:
            self._plain = self._open_plain()
        if self._plain_at != self._at:
            self._plain.seek(self._at)
        data = self._plain.read(size)
        self._plain_at = self._at + len(data)
        return data

    def _by_index(self, size: int) -> memoryview | None:
        """Return up to `size` bytes; None if the index turns out to be wrong."""
        if not self._run_at <= self._at < self._run_at + len(self._run) and not self._fetch_run(size):
            self._points = None
            return None
        skipped = self._at - self._run_at
        data = memoryview(self._run)[skipped : skipped + size]
        if self._at == self._checked:
            self._check(data)
        return data

    def _fetch_run(self, size: int) -> bool:
        """Fetch and inflate the chunks that have the next `size` bytes, or the first of them."""
        points, file = self._points, self._file
        assert points is not None and file is not None
        numbers = points.chunks(self._at, self._at + min(size, _MAX_RUN_BYTES))
        places = points.places(numbers, file.limit)
        if places is None:
            return False
        first, stop = places
        file.seek(first)
        coded = file.read(stop - first)
        parts = []
        for number in numbers:
            begin, end = points.place(number) - first, points.place(number + 1) - first
            data = inflate_chunk(coded[begin:end], points.length(number), is_last=points.is_last(number))
            if data is None:
                return False
            parts.append(data)
        self._run, self._run_at = b"".join(parts), numbers.start * points.chunk
        return True

    def _check(self, data: memoryview) -> None:
        """Compare the CRC-32, if all data is read from beginning to end."""
        self._crc = self._crc32(data, self._crc)
        self._checked += len(data)
        expected = self._info.CRC
        if self._checked == self._size and self._crc != expected:
            raise BadArchiveError(f"{self._label} is broken: its CRC-32 is {self._crc:#010x}, not {expected:#010x}")

    def close(self) -> None:
        for file in (self._plain, self._tail, self._file):
            if file is not None:
                file.close()
        super().close()


def may_seek(info: ZipInfo, file: MemberFile) -> bool:
    """Whether to look for an index if the caller seeks: the member is longer than what is fetched when it is opened."""
    return file.limit - info.header_offset > TINY_MEMBER_BYTES and index_range(info, file.limit) is not None
