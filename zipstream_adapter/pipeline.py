"""The way of the data: item -> Entry -> open source -> member -> sink -> chunks, as they are asked for."""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from .archive import StreamingZipFile
from .compress import check_level, method_number
from .dates import EXTENDED_TIMESTAMP_ID, default_date, extended_timestamp
from .entry import Entry, check_archive_comment, coerce, described, extra_fields
from .errors import DuplicateNameError, EntryTypeError, OptionError, SizeMismatchError, ZipStreamError
from .member import DEFAULT_LOOKAHEAD, MemberWriter, pieces
from .names import DuplicatePolicy, NamePolicy, NameRegistry
from .records import DOS_DIRECTORY
from .sink import DEFAULT_CHUNK_SIZE, StreamSink
from .source import OpenSource, close_of

# Seconds after which what is pending is handed over, however little it is.
PATIENCE = 0.1
# Replacements from on_error that may fail in a row before the last error is raised.
_MOST_REPLACEMENTS = 8
_UNIX = 3


class Skipped(NamedTuple):
    """An entry that `on_error` left out (the Entry, or the item as it was given where it was none), and why."""

    entry: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stream stands, after each chunk of data, at each member's end, and at the archive's. Sizes are in bytes.

    Attributes:
        entry: the entry that is being read, or was read last.
        entry_read: bytes read of it; entry_size: what it will have, where known, else None.
        read: bytes of data that are in the archive, or on their way there; written: bytes of the archive made so far.
        members: members finished; members_total: entries there are, where `entries` is a sequence, else None.
        read_total: bytes of data in all entries, where they are a sequence and every one states its size, else None.
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
        check_level(method_number(self.compression) or None, self.level)
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
        self._final = False  # whether what fails now ends the stream
        self._begun = False  # whether a chunk was handed over
        self._asked = 0.0  # when the consumer asked for the next one
        self._read = 0  # bytes of the entries before this one
        self._entry_size: int | None = None
        self._entry_read = 0  # bytes of the entry that was finished last
        self._entry: Entry | None = None
        self._members_total: int | None = None
        self._read_total: int | None = None

    def chunks(self) -> Generator[bytes, None, None]:
        self._asked = time.monotonic()
        self._count_totals()
        try:
            items = iter(self._entries)
            try:
                for position, item in enumerate(items):
                    yield from self._add(item, position)
                    yield from self._ready()
            finally:
                _close(items)
            for _ in self.archive.finish():
                yield from self._ready()
            self._report(0)
            yield from self._hand_over(self._sink.take(everything=True))
        finally:
            self.archive.abort()  # nothing is lost by it where all has left

    def close_entries(self) -> None:
        """Close what was never begun."""
        if isinstance(self._entries, Iterator):
            _close(self._entries)

    def _add(self, item: Any, position: int) -> Iterator[bytes]:
        """One item, or what `on_error` puts in its place."""
        for replacements in itertools.count():
            self._entry = None
            try:
                self._entry = entry = coerce(item)
                yield from self._write(entry)
                return
            except Exception as exc:
                _note(exc, self._entry, position)
                if self._options.on_error is None or not self._forgivable:
                    raise
                if replacements == _MOST_REPLACEMENTS:
                    exc.add_note(f"(on_error gave {replacements} entries in a row that failed as well)")
                    raise
                item = self._replacement(item if self._entry is None else self._entry, exc)
                if item is None:
                    return

    @property
    def _forgivable(self) -> bool:
        """Whether the entry can be left out: no byte of it has left, no callback failed, and somebody still listens."""
        return not self._final and (self._member is None or not self._member.left)

    def _replacement(self, entry: Any, failure: Exception) -> Entry | None:
        if self._member is not None:
            self._member.discard()
            self._member = None
        assert self._options.on_error is not None
        replacement = self._options.on_error(entry, failure)
        if replacement is None:
            self.skipped.append(Skipped(entry, _without_frames(failure)))
        elif not isinstance(replacement, Entry):
            raise EntryTypeError(
                f"on_error returned {described(replacement)}: return None to leave the entry out, an Entry for its "
                "place, or raise"
            ) from failure
        return replacement

    def _write(self, entry: Entry) -> Iterator[bytes]:
        name = self._names.resolve(entry.name)
        if name is None:
            error = DuplicateNameError(f"entry {entry.name!r}: a directory of that name is in the archive already")
            self.skipped.append(Skipped(entry, error))
            return
        source = OpenSource(entry, self._sink.chunk_size)
        try:
            member = self._begin(entry, name, source)
            for chunk in source:
                for piece in pieces(chunk, member.passes_through):
                    member.write(piece)
                    yield from self._ready()
                self._report(member.size)
        except GeneratorExit:
            self._final = True
            source.close()
            raise
        except BaseException as exc:
            _close_after(exc, source)
            raise
        # The source is closed first: what it raises there is a failure of this entry.
        source.close()
        member.complete()
        self._member = None
        self._names.take(name)
        self._read += member.size
        self._entry_read = member.size
        self._report(0)

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

    def _count_totals(self) -> None:
        if self._options.on_progress is not None:
            self._members_total = len(self._entries) if isinstance(self._entries, Sequence) else None
            self._read_total = _read_total(self._entries)

    def _report(self, so_far: int) -> None:
        """Call `on_progress`; `so_far`: bytes of a member that is not finished."""
        if self._options.on_progress is None or self._entry is None:
            return
        progress = Progress(
            entry=self._entry,
            entry_read=so_far if self._member else self._entry_read,
            entry_size=self._entry_size,
            read=self._read + so_far,
            written=self._sink.tell(),
            members=len(self.archive.filelist),
            members_total=self._members_total,
            read_total=self._read_total,
        )
        try:
            self._options.on_progress(progress)
        except BaseException:
            self._final = True
            raise


def _attributes(entry: Entry, found: int | None) -> int:
    """External attributes (APPNOTE 4.4.15): the Unix mode, and MS-DOS's directory bit."""
    mode = entry.mode if entry.mode is not None else found
    if mode is None:
        mode = 0o755 if entry.is_dir else 0o644
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR if entry.is_dir else stat.S_IFREG
    return mode << 16 | (DOS_DIRECTORY if entry.is_dir else 0)


def _note(exc: Exception, entry: Entry | None, position: int) -> None:
    if entry is None:
        exc.add_note(f"(item {position} of entries, counted from 0)")
    elif not isinstance(exc, ZipStreamError) or repr(entry.name) not in str(exc):
        exc.add_note(f"(while adding entry {entry.name!r})")


def _without_frames(exc: Exception) -> Exception:
    """`exc` and what led to it, without the frames that would keep sources and their data alive."""
    link: BaseException | None = exc
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return exc


def _close_after(failure: BaseException, source: OpenSource) -> None:
    """Close `source` after a failure; a second one on closing is but a note on the first."""
    try:
        source.close()
    except Exception as second:
        failure.add_note(f"(and closing its source raised {second!r})")


def _close(items: Iterator[Any]) -> None:
    close = close_of(items)
    if close is not None:
        close()


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
    if not isinstance(entries, Sequence):
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
        with memoryview(entry.source) as view:
            return view.nbytes
    except Exception:  # no buffer; or whatever ails it, which is said when its turn comes
        return None
