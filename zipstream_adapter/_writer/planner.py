"""Planner: plans an archive by running the stream's own writer over a sink that only counts bytes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZIP_STORED, ZipInfo

from .._buffers import close_items
from .._compression.encryption import OVERHEAD
from .._compression.methods import UNCOMPRESSED, coded_size, method_name, uncompressed_method
from .._entries.coercion import coerce
from .._entries.entry import Entry
from .._entries.error_notes import name_entry
from .._entries.files.own_output import OwnOutput
from .._entries.inspection import SourceInfo, check_entries, counts_in_cache, inspect_file, inspect_source
from .._entries.source import cut_at
from .._entries.validation import MAX_SIZE
from .._format.central_directory import CentralDirectory
from .._format.timestamps import DosDateTime, clamped
from ..errors import EntryError, LimitError
from .archive_writer import ArchiveWriter
from .member_table import RAW, ZIP64, MemberTable
from .mimetype import lookahead_for
from .sink import Hole, NullSink
from .stream_archive import StreamArchive

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options


class _PlannedDirectory(CentralDirectory):
    """Puts central directory headers into a MemberTable; the archive only sees their number and total size."""

    def __init__(self, table: MemberTable) -> None:
        super().__init__()
        self._table = table

    def add(self, header: bytes) -> None:
        self._table.add_header(header)
        self.count += 1

    def take(self) -> Iterator[bytes]:
        yield cast("bytes", Hole(len(self._table.headers)))  # NullSink accepts a Hole as data
        yield b""


class PlannedArchive(StreamArchive):
    """The archive of a stream without its data: holes for data, and its central directory headers in a table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(file=NullSink(), **options)
        self.table = MemberTable()
        self.directory = _PlannedDirectory(self.table)
        self.was_zip64 = False  # whether the local file header of the last finished member is zip64

    def _file_sink(self, file: Any, mode: str) -> Any:
        return file

    def member_ended(self, info: ZipInfo | None) -> None:
        self.was_zip64 = info is not None and info.header_offset in self.zip64_offsets
        super().member_ended(info)


class Planner:
    """Plans an archive, member by member. Call `finish` after the last.

    Args:
        cached_headers: whether a stored member over the lookahead gets a complete header if its CRC-32 is cached, as in
            a stream. Without it, the bytes do not depend on the cache.

    Attributes:
        table: the members planned so far.
        latest: the newest date among them; None without any.
    """

    def __init__(self, options: Options, *, cached_headers: bool = True) -> None:
        self._options = options
        self._cached_headers = cached_headers
        self._method = options.method
        self._archive = options.archive(PlannedArchive)
        self._sink = cast("NullSink", self._archive.sink)
        self._writer = ArchiveWriter(self._archive, options, has_one_date=True)
        self.table = self._archive.table
        self.latest: datetime | None = None

    def resolve(self, entry: Entry) -> str | None:
        """Choose and reserve the name of the entry's member; None if the entry is left out (see `NameRegistry`)."""
        return self._writer.names.resolve(entry.name, is_link=entry.is_link, takes=True)

    def add(self, entry: Entry, name: str, found: SourceInfo) -> None:
        """Plan a member called `name`. The caller adds its source to the table.

        Raises:
            EntryError: if its compressed size depends on its data.
            LimitError: if the archive would reach 2**64 bytes.
        """
        options, facts = self._options, found.facts
        options.seeking_of(entry)  # refuses an entry that cannot have an index
        size = found.size
        assert size is not None
        method = ZIP_STORED if entry.is_dir else self._method if entry.compression is None else entry.compression
        crc, promised, is_encrypted = entry.crc32, found.promised, options.password_of(entry) is not None
        is_large = method in (ZIP_STORED, UNCOMPRESSED) and size > options.lookahead
        if is_large and self._cached_headers and crc is None:
            crc = found.crc32  # a stream, too, uses a cached CRC-32 only for these members
        level, offset = options.level if entry.level is None else entry.level, self._sink.tell()
        if method == UNCOMPRESSED:
            lookahead = lookahead_for(name, offset, options.lookahead)
            promised, level, chosen = size, 0, uncompressed_method(size, crc, lookahead, encrypted=is_encrypted)
            assert chosen is not None
            method = chosen
        coded = size if entry.is_raw else self._coded(entry, method, level, size)
        coded += OVERHEAD if is_encrypted else 0
        if offset + coded > MAX_SIZE:
            raise self._too_large(f"entry {entry.name!r}: with it, the archive")
        self._note_date(self._writer.described(entry, facts)[0])
        if found.date:
            self._note_date(clamped(found.date // 10**9))
        is_declared = None not in (promised, crc)
        if self._writer.skip(entry, name, size, coded, crc, facts, method=method, is_declared=is_declared):
            flags = ZIP64 if entry.zip64 else 0
        else:
            _, member = self._writer.begin(entry, name, promised, facts, crc)
            member.skip(size, coded)
            member.finish()
            flags = ZIP64 if self._archive.was_zip64 else 0
        is_raw = entry.is_raw and entry.compression != ZIP_STORED
        self.table.add(offset, crc, flags | (RAW if is_raw else 0))
        if found.crc32 is not None and entry.crc32 is None:
            self.table.remember(found.crc32)

    def _coded(self, entry: Entry, method: int, level: int | None, size: int) -> int:
        coded = coded_size(method, level, size)
        if coded is None:
            coding = f"compression={method_name(method)!r}" + ("" if level is None else f", level={level}")
            raise EntryError(
                f"entry {entry.name!r}: its compressed size with {coding} is known only after compression: use 'none' "
                "or 'stored' here, 'deflate' with level=0, or Entry.raw for data that is already compressed"
            )
        return coded

    def _note_date(self, date: datetime) -> None:
        if type(date) is not DosDateTime and (self.latest is None or date > self.latest):
            self.latest = date

    def finish(self) -> tuple[int, bytes]:
        """Finish the plan; returns (offset of the central directory, the end records that follow it)."""
        sink, archive = self._sink, self._archive
        start = sink.tell()
        if start > MAX_SIZE:
            raise self._too_large("the archive")
        self.table.offsets.append(start)
        for _ in archive.finish():
            pass
        if sink.tell() > MAX_SIZE:
            raise self._too_large("the archive")
        return start, sink.last

    def abandon(self) -> None:
        """Abort the plan."""
        self._archive.abort()

    @staticmethod
    def _too_large(what: str) -> LimitError:
        return LimitError(f"{what} has 2**64 bytes or more, which the format cannot store")


def plan_all(
    planner: Planner,
    entries: Iterable[Any],
    measure: Callable[[Entry], SourceInfo],
    keep: Callable[[SourceInfo], object],
) -> None:
    """Plan all `entries`, and close them.

    Args:
        measure: inspects an entry.
        keep: called with the result of `measure` once the entry is planned.
    """
    items = iter(check_entries(entries))
    try:
        for position, item in enumerate(items):
            entry = None
            try:
                entry = coerce(item)
                name = planner.resolve(entry)
                if name is not None:
                    found = measure(entry)
                    planner.add(entry, name, found)
                    keep(found)
            except Exception as exc:
                planner.abandon()
                name_entry(exc, entry, position)
                raise
    finally:
        close_items(items)


def planned_size(entries: Any, options: Options) -> int | None:
    """Return the size in bytes of the archive that a stream makes of `entries`; None if it is not known in advance.

    Files are stat'ed; nothing is opened, called, read or used up. Entries that will fail have no size: the stream
    raises the error.
    """
    if not isinstance(entries, Collection) or options.on_error is not None:
        return None
    try:
        len(entries)  # a `Walk` is done now, and keeps its entries for the stream
        return size_of(entries, options, partial(_measured_for_stream, options))
    except Exception:  # an unknown size, or a faulty entry: the stream raises its error when its turn comes
        return None


def size_of(entries: Iterable[Any], options: Options, measure: Callable[[Entry], SourceInfo] = inspect_source) -> int:
    """Return the size in bytes of an archive of `entries` whose sizes are known. measure: as for `plan_all`."""
    planner = Planner(options)
    plan_all(planner, entries, measure, lambda found: None)
    start, last = planner.finish()
    return start + len(planner.table.headers) + len(last)


class _Unknown(Exception):
    """Raised if a size is not known in advance."""


def _measured_for_stream(options: Options, entry: Entry) -> SourceInfo:
    if isinstance(entry.source, OwnOutput):
        raise _Unknown  # it may be the archive itself, which is left out
    cut = cut_at(entry, options.grown == "cut") if isinstance(entry.source, os.PathLike) and not entry.is_dir else None
    if cut is None:
        found = inspect_source(entry)
    elif entry.source_size is None:
        raise _Unknown  # the file may grow until it is opened; its size at that time is what is stored
    else:
        found = inspect_file(entry)._replace(size=cut, promised=cut)
    if found.size is None:
        raise _Unknown
    if options.password_of(entry) is not None:
        return found
    if options.checksums is not None and found.size > options.lookahead and counts_in_cache(entry, found):
        raise _Unknown  # whether its header is complete depends on what is cached when its turn comes
    return found
