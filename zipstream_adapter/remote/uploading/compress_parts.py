"""Compress the members of one archive by many workers, on other machines if desired.

The result is a collection of raw entries: a layout of them is the archive, which `upload_parts` sends.
"""

from __future__ import annotations

import os
import pickle
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, overload
from zipfile import ZIP_DEFLATED, ZIP_STORED

from ..._buffers import close_items
from ..._checks import count_of, shown_half_made, typed_repr
from ..._compression.block_deflate import BLOCK
from ..._compression.crc32 import joined_crc32
from ..._compression.engines import WINDOW, Engine, check_engine
from ..._compression.methods import AUTO, UNCOMPRESSED, check_level, method_name, method_to_write
from ..._concurrency.scattered import Task, check_executor, scatter
from ..._entries.coercion import coerce
from ..._entries.entry import Entry
from ..._entries.error_notes import name_entry
from ..._entries.inspection import SourceInfo, check_entries, inspect_source
from ..._layout.rereadable import require_rereadable
from ..._layout.rereading import Piece, PinnedSource
from ..._layout.shares import raise_unpicklable
from ..._writer.promises import wrong_crc
from ...errors import EntryError, OptionError, StreamClosedError
from ..background import call_in_time
from ..object_source import FromStore
from ..stores import check_store, checked_path, import_obstore, map_errors
from .limits import limits_of
from .packs import FromPacks, Job, Made, PackTarget, PackVersion, Slice, compress_share
from .upload import refuse_http
from .upload_parts import refuse_forks

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from types import TracebackType
    from typing import Self

    from ..._compression.methods import Compression
    from ..._entries.coercion import EntryLike

_MIB = 1 << 20
_MOST_MEMBERS = 1 << 10  # of a share
_ENOUGH = 16 * _MIB  # bytes of data from which a share takes no further member
# Rounds of removing: a worker that was lost may still write.
_MAX_REMOVALS = 5
_DELETED_AT_ONCE = 1000


def compress_parts(
    entries: Iterable[EntryLike],
    executor: Executor,
    store: Any = None,
    prefix: str = "zipstream-adapter",
    *,
    compression: Compression = "deflate",
    level: int | None = None,
    engine: Engine = "zlib",
    piece_size: int = 32 * _MIB,
    max_inline: int = 4096,
    max_concurrency: int = 64,
) -> CompressedEntries:
    """Compress `entries` by workers, and return them as entries that need no more compression.

    >>> with compress_parts(walk_store(store, "logs"), executor, store) as members:  # doctest: +SKIP
    ...     upload_parts(store, "logs.zip", ZipLayout(members), executor)

    The compressed data is that of `stream_zip` with the same compression, level and engine, whatever the number of
    workers. So is the archive, except that all of its local file headers are complete; `stream_zip` gives data
    descriptors to members that are longer than its `lookahead`.

    Workers read the data and compute its CRC-32. Short members are handed over many at a time, up to 1,024, or about
    16 MiB of data. Long members to be deflated are cut into pieces, if their source is a path, an object in a store, or
    in memory. A worker gets about 100 bytes for each member, and returns about as many, and short output.

    Entries that are not to be compressed (stored, "none", deflate at level 0, raw entries, directories) are passed on
    as they are. `ZipLayout.find_checksums` has their CRC-32s found by workers.

    Memory: here, about a kilobyte for each member, and the output that is returned. A worker with a store holds
    piece_size + 16 MiB of output (48 MiB), besides what the compressor needs; up to twice as much for a longer output,
    of a member that is not cut. If a worker is killed while it writes one of those, an unfinished upload remains, which
    a lifecycle rule of the bucket removes; nothing else remains.

    Args:
        entries: as for `ZipLayout`. Their sizes may be unknown. Workers need access to the sources: files under the
            same paths, objects (`Entry.from_store`), callables that can be pickled.
        executor: a concurrent.futures.Executor: threads, processes, or one that uses other machines, such as
            `get_executor()` of a Dask client. It is not shut down. Processes must be made by spawn or forkserver.
        store: an obstore store for temporary objects, which processes must be able to pickle, with its credentials.
            Default: all output is returned, and stays in memory here.
        prefix: how the paths of temporary objects begin. A directory of a random name is made in it.
        compression: "deflate", "bzip2", "lzma" or "zstd". Entries may have others.
        level, engine: as for `stream_zip`. "auto" takes the fastest engine of each machine, so that bytes can differ.
        piece_size: bytes of data from which a member is cut, and of each piece; 1 MiB or more, rounded up to 256 KiB.
        max_inline: bytes of compressed data up to which a member is returned, and not stored.
        max_concurrency: most calls submitted to the executor at a time, queued ones included.

    Raises OptionError, ImportError at once; EntryError for an entry that is encrypted, seekable, or of
    compression "auto"; EntryTypeError for a source that can be read only once, or that cannot be pickled; the first
    error of a worker, which names its entry: SourceChangedError, SizeMismatchError, CRC32MismatchError, RemoteError of
    the store, errors of sources.
    Before it is raised, no worker runs any more (as far as the executor reports), and the temporary objects were
    removed.
    """
    work = _Work(executor, store, prefix, compression, level, engine, piece_size, max_inline, max_concurrency)
    made = CompressedEntries(store, work.directory)
    try:
        made._entries = work.run(entries)
    except BaseException as exc:
        try:
            made.close()
        except Exception as left:
            exc.add_note(f"(temporary objects may remain under {work.directory!r}: {left})")
        raise
    return made


@shown_half_made
class CompressedEntries(Sequence[Entry]):
    """The entries that `compress_parts` returns, in order. A context manager, whose end removes the temporary objects.

    Attributes:
        prefix: the path under which the temporary objects are; "" if there is no store.
    """

    def __init__(self, store: Any, prefix: str) -> None:
        self.prefix = prefix
        self._store = store
        self._entries: list[Entry] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._listed())

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._listed()[index]

    def __repr__(self) -> str:
        count = "closed" if self._is_closed else f"of {len(self._entries):,}"
        return f"<CompressedEntries, {count}>"

    def _listed(self) -> list[Entry]:
        if self._is_closed:
            raise StreamClosedError("these entries have been closed, and their data was removed")
        return self._entries

    def close(self) -> None:
        """Remove the temporary objects. Further calls have no effect.

        Raises RemoteError if that is not possible; another call tries again.
        """
        if self._is_closed:
            return
        if self._store is not None:
            _remove(self._store, self.prefix)
        self._is_closed, self._entries = True, []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception as left:
            if exc is None:
                raise
            exc.add_note(f"(temporary objects may remain under {self.prefix!r}: {left})")


def _remove(store: Any, prefix: str) -> None:
    """Remove all objects under `prefix`, those that arrive meanwhile, too."""
    obstore = import_obstore()

    async def sweep() -> int:
        paths = [meta["path"] async for metas in obstore.list(store, prefix) for meta in metas]
        for at in range(0, len(paths), _DELETED_AT_ONCE):
            await obstore.delete_async(store, paths[at : at + _DELETED_AT_ONCE])
        return len(paths)

    where = f"the temporary objects under {prefix!r} in {type(store).__name__}"
    with map_errors(where):
        for _ in range(_MAX_REMOVALS):
            if not call_in_time(sweep, where):
                return


class _Member:
    """A member that workers compress.

    Attributes:
        entry: the entry.
        found: the facts about its source.
        method: the compression method.
        pieces: the results so far, with their packs, by the index of the piece.
        count: the number of pieces.
    """

    def __init__(self, entry: Entry, found: SourceInfo, method: int, count: int) -> None:
        self.entry = entry
        self.found = found
        self.method = method
        self.pieces: dict[int, tuple[Made, PackVersion | None]] = {}
        self.count = count


Places = list[tuple[int, int]]  # (index of the member, index of its piece) of each job of a share


class _Work:
    """One call of `compress_parts`."""

    def __init__(
        self,
        executor: Executor,
        store: Any,
        prefix: str,
        compression: Compression,
        level: int | None,
        engine: Engine,
        piece_size: int,
        max_inline: int,
        max_concurrency: int,
    ) -> None:
        self._most = check_executor(executor, max_concurrency)
        refuse_forks(executor)
        self._executor = executor
        self._method = method_to_write(compression)
        if self._method in (ZIP_STORED, UNCOMPRESSED, AUTO) or (self._method == ZIP_DEFLATED and level == 0):
            raise OptionError(
                f"compression={compression!r}, level={level!r}: give 'deflate' (with a level from 1 to 9), 'bzip2', "
                "'lzma' or 'zstd'. What is stored needs no compress_parts: ZipLayout takes it"
            )
        self._level = check_level(self._method, level)
        check_engine(engine)
        self._engine = engine
        size, inline = count_of(piece_size, _MIB), count_of(max_inline)
        if size is None:
            raise OptionError(f"piece_size={piece_size!r}: give a number of bytes, 1 MiB or more")
        if inline is None:
            raise OptionError(f"max_inline={max_inline!r}: give a number of bytes, 0 or more")
        self._piece_size = -(-size // BLOCK) * BLOCK
        self._max_inline = inline
        self._store, self.directory = store, ""
        if store is not None:
            import_obstore()
            check_store(store, "put")
            refuse_http(store, f"store={store!r}")
            self.directory = f"{checked_path(prefix, repr(prefix)) or 'temporary'}/{secrets.token_hex(8)}/"
        self._packs: dict[str, FromStore] = {}
        self._members: dict[int, _Member] = {}
        self._made: list[Entry | None] = []
        self._shares = 0

    def run(self, entries: Iterable[Any]) -> list[Entry]:
        """Compress all. Returns the new entries."""
        items = iter(check_entries(entries))
        try:
            with closing(scatter(self._executor, self._tasks(items), self._most)) as results:
                for (places, jobs), future in results:
                    try:
                        made, pack = future.result()
                    except Exception as exc:
                        self._raise_unpicklable(exc, jobs)
                        raise
                    for (index, piece), each in zip(places, made, strict=True):
                        self._take(index, piece, each, pack)
        finally:
            close_items(items)
        return [entry for entry in self._made if entry is not None]

    def _raise_unpicklable(self, failure: Exception, jobs: list[Job]) -> None:
        raise_unpicklable(failure, ((job.pin.name, job.pin.source) for job in jobs))
        if isinstance(failure, pickle.PicklingError | TypeError) and self._store is not None:
            try:
                pickle.dumps(self._store)
            except Exception:
                raise OptionError(
                    f"store={typed_repr(self._store)}: it cannot be sent to another process: give one that can be "
                    "pickled, or an executor of threads"
                ) from failure

    # Shares.

    def _tasks(self, items: Iterator[Any]) -> Iterator[tuple[tuple[Places, list[Job]], Task]]:
        places: Places = []
        jobs: list[Job] = []
        size = 0
        for position, item in enumerate(items):
            entry = None
            try:
                entry = coerce(item)
                cut = self._jobs_of(position, entry)
            except Exception as exc:
                name_entry(exc, entry, position)
                raise
            if len(cut) > 1 or (cut and cut[0].pin.size < 0):
                for piece, job in enumerate(cut):
                    yield self._task([(position, piece)], [job])
            elif cut:
                places.append((position, 0))
                jobs += cut
                size += cut[0].stop
            if len(jobs) >= _MOST_MEMBERS or size >= _ENOUGH:
                yield self._task(places, jobs)
                places, jobs, size = [], [], 0
        if jobs:
            yield self._task(places, jobs)

    def _task(self, places: Places, jobs: list[Job]) -> tuple[tuple[Places, list[Job]], Task]:
        target = None
        if self._store is not None:
            part_size = min(self._piece_size + _ENOUGH, limits_of(self._store).part_size)
            target = PackTarget(self._store, f"{self.directory}{self._shares}", part_size, self._max_inline)
        self._shares += 1
        return (places, jobs), Task(compress_share, (jobs, self._engine, target))

    def _jobs_of(self, index: int, entry: Entry) -> list[Job]:
        """Return the work on an entry: none if it is passed on."""
        self._made.append(None)
        if entry.password:
            raise EntryError(f"entry {entry.name!r}: a layout cannot encrypt. Use stream_zip, or password=False")
        if entry.seekable:
            raise EntryError(
                f"entry {entry.name!r}: seekable={entry.seekable}: workers make no index of chunks. Use stream_zip, or "
                "seekable=False"
            )
        method = self._method if entry.compression is None else entry.compression
        level = self._level if entry.level is None else entry.level
        if entry.is_dir or entry.is_raw or method in (ZIP_STORED, UNCOMPRESSED):
            self._made[index] = entry
            return []
        if method == ZIP_DEFLATED and level == 0:
            self._made[index] = entry.replace(compression="deflate", level=0)
            return []
        if method == AUTO:
            raise EntryError(
                f"entry {entry.name!r}: compression={method_name(method)!r} is decided while an archive is written: "
                "give another one here"
            )
        check_level(method, level)
        found = inspect_source(entry)
        is_known = found.size is not None
        found = require_rereadable(entry, found if is_known else found._replace(size=0))
        if not is_known and type(found.source) is not bytes:
            found = found._replace(size=None)
        jobs = self._cut(entry, found, method, level)
        self._members[index] = _Member(entry, found, method, len(jobs))
        return jobs

    def _cut(self, entry: Entry, found: SourceInfo, method: int, level: int | None) -> list[Job]:
        size, source = found.size, found.source
        if size is None:
            return [Job(PinnedSource(entry.name, entry.source, -1, 0, 0), 0, 0, method, level)]
        if type(source) is str:
            source = os.path.abspath(source)
        pin = PinnedSource(entry.name, source, size, found.date, 0)
        if method != ZIP_DEFLATED or size <= self._piece_size or type(source) not in (bytes, str, FromStore):
            return [Job(pin, 0, size, method, level)]
        jobs = []
        for start in range(0, size, self._piece_size):
            stop = min(size, start + self._piece_size)
            if type(source) is bytes:
                first = max(0, start - WINDOW)
                pin = pin._replace(source=Piece(first, source[first:stop]))
            jobs.append(Job(pin, start, stop, method, level))
        return jobs

    # Results.

    def _take(self, index: int, piece: int, made: Made, pack: PackVersion | None) -> None:
        member = self._members[index]
        member.pieces[piece] = made, pack
        if len(member.pieces) == member.count:
            del self._members[index]
            self._made[index] = self._raw(member, [member.pieces[at] for at in range(member.count)])

    def _raw(self, member: _Member, pieces: list[tuple[Made, PackVersion | None]]) -> Entry:
        """Return the entry of a member that was compressed. Raises CRC32MismatchError, SizeMismatchError."""
        entry, facts, (first, _) = member.entry, member.found.facts, pieces[0]
        crc = first.crc
        for made, _ in pieces[1:]:
            crc = joined_crc32(crc, made.crc, made.size)
        if entry.crc32 not in (None, crc):
            raise wrong_crc(entry.name, crc, entry.crc32 or 0)
        date, mode = entry.modified or first.modified, first.mode if entry.mode is None else entry.mode
        if facts is not None:
            date, mode = entry.modified or facts.modified, facts.mode if entry.mode is None else entry.mode
        return Entry.raw(
            entry.name,
            self._source(pieces),
            compression=member.method,
            size=sum(made.size for made, _ in pieces),
            crc32=crc,
            compressed_size=sum(made.compressed_size for made, _ in pieces),
            modified=date,
            mode=mode,
            comment=entry.comment,
            extra=entry.extra,
            zip64=entry.zip64,
        )

    def _source(self, pieces: list[tuple[Made, PackVersion | None]]) -> bytes | FromPacks:
        parts = []
        for made, pack in pieces:
            if pack is None or made.data is not None:
                return b"".join(made.data or b"" for made, _ in pieces)
            if pack.path not in self._packs:
                self._packs[pack.path] = pack.in_store(self._store)
            parts.append(Slice(self._packs[pack.path], made.start, made.stop))
        return FromPacks(tuple(parts))
