"""Upload an archive to an object store while it is made: one whole object, or no object (extra ``s3``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..._checks import check_names, count_of
from ..._compression.secret import hide_in
from ..._entries.inspection import read_total
from ..._entries.one_pass import refuse_begun
from ..._layout.layout import ZipLayout
from ..._stream.base import StreamBase
from ..._stream.sync import ZipStream
from ..._writer.options import StreamOptions
from ...errors import EntryTypeError, LimitError, OptionError
from ..store_options import StoreOptions
from ..stores import check_store, checked_path, import_obstore, map_error, object_name
from ..waiting import Waiting, call_within
from .destination import find_destination, split_options
from .limits import MIN_PART_SIZE, S3_LIMITS, UploadLimits, limits_of
from .part_upload import PartUpload

if TYPE_CHECKING:
    from typing import Unpack

    from ..._entries.coercion import EntryLike

_MIB = 1 << 20
_DEFAULT_PART_SIZE, _DEFAULT_PART_SIZE_UNKNOWN = 8 * _MIB, 16 * _MIB
_CONTENT_TYPE = {"Content-Type": "application/zip"}


class UploadOptions(StreamOptions, StoreOptions, total=False):
    """Options of `upload_zip` for a URL: those of the archive, and those of the store."""


class Uploaded(NamedTuple):
    """An uploaded archive.

    Attributes:
        path: the object's path in the store.
        size: bytes.
        etag, version: as reported by the store; None if it has none.
    """

    path: str
    size: int
    etag: str | None
    version: str | None


def upload_zip(
    store: Any,
    path: str | Iterable[EntryLike] | ZipStream | ZipLayout,
    entries: Iterable[EntryLike] | ZipStream | ZipLayout | None = None,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    patience: float | None = None,
    deadline: float | None = None,
    **options: Unpack[UploadOptions],
) -> Uploaded:
    """Upload the archive of `entries` to one object of a store while it is made: all of it, or nothing.

    ``upload_zip("s3://bucket/key", entries)``, or ``upload_zip(store, "key", entries)`` with an obstore store. An
    archive that fits into one part takes one request. The sources are read in the calling thread.

    Args:
        store: an obstore S3Store, GCSStore, AzureStore, LocalStore or MemoryStore. Its client allows 30 s to send a
            part, unless set otherwise; for slow connections use ``client_options={"timeout": "10min"}``. Or a URL,
            followed by the entries: ``s3://bucket/key``, ``gs://``, ``az://`` or ``file://``. A server over plain HTTP
            needs ``endpoint="http://…", allow_http=True``.
        path: the object's path in the store. An existing object is replaced once the archive is complete.
        entries: as for `stream_zip`; or a `ZipStream` from which nothing has been read; or a `ZipLayout`.
        part_size: bytes of a part, 5 MiB to 5 GiB (Azure: 4,000 MiB); an upload has at most 10,000 parts (Azure:
            50,000). Default, if the size of the archive is known, or the size of its data (a list of entries with
            declared sizes): 8 MiB, or as many more as that number of parts needs. Default otherwise: 16 MiB, enough for
            156 GiB (Azure: 781 GiB).
        max_concurrency: parts to send at a time, while as many are gathered. Memory: up to
            2 * part_size * max_concurrency, besides what the stream takes.
        attributes: attributes of the object, as for obstore. Default: Content-Type application/zip, if the store
            supports attributes.
        patience: seconds for which obstore repeats a request; default 180. For a URL only: a store has its own
            ``retry_config``.
        deadline: seconds that the whole call may take, checked where it waits for the store; None (the default) for no
            limit. Giving up the upload may take longer.
        options: those of `stream_zip`, if `entries` are entries; for a URL also those of the store, as for
            `open_remote`.

    Raises OptionError, EntryTypeError, ImportError at once; LimitError if the most parts are not enough; errors
    of `stream_zip` during iteration; RemoteError of the store. On any exception, KeyboardInterrupt included, the upload
    has been aborted before it is raised, and an existing object is unchanged. Only an interrupt while the last part is
    sent and the object is assembled comes too late: it is raised afterwards, and the archive is complete. (If the
    process is killed, parts remain: use a lifecycle rule of the bucket. Azure removes them after a week.)
    """
    hide_in(options)
    names = StreamOptions.__optional_keys__ | (StoreOptions.__optional_keys__ if isinstance(store, str) else set())
    check_names("upload_zip", options, names)
    given_path, given = path_and_entries(store, path, entries)
    stream_options, store_options = split_options(options)
    store, place = find_destination(store, given_path, patience, store_options)
    settings = UploadSettings(store, place, part_size, max_concurrency, attributes, deadline)
    source = _source_of(given, cast("StreamOptions", stream_options))
    with closing(source.chunks):
        settings.set_size(source.known, source.bound)
        parts = _PartStream(source.chunks, settings)
        with closing(PartUpload(settings)) as upload, call_within(settings.deadline):
            try:
                done = _sent(upload, parts)
            except BaseException as exc:
                left = upload.abort()
                is_left = left is not None and parts.failure is not None
                raise settings.error_to_raise(left if is_left and left else exc, parts.failure) from None
        return settings.result(done, parts.size)


def _sent(upload: PartUpload, parts: _PartStream) -> Any:
    """Send all parts, and return obstore's result."""
    if not parts.gather_first():
        return upload.put_whole(parts.first)
    while batch := next(parts, memoryview(b"")):
        upload.send(batch)
    return upload.finish()


def path_and_entries(store: Any, path: Any, entries: Any) -> tuple[str | None, Any]:
    """Return the path, None for a URL, and the entries, from the arguments of an upload."""
    if isinstance(store, str) and entries is None:
        path, entries = None, path
    if entries is None:
        raise TypeError("give a store, a path and entries; or a URL and entries")
    return path, entries


class UploadSettings:
    """Checked settings of one upload, and obstore's options for it."""

    def __init__(
        self,
        store: Any,
        path: str,
        part_size: int | None,
        max_concurrency: int,
        attributes: Mapping[str, str] | None,
        deadline: float | None = None,
    ) -> None:
        self.deadline = Waiting.checked(0, deadline).deadline
        self.obstore = import_obstore()
        self.store = store
        self.path = checked_path(path, repr(path))
        self.where = object_name(store, path)
        if not path:
            raise OptionError(f"{self.where}: an object needs a path: give one")
        check_store(store, "put")
        refuse_http(store, self.where)
        self.limits = limits_of(store)
        self._given = checked_part_size(part_size, self.limits)
        concurrency = count_of(max_concurrency, 1)
        if concurrency is None:
            raise OptionError(f"max_concurrency={max_concurrency!r}: give a whole number, 1 or more")
        self._concurrency = concurrency
        if attributes is None and type(store).__name__ != "LocalStore":
            attributes = _CONTENT_TYPE
        self._common: dict[str, Any] = {"attributes": dict(attributes)} if attributes else {}
        self.part_size = 0

    def set_size(self, known: int | None, bound: int | None) -> None:
        """Choose the part size for an archive of `known` bytes, or at most `bound` bytes, or unknown size."""
        self.part_size = part_size_for(self._given, known, bound, self.where, self.limits)

    @property
    def single_put_options(self) -> dict[str, Any]:
        """obstore's options for an upload in one request."""
        return {**self._common, "use_multipart": False}

    @property
    def multipart_options(self) -> dict[str, Any]:
        """obstore's options for a multipart upload.

        max_concurrency=0 makes obstore finish all parts before it pulls the next batch, so no part can arrive after an
        abort. Concurrency comes from several parts per batch.
        """
        return {**self._common, "use_multipart": True, "chunk_size": self.part_size, "max_concurrency": 0}

    def new_buffer(self) -> PartBuffer:
        """Return a buffer for the parts that are sent at a time."""
        return PartBuffer(self.part_size * self._concurrency)

    def check_size(self, size: int) -> None:
        if size > self.part_size * self.limits.parts:
            raise _too_large(self.where, self.part_size, self.limits)

    def error_to_raise(self, exc: BaseException, of_source: BaseException | None) -> BaseException:
        """Return the error to raise for `exc`: `of_source`, the failure of the source, if there is one.

        Adds a note to it if obstore could not abort the upload.
        """
        if of_source is None:
            return map_error(exc, self.where) if isinstance(exc, Exception) else exc
        if exc is not of_source and type(exc).__module__.startswith("obstore"):
            abort_error = map_error(exc, self.where) if isinstance(exc, Exception) else exc
            of_source.add_note(f"(the unfinished upload could not be aborted and remains in the store: {abort_error})")
        return of_source

    def result(self, put_result: Any, size: int) -> Uploaded:
        return Uploaded(self.path, size, put_result.get("e_tag"), put_result.get("version"))


def refuse_http(store: Any, where: str) -> None:
    """Raise OptionError for an HTTPStore."""
    if type(store).__name__ == "HTTPStore":
        raise OptionError(f"{where}: HTTP has no multipart uploads: give the store of a bucket")


def checked_part_size(part_size: int | None, limits: UploadLimits) -> int | None:
    """Return `part_size` as an int. Raises OptionError if the store does not accept it."""
    number = count_of(part_size, MIN_PART_SIZE)
    if part_size is not None and (number is None or number > limits.part_size):
        most = "5 GiB" if limits.part_size == 5 << 30 else f"{limits.part_size // _MIB} MiB"
        raise OptionError(f"part_size={part_size!r}: give bytes from 5 MiB to {most}, or None")
    return number


def part_size_for(
    given: int | None, known: int | None, bound: int | None, where: str, limits: UploadLimits = S3_LIMITS
) -> int:
    """Return the part size in bytes: `given`, or one for which the most parts suffice (10,000; Azure: 50,000).

    The archive has `known` bytes, or at most `bound` bytes. Raises LimitError if `known` bytes do not fit.
    """
    most = bound if known is None else known
    if given is None:
        needed = -(-(most or 0) // limits.parts)
        given = max(_DEFAULT_PART_SIZE if most is not None else _DEFAULT_PART_SIZE_UNKNOWN, -(-needed // _MIB) * _MIB)
    if known is not None and known > given * limits.parts:
        raise _too_large(where, given, limits, f"it has {known} bytes")
    return given


def _too_large(where: str, part_size: int, limits: UploadLimits, fact: str = "it has more bytes") -> LimitError:
    return LimitError(
        f"{where}: the archive does not fit {limits.parts} parts of {part_size} bytes, {limits.parts * part_size} in "
        f"all: {fact}. Give a larger part_size"
    )


def size_bound(entries: Any) -> int | None:
    """Return `bound_of` the entries; None unless they are a sequence and all declare their sizes."""
    total = read_total(entries) if isinstance(entries, Sequence) else None
    return None if total is None else bound_of(total, len(entries))


def bound_of(total: int, members: int) -> int:
    """Return a bound, rarely exceeded, of the size of an archive of `members` members with `total` bytes of data."""
    # No method expands incompressible data by more than a fiftieth. The rest is for headers, central directory headers
    # and names.
    return total + total // 50 + 2048 * members + _MIB


class _Source(NamedTuple):
    chunks: Any
    known: int | None
    bound: int | None


def _source_of(entries: Any, options: StreamOptions) -> _Source:
    """Return the chunks of the archive, and its size or a bound of it."""
    if isinstance(entries, ZipLayout):
        refuse_options(entries, options)
        return _Source(entries.iter_range(), entries.size, None)
    if isinstance(entries, StreamBase) and not isinstance(entries, ZipStream):
        raise EntryTypeError("an AsyncZipStream is read on its event loop: use upload_zip_async(…)")
    if isinstance(entries, ZipStream):
        refuse_options(entries, options)
        refuse_begun(entries)
        return _Source(entries, entries.size, None)
    stream = ZipStream(entries, **options)
    known = stream.size
    return _Source(stream, known, size_bound(entries) if known is None else None)


def refuse_options(made: Any, options: Mapping[str, object]) -> None:
    """Raise OptionError if there are options for a stream or layout that has its own."""
    if options:
        raise OptionError(
            f"{next(iter(options))}=…: the {type(made).__name__} already has its options: give this one there"
        )


class PartBuffer:
    """Buffer for the parts that are sent together."""

    def __init__(self, size: int) -> None:
        self._data = bytearray(size)
        self._at = 0

    @property
    def is_full(self) -> bool:
        return self._at == len(self._data)

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return len(self._data) - self._at

    @property
    def data(self) -> memoryview:
        return memoryview(self._data)[: self._at]

    def take(self, chunk: memoryview) -> memoryview:
        """Copy as much of `chunk` as fits; return the rest."""
        count = min(len(chunk), len(self._data) - self._at)
        self._data[self._at : self._at + count] = chunk[:count]
        self._at += count
        return chunk[count:]


class _PartStream:
    """Iterator over the archive for obstore, one batch of parts at a time.

    An empty batch comes last; obstore waits for all parts there. Keeps the failure of the source: obstore may fail
    to abort after that failure, and raise its own error instead.
    """

    def __init__(self, chunks: Iterable[bytes], settings: UploadSettings) -> None:
        self.size = 0
        self.failure: BaseException | None = None
        self.first = memoryview(b"")
        self._chunks = iter(chunks)
        self._settings = settings
        self._unsent = memoryview(b"")
        self._source_ended = self._finished = False

    def gather_first(self) -> bool:
        """Gather the first batch. Returns whether the archive has more than one part."""
        self.first = self._gather()
        return not self._source_ended or len(self.first) > self._settings.part_size

    def __iter__(self) -> Iterator[memoryview]:
        return self

    def __next__(self) -> memoryview:
        if self._finished:
            raise StopIteration
        buffer, self.first = self.first or self._gather(), memoryview(b"")
        self._finished = not buffer
        return buffer

    def _gather(self) -> memoryview:
        buffer = self._settings.new_buffer()
        try:
            while not buffer.is_full:
                if not self._unsent:
                    chunk = next(self._chunks, b"")
                    if not chunk:
                        self._source_ended = True
                        break
                    self.size += len(chunk)
                    self._settings.check_size(self.size)
                    self._unsent = memoryview(chunk)
                self._unsent = buffer.take(self._unsent)
        except BaseException as exc:
            self.failure = exc
            raise
        return buffer.data
