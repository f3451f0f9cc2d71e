"""The plan of an archive: what the stream's own writer makes of the entries' metadata, over a sink that skips."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZIP_STORED, ZipInfo

from .coercion import coerce
from .compress import coded_size, method_name, method_number
from .dates import LocalTime, clamped, default_date
from .describe import amend, describe
from .encryption import OVERHEAD
from .entry import Entry
from .errors import EntryError, LimitError
from .fields import MAX_SIZE
from .lookahead import outlasts
from .names import NameRegistry
from .notes import note_on
from .options import check_entries
from .pinned import Measured, counts_in_cache, measured
from .pipeline import close_items
from .records import DESCRIPTOR_FLAG, LIMIT32, Rows, Template
from .sink import Gap, SkippingSink
from .small import StreamArchive
from .table import RAW, ZIP64, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from .options import Options

_MOST_TEMPLATES = 64


class _PlannedRows(Rows):
    """Rows that go into a table: for the archive, only how many they are, and how long."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def add(self, row: bytes) -> None:
        self._table.add_row(row)
        self.count += 1

    def take(self) -> Iterator[bytes]:
        yield cast("bytes", Gap(len(self._table.rows)))  # the sink of a plan takes it for bytes
        yield b""


class PlannedArchive(StreamArchive):
    """The archive of a stream, with gaps for data, and its rows in a table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(file=SkippingSink(), **options)
        self.table = Table()
        self.rows = _PlannedRows(self.table)
        self.was_zip64 = False  # the local header of the member that ended last

    def _file_sink(self, file: Any, mode: str) -> Any:
        return file

    def member_ended(self, info: ZipInfo | None) -> None:
        self.was_zip64 = info is not None and info.header_offset in self.zip64_offsets
        super().member_ended(info)


class Planner:
    """Plans an archive, member by member; `finish` it.

    Attributes:
        table: the members so far.
        latest: the newest date among them, in whole seconds; None without any.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._method = method_number(options.compression)
        self._archive = options.archive(PlannedArchive)
        self._sink = cast("SkippingSink", self._archive.sink)
        self._names = NameRegistry(options.names, options.duplicates)
        self._templates: dict[tuple[datetime, int, int, bool], Template] = {}
        self._now: datetime | None = None
        self.table = self._archive.table
        self.latest: datetime | None = None

    def resolve(self, entry: Entry) -> str | None:
        """The name that the entry's member gets, which is taken now; None where it is left out (see `NameRegistry`)."""
        if self._names.take_plain(entry.name):
            return entry.name
        name = self._names.resolve(entry.name)
        if name is not None:
            self._names.take(name)
        return name

    def add(self, entry: Entry, name: str, found: Measured) -> None:
        """Plan a member of that `name`. Its source is for the caller to keep.

        Raises EntryError where its coded size depends on its data; LimitError past 2**64 bytes.
        """
        options, facts = self._options, found.facts
        size = found.size
        assert size is not None
        method = ZIP_STORED if entry.is_dir else self._method if entry.compression is None else entry.compression
        password = options.password_of(entry)
        coded = size if entry.is_raw else self._coded(entry, method, size)
        coded += OVERHEAD if password else 0
        if self._sink.tell() + coded > MAX_SIZE:
            raise self._too_large(f"entry {entry.name!r}: with it, the archive")
        date = entry.modified or (facts.modified if facts else self._default_date())
        mode = entry.mode if entry.mode is not None else (facts.mode if facts else None)
        self._note_date(date)
        if found.date:
            self._note_date(clamped(found.date // 10**9))
        crc = entry.crc32
        if method == ZIP_STORED and size > options.lookahead and crc is None:
            crc = found.crc32  # the stream as well makes use of it for these only
        if max(size, coded) < LIMIT32 and name.isascii() and is_short(entry) and password is None:
            promised = method == ZIP_STORED and None not in (found.promised, crc)
            late = outlasts(options.lookahead, size, coded) and not promised
            template = self._template(date, 0o644 if mode is None else mode, method, late)
            self._add_short(template, name.encode("ascii"), crc, size, coded)
        else:
            self._add_any(entry, name, date, mode, found, coded, crc, password)
        if found.crc32 is not None and entry.crc32 is None:
            self.table.remember(found.crc32)

    def _coded(self, entry: Entry, method: int, size: int) -> int:
        level = self._options.level if entry.level is None else entry.level
        coded = coded_size(method, level, size)
        if coded is None:
            raise EntryError(
                f"entry {entry.name!r}: how small its data gets with compression={method_name(method)!r}, "
                f"level={level} is known only once that is done: use 'stored' here, 'deflate' with level=0, or "
                "Entry.raw for what is compressed already"
            )
        return coded

    def _add_short(self, template: Template, name: bytes, crc: int | None, size: int, coded: int) -> None:
        """The short way, as `QuickMembers` goes it."""
        sink, archive, sizes = self._sink, self._archive, (crc or 0, coded, size)
        offset = sink.tell()
        sink.write(template.header(name, *sizes))
        sink.write(Gap(coded))
        sink.write(template.descriptor(*sizes))
        archive.rows.add(template.directory_row(name, *sizes, offset))
        self.table.add(offset, crc, 0)

    def _add_any(
        self,
        entry: Entry,
        name: str,
        date: datetime,
        mode: int | None,
        found: Measured,
        coded: int,
        crc: int | None,
        password: bytes | None,
    ) -> None:
        """The way of all others: the stream's, but for the data."""
        options, archive = self._options, self._archive
        info = self._describe(name, date, mode, archive.compression)
        amend(info, entry)
        is_raw = entry.is_raw and entry.compression != ZIP_STORED
        member = archive.begin(
            info,
            level=options.level if entry.level is None else entry.level,
            size=found.promised,
            crc32=crc,
            zip64=entry.zip64,
            pinned=found.facts is not None,
            raw_size=entry.size if is_raw else None,
            password=password,
        )
        assert found.size is not None
        member.skip(found.size, coded)
        member.complete()
        self.table.add(info.header_offset, crc, (ZIP64 if archive.was_zip64 else 0) | (RAW if is_raw else 0))

    def _template(self, date: datetime, mode: int, method: int, late: bool) -> Template:
        key = (date, mode, method, late)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            info = self._describe("x", date, mode, method)
            info.flag_bits = DESCRIPTOR_FLAG if late else 0
            template = self._templates[key] = Template(info)
        return template

    def _describe(self, name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
        return describe(name, date, mode, method, timestamps=self._options.extended_timestamps)

    def _default_date(self) -> datetime:
        """One for all members: when the plan was made."""
        self._now = self._now or default_date()
        return self._now

    def _note_date(self, date: datetime) -> None:
        if type(date) is not LocalTime and (self.latest is None or date > self.latest):
            self.latest = date

    def finish(self) -> tuple[int, bytes]:
        """(where the central directory begins, what follows it: the end records)."""
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
        """Give the plan up."""
        self._archive.abort()

    @staticmethod
    def _too_large(what: str) -> LimitError:
        return LimitError(f"{what} has 2**64 bytes or more, which is more than the format can say")


def is_short(entry: Entry) -> bool:
    """Whether a `Template` can say all that there is to say of the entry's member."""
    rest = entry.comment or entry.extra or entry.zip64 is not None or entry.is_dir or entry.is_raw
    return not rest and type(entry.modified) is not LocalTime


def plan_all(
    planner: Planner, entries: Iterable[Any], measure: Callable[[Entry], Measured], keep: Callable[[Measured], object]
) -> None:
    """Plan all `entries`, which are closed; `keep` gets what `measure` has found of each, once it is planned."""
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
                note_on(exc, entry, position)
                raise
    finally:
        close_items(items)


def planned_size(entries: Any, options: Options) -> int | None:
    """Bytes in the archive that a stream makes of `entries`; None where it cannot be known without using them up.

    Nothing is opened, called or read; files are looked at. What will fail has no size: the stream says why.
    """
    if not isinstance(entries, Collection) or options.on_error is not None:
        return None
    planner = Planner(options)
    try:
        plan_all(planner, entries, partial(_measured_for_stream, options), lambda found: None)
        start, last = planner.finish()
    except Exception:  # a size that is not known; or whatever ails an entry, which is said when its turn comes
        return None
    return start + len(planner.table.rows) + len(last)


class _Unknown(Exception):
    """A size is not known."""


def _measured_for_stream(options: Options, entry: Entry) -> Measured:
    found = measured(entry)
    if found.size is None:
        raise _Unknown
    if options.password_of(entry) is not None:
        return found
    if options.checksums is not None and found.size > options.lookahead and counts_in_cache(entry, found):
        raise _Unknown  # what will be remembered when its turn comes decides about its header
    return found
