"""ZipLayout: an archive whose length is known before its first byte, and any part of which can be made by itself."""

from __future__ import annotations

import hashlib
import io
import sys
from array import array
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import closing
from datetime import datetime
from functools import cached_property, partial
from typing import Any, NamedTuple, overload
from zipfile import ZIP_STORED

from .checksums import ChecksumCache
from .entry import Entry
from .errors import EntryError, OptionError
from .layout_file import open_ranges
from .layout_parts import Part, Parts
from .lookahead import DEFAULT_LOOKAHEAD
from .names import DuplicatePolicy, NamePolicy
from .options import Options
from .pinned import Measured, counts_in_cache, measured, rereadable, tag_of
from .plan import Planner, plan_all
from .ranges import Maker
from .records import local_header
from .sink import DEFAULT_CHUNK_SIZE, StreamSink
from .table import Table


class LayoutEntry(NamedTuple):
    """A member of a layout.

    Attributes:
        name: as it stands in the archive.
        offset: where in the archive its local header begins; data_offset: where its data does.
        size: bytes of data; compressed_size: bytes that they take in the archive.
        crc32: of the data; None as long as it is not known.
        compression: the `zipfile` constant of its method.
    """

    name: str
    offset: int
    data_offset: int
    size: int
    compressed_size: int
    crc32: int | None
    compression: int


class ZipLayout:
    """The archive that `stream_zip` makes of the same entries and options, known by its length before anything is read.

    Files are looked at now; nothing is opened, called or read before bytes are asked for. Any number of ranges can be
    had, from several threads at a time.

    Args:
        entries: as `stream_zip` takes them. Sources have to give the same data again: bytes-like objects (those that
            could change are copied) and lists of such, path objects, iterables that are no iterators, and callables;
            of the last two the entry declares the `size`, and each range that needs the data asks for it anew. What
            a callable returns is moved on by `seek` where it can be, else read up to the place.
        compression, level: "stored", or "deflate" with level=0; of entries, too. (How small anything else gets is known
            only once that is done.)
        chunk_size, lookahead, comment, names, duplicates, extended_timestamps: as of `stream_zip`.
        checksums: a `ChecksumCache`: what it remembers need not be found, and what is found is remembered. As in the
            stream, stored members from files over the lookahead have a complete header where theirs is remembered when
            the layout is made: so other bytes, and another ETag, than where it is not.

    Attributes:
        size: bytes in the archive. Also ``len(layout)``, below 2**63.

    Raises:
        At once, as `stream_zip` does while it is iterated over; EntryTypeError for sources that can be read only once;
        EntryError where a size is not known beforehand.

    A file is pinned by its size, its date to the nanosecond and its inode: where one of them has changed when the file
    is opened, or since then when a piece has been read, SourceChangedError ends the range, and that piece does not
    leave. A CRC-32 that is not declared is found by reading where a range needs it, and remembered: a range needs that
    of a member whose header has it (up to `lookahead` bytes), or whose descriptor or row in the central directory it
    touches. One that is known is checked where all of the data passes.

    Entries without a date of their own get that of the layout's making: declare `modified` (or set SOURCE_DATE_EPOCH)
    where several processes have to agree.
    """

    size: int

    def __init__(
        self,
        entries: Iterable[Any],
        *,
        compression: int | str = ZIP_STORED,
        level: int | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        lookahead: int = DEFAULT_LOOKAHEAD,
        comment: bytes = b"",
        names: NamePolicy = "strict",
        duplicates: DuplicatePolicy = "error",
        extended_timestamps: bool = True,
        checksums: ChecksumCache | None = None,
    ) -> None:
        options = Options(
            compression=compression,
            level=level,
            chunk_size=StreamSink(chunk_size).chunk_size,
            lookahead=lookahead,
            comment=comment,
            names=names,
            duplicates=duplicates,
            extended_timestamps=extended_timestamps,
            checksums=checksums,
        ).checked()
        planner = Planner(options)
        table = planner.table
        plan_all(
            planner,
            entries,
            partial(_pinned, checksums),
            lambda found: table.add_source(found.source, found.date, found.identity),
        )
        directory, end = planner.finish()
        end_at = directory + table.row_places[-1]
        self._table = table
        self._directory = directory
        self._end = end
        self._maker = Maker(table, table, directory, end, end_at, checksums)
        self._chunk_size = chunk_size
        self._latest = planner.latest
        self.size = end_at + len(end)

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<ZipLayout of {len(self._table)} members, {self.size} bytes>"

    @cached_property
    def etag(self) -> str | None:
        """What names these very bytes: an opaque text for a strong ETag (RFC 9110, 8.8.3), without its quotes.

        Made of all that decides them: of each member its name, date, mode, method, sizes, place, comment, extra and
        declared CRC-32; of a file (and of an archive at a path that is copied from) its size and exact date; of what is
        in memory the data; of an object in a store its path and ETag; the archive's comment. The same in every process,
        time zone and locale. None where the data of a callable, or of another iterable, has no declared `crc32`:
        nothing is known then of what it will be.
        """
        table = self._table
        for index, source in enumerate(table.sources):
            if not (source is None or type(source) in (bytes, str) or table.is_declared(index) or tag_of(source)):
                return None
        found = hashlib.blake2b(b"zipstream_adapter 1", digest_size=20)
        for part in (table.rows, table.stable_flags(), _little(table.dates), self._end):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
        for source in table.sources:
            if type(source) is bytes:
                found.update(source)
            else:
                found.update(tag_of(source) or b"")
        return found.hexdigest()

    @property
    def last_modified(self) -> datetime | None:
        """The newest date of an entry or of a file, in whole seconds of UTC; None without entries."""
        return None if self._latest is None else self._latest.replace(microsecond=0)

    @property
    def entries(self) -> Sequence[LayoutEntry]:
        """The members, in their order. Each is made as it is asked for."""
        return _Entries(self._table)

    def iter_range(self, start: int = 0, stop: int | None = None) -> Generator[bytes, None, None]:
        """The archive's bytes from `start` to `stop` (default: the end), as an iterator of non-empty ``bytes``.

        Closing it closes the source that is open.

        Raises OptionError, at once, for places outside of the archive. While iterating: SourceChangedError,
        SizeMismatchError, CRC32MismatchError, or whatever a source raises, with a note naming the entry.
        """
        return self._with_data(*self._checked(start, stop))

    def _with_data(self, start: int, stop: int) -> Generator[bytes, None, None]:
        with closing(self._maker.chunks(start, stop, self._chunk_size)) as chunks:
            for chunk in chunks:
                if chunk:
                    yield chunk

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """`iter_range` for an event loop: files are read, and checksums found, on the threads that all streams share.

        A cancellation waits for the step that is under way, and closes what is open.
        """
        from .layout_aio import offloaded  # asyncio is for those who want it

        return offloaded(self._maker.chunks(*self._checked(start, stop), self._chunk_size))

    def open(self) -> io.BufferedReader:
        """The archive as a seekable, read-only binary file. Each has a place, and an open source, of its own.

        Raises, when it is read, as `iter_range` does, and PoisonedError from then on; LimitError, at once, from 2**63
        bytes on.
        """
        return open_ranges(self._with_data, self.size)

    def parts(self, part_size: int) -> Sequence[Part]:
        """The archive in parts of `part_size` bytes (the last may be shorter), which can be sent away and made there.

        A part that has to know a CRC-32 which is neither declared nor found yet reads all of that member's data, there;
        one of the central directory that of all members whose rows it has: `find_checksums` first saves that. (What is
        in memory is seen to here.)
        """
        return Parts(self._maker, self.size, part_size, self._chunk_size)

    def find_checksums(self) -> None:
        """Read, now, all data whose CRC-32 is neither declared nor found yet. On an event loop, call it on a thread."""
        for _ in self._maker.find_crcs(self._table.unknown()):
            pass

    def _checked(self, start: int, stop: int | None) -> tuple[int, int]:
        stop = self.size if stop is None else stop
        for what, place in (("start", start), ("stop", stop)):
            if not isinstance(place, int) or isinstance(place, bool):
                raise OptionError(f"{what}={place!r}: give a place in the archive, a whole number of bytes")
        if not 0 <= start <= stop <= self.size:
            raise OptionError(
                f"the range from {start} to {stop} is not within the archive's {self.size} bytes, or ends before it "
                "begins"
            )
        return start, stop


def _pinned(cache: ChecksumCache | None, entry: Entry) -> Measured:
    if entry.password:
        raise EntryError(
            f"entry {entry.name!r} is to be encrypted, which a layout cannot: each range reads the data anew, and no "
            "key may be used again for data that could be other. Use stream_zip: its `size` is known beforehand, too"
        )
    found = rereadable(entry, measured(entry))
    if cache is not None and found.facts is not None and counts_in_cache(entry, found):
        found = found._replace(crc32=cache.get(found.source, found.facts.stat))
    return found


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


class _Entries(Sequence[LayoutEntry]):
    def __init__(self, table: Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> LayoutEntry: ...

    @overload
    def __getitem__(self, index: slice) -> list[LayoutEntry]: ...

    def __getitem__(self, index: int | slice) -> LayoutEntry | list[LayoutEntry]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        table, index = self._table, range(len(self))[index]
        info, offset = table.info(index), table.offsets[index]
        return LayoutEntry(
            name=info.filename,
            offset=offset,
            data_offset=offset + len(local_header(info, zip64=table.is_zip64(index))),
            size=info.file_size,
            compressed_size=info.compress_size,
            crc32=table.crcs[index] if table.knows_crc(index) else None,
            compression=info.compress_type,
        )
