"""RangeWriter: makes any bytes of a planned archive from its table and its sources."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipInfo

from .._compression.crc32 import fastest_crc32
from .._compression.stored_blocks import data_place, framed_part
from .._concurrency.patience import PATIENCE
from .._format.records import DESCRIPTOR_FLAG, data_descriptor, local_header
from .._writer.sink import StreamSink
from ..errors import CRC32MismatchError, IntegrityError, SourceChangedError, ZipStreamError
from .rereading import PinnedSource, read_range, stat_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._entries.crc_cache import ChecksumCache
    from .._writer.member_table import MemberTable

# Pieces of the archive; an empty piece means that data takes time.
Steps = Generator["bytes | memoryview", None, None]
# Data of up to this many bytes is kept after it was read for its CRC-32, and not read a second time.
_MOST_KEPT = 1 << 20
# Central directory headers made at a time.
_ROWS = 1 << 10


class RangeWriter:
    """Makes byte ranges of an archive, or of a part of it.

    Args:
        members: the members whose bytes can be made.
        listed: the members whose central directory headers can be made.
        directory: offset of the central directory in the archive.
        end: the end records, which follow the central directory.
        end_at: offset of the end records in the archive.
        cache: stores the CRC-32 of files; None for no cache.
    """

    def __init__(
        self,
        members: MemberTable,
        listed: MemberTable,
        directory: int,
        end: bytes,
        end_at: int,
        cache: ChecksumCache | None = None,
    ) -> None:
        self._cache = cache
        self.members = members
        self.listed = listed
        self.directory = directory
        self.end = end
        self.end_at = end_at
        self._crc32 = fastest_crc32()

    def chunks(self, start: int, stop: int, chunk_size: int) -> Generator[bytes, None, None]:
        """Yield the archive's bytes from `start` to `stop`, cut as in a stream. b"" means that data takes time."""
        sink = StreamSink(chunk_size)
        handed_over = time.monotonic()
        with closing(self._steps(start, stop)) as steps:
            for step in steps:
                data = step if type(step) is bytes else bytes(step)
                sink.write(data, pass_through=len(data) >= chunk_size)
                late = not data and time.monotonic() - handed_over >= PATIENCE
                if sink.ready or late:
                    yield from sink.take(everything=late)
                    handed_over = time.monotonic()
                if not data:
                    yield data
        yield from sink.take(everything=True)

    def find_crcs(self, indexes: list[int]) -> Steps:
        """Compute the CRC-32 of the listed members at `indexes`, by reading them."""
        for index in indexes:
            yield from self._find_crc(self.listed, index, self.listed.info(index))

    def find_crcs_within(self, start: int, stop: int) -> Steps:
        """Compute the CRC-32s that the bytes from `start` to `stop` need, except those found by making these bytes.

        These are the CRC-32s of all listed members, and of the member that `start` is in.
        """
        yield from self.find_crcs(self.listed.unknown())
        table = self.members
        if start < self.directory:
            index = table.at_offset(start)
            if table.offsets[index] < start and not table.knows_crc(index):
                info = table.info(index)
                behind = table.offsets[index + 1] - len(data_descriptor(info, zip64=table.is_zip64(index)))
                if stop > behind and info.flag_bits & DESCRIPTOR_FLAG:
                    yield from self._find_crc(table, index, info)

    def take_crcs(self, first: int, found: tuple[Iterable[int], Iterable[int]], began: int) -> None:
        """Store the CRC-32s that a worker has computed.

        Args:
            first: index of the worker's first member in the table.
            found: indexes of members, counted from `first`, and their CRC-32s.
            began: time before the worker began, in nanoseconds since 1970.
        """
        table = self.listed
        for index, crc in zip(*found, strict=True):
            self._check_crc(table, first + index, table.info(first + index), crc, began)

    def _steps(self, start: int, stop: int) -> Steps:
        at = min(stop, self.directory)
        if start < at:
            yield from self._of_members(start, at)
        first, last = max(start, self.directory), min(stop, self.end_at)
        if first < last:
            yield from self._of_directory(first - self.directory, last - self.directory)
        if stop > self.end_at:
            yield self.end[max(0, start - self.end_at) : stop - self.end_at]

    # Members.

    def _of_members(self, start: int, stop: int) -> Steps:
        table = self.members
        index = table.at_offset(start)
        while start < stop:
            begins, ends = table.offsets[index], table.offsets[index + 1]
            yield from self._of_member(index, start - begins, min(stop, ends) - begins)
            start = ends
            index += 1

    def _of_member(self, index: int, start: int, stop: int) -> Steps:
        """Make the bytes from `start` to `stop` of a member: local file header, data, and any data descriptor."""
        table = self.members
        info, zip64 = table.info(index), table.is_zip64(index)
        head = local_header(info, zip64=zip64)
        behind = len(head) + info.compress_size
        late = info.flag_bits & DESCRIPTOR_FLAG
        kept = None
        if start < len(head):
            if not late and not table.knows_crc(index):
                kept = yield from self._find_crc(table, index, info)
                head = local_header(info, zip64=zip64)
            yield head[start:stop]
        if start < behind and (stop > len(head) or (stop == len(head) and not info.compress_size)):
            yield from self._of_data(index, info, kept, max(0, start - len(head)), min(stop, behind) - len(head))
        if stop > behind:
            if not table.knows_crc(index):
                yield from self._find_crc(table, index, info)
            info.CRC = table.crcs[index]
            yield data_descriptor(info, zip64=zip64)[max(0, start - behind) : stop - behind]

    def _of_data(self, index: int, info: ZipInfo, kept: bytes | None, start: int, stop: int) -> Steps:
        """Make the bytes from `start` to `stop` of a member's data in the archive. Empty data is checked, too."""
        with closing(self._data(index, info, kept, *self._data_places(index, info, start, stop))) as data:
            if not self._is_framed(index, info):
                yield from data
                return
            with closing(framed_part(data, info.file_size, start, stop)) as coded:
                yield from coded

    def _data(self, index: int, info: ZipInfo, kept: bytes | None, start: int, stop: int) -> Steps:
        """Read a member's data from `start` to `stop`; its CRC-32 is checked if that is all of it."""
        if kept is not None:
            with memoryview(kept) as view:
                yield bytes(view[start:stop])
            return
        # The CRC-32 of a raw member is of its uncompressed data, which is not available here: it is not checked.
        whole = start == 0 and stop == info.file_size and not self.members.is_raw(index)
        left, crc, began = stop - start, 0, time.time_ns()
        with self._read(self.members, index, info, start, stop) as chunks:
            for chunk in chunks:
                if whole:
                    crc = self._crc32(chunk, crc)
                left -= len(chunk)
                if whole and not left:  # before the last piece is handed over
                    self._check_crc(self.members, index, info, crc, began)
                yield chunk

    def _find_crc(
        self, table: MemberTable, index: int, info: ZipInfo
    ) -> Generator[bytes | memoryview, None, bytes | None]:
        """Read a member's data to compute its CRC-32, and set that in `info`. Returns the data if small, else None."""
        kept: list[bytes] | None = [] if info.file_size <= _MOST_KEPT else None
        crc, began = 0, time.time_ns()
        with self._read(table, index, info, 0, info.file_size) as chunks:
            for chunk in chunks:
                crc = self._crc32(chunk, crc)
                if kept is not None:
                    kept.append(chunk if type(chunk) is bytes else bytes(chunk))
                yield b""
        self._check_crc(table, index, info, crc, began)
        info.CRC = crc
        return None if kept is None else b"".join(kept)

    @contextmanager
    def _read(self, table: MemberTable, index: int, info: ZipInfo, start: int, stop: int) -> Iterator[Steps]:
        """Open a member's source from `start` to `stop`. Exceptions in the ``with`` block get the member's name."""
        chunks = read_range(self._pin(table, index, info), start, stop)
        try:
            with closing(chunks):
                yield chunks
        except Exception as exc:
            if not isinstance(exc, ZipStreamError) or repr(info.filename) not in str(exc):
                exc.add_note(f"(while reading entry {info.filename!r})")
            raise

    @staticmethod
    def _pin(table: MemberTable, index: int, info: ZipInfo) -> PinnedSource:
        date, identity = table.pin_of(index)
        size = info.compress_size if table.is_raw(index) else info.file_size
        return PinnedSource(info.filename, table.sources[index], size, date, identity)

    def _check_crc(self, table: MemberTable, index: int, info: ZipInfo, crc: int, began: int) -> None:
        """Store the computed CRC-32, or compare it with the known one.

        began: time at which the reading began, in nanoseconds since 1970.
        """
        if not table.knows_crc(index):
            table.keep_crc(index, crc)
            source = table.sources[index]
            if self._cache is not None and isinstance(source, str):
                facts = stat_of(self._pin(table, index, info))
                if facts is not None:
                    self._cache.put(source, facts, crc, opened=began)
        elif crc != table.crcs[index]:
            raise self._other_crc(table, index, info.filename, crc)

    def _other_crc(self, table: MemberTable, index: int, name: str, crc: int) -> IntegrityError:
        known = table.crcs[index]
        text = f"entry {name!r}: its data has the CRC-32 {crc:#010x}, not "
        if table.is_remembered(index):
            if self._cache is not None:
                self._cache.forget(table.sources[index])
            return SourceChangedError(f"{text}the cached {known:#010x}, which was dropped: make another layout")
        if table.is_declared(index):
            return CRC32MismatchError(f"{text}the declared {known:#010x}")
        return SourceChangedError(f"{text}{known:#010x} as before: its source must give the same data each time")

    # Parts.

    def members_within(self, start: int, stop: int) -> tuple[MemberTable, int]:
        """Return (table of the members with bytes from `start` to `stop` of the archive, index of the first)."""
        table, stop = self.members, min(stop, self.directory)
        if start >= stop:
            return table.cut(0, 0), 0
        first = table.at_offset(start)
        return table.cut(first, table.at_offset(stop - 1) + 1), first

    def listed_within(self, start: int, stop: int) -> tuple[MemberTable, int]:
        """Return (table of the members with central directory headers in that range, index of the first)."""
        table = self.listed
        start, stop = max(start, self.directory) - self.directory, min(stop, self.end_at) - self.directory
        if start >= stop:
            return table.cut_headers(0, 0), 0
        first = table.at_place(start)
        return table.cut_headers(first, table.at_place(stop - 1) + 1), first

    def data_within(self, index: int, start: int, stop: int) -> tuple[int, int]:
        """Return the range of a member's data that the archive's bytes from `start` to `stop` are made from."""
        table = self.members
        info = table.info(index)
        begins = table.offsets[index] + len(local_header(info, zip64=table.is_zip64(index)))
        first, last = (min(max(0, at - begins), info.compress_size) for at in (start, stop))
        return self._data_places(index, info, first, last)

    def _data_places(self, index: int, info: ZipInfo, start: int, stop: int) -> tuple[int, int]:
        """Return the range of a member's data that bytes `start` to `stop` of its stored form are made from."""
        if not self._is_framed(index, info):
            return start, stop
        size = info.file_size
        return data_place(size, start), data_place(size, stop)

    def _is_framed(self, index: int, info: ZipInfo) -> bool:
        """Whether a member's data is encoded here, in stored blocks."""
        return info.compress_type == ZIP_DEFLATED and not self.members.is_raw(index)

    def know_crc(self, index: int) -> None:
        """Compute the CRC-32 of a member whose data is in memory."""
        if not self.members.knows_crc(index):
            for _ in self._find_crc(self.members, index, self.members.info(index)):
                pass

    # The central directory.

    def _of_directory(self, start: int, stop: int) -> Steps:
        """Make the bytes from `start` to `stop` of the central directory headers."""
        table = self.listed
        index = table.at_place(start)
        last = table.at_place(stop - 1) + 1
        while index < last:
            following = min(index + _ROWS, last)
            yield from self.find_crcs(table.unknown(index, following))
            begins = table.header_places[index]
            yield bytes(table.headers_of(index, following)[max(0, start - begins) : stop - begins])
            index = following
