"""The way of the data: item -> Entry -> open source -> member -> sink -> chunks, as they are asked for."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from zipfile import ZIP_STORED, ZipInfo

from .checksums import Remembered
from .coercion import coerce
from .dates import default_date
from .describe import amend, describe, size_to_read
from .entry import Entry
from .errors import CRC32MismatchError, DuplicateNameError, EntryTypeError
from .fields import described
from .member import PATIENCE, MemberWriter
from .names import NameRegistry
from .notes import note_on, without_frames
from .options import Options, Progress, Skipped, check_entries, read_total
from .prefetch import Prefetcher
from .quick import QuickMembers
from .small import StreamArchive
from .source import FileFacts, OpenSource, close_of
from .steps import OFFLOAD, OFFLOAD_CLOSING, OFFLOAD_WORK, SMALL_EFFORT, Abandoned, Steps

# Replacements from on_error that may fail in a row before the last error is raised.
_MOST_REPLACEMENTS = 8


class Source(Protocol):
    """An entry's data, opened."""

    size: int | None
    facts: FileFacts | None


class Producer:
    """The way of the data: item -> Entry -> open source -> member -> sink -> chunks.

    It knows nothing of the ZipStream that runs it, so that a dropped stream is collected, and closed, at once.
    """

    def __init__(self, entries: Iterable[Any], options: Options) -> None:
        self.skipped: list[Skipped] = []
        self.archive = options.archive(StreamArchive)
        self._sink = self.archive.sink
        self._entries = self._check_entries(entries)
        self._names = NameRegistry(options.names, options.duplicates)
        self._options = options
        self._quick: QuickMembers | None = None
        self._member: MemberWriter | None = None
        self._final = False  # whether what fails now ends the stream
        self._begun = False  # whether a chunk was handed over
        self._asked = 0.0  # when the consumer asked for the next one
        self._read = 0  # bytes of the entries before this one
        self._entry_size: int | None = None
        self._entry_read = 0  # bytes of the entry that was finished last
        self._entry: Entry | None = None
        self._fetched: Any = None  # the entry's source, where it was fetched ahead
        self._members_total: int | None = None
        self._read_total: int | None = None

    def chunks(self) -> Steps:
        self._asked = time.monotonic()
        # Whoever wants to hear of each member gets them one by one; and each of those that are encrypted takes long.
        if self._options.on_progress is None and self._options.password is None:
            ways: dict[str, Any] = {"level": self._options.level, "lookahead": self._options.lookahead}
            ways |= {"is_awaited": self._is_awaited, "calls": not self.offloads}
            self._quick = QuickMembers(self.archive, self._names, self._describe, **ways)
        whole = False
        try:
            yield from self._count_totals()
            yield from self._add_all()
            if self.offloads:
                yield OFFLOAD
            for _ in self.archive.finish():
                yield from self._ready()
            yield from self._report(0)
            yield from self._ready(everything=True)
            whole = True
        finally:
            if self.offloads and not whole and not isinstance(sys.exception(), GeneratorExit):
                yield OFFLOAD_CLOSING  # what is being deflated is waited for
            if self._fetched is not None:
                yield from self._close_source(self._fetched)
            if self._quick is not None:
                self._quick.close()
            self.archive.abort()  # nothing is lost by it where all has left

    def close_entries(self) -> None:
        """Close what was never begun."""
        if isinstance(self._entries, Iterator):
            close_items(self._entries)

    def _add_all(self) -> Steps:
        quick, sink = self._quick, self._sink
        items = iter(self._entries)
        if self._options.prefetch:
            items = Prefetcher(items, self._options.prefetch, sink.chunk_size)
        try:
            for position, item in enumerate(items):
                if quick is not None:
                    added = quick.add(item)
                    if added is None:
                        quick.settle()
                        yield from self._ready()
                        added = quick.add(item)
                    if added:
                        if sink.has_chunks or time.monotonic() - self._asked >= PATIENCE:
                            yield from self._settle_if_late()
                        continue
                taken = quick.taken() if quick is not None else None
                self._fetched = taken or (item if hasattr(item, "in_memory") else None)
                if quick is not None:
                    quick.settle()
                    if taken is None:  # else what was read of it leaves along with that
                        yield from self._ready()
                yield from self._add(item, position)
                yield from self._ready()
        finally:
            close_items(items)
        if quick is not None:
            quick.settle()
            yield from self._ready()

    def _settle_if_late(self) -> Steps:
        """What there is of members that have gone the short way; all of it where the consumer waits long."""
        assert self._quick is not None
        if time.monotonic() - self._asked >= PATIENCE:
            if self.offloads and self._quick.effort() > SMALL_EFFORT:
                yield OFFLOAD
            self._quick.settle()
        yield from self._ready()

    def _add(self, item: Any, position: int) -> Steps:
        """One item, or what `on_error` puts in its place."""
        if self._fetched is not None:
            item = self._fetched.item
        try:
            yield from self._add_one(item, position)
        finally:
            fetched, self._fetched = self._fetched, None
            if fetched is not None:
                yield from self._close_source(fetched)

    def _add_one(self, item: Any, position: int) -> Steps:
        for replacements in itertools.count():
            self._entry = None
            try:
                self._entry = entry = yield from self._coerce(item)
                yield from self._write(entry)
                return
            except Exception as exc:
                note_on(exc, self._entry, position)
                if self._options.on_error is None or not self._forgivable:
                    raise
                if replacements == _MOST_REPLACEMENTS:
                    exc.add_note(f"(on_error gave {replacements} entries in a row that failed as well)")
                    raise
                item = yield from self._replacement(item if self._entry is None else self._entry, exc)
                if item is None:
                    return

    @property
    def _forgivable(self) -> bool:
        """Whether the entry can be left out: no byte of it has left, no callback failed, and somebody still listens."""
        return not self._final and (self._member is None or not self._member.left)

    def _replacement(self, entry: Any, failure: Exception) -> Generator[Any, Any, Entry | None]:
        if self._member is not None:
            self._member.discard()
            self._member = None
        assert self._options.on_error is not None
        replacement: Entry | None = yield from self._call(partial(self._options.on_error, entry, failure))
        if replacement is None:
            self.skipped.append(Skipped(entry, without_frames(failure)))
        elif not isinstance(replacement, Entry):
            raise EntryTypeError(
                f"on_error returned {described(replacement)}: return None to leave the entry out, an Entry for its "
                "place, or raise"
            ) from failure
        return replacement

    def _write(self, entry: Entry) -> Steps:
        name = self._names.resolve(entry.name)
        if name is None:
            error = DuplicateNameError(f"entry {entry.name!r}: a directory of that name is in the archive already")
            self.skipped.append(Skipped(entry, error))
            return
        source: Any = yield from self._open_or_take(entry)
        remembered: Remembered | None = None
        try:
            remembered = yield from self._look_up(entry, source)
            member = self._begin(entry, name, source, remembered.crc32 if remembered else None)
            offloads, reports, sink = self.offloads, self._options.on_progress is not None, self._sink
            while (chunk := (yield from self._pull(source)) if offloads else next(source, None)) is not None:
                for piece in member.pieces(chunk):
                    if offloads and member.effort(len(piece)) > SMALL_EFFORT:
                        yield OFFLOAD_WORK
                    member.add(piece)
                    if sink.has_chunks or self._is_late():
                        yield from self._ready()
                if reports:
                    yield from self._report(member.size)
        except (GeneratorExit, Abandoned):
            self._final = True
            yield from self._close_source(source)
            raise
        except BaseException as exc:
            yield from self._close_after(exc, source)
            yield from self._refute(remembered, exc)
            raise
        # The source is closed first: what it raises there is a failure of this entry.
        yield from self._close_source(source)
        if self.offloads and member.effort() > SMALL_EFFORT:
            yield OFFLOAD
        member.complete()
        self._member = None
        self._names.take(name)
        yield from self._remember(remembered, self._info.CRC)
        self._read += member.size
        self._entry_read = member.size
        yield from self._report(0)

    def _open_or_take(self, entry: Entry) -> Generator[Any, Any, Source]:
        fetched = self._fetched
        if fetched is None or fetched.item is not entry:
            return (yield from self._open(entry))
        try:
            source = yield from self._opened(fetched)
        except Exception:
            self._fetched = None  # closed already; whoever wants the entry again gets it opened anew
            raise
        self._fetched = None  # until now `_add` would have closed it
        return source

    def _begin(self, entry: Entry, name: str, source: Source, crc32: int | None) -> MemberWriter:
        facts = source.facts
        self._entry_size = size_to_read(entry, source.size)
        date = entry.modified or (facts.modified if facts else default_date())
        mode = entry.mode if entry.mode is not None else (facts.mode if facts else None)
        info = self._info = self._describe(name, date, mode, self.archive.compression)
        amend(info, entry)
        if info.compress_type != ZIP_STORED:
            crc32 = None  # the header needs its compressed size as well
        self._member = self.archive.begin(
            info,
            level=self._options.level if entry.level is None else entry.level,
            size=self._entry_size,
            crc32=crc32 if entry.crc32 is None else entry.crc32,
            zip64=entry.zip64,
            pinned=facts is not None,
            raw_size=entry.size if entry.is_raw and entry.compression != ZIP_STORED else None,
            password=self._options.password_of(entry),
        )
        return self._member

    def _describe(self, name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
        return describe(name, date, mode, method, timestamps=self._options.extended_timestamps)

    # What is remembered of files.

    def _look_up(self, entry: Entry, source: Source) -> Generator[Any, Any, Remembered | None]:
        """What is remembered of the entry's file; None where it would be of no use."""
        cache, facts = self._options.checksums, source.facts
        if cache is None or facts is None or facts.path is None or entry.crc32 is not None:
            return None
        if self._options.password_of(entry) is not None:
            return None  # no header of it has one
        if facts.size <= self._options.lookahead:
            return None  # its header is complete in any case
        if self.offloads:
            yield OFFLOAD
        return Remembered(cache, facts.path, facts)

    def _refute(self, remembered: Remembered | None, failure: BaseException) -> Steps:
        """Where the data was not what is remembered of the file, forget it, and raise what that means."""
        if remembered is not None and isinstance(failure, CRC32MismatchError):
            assert self._entry is not None
            if self.offloads:
                yield OFFLOAD
            raise remembered.refuted(self._entry.name) from failure

    def _remember(self, remembered: Remembered | None, crc32: int) -> Steps:
        """The file was read whole."""
        if remembered is None or remembered.crc32 == crc32:
            return
        if self.offloads:
            yield OFFLOAD
        try:
            remembered.found(crc32)
        except BaseException:
            self._final = True
            raise

    # Handing over.

    def _ready(self, *, everything: bool = False) -> Steps:
        """Hand over the chunks that are ready; or all there is, also where the consumer waits long."""
        chunks = self._sink.take(everything)
        if not chunks and self._sink.pending and self._is_late():
            chunks = self._sink.take(everything=True)
        for chunk in chunks:
            self._begun = True
            yield chunk
            self._asked = time.monotonic()

    def _is_late(self) -> bool:
        """Whether to hand over less than a chunk: the consumer waits long, or for the first bytes of a long member."""
        first = not self._begun and self._member is not None and self._member.left
        return first or time.monotonic() - self._asked >= PATIENCE

    def _is_awaited(self, size: int) -> bool:
        """Likewise, with `size` bytes of a member read and none of them written."""
        first = not self._begun and size > self._options.lookahead
        return first or time.monotonic() - self._asked >= PATIENCE

    def tell(self) -> int:
        """Where in the archive the next member will begin."""
        return self._sink.tell() if self._quick is None else self._quick.tell()

    def _count_totals(self) -> Steps:
        if self._options.on_progress is not None:
            if self.offloads:
                yield OFFLOAD
            self._members_total = len(self._entries) if isinstance(self._entries, Sequence) else None
            self._read_total = read_total(self._entries)

    def _report(self, so_far: int) -> Steps:
        """Call `on_progress`; `so_far`: bytes of a member that is not finished."""
        if self._options.on_progress is None or self._entry is None:
            return
        progress = Progress(
            entry=self._entry,
            entry_read=so_far if self._member else self._entry_read,
            entry_size=self._entry_size,
            read=self._read + so_far,
            written=self._sink.tell(),
            members=self.archive.rows.count,
            members_total=self._members_total,
            read_total=self._read_total,
        )
        try:
            yield from self._call(partial(self._options.on_progress, progress))
        except BaseException:
            self._final = True
            raise

    # What an asynchronous producer does otherwise: it yields a request, and is sent what came of it.

    offloads = False

    def _check_entries(self, entries: Iterable[Any]) -> Iterable[Any]:
        return check_entries(entries)

    def _coerce(self, item: Any) -> Generator[Any, Any, Entry]:
        return coerce(item)
        yield

    def _open(self, entry: Entry) -> Generator[Any, Any, Source]:
        return OpenSource(entry, self._sink.chunk_size)
        yield

    def _opened(self, fetched: Any) -> Generator[Any, Any, Source]:
        opened: Source = fetched.open()
        return opened
        yield

    def _pull(self, source: Any) -> Generator[Any, Any, Any]:
        """The next chunk, or None."""
        raise NotImplementedError

    def _close_source(self, source: Any) -> Steps:
        source.close()
        return
        yield

    def _close_after(self, failure: BaseException, source: Source) -> Steps:
        """Close `source` after a failure; a second one on closing is but a note on the first."""
        try:
            yield from self._close_source(source)
        except Exception as second:
            failure.add_note(f"(and closing its source raised {second!r})")

    def _call(self, callback: Callable[[], Any]) -> Generator[Any, Any, Any]:
        return callback()
        yield


def close_items(items: Iterator[Any]) -> None:
    """Close an iterator of entries, where it can be."""
    close = close_of(items)
    if close is not None:
        close()
