"""Open a zip archive in a store or behind a URL as a `zipfile.ZipFile` that reads byte ranges."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, cast
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from ..._checks import check_count, typed_repr
from ..._compression.methods import ZIP_ZSTANDARD
from ..._concurrency.closing import snapshot
from ..._format.end_records import LEAST_SUFFIX, SUFFIX, End, check_directory, find_end, not_an_archive
from ..._format.records import AES_METHOD, ENCRYPTED_FLAG, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG
from ...errors import (
    BadArchiveError,
    EncryptedMemberError,
    EntryError,
    EntryTypeError,
    OptionError,
    SourceChangedError,
    UnsupportedMethodError,
)
from ..http_object import http_object_of
from ..objects import Chunks, FetchedObject, ObjectVersion, RemoteObject, StoreObject, function_name
from ..stores import checked_path, is_http, object_name, quoted_url, redact_url, shared_store_of
from ..waiting import PATIENCE_S, Waiting, call_within
from .directory import ArchiveFile, parse_directory
from .member_file import MemberFile
from .parts import Windowed, range_threads
from .read_ahead import TINY_MEMBER_BYTES, Extent, Extents, ReadAhead
from .seekable_member import SeekableMember, index_range, may_seek
from .stored_member import BUFFER_SIZE, BytesFile, open_in_memory, open_stored

if TYPE_CHECKING:
    from typing import Unpack

    from typing_extensions import Buffer

    from ..store_options import StoreOptions

PART_SIZE = 1 << 23
# Exceptions of zipfile on opening a member, and the error raised instead.
_ERROR_MAP: tuple[tuple[type[Exception], type[Exception]], ...] = (
    (BadZipFile, BadArchiveError),
    (UnicodeDecodeError, BadArchiveError),
    (RuntimeError, EncryptedMemberError),
    (NotImplementedError, UnsupportedMethodError),
)
# Members kept open at a time for reads through the archive's own file: `zipfile` does not close them one by one.
_MAX_RECENT_FILES = 8
_READABLE_METHODS = {ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA, ZIP_ZSTANDARD}  # Zstandard from Python 3.14 on
_METHOD_NAMES = {1: "shrunk", 6: "imploded", 9: "Deflate64", AES_METHOD: "AES encryption", 95: "XZ", 98: "PPMd"}


def open_remote(
    url: str | Callable[[int, int], Buffer],
    *,
    window: int = 4,
    part_size: int = PART_SIZE,
    store: Any = None,
    size: int | None = None,
    suffix_size: int = SUFFIX,
    patience: float = PATIENCE_S,
    deadline: float | None = None,
    **store_options: Unpack[StoreOptions],
) -> ZipFile:
    """Open a remote zip archive for reading by byte ranges. Returns a real `zipfile.ZipFile`.

    Opening takes one request, for the last `suffix_size` bytes, and a second one only if the central directory is
    longer. Reading a member takes one request for its header and data together, or one for each `part_size` bytes.
    Members up to 1 MiB opened in archive order are read ahead from the third on: up to twice what was read so far (at
    least 256 KiB) per request. Nothing else is fetched before it is read.

    A member can be read from any place. If it is stored, that takes one request. If it is deflated, a seek of more than
    1 MiB fetches its index (SOZip; see `stream_zip`), if there is room for one behind it: one request, of 8 bytes for
    each chunk, which are held in memory. From then on, each read fetches its own chunks, at least 64 KiB. The CRC-32 is
    compared if all is read from beginning to end; of a part, only the sizes of its chunks. Without a valid index,
    everything before the place is fetched and decompressed.

    Requests that cannot be sent, or are answered by 429 or a 5xx but 501, are repeated for `patience` seconds (or as
    `store` and ``retry_config`` say), with pauses that double from 0.1 s to 15 s, of which up to half is left out at
    random. A ``Retry-After`` of an ``http(s)://`` server is obeyed; obstore does not report that of a bucket. A body
    that breaks off is resumed there: without limit as long as each try brings 1,024 bytes a second, and up to 5 times
    in a row if none does. 60 s without data count as a break. A server that refuses suffix ranges (Azure), ignores or
    misreads them takes one or two more requests to open. Ctrl-C, and `close` from another thread, end a waiting read at
    once. Closing the archive closes its open members.

    Archives with the same options share connections. After a fork, an archive behind ``http(s)://`` goes on in the
    child with connections of its own; for other stores, the child gets ForkedError if its parent has used obstore.

    Args:
        url: ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key`` (keys are literal, not percent-encoded),
            ``http(s)://host/path`` (sent as given; a query, such as a presigned URL's, is kept, and ``user:password@``
            is sent as Basic authorization), or ``file:///path``; or, with `store`, the path in it; or a function
            ``fetch(start, stop)``, which needs `size`. `fetch` returns those bytes, or a first part of them (it is
            called again for the rest), and may be called on any thread.
        window: parts of a member to fetch at a time, once 128 KiB of it have been read. 1: one request for the whole
            member. All archives of the process share the threads, which end with the last archive.
        part_size: bytes of a part, at least 65,536. Up to `window` parts are in memory for each open member, and as
            many for all small members together.
        store: an obstore store made by the caller, with its own options.
        size: bytes of the object; for `fetch` only, which is asked for up to about `part_size` bytes at a time.
        suffix_size: bytes fetched first, at least 65,633.
        patience: seconds for which a request is repeated, counted from its first failure. A server that asks to be left
            alone for longer is given up at once.
        deadline: seconds that a call may take: opening the archive, and each call that reads a member. None (the
            default) for no limit. It does not interrupt a `fetch` function.
        store_options: for a URL: options of obstore's S3Store, GCSStore, AzureStore and LocalStore, such as ``region``,
            ``endpoint``, ``access_key_id``, ``secret_access_key``, ``skip_signature`` (a public bucket),
            ``allow_http``, ``credential_provider``, ``client_options`` and ``retry_config``. Without them, S3, Google
            and Azure read their environment variables (``AWS_REGION``, ``AWS_ENDPOINT_URL`` …). ``http(s)://`` takes
            the options of a client, such as ``default_headers``.

    Raises:
        OptionError: an argument is not allowed.
        BadArchiveError: if the object is not a zip archive, or corrupt.
        RemoteError: if the object cannot be read, in particular RangesUnsupportedError if the server ignores Range,
            and RemoteTimeoutError after `deadline`.
        SourceChangedError: now or later, if the object is replaced while it is read.
        EncryptedMemberError, UnsupportedMethodError: when such a member is opened.
    """
    waiting = Waiting.checked(patience, deadline)
    archive = ArchiveOpener(url, window, part_size, store, size, suffix_size, waiting, store_options)
    try:
        with call_within(deadline):
            return _opened(archive, suffix_size)
    except BaseException:
        archive.source.release()
        raise


def _opened(archive: ArchiveOpener, suffix_size: int) -> ZipFile:
    tail = archive.source.tail(suffix_size)
    end = archive.find_end(tail)
    if end is None:
        raise not_an_archive(archive.source.read(0, min(4, archive.source.size)), archive.source.where)
    missing = archive.missing(end, tail)
    if missing is not None:
        parts: list[bytes] = []
        with closing(archive.source.chunks(*missing)) as chunks:
            for chunk in chunks:
                if not parts:
                    check_directory(chunk, archive.source.where, end)
                parts.append(chunk)
        tail = b"".join([*parts, tail])
    return archive.build(end, tail)


class ArchiveOpener:
    """The steps of opening an archive, between which the caller makes the requests."""

    def __init__(
        self,
        url: Any,
        window: int,
        part_size: int,
        store: Any,
        size: int | None,
        suffix_size: int,
        waiting: Waiting,
        options: StoreOptions,
    ) -> None:
        window = check_count("window", window, 1)
        part_size = check_count("part_size", part_size, 1 << 16)
        suffix_size = check_count("suffix_size", suffix_size, LEAST_SUFFIX)
        self.source, self._name = resolve_object(url, store, size, part_size, options, waiting)
        self._window = window
        self._part_size = part_size
        own = {"window": window, "part_size": part_size, "store": store, "size": size, "suffix_size": suffix_size}
        self._opening = Opening(
            url, {**own, "patience": waiting.patience, "deadline": waiting.deadline, **cast("Any", options)}
        )

    def find_end(self, tail: bytes) -> End | None:
        """Return the contents of the end records; None if `tail` has no end record."""
        return find_end(tail, self.source.size, self.source.where)

    def missing(self, end: End, tail: bytes) -> tuple[int, int] | None:
        """Return the range of the central directory that is not in `tail`; None if all of it is.

        Raises BadArchiveError if the central directory is in `tail` and invalid.
        """
        first = self.source.size - len(tail)
        if end.start >= first:
            check_directory(tail[end.start - first :], self.source.where, end)
            return None
        return end.start, first

    def build(self, end: End, tail: bytes) -> RemoteZipFile:
        """Return the archive. `tail` is the end of the object, with the whole central directory."""
        where = self.source.where
        start = self.source.size - len(tail)
        file = ArchiveFile(start, tail, self._name)
        archive = parse_directory(RemoteZipFile, file, end, where)
        assert isinstance(archive, RemoteZipFile)
        archive.remote = remote = RemoteMembers(self.source, archive.filelist, end.start, self._window, self._part_size)
        file.switch_to(remote.read_at, remote.close)
        archive._opening = self._opening
        vars(archive)["_filePassed"] = 0  # the archive closes the file
        return archive


def resolve_object(
    url: Any, store: Any, size: int | None, part_size: int, options: StoreOptions, waiting: Waiting
) -> tuple[RemoteObject, str]:
    """Return the object for the arguments of `open_remote`, and the name for its ZipFile."""
    if callable(url):
        if store is not None or options:
            raise OptionError("a fetch function does not take store= or store options: leave them out")
        return FetchedObject(url, size, part_size, waiting), function_name(url)
    if size is not None:
        raise OptionError(f"size={typed_repr(size)}: only a fetch function needs size=: leave it out")
    if store is None:
        waiting = waiting.with_retries(options.get("retry_config"))
        if is_http(url):
            return http_object_of(url, options, waiting), redact_url(url)
        store, path = shared_store_of(url, **options)
        return StoreObject(store, path, quoted_url(url), waiting=waiting, is_patient=True), redact_url(url)
    if options:
        raise OptionError(f"{next(iter(options))}=: the store= has its own options: give this one there")
    where = object_name(store, url)
    return StoreObject(store, checked_path(url, where), where, waiting=waiting), url


class RemoteMembers:
    """Opens and reads the members of a RemoteZipFile."""

    def __init__(self, source: RemoteObject, infos: list[ZipInfo], directory: int, window: int, part_size: int) -> None:
        self.source = source
        self.window = window
        self.part_size = part_size
        self.threads = range_threads()
        self._infos = infos
        self._directory = directory
        self._files: weakref.WeakSet[MemberFile | BytesFile] = weakref.WeakSet()
        self._recent: dict[int, MemberFile] = {}  # `read_at`: open members by offset, the latest last
        self._lock = threading.Lock()
        # A program may drop the archive and still read a member, which needs the threads.
        weakref.finalize(self, self.threads.close).atexit = False

    @cached_property
    def extents(self) -> Extents:
        """The extents of the members; computed on first use."""
        return Extents(self._infos, self._directory, self.source.where)

    @cached_property
    def ahead(self) -> ReadAhead:
        """The read-ahead of small members; made on first use."""
        return ReadAhead(self.source, self.extents, self.window, self.part_size, self.threads)

    def open_member(self, info: ZipInfo) -> MemberFile | BytesFile:
        """Return the bytes of `info`'s member as a file, from the local file header on.

        Returns a BytesFile with the member's data instead if the member is stored, not encrypted, up to
        `TINY_MEMBER_BYTES` long, and complete.
        """
        with self._lock:
            extent, ahead = self.extents.of(info), self.ahead
        with call_within(self.source.waiting.deadline):
            data = ahead.member(extent)
        tiny = extent.limit - extent.start <= TINY_MEMBER_BYTES  # they count as read when they are opened
        file: MemberFile | BytesFile | None = None
        if tiny and data and info.compress_type == ZIP_STORED and not info.flag_bits & ENCRYPTED_FLAG:
            file = open_in_memory(data, info, f"{self.source.where}: member {info.filename!r}")
        if file is None:
            file = MemberFile(extent, partial(_chunks, self), data, None if tiny else ahead.note_read)
            file.deadline = self.source.waiting.deadline
        with self._lock:
            self._files.add(file)
        return file

    def open_range(self, start: int, stop: int) -> MemberFile:
        """Return the bytes of a range, such as that of an index, as a file that stands at `start`."""
        file = MemberFile(Extent(start, stop, stop), partial(_chunks, self), None, None)
        file.deadline = self.source.waiting.deadline
        with self._lock:
            self._files.add(file)
        return file

    def read_at(self, at: int, size: int) -> bytes:
        """Return up to `size` bytes from offset `at` on. Not thread-safe: zipfile holds its lock meanwhile."""
        extent = self.extents.around(at)
        if at >= self._directory:
            return self.source.read(at, min(at + size, self.source.size))
        if extent is None:
            return self.source.read(at, min(at + size, self.extents.after(at)))
        file = self._recent.pop(extent.start, None)
        if file is None:
            file = MemberFile(extent, partial(_chunks, self), self.ahead.member(extent), None)
        self._recent[extent.start] = file  # moves it to the end
        while len(self._recent) > _MAX_RECENT_FILES:
            self._recent.pop(next(iter(self._recent))).close()
        file.seek(at)
        return file.read(size)

    def close(self) -> None:
        """End all running requests, on all threads, and close all open members."""
        self.source.stop()
        with self._lock:
            files = [*snapshot(self._files), *snapshot(self._recent.values())]
        for file in files:
            file.close()
        if "ahead" in vars(self):
            self.ahead.close()
        self.threads.close()
        self.source.stop()  # requests that began meanwhile
        self.source.release()


def _chunks(remote: RemoteMembers, start: int, stop: int) -> Chunks:
    if remote.window < 2 or stop - start <= remote.part_size:
        return remote.source.chunks(start, stop)
    return Windowed(remote.source, start, stop, remote.window, remote.part_size, remote.threads)


class RemoteZipFile(ZipFile):
    """The ZipFile that `open_remote` returns. It differs from `zipfile.ZipFile` in how it reads members.

    It can be pickled if its arguments can. Unpickling opens the archive again, which must not have changed. The pickle
    contains the credentials that were given to `open_remote`, and the password.

    Attributes:
        remote: reads the members; None once the archive is closed.
    """

    remote: RemoteMembers | None = None
    _opening: Opening | None = None

    def __reduce__(self) -> Any:
        if self.remote is None or self._opening is None:
            raise ValueError(f"{self.filename} has been closed, and cannot be pickled")
        return _reopened, (self._opening, self.remote.source.version, self.pwd)

    def open(  # type: ignore[override]
        self, name: str | ZipInfo, mode: Literal["r"] = "r", pwd: bytes | None = None, *, force_zip64: bool = False
    ) -> IO[bytes]:
        """Like `zipfile.ZipFile.open`, for reading only. Threads can read different members at the same time."""
        where = self.filename or "this archive"
        if mode != "r" or force_zip64:
            raise OptionError(
                f"{where} is open for reading only: mode={mode!r}, force_zip64={force_zip64!r}. Use mode='r'"
            )
        if self.fp is None or self.remote is None:
            raise ValueError(f"{where} has been closed")
        info = name if isinstance(name, ZipInfo) else self.getinfo(name)
        where = self.remote.source.where
        check_readable(info, where, has_password=bool(pwd or self.pwd))
        # zipfile reads members through the archive's file, whose one position and lock they would share: each would
        # wait for the requests of the others. So each member gets a view of the archive with a file of its own.
        file = self.remote.open_member(info)
        if isinstance(file, BytesFile):
            return io.BufferedReader(file)
        view = ZipFile.__new__(ZipFile)
        vars(view).update(
            {key: value for key, value in vars(self).items() if key != "remote"},
            fp=None, _lock=threading.RLock(), _fileRefCnt=0, _filePassed=0,
        )  # fmt: skip
        try:
            label = f"{where}: member {info.filename!r}"
            if info.compress_type == ZIP_STORED and not info.flag_bits & ENCRYPTED_FLAG:
                return open_stored(file, info, label)
            if not may_seek(info, file):
                return _open_as_zipfile(view, file, info, pwd, label)
            vars(view)["_filePassed"] = 1  # the SeekableMember closes the file
            plain = partial(_open_as_zipfile, view, file, info, pwd, label)
            tail = partial(self.remote.open_range, *(index_range(info, file.limit) or (0, 0)))
            return io.BufferedReader(SeekableMember(file, info, plain, tail, label), BUFFER_SIZE)
        except Exception:
            file.close()
            raise

    def read(self, name: str | ZipInfo, pwd: bytes | None = None) -> bytes:
        """Like `zipfile.ZipFile.read`: one call, to which ``deadline=`` applies as a whole."""
        with call_within(None if self.remote is None else self.remote.source.waiting.deadline):
            return super().read(name, pwd)

    def close(self) -> None:
        """Close the archive and its open members."""
        self.remote = None
        super().close()  # closes the ArchiveFile, which closes the members

    def __del__(self) -> None:
        # Open members stay usable, like those of a ZipFile.
        if isinstance(self.fp, ArchiveFile):
            self.fp.detach()
        self.fp = None


def _open_as_zipfile(view: ZipFile, file: MemberFile, info: ZipInfo, pwd: bytes | None, label: str) -> IO[bytes]:
    view.fp = cast("Any", file)
    try:
        return ZipFile.open(view, info, pwd=pwd)
    except Exception as exc:
        kind = next((ours for theirs, ours in _ERROR_MAP if type(exc) is theirs), None)
        if kind is None:
            raise
        raise kind(f"{label} cannot be read: {exc}") from exc
    finally:
        view.fp = None  # the returned member closes the file; the view must not


class Opening(NamedTuple):
    """The arguments with which an archive was opened."""

    url: Any
    options: dict[str, Any]


def _reopened(opening: Opening, version: ObjectVersion | None, password: bytes | None) -> RemoteZipFile:
    """Open a pickled archive again. Raises SourceChangedError if it has another version now."""
    archive = open_remote(opening.url, **opening.options)
    assert isinstance(archive, RemoteZipFile)
    assert archive.remote is not None
    if version is not None and archive.remote.source.version != version:
        where = archive.remote.source.where
        archive.close()
        raise SourceChangedError(f"{where} has changed since it was pickled: the object was replaced. Open it again")
    archive.pwd = password
    return archive


def members_of(archive: Any) -> RemoteMembers:
    """Return what reads the members of `archive`.

    Raises EntryTypeError if it is not a remote archive, ValueError if it is closed.
    """
    if not isinstance(archive, RemoteZipFile):
        raise EntryTypeError(
            f"archive={typed_repr(archive)}: give the return value of open_remote or open_remote_async"
        )
    if archive.remote is None:
        raise ValueError(f"{archive.filename} has been closed: open it again")
    return archive.remote


def readable_member(archive: ZipFile, member: Any, where: str) -> ZipInfo:
    """Return the ZipInfo of a member, given by its name or ZipInfo.

    Raises EntryTypeError for anything else, EntryError if it does not exist, and the errors of `check_readable`.
    """
    if not isinstance(member, str | ZipInfo):
        raise EntryTypeError(f"member={typed_repr(member)}: give the name of a member, or its ZipInfo")
    try:
        info = archive.getinfo(member) if isinstance(member, str) else member
    except KeyError:
        raise EntryError(f"no member {member!r} in {where}") from None
    check_readable(info, where, has_password=False)
    return info


def check_readable(info: ZipInfo, where: str, *, has_password: bool) -> None:
    """Raise an error before anything is fetched if the member cannot be read."""
    if info.flag_bits & (PATCHED_FLAG | STRONGLY_ENCRYPTED_FLAG) or info.compress_type == AES_METHOD:
        kind = "is a patch" if info.flag_bits & PATCHED_FLAG else "uses AES or strong encryption"
        raise UnsupportedMethodError(f"{where}: member {info.filename!r} {kind}, which is not supported")
    if info.flag_bits & ENCRYPTED_FLAG and not has_password:
        raise EncryptedMemberError(f"{where}: member {info.filename!r} is encrypted: give its password (pwd=)")
    if info.compress_type not in _READABLE_METHODS:
        name = _METHOD_NAMES.get(info.compress_type, "unknown")
        raise UnsupportedMethodError(
            f"{where}: member {info.filename!r} is compressed by method {info.compress_type} ({name}), which zipfile "
            "cannot decompress; Entry.copy can copy it as it is"
        )
