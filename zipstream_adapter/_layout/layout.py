"""ZipLayout: an archive of known length. Any byte range of it can be made by itself."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, overload

from .._checks import shown_half_made, whole
from .._entries.crc_cache import ChecksumCache
from .._entries.entry import Entry
from .._entries.inspection import SourceInfo, counts_in_cache, inspect_source
from .._format.records import local_header
from .._writer.member_table import MemberTable, little_endian
from .._writer.options import LayoutOptions, Options, SpelledOut
from .._writer.planner import Planner, plan_all
from .._writer.sink import StreamSink
from ..errors import EntryError, OptionError
from .file import open_ranges
from .parts import Part, Parts
from .range_iterator import RangeIterator
from .ranges import RangeWriter
from .rereadable import data_tag, require_rereadable

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import Unpack

    from .._entries.coercion import EntryLike


class LayoutEntry(NamedTuple):
    """A member of a layout.

    Attributes:
        name: its name as stored in the archive.
        offset: offset of its local file header in the archive, in bytes.
        data_offset: offset of its data in the archive, in bytes.
        size: bytes of uncompressed data.
        compressed_size: bytes of data in the archive.
        crc32: CRC-32 of the uncompressed data; None while it is not known.
        compression: the `zipfile` constant of its method.
    """

    name: str
    offset: int
    data_offset: int
    size: int
    compressed_size: int
    crc32: int | None
    compression: int


@shown_half_made
class ZipLayout:
    """The archive that `stream_zip` makes of the same entries and options; its length is known before data is read.

    Creating a layout stats files, but opens, calls and reads nothing; that happens when bytes are requested. Any number
    of ranges can be read, also from several threads at a time.

    A file is identified by its size, its modification date (in nanoseconds) and its inode. If one of them differs when
    the file is opened, or after a piece was read, SourceChangedError ends the range and that piece is not returned.

    A CRC-32 that is not declared is computed by reading the data when a range needs it, and is then kept. A range needs
    a member's CRC-32 if it touches the member's data descriptor or central directory header, or its local file header
    if that contains the CRC-32 (members of up to `lookahead` bytes). A known CRC-32 is checked whenever a range reads
    all of the member's data.

    Entries without a date get the date at which the layout was made. If several processes have to agree, declare
    `modified` (or set SOURCE_DATE_EPOCH).

    Args:
        entries: as for `stream_zip`, with sources that give the same data each time: bytes-like objects (mutable ones
            are copied) and lists of them, path objects, iterables that are not iterators, and callables. For iterables
            and callables the entry must declare its `size`; each range that needs the data iterates or calls again.
            What a callable returns is moved to the needed offset with `seek` if possible, else read up to it.
        compression, level: "none" (default), "stored", or "deflate" with level=0; the same holds for each entry. (Any
            other compressed size is known only after compression.)
        chunk_size, lookahead, comment, names, duplicates, extended_timestamps: as for `stream_zip`.
        checksums: a `ChecksumCache`: a cached CRC-32 is not computed again, and a computed one is cached. As in a
            stream, a stored member from a file larger than `lookahead` gets a complete header if its CRC-32 is cached
            when the layout is made. So the bytes, and the ETag, differ from those made without the cached value.

    Attributes:
        size: bytes in the archive. Also ``len(layout)``, if below 2**63.

    Raises:
        EntryTypeError: for a source that can be read only once.
        EntryError: for an entry whose size is not known in advance. All errors that `stream_zip` raises while it is
            iterated over are raised here, when the layout is made.
    """

    size: int
    _cached_headers = True

    __signature__ = SpelledOut(LayoutOptions)

    def __init__(self, entries: Iterable[EntryLike], **options: Unpack[LayoutOptions]) -> None:
        checked = Options.given_to("ZipLayout", options, LayoutOptions)
        chunk_size = StreamSink(checked.chunk_size).chunk_size
        checksums = checked.checksums
        planner = Planner(checked, cached_headers=self._cached_headers)
        table = planner.table
        plan_all(
            planner,
            entries,
            partial(_pinned, checksums),
            lambda found: table.add_source(found.source, found.date, found.identity),
        )
        directory, end = planner.finish()
        end_at = directory + table.header_places[-1]
        self._table = table
        self._directory = directory
        self._end = end
        self._writer = RangeWriter(table, table, directory, end, end_at, checksums)
        self._chunk_size = chunk_size
        self._latest = planner.latest
        self.size = end_at + len(end)

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        members = "1 member" if len(self._table) == 1 else f"{len(self._table):,} members"
        return f"<ZipLayout of {members}, {self.size:,} bytes>"

    @cached_property
    def etag(self) -> str | None:
        """Opaque text that identifies these exact bytes, for a strong ETag (RFC 9110, 8.8.3), without its quotes.

        It is a hash of everything that determines the bytes: each member's name, date, mode, method, sizes, offset,
        comment, extra field and declared CRC-32; the archive comment; and of each source, the size and exact date of a
        file (or of an archive at a path that members are copied from), the data if it is in memory, or the path and
        ETag of an object in a store. It is the same in every process, time zone and locale. It is None if the data of a
        callable or of another iterable has no declared `crc32`, because its bytes are then unknown.
        """
        table = self._table
        for index, source in enumerate(table.sources):
            if not (source is None or type(source) in (bytes, str) or table.is_declared(index) or data_tag(source)):
                return None
        found = hashlib.blake2b(b"zipstream_adapter 1", digest_size=20)
        for part in (table.headers, table.stable_flags(), little_endian(table.dates).tobytes(), self._end):
            found.update(len(part).to_bytes(8, "little"))
            found.update(part)
        for source in table.sources:
            if type(source) is bytes:
                found.update(source)
            else:
                found.update(data_tag(source) or b"")
        return found.hexdigest()

    @property
    def last_modified(self) -> datetime | None:
        """The newest date of an entry or file, in UTC, cut to whole seconds; None without entries."""
        return None if self._latest is None else self._latest.replace(microsecond=0)

    @property
    def entries(self) -> Sequence[LayoutEntry]:
        """The members in archive order, as a sequence that makes each `LayoutEntry` on access."""
        return _Entries(self._table)

    def iter_range(self, start: int = 0, stop: int | None = None) -> Generator[bytes, None, None]:
        """Return an iterator of the archive's bytes from `start` to `stop` (default: the end), as non-empty ``bytes``.

        Closing the iterator closes the open source.

        Raises:
            OptionError: at the call, if the range is not within the archive.
            SourceChangedError, SizeMismatchError, CRC32MismatchError: while iterating. An exception of a source is
                raised as it is, with a note that names the entry.
            PoisonedError: on every call after a failure or an interrupt.
        """
        return RangeIterator(self._writer.data(*self._checked(start, stop), self._chunk_size))

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Like `iter_range`, for an event loop: files are read and CRC-32s computed on the threads that streams share.

        A cancellation waits for the running step and closes what is open; a second one abandons a step that hangs, as
        in `async_stream_zip`. Raises EventLoopError without asyncio.
        """
        from .async_ranges import offloaded  # imports asyncio, which most users do not need

        return offloaded(self._writer.chunks(*self._checked(start, stop), self._chunk_size))

    def open(self) -> io.BufferedReader:
        """Return the archive as a seekable, read-only binary file, with a position and an open source of its own.

        Reading raises the errors of `iter_range`, and PoisonedError after any of them. Raises LimitError, at the call,
        if the archive has 2**63 bytes or more.
        """
        return open_ranges(partial(self._writer.data, chunk_size=self._chunk_size), self.size)

    def parts(self, part_size: int) -> Sequence[Part]:
        """Return the archive as parts of `part_size` bytes (the last may be shorter), to be pickled and made elsewhere.

        A part that needs a CRC-32 which is neither declared nor computed yet reads all data of that member there. A
        part of the central directory does so for every member whose header it contains; calling `find_checksums` first
        avoids that. (The CRC-32 of data in memory is computed here.)
        """
        return Parts(self._writer, self.size, part_size, self._chunk_size)

    def find_checksums(self, executor: Executor | None = None, *, max_concurrency: int = 64) -> None:
        """Compute every CRC-32 that is neither declared nor known yet, by reading the data.

        Blocks; on an event loop, call it on a thread.

        Args:
            executor: a concurrent.futures.Executor whose workers read the data: threads, processes, or one that uses
                other machines, such as `get_executor()` of a Dask client. It is not shut down. Default: this thread.
                A worker reads up to 1,024 members, or about 64 MiB; a member is read by one worker. It gets some
                hundred bytes for each member, and returns four. Workers need access to the sources: files under the
                same paths, objects (`Entry.from_store`), callables that can be pickled. Data in memory stays here.
            max_concurrency: most calls submitted to the executor at a time, queued ones included.

        Raises OptionError; the first error of a worker, which names its entry: those of `iter_range`, and
        EntryTypeError for a source that cannot be pickled. Before it is raised, no worker runs any more (as far as the
        executor reports), and the CRC-32s that were found are kept.
        """
        if executor is not None:
            from .shares import find_by_workers  # imports concurrent.futures

            find_by_workers(self._writer, executor, max_concurrency)
            return
        for _ in self._writer.find_crcs(self._table.unknown()):
            pass

    def _checked(self, start: int, stop: int | None) -> tuple[int, int]:
        start, stop = _place("start", start), self.size if stop is None else _place("stop", stop)
        if not 0 <= start <= stop <= self.size:
            raise OptionError(
                f"the range from {start} to {stop} is not within the archive's {self.size} bytes, or ends before it "
                "begins"
            )
        return start, stop


def _place(what: str, value: int) -> int:
    number = whole(value)
    if number is None:
        raise OptionError(f"{what}={value!r}: give an offset in the archive, a whole number of bytes")
    return number


class SteadyLayout(ZipLayout):
    """A `ZipLayout` with the bytes that it has without `checksums`: a cached CRC-32 only saves reading.

    So layouts made for two requests have the same bytes and the same ETag, whatever was cached between them.
    """

    _cached_headers = False


def _pinned(cache: ChecksumCache | None, entry: Entry) -> SourceInfo:
    if entry.password:
        raise EntryError(
            f"entry {entry.name!r}: a layout cannot encrypt, because each range reads the data again, and a key must "
            "not be used twice for data that may differ. Use stream_zip: its `size` is known in advance, too"
        )
    found = require_rereadable(entry, inspect_source(entry))
    if cache is not None and found.facts is not None and counts_in_cache(entry, found):
        found = found._replace(crc32=cache.get(found.source, found.facts.stat))
    return found


class _Entries(Sequence[LayoutEntry]):
    def __init__(self, table: MemberTable) -> None:
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
