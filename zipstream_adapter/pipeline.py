"""The way of the data: item -> Entry -> open source -> member -> sink -> chunks, as they are asked for."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from .archive import StreamingZipFile
from .compress import check_level, method_number
from .dates import EXTENDED_TIMESTAMP_ID, default_date, extended_timestamp
from .entry import Entry, check_archive_comment, coerce, described, extra_fields
from .errors import DuplicateNameError, EntryTypeError, OptionError, SizeMismatchError, ZipStreamError
from .member import DEFAULT_LOOKAHEAD, STEP, MemberWriter
from .names import DuplicatePolicy, NamePolicy, NameRegistry
from .sink import DEFAULT_CHUNK_SIZE, StreamSink
from .source import OpenSource, flat_view

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Seconds after which what is pending is handed over, however little it is.
PATIENCE = 0.1
# Replacements from on_error that may fail in a row before the last error is raised.
_MOST_REPLACEMENTS = 8
_UNIX = 3
_DOS_DIRECTORY = 0x10


class Skipped(NamedTuple):
    """An entry that `on_error` left out (the Entry, or the item as it was given where it was none), and why."""

    entry: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stream stands, after each chunk of data and at each member's end. Sizes are in bytes.

    Attributes:
        entry: the entry that is being read.
        entry_read: bytes read of it; entry_size: what it will have, where known, else None.
        read: bytes of data read from all entries; written: bytes of the archive made so far.
        members: members finished; members_total: entries there are, where `entries` has a length, else None.
        read_total: bytes of data in all entries, where every one of them states its size, else None.
    """

    entry: Entry
    entry_read: int
    entry_size: int | None
    read: int
    written: int
    members: int
    members_total: int | None
    read_total: int | None


OnError = Callable[[Any, Exception], Entry | None]
OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `stream_zip` takes besides the entries; checked when it is made."""

    compression: int | str = ZIP_STORED
    level: int | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE
    lookahead: int = DEFAULT_LOOKAHEAD
    comment: bytes = b""
    names: NamePolicy = "strict"
    duplicates: DuplicatePolicy = "error"
    on_error: OnError | None = None
    on_progress: OnProgress | None = None
    extended_timestamps: bool = True

    def __post_init__(self) -> None:
        check_level(method_number(self.compression), self.level)
        check_archive_comment(self.comment)
        for name in ("on_error", "on_progress"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise OptionError(f"{name}={callback!r}: give a function, or None")

    def archive(self) -> StreamingZipFile:
        """An empty archive to the options' taste."""
        archive = StreamingZipFile(
            compression=self.compression,
            compresslevel=self.level,
            lookahead=self.lookahead,
            chunk_size=self.chunk_size,
        )
        archive.comment = self.comment
        return archive


class Producer:
    """The way of the data: item -> Entry -> open source -> member -> sink -> chunks.

    It knows nothing of the ZipStream that runs it, so that a dropped stream is collected, and closed, at once.
    """

    def __init__(self, entries: Iterable[Any], options: Options) -> None:
        self.skipped: list[Skipped] = []
        self.archive = options.archive()
        self._sink: StreamSink = self.archive.sink  # type: ignore[assignment]
        self._entries = _check_entries(entries)
        self._names = NameRegistry(options.names, options.duplicates)
        self._options = options
        self._member: MemberWriter | None = None
        self._callback_failed = False
        self._begun = False  # whether a chunk was handed over
        self._asked = 0.0  # when the consumer asked for the next one
        self._read = 0  # bytes of the entries before this one
        self._entry_size: int | None = None
        self._totals: tuple[int | None, int | None] | None = None

    def chunks(self) -> Generator[bytes, None, None]:
        self._asked = time.monotonic()
        try:
            with _closing(iter(self._entries)) as items:
                for item in items:
                    yield from self._add(item)
                    yield from self._ready()
            for _ in self.archive.finish():
                yield from self._ready()
            yield from self._hand_over(self._sink.take(everything=True))
        finally:
            self.archive.abort()  # nothing is lost by it where all has left

    def _add(self, item: Any) -> Iterator[bytes]:
        """One item, or what `on_error` puts in its place."""
        for replacements in itertools.count():
            entry = item
            try:
                entry = coerce(item)
                yield from self._write(entry)
                return
            except Exception as exc:
                _note(exc, entry)
                if self._options.on_error is None or not self._forgivable:
                    raise
                if replacements == _MOST_REPLACEMENTS:
                    exc.add_note(f"(on_error gave {replacements} entries in a row that failed as well)")
                    raise
                item = self._replacement(entry, exc)
                if item is None:
                    return

    @property
    def _forgivable(self) -> bool:
        """Whether the entry can still be left out: no byte of it has left, and it was not a callback that failed."""
        return not self._callback_failed and (self._member is None or not self._member.left)

    def _replacement(self, entry: Any, failure: Exception) -> Entry | None:
        if self._member is not None:
            self._member.discard()
            self._member = None
        assert self._options.on_error is not None
        replacement = self._options.on_error(entry, failure)
        if replacement is None:
            self.skipped.append(Skipped(entry, failure))
        elif not isinstance(replacement, Entry):
            raise EntryTypeError(
                f"on_error returned {replacement!r}: return None to leave the entry out, an Entry for its place, "
                "or raise"
            ) from failure
        return replacement

    def _write(self, entry: Entry) -> Iterator[bytes]:
        name = self._names.resolve(entry.name)
        if name is None:
            error = DuplicateNameError(f"entry {entry.name!r}: a directory of that name is in the archive already")
            self.skipped.append(Skipped(entry, error))
            return
        with _closing_source(OpenSource(entry, self._sink.chunk_size)) as source:
            member = self._begin(entry, name, source)
            for chunk in source:
                for piece in _pieces(chunk, member.passes_through):
                    member.write(piece)
                    yield from self._ready()
                self._report(entry, member.size)
        # The source is closed first: what it raises there is a failure of this entry.
        member.close()
        self._member = None
        self._names.take(name)
        self._read += member.size
        self._report(entry, 0, done=member.size)

    def _begin(self, entry: Entry, name: str, source: OpenSource) -> MemberWriter:
        facts = source.facts
        if None not in (entry.size, source.size) and entry.size != source.size:
            raise SizeMismatchError(
                f"entry {entry.name!r}: its data has {source.size} bytes, not the declared {entry.size}"
            )
        self._entry_size = entry.size if source.size is None else source.size
        date = entry.modified or (facts.modified if facts else default_date())
        info = ZipInfo(name, date.timetuple()[:6])
        info.filename = name
        info.create_system = _UNIX
        info.external_attr = _attributes(entry, facts.mode if facts else None)
        info.comment = entry.comment
        info.extra = self._extra(entry, date)
        info.compress_type = self.archive.compression if entry.compression is None else entry.compression
        self._member = self.archive.begin(
            info,
            level=self._options.level if entry.level is None else entry.level,
            size=self._entry_size,
            crc32=entry.crc32,
            zip64=entry.zip64,
            pinned=facts is not None,
        )
        return self._member

    def _extra(self, entry: Entry, date: datetime) -> bytes:
        if not self._options.extended_timestamps:
            return entry.extra
        if entry.extra and any(kind == EXTENDED_TIMESTAMP_ID for kind, _ in extra_fields(entry.extra)):
            return entry.extra
        return extended_timestamp(date) + entry.extra

    # Handing over.

    def _ready(self) -> Iterator[bytes]:
        chunks = self._sink.take()
        if not chunks and self._sink.pending and self._is_late():
            chunks = self._sink.take(everything=True)
        return self._hand_over(chunks)

    def _is_late(self) -> bool:
        """Whether to hand over less than a chunk: the consumer waits long, or for the first bytes of a long member."""
        first = not self._begun and self._member is not None and self._member.left
        return first or time.monotonic() - self._asked >= PATIENCE

    def _hand_over(self, chunks: list[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._begun = True
            yield chunk
            self._asked = time.monotonic()

    def _report(self, entry: Entry, so_far: int, done: int | None = None) -> None:
        on_progress = self._options.on_progress
        if on_progress is None:
            return
        if self._totals is None:
            members = len(self._entries) if isinstance(self._entries, Sized) else None
            self._totals = members, _read_total(self._entries)
        progress = Progress(
            entry=entry,
            entry_read=so_far if done is None else done,
            entry_size=self._entry_size,
            read=self._read + so_far,
            written=self._sink.tell(),
            members=len(self.archive.filelist),
            members_total=self._totals[0],
            read_total=self._totals[1],
        )
        try:
            on_progress(progress)
        except BaseException:
            self._callback_failed = True
            raise


def _attributes(entry: Entry, found: int | None) -> int:
    """External attributes (APPNOTE 4.4.15): the Unix mode, and MS-DOS's directory bit."""
    mode = entry.mode if entry.mode is not None else found
    if mode is None:
        mode = 0o755 if entry.is_dir else 0o644
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR if entry.is_dir else stat.S_IFREG
    return mode << 16 | (_DOS_DIRECTORY if entry.is_dir else 0)


def _pieces(chunk: Buffer, passes_through: bool) -> Iterator[bytes | memoryview]:
    """`chunk` as it is where it can pass without a copy, else in steps: what is made of each can leave in between."""
    if type(chunk) is bytes and (passes_through or len(chunk) <= STEP):
        yield chunk
        return
    with flat_view(chunk) as view:
        for at in range(0, len(view), STEP):
            # Released at once, so that a source can resize its buffer when its turn comes again.
            with view[at : at + STEP] as piece:
                yield piece


def _note(exc: Exception, entry: Any) -> None:
    if isinstance(entry, Entry) and repr(entry.name) not in str(exc):
        exc.add_note(f"(while adding entry {entry.name!r})")


@contextmanager
def _closing(items: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """`contextlib.closing` for what may have no close()."""
    try:
        yield items
    finally:
        close = getattr(items, "close", None)
        if callable(close):
            close()


@contextmanager
def _closing_source(source: OpenSource) -> Iterator[OpenSource]:
    """Close `source` at the end; after a failure of its own, a second one on closing is but a note on it."""
    try:
        yield source
    except Exception as exc:
        try:
            source.close()
        except Exception as second:
            exc.add_note(f"(and closing its source raised {second!r})")
        raise
    finally:
        source.close()


def _check_entries(entries: Iterable[Any]) -> Iterable[Any]:
    if isinstance(entries, str | bytes | bytearray | memoryview | os.PathLike | Entry | Mapping):
        raise EntryTypeError(
            f"entries={described(entries)} is one thing, not an iterable of entries: give a list such as "
            "[('name', data)], or walk(path) for a directory"
        )
    if isinstance(entries, AsyncIterable) and not isinstance(entries, Iterable):
        raise EntryTypeError(f"entries={described(entries)} is asynchronous, and stream_zip is not")
    if not isinstance(entries, Iterable):
        raise EntryTypeError(
            f"entries={described(entries)} cannot be iterated over: give a list or a generator of entries"
        )
    return entries


def _read_total(entries: Iterable[Any]) -> int | None:
    """Bytes of data in all of `entries`, where each says so without being opened."""
    if not isinstance(entries, list | tuple):
        return None
    total = 0
    for item in entries:
        size = _stated_size(item)
        if size is None:
            return None
        total += size
    return total


def _stated_size(item: Any) -> int | None:
    try:
        entry = coerce(item)
        if entry.size is not None or entry.is_dir:
            return entry.size or 0
        if isinstance(entry.source, os.PathLike):
            return os.stat(entry.source).st_size
    except (ZipStreamError, OSError):
        return None  # it will fail, and say so, when its turn comes
    return len(entry.source) if isinstance(entry.source, bytes | bytearray) else None
