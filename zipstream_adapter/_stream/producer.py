"""Producer: the steps that turn entries into chunks: item -> Entry -> open source -> member -> sink -> chunks.

It yields chunks, and a request for each call that may wait: for the entries, a source, a callback, a file system.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .._checks import typed_repr
from .._concurrency.patience import NOTHING_YET, PATIENCE
from .._entries.coercion import coerce
from .._entries.crc_cache import Remembered
from .._entries.entry import Entry, FileEntry, is_plain, path_of
from .._entries.error_notes import name_entry, note_closing, without_frames
from .._entries.files.growing import Cut
from .._entries.files.own_output import Outgoing, identity_of
from .._entries.inspection import size_to_read
from .._entries.peek import PeekedSource
from .._entries.source import FileFacts, close_all, read_whole
from .._format.timestamps import date_of
from .._writer.archive_writer import ArchiveWriter
from .._writer.member import MemberWriter
from .._writer.options import Options
from .._writer.progress import Grown, Skipped
from .._writer.stream_archive import StreamArchive
from ..errors import EntryError, EntryTypeError, ZipStreamError
from .about_files import AboutFiles
from .held import Held
from .reporting import Reporting
from .requests import (
    CLOSE_ITEMS,
    ITEMS,
    LET_GO,
    PAUSE,
    SMALL_EFFORT,
    WORK,
    Call,
    Check,
    Close,
    ConsumerGone,
    Open,
    PeekAtOnce,
    PeekOn,
    Read,
    Steps,
    Take,
)

if TYPE_CHECKING:
    from datetime import datetime

# Replacements from on_error that may fail in a row before the last error is raised.
_MOST_REPLACEMENTS = 8
_ENTRIES = "the entries"
_PATHS = (str, os.PathLike)
_PATH = type(Path())
_NO_PATHS = frozenset({tuple, Entry, dict})


class Source(Protocol):
    """The open source of an entry."""

    size: int | None
    facts: FileFacts | None
    cut: Cut | None


class Producer(AboutFiles, Reporting):
    """The steps of one archive. A driver runs them, see `requests.py`.

    It holds no reference to the stream that runs it, so that a dropped stream is collected, and closed, at once.

    Attributes:
        entries: the entries, as they were given.
        options: the options of the stream.
        archive: the archive.
        cuts: whether growth of files is detected.
        held: the resources to close, even after an interrupt.
        skipped: the entries left out so far.
        grown: the entries so far whose file grew while it was read.
        is_whole: whether all of the archive was handed over.
        reads_until: time (`time.monotonic`) until which the steps may read files themselves, as they run on a thread
            that may wait; without an end, also other sources. A request would take longer than reading little data.
    """

    def __init__(self, entries: Any, options: Options) -> None:
        self.skipped: list[Skipped] = []
        self.grown: list[Grown] = []
        self.entries = entries
        self.options = options
        # With `on_error`, growth is detected too: the callback decides.
        self.cuts = options.grown == "cut" or options.on_error is not None
        self.archive = options.archive(StreamArchive)
        self._sink = self.archive.sink
        self._writer = ArchiveWriter(self.archive, options)
        self._takes_plain = options.on_progress is None  # a Progress has an Entry
        self._member: MemberWriter | None = None
        self._outgoing = Outgoing()
        self._final = False  # whether a failure now ends the stream
        self._begun = False  # whether a chunk was handed over
        self._asked = 0.0  # time at which the consumer asked for the next chunk
        self._entry: Entry | None = None
        self._entry_at: int | None = None  # archive offset at which the entry's member begins, if it is streamed
        self._fetched: Any = None  # the entry's source, if it was peeked or fetched in advance
        self.held = Held(self.archive, self._writer)
        self.is_whole = False
        self.reads_until = 0.0
        self._is_dropped = False  # whether the steps are ended without their driver, so that they cannot yield requests

    @property
    def entry_name(self) -> str | None:
        """Name of the current entry."""
        return None if self._entry is None else self._entry.name

    def steps(self) -> Steps:
        """The steps of the archive: they yield its chunks, and requests."""
        self._asked = time.monotonic()
        self._outgoing = Outgoing()
        try:
            yield from self._count_totals()
            yield from self._add_all()
            yield WORK
            for _ in self.archive.finish():
                yield from self._ready()
            yield from self._report(0)
            yield from self._ready(everything=True)
            self.is_whole = True
        except GeneratorExit:
            self._is_dropped = True
            raise
        except BaseException as exc:
            if self._fetched is not None:
                yield from self._close_after(exc, Close(self._fetched))
            yield from self._close_after(exc, LET_GO, _ENTRIES)
            raise

    def _add_all(self) -> Steps:
        sink, goes_on, position = self._sink, True, 0
        try:
            while goes_on:
                items, goes_on = yield ITEMS
                for item in items:
                    if not self._add_plain(item):
                        if item is PAUSE or item is NOTHING_YET:
                            yield from self._pause(gives_empty=item is PAUSE)
                            continue
                        self._fetched = item if hasattr(item, "in_memory") else None
                        yield from self._add(item, position)
                    if sink.ready or time.monotonic() - self._asked >= PATIENCE:
                        yield from self._settle_if_late()
                    position += 1
        except GeneratorExit:
            self._is_dropped = True
            raise
        except BaseException as exc:
            yield from self._close_after(exc, CLOSE_ITEMS, _ENTRIES)
            raise
        yield CLOSE_ITEMS
        yield from self._settle()
        yield from self._ready()

    def _add_plain(self, item: Any) -> bool:
        """Add the item if it is a name and bytes or a path, and maybe a date and a mode: the most common forms."""
        if not self._takes_plain:
            return False
        kind, date, mode = type(item), None, None
        name: str
        source: Any
        if kind is tuple and len(item) == 2:
            name, source = item
            is_path = type(source) is _PATH
        elif kind is FileEntry:
            name, source, is_path = item.name, item.place, True
        elif kind is Entry and is_plain(item):
            name, source, date, mode = item.name, item.source, item.modified, item.mode
            is_path = type(source) is _PATH
        elif kind is _PATH or kind is str:
            source = path_of(item)
            name, is_path = source.name, source.name not in ("", "..")
        else:
            return False
        try:
            if is_path:
                return self._add_file(name, source, date, mode)
            return type(source) is bytes and self._writer.add_plain(name, source, date, mode)
        except ZipStreamError:
            return False  # `_add` raises it again, and handles it

    def _add_file(self, name: str, path: Any, date: datetime | None, mode: int | None) -> bool:
        """Add the file at `path` if it is small and may be read now."""
        if self.reads_until < math.inf and time.monotonic() >= self.reads_until:
            return False
        held = self.held.file
        try:
            found = read_whole(held, path, self._writer.plain_room())
        except (OSError, ValueError) as exc:
            if getattr(exc, "errno", 0) is None:
                raise  # a signal handler raised it
            close_all(held)
            return False  # `_add` raises it again, and handles it
        if found is None:
            return False  # `_add` reads it, from the descriptor in `held`
        data, info = found
        if self._outgoing.may_be(info) or (self._own and identity_of(info) in self._own):
            return False
        return self._writer.add_plain(name, data, date or date_of(info), info.st_mode if mode is None else mode)

    def _settle(self) -> Steps:
        """Write the members that wait to be compressed."""
        if not self._writer.is_settled:
            yield WORK
        self._writer.settle()

    def _hand_over_pending(self, *, chunks: bool = True) -> Steps:
        """Write pending members, and hand over the `chunks`. A failure here is not one of the current entry."""
        self._final = True
        yield from self._settle()
        if chunks:
            yield from self._ready()
        self._final = False

    def _pause(self, *, gives_empty: bool) -> Steps:
        """Hand over all bytes so far; if there are none, an empty chunk if `gives_empty`."""
        yield from self._settle()
        if self._sink.pending:
            yield from self._ready(everything=True)
        elif gives_empty:
            yield b""
            self._asked = time.monotonic()

    def _settle_if_late(self) -> Steps:
        """Hand over the chunks that are ready; if the consumer waits long, also pending members."""
        if time.monotonic() - self._asked >= PATIENCE:
            yield from self._settle()
        yield from self._ready()

    def _add(self, item: Any, position: int) -> Steps:
        """Add one item, or its replacement from `on_error`."""
        if self._fetched is not None:
            item = self._fetched.item
        self._entry_at, names, reports = None, self._writer.names, not self._takes_plain
        try:
            for replacements in itertools.count():
                self._entry = None
                try:
                    if type(item) in _NO_PATHS or not isinstance(item, _PATHS):
                        self._entry = entry = coerce(item)
                    else:  # a path: whether it is a directory must be asked
                        self._entry = entry = yield Check(coerce, (item,))
                    name = names.resolve(entry.name, is_link=entry.is_link)
                    if name is None:
                        return  # a directory that is already in the archive
                    limit = self._writer.limit(entry) if self._fetched is None else 0
                    if limit:
                        source = PeekedSource(entry, limit, self._sink.chunk_size, self.cuts, self.held.file)
                        self._fetched = peeked = source
                        data: Any
                        if source.is_at_once and not self._writer.is_settled:
                            peeked, data = yield PeekAtOnce(source)
                        elif source.is_at_hand or self.reads_until == math.inf:
                            self.held.source = source
                            data = source.peek(limit, self.is_awaited)
                        else:
                            peeked, data = yield source
                        if data is NOTHING_YET:
                            self._fetched = peeked
                            yield from self._hand_over_pending()  # they do not wait for this source
                            peeked, data = yield PeekOn(peeked, limit)
                        if data is not None:
                            self._fetched = None
                            facts = peeked.facts
                            may_be_own = facts is not None and self._may_be_own(entry, facts)
                            if may_be_own and (yield from self._is_own(entry, facts)):
                                self._skip_own(entry)
                                return
                            begun = self._writer.tell() if reports else 0
                            added = self._put_whole(entry, name, peeked, data, SMALL_EFFORT)
                            if added is None:
                                yield WORK
                                added = self._put_whole(entry, name, peeked, data, None)
                            if added:
                                if reports:
                                    yield self._report_of_whole(entry, peeked, len(data), begun)
                                    self._final = False
                                return
                        self._fetched = peeked
                    yield from self._write(entry, name)
                    return
                except Exception as exc:
                    name_entry(exc, self._entry, position)
                    if self.options.on_error is None or not self._forgivable:
                        raise
                    if replacements == _MOST_REPLACEMENTS:
                        exc.add_note(f"(on_error gave {replacements} entries in a row that failed as well)")
                        raise
                    item = yield from self._replacement(item if self._entry is None else self._entry, exc)
                    if item is None:
                        return
        except GeneratorExit:
            self._is_dropped = True
            raise
        except BaseException as exc:
            # Taken at once: if the steps are dropped while it is closed, `finally` must not yield.
            fetched, self._fetched = self._fetched, None
            if fetched is not None:
                yield from self._close_after(exc, Close(fetched))
            raise
        finally:
            if self.held.file:
                close_all(self.held.file)
            if self._fetched is not None and not self._is_dropped:
                yield Close(self._fetched)
                self._fetched = None

    @property
    def _forgivable(self) -> bool:
        """Whether the entry can be left out: no byte of it is written, no callback failed, and a consumer exists."""
        member = self.archive.member  # not self._member: an interrupt may have come before that was set
        has_left = self._entry_at not in (None, self._sink.tell()) or (member is not None and member.left)
        return not (self._final or has_left or self.held.is_forked)

    def _replacement(self, entry: Any, failure: Exception) -> Generator[Any, Any, Entry | None]:
        fetched, self._fetched = self._fetched, None
        if fetched is not None:
            yield from self._close_after(failure, Close(fetched))
        self.held.close_source()  # an interrupt by an Exception may have left it open
        member, self._member = self.archive.member, None
        if member is not None:
            member.discard()
        assert self.options.on_error is not None
        replacement: Entry | None = yield Call(partial(self.options.on_error, entry, failure))
        if replacement is None:
            self.skipped.append(Skipped(entry, without_frames(failure)))
        elif not isinstance(replacement, Entry):
            raise EntryTypeError(
                f"on_error returned {typed_repr(replacement)}: return None to leave the entry out, an Entry to replace "
                "it, or raise"
            ) from failure
        return replacement

    def _write(self, entry: Entry, name: str) -> Steps:
        """Stream the member of `entry`."""
        writer = self._writer
        # The part of the source that was read is handed over together with the chunks.
        yield from self._hand_over_pending(chunks=self._fetched is None or not self._fetched.has_data)
        self._entry_at = self._sink.tell()
        source: Any = yield from self._open_or_take(entry)
        if (yield from self._is_own(entry, source.facts)):
            yield Close(source)
            self._skip_own(entry)
            return
        remembered: Remembered | None = None
        try:
            remembered = yield from self._look_up(entry, source.facts)
            self._entry_size = size_to_read(entry, source.size)
            crc32 = remembered.crc32 if remembered else None
            info, self._member = writer.begin(entry, name, source.size, source.facts, crc32)
            member = self._member
            yield from self._write_data(source, member)
            has_grown = source.cut is not None and source.cut.has_grown
            if has_grown and "cut" not in (entry.grown, self.options.grown):
                yield from self._ask_about_growth(entry, member)
        except GeneratorExit:
            raise  # without its driver, which closes the source
        except ConsumerGone:
            self._final = True
            yield Close(source)
            raise
        except BaseException as exc:
            yield from self._close_after(exc, Close(source))
            yield from self._refute(remembered, exc)
            raise
        # The source is closed before the member is completed: an exception on closing is a failure of this entry.
        yield Close(source)
        if member.effort() > SMALL_EFFORT:
            yield WORK
        member.finish()
        self._member = None
        writer.names.take(name, is_link=entry.is_link)
        if has_grown:
            self.grown.append(Grown(entry, member.size))
        yield from self._remember(remembered, info.CRC)
        self._read += member.size
        self._entry_read = member.size
        yield from self._report(0)

    def _write_data(self, source: Source, member: MemberWriter) -> Steps:
        """Write all data of `source` to `member`."""
        reports, sink, effort = self.options.on_progress is not None, self._sink, member.effort
        goes_on = True
        while goes_on:
            chunks, goes_on = yield Read(source)
            for chunk in chunks:
                if chunk is NOTHING_YET:
                    yield from self._hand_over(member, pushes=False)
                    continue
                if type(chunk) is bytes and not chunk:
                    if time.monotonic() - self._asked >= PATIENCE:
                        yield from self._hand_over(member, pushes=True)
                    continue
                for piece in member.pieces(chunk):
                    if effort(len(piece)) > SMALL_EFFORT:
                        yield WORK
                    member.add(piece)
                    if sink.ready or self._is_late():
                        yield from self._ready()
                if reports:
                    yield from self._report(member.size)

    def _put_whole(self, entry: Entry, name: str, peeked: Any, data: bytes, most: int | None) -> bool | None:
        """Write the member of `entry`, whose data is all there, see `ArchiveWriter.add`."""
        at_once = peeked.is_at_once or not self._takes_plain
        self._final = True  # an interrupt may come when the member is added
        try:
            added = self._writer.add(
                entry, name, data, peeked.facts, is_size_known=peeked.is_size_known, at_once=at_once, most=most
            )
        except ZipStreamError:
            self._final = False
            raise
        self._final = False
        return added

    def _skip_own(self, entry: Entry) -> None:
        error = EntryError(f"entry {entry.name!r}: {entry.source!r} is the archive that is being made")
        self.skipped.append(Skipped(entry, error))

    def _hand_over(self, member: MemberWriter, *, pushes: bool) -> Steps:
        """Hand over the bytes written so far while the source of `member` has no data yet.

        pushes: whether the source reported that itself (b""), so that all data it gave so far is written. If not, data
            that waits for more stays pending: the bytes must not depend on the speed of a source.
        """
        if member.effort() > SMALL_EFFORT:
            yield WORK
        member.hurry(pushes=pushes)
        yield from self._ready(everything=True)

    def _open_or_take(self, entry: Entry) -> Generator[Any, Any, Source]:
        if self._fetched is None or self._fetched.item is not entry:
            opened = yield Open(entry)
            if not hasattr(opened, "item"):
                source: Source = opened
                return source
            if self._fetched is not None:
                yield Close(self._fetched)
            self._fetched = opened
        try:
            while (source := (yield Take(self._fetched))) is NOTHING_YET:
                yield from self._ready(everything=True)
        except Exception:
            self._fetched = None  # already closed; a retry of the entry opens it again
            raise
        self._fetched = None  # only now: `_add` closes it if opening is interrupted
        return source

    def _close_after(self, failure: BaseException, request: Any, what: str = "its source") -> Steps:
        """Run the closing `request` after `failure`, to which an exception of it is added as a note.

        A consumer that has gone is no failure: it gets the exception.
        """
        try:
            yield request
        except Exception as second:
            if isinstance(failure, ConsumerGone):
                raise
            note_closing(failure, second, what)

    # Handing over.

    def _ready(self, *, everything: bool = False) -> Steps:
        """Hand over the chunks that are ready; with `everything`, or if the consumer waits long, all bytes."""
        chunks = self._sink.take(everything)
        if not chunks and self._sink.pending and self._is_late():
            chunks = self._sink.take(everything=True)
        chunks.reverse()
        while chunks:
            self._begun = True
            self._outgoing.add(chunks[-1])
            yield chunks.pop()  # not held here: it may be long until the next one is asked for
            self._asked = time.monotonic()

    def _is_late(self) -> bool:
        """Whether to hand over less than a chunk: the consumer waits long, or for the first bytes of a long member."""
        first = not self._begun and self._member is not None and self._member.left
        return first or time.monotonic() - self._asked >= PATIENCE

    def is_awaited(self, size: int) -> bool:
        """Like `_is_late`, if `size` bytes of a member were read and none of them written."""
        first = not self._begun and size > self.options.lookahead
        return first or time.monotonic() - self._asked >= PATIENCE

    def tell(self) -> int:
        """Return the archive offset of the next member."""
        return self._writer.tell()

    def hand_over_meanwhile(self) -> list[bytes]:
        """Return the chunks that can be handed over while a step waits for a source or for the entries."""
        self._writer.settle()
        if self._member is not None:
            self._member.hurry(pushes=False)
        chunks = self._sink.take(everything=True)
        for chunk in chunks:
            self._begun = True
            self._outgoing.add(chunk)
        if chunks:
            self._asked = time.monotonic()
        return chunks
