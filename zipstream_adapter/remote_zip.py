"""open_remote: an archive in a store, or behind a URL, as a `zipfile.ZipFile` that reads by ranges."""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from functools import cached_property, partial
from typing import IO, Any, Literal
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from .compress import ZIP_ZSTANDARD
from .counts import is_count
from .errors import BadArchiveError, EncryptedMemberError, OptionError, UnsupportedMethodError
from .fields import described
from .records import AES_METHOD, ENCRYPTED_FLAG, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG
from .remote_ahead import TINY, Extents, ReadAhead
from .remote_directory import (
    LEAST_SUFFIX,
    SUFFIX,
    ArchiveFile,
    End,
    check_directory,
    find_end,
    not_an_archive,
    parsed,
)
from .remote_member import MemberFile
from .remote_object import FetchedObject, RemoteObject, StoreObject, name_of
from .remote_parts import range_threads, windowed
from .remote_store import checked_path, plain, shown, shown_in, store_of
from .remote_stored import BytesFile, in_memory, open_stored

PART_SIZE = 1 << 23
# What zipfile raises where it opens a member, and what it is here.
_TRANSLATED: tuple[tuple[type[Exception], type[Exception]], ...] = (
    (BadZipFile, BadArchiveError),
    (UnicodeDecodeError, BadArchiveError),
    (RuntimeError, EncryptedMemberError),
    (NotImplementedError, UnsupportedMethodError),
)
_KEPT = 8  # members that are read by the archive's own file, of which nobody says when they have been
_KNOWN = {ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA, ZIP_ZSTANDARD}  # the last one from Python 3.14 on
_NAMES = {1: "shrunk", 6: "imploded", 9: "Deflate64", AES_METHOD: "AES encryption", 95: "XZ", 98: "PPMd"}


def open_remote(
    url: str | Callable[[int, int], Any],
    *,
    window: int = 4,
    part_size: int = PART_SIZE,
    store: Any = None,
    size: int | None = None,
    suffix_size: int = SUFFIX,
    **store_options: Any,
) -> ZipFile:
    """A zip archive that lies elsewhere, read by ranges: a real `zipfile.ZipFile`, to read.

    Opening it takes one request, of the last `suffix_size` bytes; a second one only where the directory is longer.
    A member that is read takes one, of its header and data together, or one for each `part_size`. Small ones (up to
    1 MiB) that are opened one after another, in the order in which they lie, come several to a request: from the third
    on, and twice as many bytes ahead as have been read so (at least 256 KiB). Nothing else is fetched that is not read.

    Args:
        url: as of `store_of`: ``s3://bucket/key``, ``gs://``, ``az://``, ``http(s)://``, ``file://``. Or, with `store`,
            the path in it. Or a function ``fetch(start, stop)`` that returns those bytes (or some first ones of them;
            then it is called again), from any thread; needs `size`.
        window: parts of a member that are fetched at a time, from 128 KiB into it. 1: one request for all of it. The
            threads are shared by all archives of the process, and end with the last of them.
        part_size: bytes of a part. Of each open member, and of the small ones together, up to `window` parts are held.
        store: an obstore store of the caller's, with its own options.
        size: bytes of the object, for `fetch`, which is asked for up to `part_size` at a time.
        suffix_size: bytes, at least 65,633.
        store_options: as obstore takes them; see `store_of`.

    A request that fails to be sent, or is answered by a 5xx or 429, is sent again, 6 times within a minute (or as
    `store` and ``retry_config`` say). A body that breaks off is resumed there, as often as each time brings a byte, and
    5 times in a row where it brings none; nothing for 60 s is a break. A store without suffix ranges (Azure's) takes a
    request more to open. What closes the archive closes the members that are open. Not to be used across a fork.

    Raises: OptionError; BadArchiveError for what is no zip archive, or a broken one; RemoteError, and of those
        RangesUnsupportedError where a server ignores Range; SourceChangedError, here or later, where the object is
        replaced while it is read; EncryptedMemberError and UnsupportedMethodError when such a member is opened.
    """
    archive = Opening(url, window, part_size, store, size, suffix_size, store_options)
    tail = archive.source.tail(suffix_size)
    end = archive.find_end(tail)
    if end is None:
        raise not_an_archive(archive.source.read(0, min(4, archive.source.size)), tail, archive.source.where)
    missing = archive.missing(end, tail)
    if missing is not None:
        parts: list[bytes] = []
        with closing(archive.source.chunks(*missing)) as chunks:
            for chunk in chunks:
                if not parts:
                    check_directory(chunk, archive.source.where, end)
                parts.append(chunk)
        tail = b"".join([*parts, tail])
    return archive.opened(end, tail)


class Opening:
    """The steps of opening between the requests."""

    def __init__(
        self,
        url: Any,
        window: int,
        part_size: int,
        store: Any,
        size: int | None,
        suffix_size: int,
        options: dict[str, Any],
    ) -> None:
        for name, value, least in (
            ("window", window, 1),
            ("part_size", part_size, 1 << 16),
            ("suffix_size", suffix_size, LEAST_SUFFIX),
        ):
            if not is_count(value, least):
                raise OptionError(f"{name}={value!r}: give a whole number, {least:,} or more")
        self.source, self._name = object_of(url, store, size, part_size, options)
        self._window = window
        self._part_size = part_size

    def find_end(self, tail: bytes) -> End | None:
        """What the end records say."""
        return find_end(tail, self.source.size, self.source.where)

    def missing(self, end: End, tail: bytes) -> tuple[int, int] | None:
        """The bytes of the directory that are not in `tail`."""
        first = self.source.size - len(tail)
        if end.start >= first:
            check_directory(tail[end.start - first :], self.source.where, end)
            return None
        return end.start, first

    def opened(self, end: End, tail: bytes) -> RemoteZipFile:
        """The archive. tail: its last bytes, with the directory."""
        where = self.source.where
        start = self.source.size - len(tail)
        file = ArchiveFile(start, tail, self._name)
        archive = parsed(RemoteZipFile, file, end, where)
        assert isinstance(archive, RemoteZipFile)
        archive.remote = remote = Remote(self.source, archive.filelist, end.start, self._window, self._part_size)
        file.become(remote.read_at, remote.close)
        vars(archive)["_filePassed"] = 0  # it is the archive's to close
        return archive


def object_of(
    url: Any, store: Any, size: int | None, part_size: int, options: dict[str, Any]
) -> tuple[RemoteObject, str]:
    """The object that `open_remote` was given, and the name that its ZipFile has."""
    if callable(url):
        if store is not None or options:
            raise OptionError("a fetch function takes neither store= nor options of one")
        return FetchedObject(url, size, part_size), name_of(url)
    if size is not None:
        raise OptionError(f"size={described(size)}: a store tells the size: it is for a fetch function")
    if store is None:
        store, path = store_of(url, **options)
        return StoreObject(store, path, shown(url)), plain(url)
    if options:
        raise OptionError(f"{next(iter(options))}=: the store= that was given has its own options")
    where = shown_in(store, url)
    return StoreObject(store, checked_path(url, where), where), url


class Remote:
    """What a RemoteZipFile reads its members by."""

    def __init__(self, source: RemoteObject, infos: list[ZipInfo], directory: int, window: int, part_size: int) -> None:
        self.source = source
        self.window = window
        self.part_size = part_size
        self.threads = range_threads()
        self._infos = infos
        self._directory = directory
        self._files: weakref.WeakSet[MemberFile | BytesFile] = weakref.WeakSet()
        self._last: dict[int, MemberFile] = {}  # of `read_at`: where their members begin, the latest at the end
        self._lock = threading.Lock()
        # A program may drop the archive and go on with a member: the threads are for both.
        weakref.finalize(self, self.threads.close).atexit = False

    @cached_property
    def extents(self) -> Extents:
        """Where the members lie."""
        return Extents(self._infos, self._directory, self.source.where)

    @cached_property
    def ahead(self) -> ReadAhead:
        """What has been fetched of the members to come."""
        return ReadAhead(self.source, self.extents, self.window, self.part_size, self.threads)

    def open_member(self, info: ZipInfo) -> MemberFile | BytesFile:
        """The bytes of `info`'s member, from its local header on; or all its data, where that is stored, and there."""
        with self._lock:
            extent, ahead = self.extents.of(info), self.ahead
        data = ahead.member(extent)
        tiny = extent.limit - extent.start <= TINY  # those count as read when they are opened
        file: MemberFile | BytesFile | None = None
        if tiny and data and info.compress_type == ZIP_STORED and not info.flag_bits & ENCRYPTED_FLAG:
            file = in_memory(data, info, f"{self.source.where}: member {info.filename!r}")
        if file is None:
            file = MemberFile(extent, partial(_chunks, self), data, None if tiny else ahead.note_read)
        with self._lock:
            self._files.add(file)
        return file

    def read_at(self, at: int, size: int) -> bytes:
        """Up to `size` bytes from byte `at` on. By one thread at a time: zipfile has a lock of its own for that."""
        extent = self.extents.around(at)
        if extent is None:
            end = self._directory if at < self._directory else self.source.size
            return self.source.read(at, min(at + size, self.extents.after(at), end))
        file = self._last.pop(extent.start, None)
        if file is None:
            file = MemberFile(extent, partial(_chunks, self), self.ahead.member(extent), None)
        self._last[extent.start] = file  # as the latest
        while len(self._last) > _KEPT:
            self._last.pop(next(iter(self._last))).close()
        file.seek(at)
        return file.read(size)

    def close(self) -> None:
        """End all that is under way."""
        with self._lock:
            files = [*self._files, *self._last.values()]
        for file in files:
            file.close()
        if "ahead" in vars(self):
            self.ahead.close()
        self.threads.close()


def _chunks(remote: Remote, start: int, stop: int) -> Any:
    if remote.window < 2 or stop - start <= remote.part_size:
        return remote.source.chunks(start, stop)
    return windowed(remote.source, start, stop, remote.window, remote.part_size, remote.threads)


class RemoteZipFile(ZipFile):
    """What `open_remote` returns. It differs from `zipfile.ZipFile` in where the bytes of a member come from.

    Attributes:
        remote: that.
    """

    remote: Remote | None = None

    def open(  # type: ignore[override]
        self, name: str | ZipInfo, mode: Literal["r"] = "r", pwd: bytes | None = None, *, force_zip64: bool = False
    ) -> IO[bytes]:
        """As of `zipfile.ZipFile`, for reading. What is opened can be read beside others, by another thread, too."""
        where = self.filename or "this archive"
        if mode != "r" or force_zip64:
            raise OptionError(f"{where} is open for reading only: mode={mode!r}")
        if self.fp is None or self.remote is None:
            raise ValueError(f"{where} has been closed")
        info = name if isinstance(name, ZipInfo) else self.getinfo(name)
        where = self.remote.source.where
        check_readable(info, where, has_password=bool(pwd or self.pwd))
        # zipfile reads what its archive's file has at the member's place. Of that file all members share one position
        # and one lock, and so would wait for one another's requests: each gets a view of the archive with its own.
        file = self.remote.open_member(info)
        if isinstance(file, BytesFile):
            return io.BufferedReader(file)
        view = ZipFile.__new__(ZipFile)
        vars(view).update(
            {key: value for key, value in vars(self).items() if key != "remote"},
            fp=file, _lock=threading.RLock(), _fileRefCnt=0, _filePassed=0,
        )  # fmt: skip
        try:
            if info.compress_type == ZIP_STORED and not info.flag_bits & ENCRYPTED_FLAG:
                return open_stored(file, info, f"{where}: member {info.filename!r}")
            return ZipFile.open(view, info, pwd=pwd)
        except Exception as exc:
            file.close()
            kind = next((ours for theirs, ours in _TRANSLATED if type(exc) is theirs), None)
            if kind is None:
                raise
            raise kind(f"{where}: member {info.filename!r} cannot be read: {exc}") from exc
        finally:
            view.fp = None  # the handle has it, and closes it; the view has nothing to close

    def close(self) -> None:
        """Close the archive, and the members that are open."""
        self.remote = None
        super().close()  # which closes its file, and that all the rest

    def __del__(self) -> None:
        # A member that is still open goes on, as those of a ZipFile do.
        if isinstance(self.fp, ArchiveFile):
            self.fp.release()
        self.fp = None


def check_readable(info: ZipInfo, where: str, *, has_password: bool) -> None:
    """Refuse a member that cannot be read, before any of it is fetched."""
    if info.flag_bits & (PATCHED_FLAG | STRONGLY_ENCRYPTED_FLAG) or info.compress_type == AES_METHOD:
        what = "is a patch" if info.flag_bits & PATCHED_FLAG else "is encrypted (strongly)"
        raise UnsupportedMethodError(f"{where}: member {info.filename!r} {what}, which cannot be read here")
    if info.flag_bits & ENCRYPTED_FLAG and not has_password:
        raise EncryptedMemberError(f"{where}: member {info.filename!r} is encrypted: give its password (pwd=)")
    if info.compress_type not in _KNOWN:
        name = _NAMES.get(info.compress_type, "unknown")
        raise UnsupportedMethodError(
            f"{where}: member {info.filename!r} is compressed by method {info.compress_type} ({name}), which zipfile "
            "cannot decompress; Entry.copy can pass it on"
        )
