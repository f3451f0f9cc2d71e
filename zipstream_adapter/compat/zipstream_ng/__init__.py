"""The interface of zipstream-ng 1.9: ``from zipstream_adapter.compat.zipstream_ng import ZipStream, walk``.

Names, signatures, defaults, dates (local time), order and logged warnings are as in zipstream-ng.

Differences from zipstream-ng:

- If a source fails or a generator is abandoned before its end, the archive ends: all further generators raise
  PoisonedError. zipstream-ng goes on with an archive without that member.
- `len` is right for 65,535 members. zipstream-ng's is 76 bytes too small.
- In a sized stream, data of a wrong size raises RuntimeError, as in zipstream-ng, but before the member ends. Not more
  than the announced number of bytes is yielded.
- `walk` raises an error for a directory that it cannot list. zipstream-ng silently leaves it out.
- Sockets, named pipes and devices are refused. In zipstream-ng, reading them can block forever.
- The archive itself is left out if it is written into a directory that is added.
- Iterables are closed when their member ends, and when the consumer stops early.
- In the same thread, starting a second generator within a member raises an error, and `info_list` works within a
  member. zipstream-ng deadlocks.
- Zip64 is used from 4 GiB on instead of 2 GiB. Data that grows past the `size` it was added with gets it, too.
  zipstream-ng raises an error.
- ZIP_ZSTANDARD also works before Python 3.14, with the extra ``zstd``.
- Invalid names are refused when they are added.
- ``len()`` works, but ``hasattr(stream, "__len__")`` is False, as WSGI servers treat objects that have it as lists of
  chunks.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from types import GeneratorType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

from ..._compression.methods import ZIP_ZSTANDARD
from ..._entries.entry import path_of
from ..._entries.validation import check_archive_comment
from ..._format.names import check_storable
from ..._format.records import LIMIT16
from ..._stream.queued import QueuedStream
from ..._writer.options import Options
from ..._writer.planner import size_of
from ...errors import EntryError, EntryTypeError, OptionError, SizeMismatchError, StreamStateError
from .._positions import as_it_stands
from ._members import (
    WITHOUT_LEVEL,
    Members,
    Queued,
    SizedStreamError,
    Streamed,
    ZipStreamInfo,
    check_compression,
    log,
    stat_of,
    walk,
    zipinfo_of,
)

if TYPE_CHECKING:
    from typing import Self

    from ..._entries.types import StrPath

__all__ = [
    "BZIP2_VERSION",
    "LZMA_VERSION",
    "ZIP_BZIP2",
    "ZIP_DEFLATED",
    "ZIP_LZMA",
    "ZIP_STORED",
    "ZIP_ZSTANDARD",
    "ZSTANDARD_VERSION",
    "ZipStream",
    "ZipStreamInfo",
    "walk",
]

BZIP2_VERSION = 46
LZMA_VERSION = 63
ZSTANDARD_VERSION = 63
# Characters that separate the components of a path on this system.
PATH_SEPARATORS = {separator for separator in (os.sep, os.altsep, "/") if separator}


# All members but directories have a data descriptor. Duplicate and unusual names are stored unchanged.
_OPTIONS: dict[str, Any] = {
    "descriptor": "always",
    "names": "allow",
    "duplicates": "allow",
    "make_zipinfo": zipinfo_of,
    "pinned": False,
}
Chunks = Generator[bytes, None, None]


class ZipStream:
    """An archive that is made during iteration, from the members added so far.

    Args:
        compress_type: default method of members: ZIP_STORED (default), ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA or
            ZIP_ZSTANDARD.
        compress_level: default level of members: 0 to 9 for ZIP_DEFLATED, 1 to 9 for ZIP_BZIP2, -131072 to 22 for
            ZIP_ZSTANDARD. None is the method's default.
        sized: whether ``len()`` returns the archive's size in bytes in advance. Members then cannot be compressed, and
            an iterable added without its size is read into memory at once.

    Raises:
        NotImplementedError: for any other method.
        RuntimeError: for ZIP_ZSTANDARD without the extra ``zstd``.
        ValueError: for a level out of range, or if `sized` is combined with compression.
    """

    def __init__(
        self, *, compress_type: int = ZIP_STORED, compress_level: int | None = None, sized: bool = False
    ) -> None:
        if compress_type and sized:
            raise _no_compression()
        check_compression(compress_type, compress_level)
        self._compress_type = compress_type
        self._compress_level = compress_level
        self._comment = b""
        self._members = Members(sized, compress_type)
        self._length: tuple[int, bytes, int] = (-1, b"", 0)  # cached: number of members, comment, size in bytes
        self._stream = QueuedStream(self._members.take, compression=compress_type, **_OPTIONS)
        self._members.directory, self._members.left_out = self._stream.archive.directory, self._stream.left_out
        self._running = threading.Lock()
        self._owner = 0  # the thread that holds the lock

    def __getattribute__(self, name: str) -> Any:
        # gevent, eventlet and waitress treat an object with this attribute as a list of chunks, and iterate over it to
        # count their bytes. len() looks up the type's attribute, so it is not affected.
        if name == "__len__":
            raise AttributeError("a ZipStream is not a collection of chunks: len() returns its size if it is sized")
        return object.__getattribute__(self, name)

    @classmethod
    def from_path(
        cls,
        path: StrPath,
        *,
        compress_type: int = ZIP_STORED,
        compress_level: int | None = None,
        sized: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a ZipStream of the file or directory at `path`.

        Args:
            compress_type, compress_level: see `ZipStream`.
            sized: see `ZipStream`. Default: True if `compress_type` is ZIP_STORED.
            kwargs: more arguments of `add_path`.
        """
        if sized is None:
            sized = compress_type == ZIP_STORED
        stream = cls(compress_type=compress_type, compress_level=compress_level, sized=sized)
        stream.add_path(path, **kwargs)
        return stream

    # Adding members.

    def add_path(
        self,
        path: StrPath,
        arcname: str | None = None,
        *,
        recurse: bool | Callable[[str], Iterable[StrPath]] = True,
        compress_type: int | None = None,
        compress_level: int | None = None,
    ) -> None:
        """Queue a file, or a directory with everything in it. Files are opened when their member is written.

        Args:
            path: the file or directory.
            arcname: the name in the archive. Default: the last component of `path`. "/" puts a directory's contents at
                the top of the archive.
            recurse: True (default) for everything in the directory; False for the directory alone; or a function that
                takes `path` and returns the paths to add.
            compress_type, compress_level: override those of the ZipStream.

        Raises:
            FileNotFoundError: `path` does not exist.
            ValueError: there is no name for the member.
            RuntimeError: the archive is finished.
        """
        self._members.refuse_if_final()
        coding = self._coding(compress_type, compress_level)
        top = os.path.normpath(path)
        info = stat_of(path)
        if info is not None and top != path:
            info = stat_of(top)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        name = _sanitized(arcname or os.path.basename(top))
        if not arcname and not name:
            raise EntryError(f"No arcname for path '{top}' could be assumed: pass one")
        if not recurse or not stat.S_ISDIR(info.st_mode):
            self._enqueue_path(top, name, coding, info)
            return
        found = walk(top) if recurse is True else recurse(top)
        for place in found:
            inner = os.path.relpath(place, top)
            if inner != "." or name:
                self._enqueue_path(os.fspath(place), os.path.normpath(os.path.join(name, inner)), coding)

    def add(
        self,
        data: Any,
        arcname: str,
        *,
        size: int | None = None,
        compress_type: int | None = None,
        compress_level: int | None = None,
    ) -> None:
        """Queue data.

        Args:
            data: bytes, a str (encoded as UTF-8), an iterable of bytes, or None for an empty file or a directory.
            arcname: the name in the archive; a directory's name ends in ``/``.
            size: number of bytes in an iterable, if known.
            compress_type, compress_level: override those of the ZipStream.

        Raises:
            ValueError: the name is empty, or a name that ends in ``/`` has data.
            TypeError: `data` has the wrong type.
            RuntimeError: the archive is finished.
        """
        self._members.refuse_if_final()
        coding = self._coding(compress_type, compress_level)
        name = _sanitized(arcname)
        if not name:
            raise _no_name()
        if data is None or isinstance(data, str | bytearray | bytes):
            known = data.encode("utf-8") if isinstance(data, str) else bytes(data or b"")
            if known and name.endswith("/"):
                raise EntryError(f"entry {name!r}: Can't store data as a directory: remove the slash")
            self._enqueue(name, known, len(known), coding)
        elif not hasattr(data, "__iter__"):
            raise EntryTypeError(
                f"entry {name!r}: Data to add must be str, bytes, or an iterable of bytes, not {type(data).__name__}"
            )
        elif name.endswith("/"):
            raise EntryError(f"entry {name!r}: Can't store an iterable as a directory: remove the slash")
        elif self._members.sized and size is None:
            known = b"".join(data)
            self._enqueue(name, known, len(known), coding)
        else:
            self._enqueue(name, _chunks_of(data), size, coding)

    def mkdir(self, arcname: str) -> None:
        """Queue a directory. A slash is added to `arcname` if missing. Raises ValueError for an empty name."""
        name = _sanitized(arcname)
        if not name:
            raise EntryError(f"{arcname!r}: A valid arcname for the directory is required")
        self.add(None, name if name.endswith("/") else name + "/")

    def _coding(self, method: int | None, level: int | None) -> tuple[int, int | None]:
        """Return the method and level of a member, with the defaults of this ZipStream."""
        given = method is not None or level is not None
        method = self._compress_type if method is None else method
        level = self._compress_level if level is None else level
        if given:
            check_compression(method, level)
        return method, None if method in WITHOUT_LEVEL else level

    def _enqueue_path(
        self, path: str, name: str, coding: tuple[int, int | None], info: os.stat_result | None = None
    ) -> None:
        info = info or os.stat(path)
        name = _with_slashes(os.path.normpath(name)).lstrip("/") if name else name
        if stat.S_ISDIR(info.st_mode):
            name = name if name.endswith("/") else name + "/"
            size = 0
        else:
            name = name.rstrip("/") or name
            size = info.st_size
        self._enqueue(name, path_of(path), size, coding, info.st_mtime)

    def _enqueue(
        self, name: str, source: Any, size: int | None, coding: tuple[int, int | None], modified: float | None = None
    ) -> None:
        name = _with_slashes(name)
        if not name.rstrip("/"):
            raise _no_name()
        check_storable(name)
        method, level = coding
        members = self._members
        if members.sized and method != ZIP_STORED:
            raise _no_compression()
        if name.endswith("/"):
            method, level = ZIP_STORED, None
        members.add(Queued(name, source, size, method, level), time.localtime(modified)[:6])

    # Inspection.

    @property
    def sized(self) -> bool:
        """Whether ``len()`` can be called."""
        return self._members.sized

    def __len__(self) -> int:
        """Return the size of the archive in bytes, with all members added so far. Raises TypeError if not sized."""
        members = self._members
        if not members.sized:
            raise TypeError("The length of this ZipStream is unknown: make it with sized=True")
        with members.changing:
            known, comment = len(members.added), self._comment
            if self._length[:2] != (known, comment):
                self._length = known, comment, _planned_size(members.added, comment)
            return self._length[2]

    @property
    def len(self) -> int:
        """Same as ``len()``; `requests` sends it as Content-Length. Raises AttributeError if not sized."""
        if not self._members.sized:
            raise AttributeError("len: the length of this ZipStream is unknown")
        return self.__class__.__len__(self)

    def __bool__(self) -> bool:
        return not self.is_empty()

    def is_empty(self) -> bool:
        """Return whether no member has been added."""
        return not (self._members.queue or self._members.levels)

    def num_queued(self) -> int:
        """Return the number of members that are still queued."""
        return len(self._members.queue)

    def num_streamed(self) -> int:
        """Return the number of members that are written."""
        return self._members.directory.count

    def info_list(self) -> list[dict[str, Any]]:
        """Return a dict for each member, in order. Values that are unknown so far are None."""
        members = self._members
        with members.changing:
            listed: list[Streamed | Queued] = [*self._streamed(), *members.unwritten(), *members.queue]
            return [member.listed() for member in listed]

    def get_info(self) -> list[dict[str, Any]]:
        """Return a dict for each member that is written. Deprecated: use `info_list`."""
        warnings.warn("ZipStream.get_info is deprecated: use ZipStream.info_list", DeprecationWarning, stacklevel=2)
        with self._members.changing:
            return [member.listed_as_before() for member in self._streamed()]

    def _streamed(self) -> list[Streamed]:
        return list(map(Streamed, self._stream.infolist(), self._members.levels))

    @property
    def last_modified(self) -> datetime | None:
        """The newest date of all members, in local time. None if there are no members."""
        date = self._members.last_modified
        return datetime(*date) if date else None  # type: ignore[arg-type]

    @property
    def comment(self) -> bytes:
        """The archive comment. A str is encoded as UTF-8. A comment over 65,535 bytes is truncated with a warning."""
        return self._comment

    @comment.setter
    def comment(self, comment: str | bytes | bytearray | None) -> None:
        self._members.refuse_if_final()
        if isinstance(comment, str):
            comment = comment.encode("utf-8")
        if not isinstance(comment, bytes | bytearray | None):
            raise EntryTypeError(f"comment={comment!r}: give bytes or a str, not {type(comment).__name__}")
        if comment and len(comment) > LIMIT16:
            log.warning("The archive's comment is too long: it was cut to %d bytes", LIMIT16)
        self._comment = check_archive_comment(bytes(comment or b"")[:LIMIT16])

    # Writing.

    def __iter__(self) -> Chunks:
        return self.finalize()

    def __bytes__(self) -> bytes:
        return b"".join(iter(self))  # join(self) would call len() as the number of chunks

    def file(self) -> Generator[bytes, None, bool]:
        """Yield the bytes of the next member. Returns False if no member is queued."""
        return (yield from self._run(1))

    def all_files(self) -> Chunks:
        """Yield the bytes of all queued members."""
        yield from self._run(math.inf)

    def footer(self) -> Chunks:
        """Yield the central directory. Queued members are left out, and no more can be added."""
        yield from self._run(0, ends=True)

    def finalize(self) -> Chunks:
        """Yield the bytes of all queued members and the central directory."""
        yield from self.all_files()
        yield from self.footer()

    def _run(self, count: float, ends: bool = False) -> Generator[bytes, None, bool]:
        """Yield the bytes of the next `count` members while no other generator runs. Returns whether there were any.

        ends: whether to yield the archive's end, too.
        """
        if not self._running.acquire(blocking=False):
            if self._owner == threading.get_ident():
                raise StreamStateError(
                    "another generator of this ZipStream is within a member: exhaust it before you start the next"
                )
            self._running.acquire()
        self._owner = threading.get_ident()
        members, stream = self._members, self._stream
        try:
            if stream.is_whole:
                return False
            if ends:
                members.final, stream.archive.comment = True, self._comment
                stream.finish()
            members.budget, before = count, len(members.levels)
            for chunk in stream:  # noqa: UP028, as `yield from` would close the stream
                yield chunk
            return len(members.levels) > before
        except BaseException as exc:
            stream.abandon("a generator of its bytes failed or was abandoned before its end")
            if members.sized and isinstance(exc, SizeMismatchError) and not isinstance(exc, SizedStreamError):
                log.warning("Size mismatch: %s", exc)  # a file that changed while it was read
                raise SizedStreamError(f"Error adding data to sized ZipStream - {exc}") from exc
            raise
        finally:
            self._running.release()


def _planned_size(members: Iterable[Queued], comment: bytes) -> int:
    """Return the size in bytes of an archive of stored `members` of known sizes."""
    options = Options(compression="stored", comment=comment, **_OPTIONS).checked()
    return size_of((member.planned() for member in members), options)


def _sanitized(arcname: str | None) -> str:
    """Cut a name at its first NUL, and make it relative, with forward slashes."""
    return _with_slashes((arcname or "").partition("\0")[0]).lstrip("/")


def _with_slashes(name: str) -> str:
    for separator in PATH_SEPARATORS:
        name = name.replace(separator, "/")
    return name


def _no_name() -> EntryError:
    return EntryError("A valid arcname is required: this one is empty without its slashes")


def _no_compression() -> OptionError:
    return OptionError("Cannot use compression with a sized ZipStream: its length would be unknown")


def _chunks_of(data: Any) -> Any:
    """Hide all methods of an iterable but ``__iter__``, unless its type is known."""
    return data if type(data) in (GeneratorType, list, tuple) else lambda: as_it_stands(iter(data))
