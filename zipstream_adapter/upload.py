"""An archive written into an object store while it is made: one object, or none (extra ``s3``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from .counts import is_count
from .errors import EntryTypeError, LimitError, OptionError
from .facade import Facade, refuse_begun
from .layout import ZipLayout
from .options import read_total
from .remote_store import check_store, checked_path, import_obstore, shown_in, translated
from .stream import ZipStream

# What S3 takes, and Google's buckets, too (Amazon S3 User Guide, "Amazon S3 multipart upload limits"); all but the last
# are of one size, as Cloudflare R2 wants them.
LEAST_PART, MOST_PART, MOST_PARTS = 5 << 20, 5 << 30, 10_000
_MIB = 1 << 20
_PART, _PART_OF_UNKNOWN = 8 * _MIB, 16 * _MIB
_CONTENT_TYPE = {"Content-Type": "application/zip"}


class Uploaded(NamedTuple):
    """An archive that is in a store.

    Attributes:
        path: the object's, in the store.
        size: bytes.
        etag, version: as the store gives them; None where it has none.
    """

    path: str
    size: int
    etag: str | None
    version: str | None


def upload_zip(
    store: Any,
    path: str,
    entries: Any,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    **options: Any,
) -> Uploaded:
    """Write the archive of `entries` into one object of an obstore store, while it is made: all of it, or nothing.

    Args:
        store: an obstore S3Store, GCSStore, AzureStore, LocalStore or MemoryStore. Its client gives a part 30 s to be
            sent, unless it was told otherwise: ``client_options={"timeout": "10min"}``, for slow lines.
        path: the object's path in it. One that is there already is replaced when the archive is whole.
        entries: as `stream_zip` takes them; or a `ZipStream` that nothing has been taken of; or a `ZipLayout`.
        part_size: bytes of a part, 5 MiB to 5 GiB; 10,000 parts are the most. Default: 8 MiB, or as many more as an
            archive needs whose size is known, or whose data's is (a list of entries that state it); else 16 MiB, which
            is enough for 156 GiB.
        max_concurrency: parts on their way at a time, while as many are gathered. In memory are up to
            2 * part_size * max_concurrency, and what the stream itself takes.
        attributes: the object's, as obstore takes them. Default: its Content-Type, application/zip, where the store
            keeps such.
        options: those of `stream_zip`, for entries.

    An archive that fits one part is one request. The sources are read in the calling thread.

    Raises OptionError, EntryTypeError, ImportError at once; LimitError where 10,000 parts are not enough; what
    `stream_zip` raises while it is iterated over; RemoteError of the store. Whatever is raised, KeyboardInterrupt
    included: the upload has been aborted when it gets here, and what stood under that name still does. Only an
    interrupt that comes while the last part is sent and the object is made of all of them comes too late: it is raised
    when that is done, and the whole archive is there. (For a process that is killed, a bucket has its lifecycle rules;
    Azure drops by itself, after a week, the parts of what was not finished.)
    """
    job = Job(store, path, part_size, max_concurrency, attributes)
    source = _source_of(entries, options)
    with closing(source.chunks):
        job.begin(source.known, source.bound)
        feed = _Feed(source.chunks, job)
        try:
            if feed.begin():
                done = job.obstore.put(job.store, job.path, feed, **job.multipart)
            else:
                done = job.obstore.put(job.store, job.path, feed.first, **job.simple)
        except BaseException as exc:
            raise job.failed(exc, feed.failure) from None
        return job.done(done, feed.size)


class Job:
    """One upload: what it was told, and what obstore is told for it."""

    def __init__(
        self, store: Any, path: str, part_size: int | None, max_concurrency: int, attributes: Mapping[str, str] | None
    ) -> None:
        self.obstore = import_obstore()
        self.store = store
        self.path = checked_path(path, repr(path))
        self.where = shown_in(store, path)
        if not path:
            raise OptionError(f"{self.where}: an object needs a path of its own")
        check_store(store, "put")
        if type(store).__name__ == "HTTPStore":
            raise OptionError(f"{self.where}: plain HTTP has no uploads in parts: give a bucket's store")
        check_part_size(part_size)
        if not is_count(max_concurrency, 1):
            raise OptionError(f"max_concurrency={max_concurrency!r}: give a number of parts, 1 or more")
        self._given, self._concurrency = part_size, max_concurrency
        if attributes is None and type(store).__name__ != "LocalStore":
            attributes = _CONTENT_TYPE
        self._common: dict[str, Any] = {"attributes": dict(attributes)} if attributes else {}
        self.part_size = 0

    def begin(self, known: int | None, bound: int | None) -> None:
        """The archive's size is `known`, or at most `bound`; or nothing is known of it."""
        self.part_size = part_size_for(self._given, known, bound, self.where)

    @property
    def simple(self) -> dict[str, Any]:
        """What obstore is told of an upload that is one request."""
        return {**self._common, "use_multipart": False}

    @property
    def multipart(self) -> dict[str, Any]:
        """What obstore is told of an upload in parts.

        With no part on its way when it takes more of its source, and so several parts at a time: whatever ends the
        source finds all that was sent before at its end, and not on its way past the abort.
        """
        return {**self._common, "use_multipart": True, "chunk_size": self.part_size, "max_concurrency": 0}

    def batch(self) -> Batch:
        """Room for as many parts as are on their way at a time."""
        return Batch(self.part_size * self._concurrency)

    def check_size(self, size: int) -> None:
        if size > self.part_size * MOST_PARTS:
            raise _too_large(self.where, self.part_size)

    def failed(self, exc: BaseException, of_source: BaseException | None) -> BaseException:
        """What to raise: what the source has raised, where it was that."""
        if of_source is None:
            return translated(exc, self.where) if isinstance(exc, Exception) else exc
        if exc is not of_source and type(exc).__module__.startswith("obstore"):
            said = translated(exc, self.where) if isinstance(exc, Exception) else exc
            of_source.add_note(f"(and the unfinished upload could not be aborted, so it is left: {said})")
        return of_source

    def done(self, result: Any, size: int) -> Uploaded:
        return Uploaded(self.path, size, result.get("e_tag"), result.get("version"))


def check_part_size(part_size: int | None) -> None:
    """Refuse a `part_size` that no store takes."""
    if part_size is not None and not (is_count(part_size, LEAST_PART) and part_size <= MOST_PART):
        raise OptionError(f"part_size={part_size!r}: give a number of bytes from 5 MiB to 5 GiB, or None")


def part_size_for(given: int | None, known: int | None, bound: int | None, where: str) -> int:
    """Bytes of a part, so that 10,000 are enough for an archive of the size `known`, or of at most `bound` bytes."""
    most = bound if known is None else known
    if given is None:
        needed = -(-(most or 0) // MOST_PARTS)
        given = max(_PART if most is not None else _PART_OF_UNKNOWN, -(-needed // _MIB) * _MIB)
    if known is not None and known > given * MOST_PARTS:
        raise _too_large(where, given, f"it has {known} bytes")
    return given


def _too_large(where: str, part_size: int, what: str = "it has more") -> LimitError:
    return LimitError(
        f"{where}: the archive does not fit {MOST_PARTS} parts of {part_size} bytes, {MOST_PARTS * part_size} in all: "
        f"{what}. Give a larger part_size"
    )


def size_bound(entries: Any) -> int | None:
    """Bytes that no archive of these entries has more of, where they are a sequence and state their sizes."""
    total = read_total(entries) if isinstance(entries, Sequence) else None
    return None if total is None else bound_of(total, len(entries))


def bound_of(total: int, members: int) -> int:
    """Bytes that an archive of so many members, with `total` bytes of data, hardly has more of."""
    # No method makes what does not compress larger by a fiftieth; headers, rows and names besides.
    return total + total // 50 + 2048 * members + _MIB


class _Source(NamedTuple):
    chunks: Any
    known: int | None
    bound: int | None


def _source_of(entries: Any, options: dict[str, Any]) -> _Source:
    """The chunks of the archive, and what is known of its size."""
    if isinstance(entries, ZipLayout):
        refuse_options(entries, options)
        return _Source(entries.iter_range(), entries.size, None)
    if isinstance(entries, Facade) and not isinstance(entries, ZipStream):
        raise EntryTypeError("an AsyncZipStream belongs to its event loop: await upload_zip_async(…)")
    if isinstance(entries, ZipStream):
        refuse_options(entries, options)
        refuse_begun(entries)
        return _Source(entries, entries.size, None)
    stream = ZipStream(entries, **options)
    known = stream.size
    return _Source(stream, known, size_bound(entries) if known is None else None)


def refuse_options(made: Any, options: dict[str, Any]) -> None:
    """Refuse options for what has its own already."""
    if options:
        raise OptionError(f"{next(iter(options))}=…: the {type(made).__name__} has its options already: give it there")


class Batch:
    """Parts that go on their way together, gathered chunk by chunk."""

    def __init__(self, size: int) -> None:
        self._room = bytearray(size)
        self._at = 0

    @property
    def is_full(self) -> bool:
        return self._at == len(self._room)

    @property
    def data(self) -> memoryview:
        return memoryview(self._room)[: self._at]

    def take(self, chunk: memoryview) -> memoryview:
        """Take of `chunk` what there is room for; returns the rest."""
        count = min(len(chunk), len(self._room) - self._at)
        self._room[self._at : self._at + count] = chunk[:count]
        self._at += count
        return chunk[count:]


class _Feed:
    """The archive, as obstore takes it: parts by the batch, and nothing as the last one, at which all are waited for.

    Its failure is kept, as obstore may fail to abort after it, and say that instead.
    """

    def __init__(self, chunks: Iterable[bytes], job: Job) -> None:
        self.size = 0
        self.failure: BaseException | None = None
        self.first = memoryview(b"")
        self._chunks = iter(chunks)
        self._job = job
        self._left = memoryview(b"")
        self._ended = self._over = False

    def begin(self) -> bool:
        """Gather the first batch; returns whether that is not all, or more than one part."""
        self.first = self._gathered()
        return not self._ended or len(self.first) > self._job.part_size

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        if self._over:
            raise StopIteration
        batch, self.first = self.first or self._gathered(), memoryview(b"")
        self._over = not batch
        return batch

    def _gathered(self) -> memoryview:
        batch = self._job.batch()
        try:
            while not batch.is_full:
                if not self._left:
                    chunk = next(self._chunks, b"")
                    if not chunk:
                        self._ended = True
                        break
                    self.size += len(chunk)
                    self._job.check_size(self.size)
                    self._left = memoryview(chunk)
                self._left = batch.take(self._left)
        except BaseException as exc:
            self.failure = exc
            raise
        return batch.data
