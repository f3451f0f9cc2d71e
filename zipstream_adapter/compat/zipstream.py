"""The interface of zipstream 1.1.4 and zipstream-new 1.1.8: ``from zipstream_adapter.compat import zipstream``.

`ZipFile.write`, `ZipFile.write_iter` and `ZipFile.writestr` queue members. Iterating over the ZipFile yields the
archive; `ZipFile.flush` yields the members queued so far and leaves the archive open. Every member with data has a data
descriptor. Iterating over a finished ZipFile yields nothing, as in zipstream-new (zipstream raises).

Differences from zipstream and zipstream-new:

- If a source fails, the archive ends: no later iteration, `flush` or `close` makes a valid archive without the member.
- If an iteration is abandoned within a member, the archive ends, too. In zipstream the next iteration omits the member.
- A file that shrinks or grows while it is read raises SourceChangedError. The archive itself is left out.
- Members and archives over 2 GiB can be read front to back. Zip64 is used if needed, without `allowZip64`.
- Members without data have no data descriptor and no flag for it. zipstream sets the flag on directories, which unzip
  rejects.
- Writing to a finished archive raises RuntimeError at once instead of dropping the data.
- Names with ``..`` and names with backslashes are made plain and relative.
- Small pieces are joined and large ones split, so that chunks are neither tiny (headers, lines) nor huge (large items
  of an iterable).
- Dates of files are stored in UTC seconds and in local time. zipstream stores only local time.
"""

from __future__ import annotations

import os
import time
import warnings
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import GeneratorType, TracebackType
from typing import Any, NamedTuple
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from .._compression.methods import METHODS, method_number
from .._entries.entry import Entry, path_of
from .._format.names import is_plain, repaired
from .._stream.queued import QueuedStream
from .._writer.sink import FileSink
from ..errors import OptionError, StreamClosedError
from ._local_clock import dos_date, local_zipinfo

__all__ = ["ZIP64_LIMIT", "ZIP_BZIP2", "ZIP_DEFLATED", "ZIP_LZMA", "ZIP_STORED", "PointerIO", "ZipFile", "ZipInfo"]

ZIP64_LIMIT = (1 << 31) - 1  # zipstream's value; this module uses zip64 from 4 GiB on

_ZIP64_HINT = (1 << 32) - 1


class ModeError(OptionError, RuntimeError):
    """A mode other than "w"."""


class ClosedError(StreamClosedError, RuntimeError):
    """The archive is closed."""


class PointerIO:
    """A file object that counts the data written and returns it. As a ZipFile's `fileobj` it means the same as None."""

    def __init__(self, mode: str = "wb") -> None:
        if mode != "wb":
            raise ModeError(f"mode={mode!r}: zipstream.PointerIO() requires mode 'wb'")
        self.mode = mode
        self.closed = False
        self._position = 0

    def write(self, data: bytes | str) -> bytes:
        """Count `data`, and return it as bytes; a str is encoded as UTF-8. Raises ValueError if closed."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if isinstance(data, str):
            data = data.encode("utf-8")
        if not isinstance(data, bytes):
            raise TypeError(f"{data!r}: give bytes, not {type(data).__name__}")
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._position

    def flush(self) -> None:
        """Do nothing: data is not buffered."""

    def close(self) -> None:
        """Refuse further writes."""
        self.closed = True


class _Queued(NamedTuple):
    """A queued call of `ZipFile.write` or `write_iter`."""

    arcname: str
    source: Any
    method: int | None
    zip64: bool | None
    date: tuple[int, ...] | time.struct_time | None

    def entry(self) -> Any:
        """Make the entry. Reads the file system."""
        arcname, source, method, zip64, date = self
        name = _plain_name(arcname)
        if isinstance(source, os.PathLike):
            name = name + "/" if os.path.isdir(source) else name
        elif type(source) is tuple and len(source) == 1 and type(source[0]) is bytes:
            source = source[0]
        if method is None and zip64 is None and date is None:
            return name, source
        modified = None if date is None else dos_date(tuple(date)[:6])
        return Entry(name, source, compression=method, zip64=zip64, modified=modified)


class _Queue:
    """Makes the entries of queued calls, in turn."""

    def __init__(self, queued: deque[_Queued]) -> None:
        self._queued = queued
        self._names: set[str] = set()

    def take(self) -> Any:
        """Return the next entry; None if no call is queued."""
        if not self._queued:
            return None
        queued = self._queued.popleft()
        try:
            entry = queued.entry()
            name = entry[0] if type(entry) is tuple else entry.name
            if name in self._names:
                warnings.warn(f"Duplicate name: {name!r}", stacklevel=2)
            self._names.add(name)
        except Exception as exc:
            exc.add_note(f"(while adding entry {queued.arcname!r})")
            raise
        return entry


class ZipFile(zipfile.ZipFile):
    """A `zipfile.ZipFile` that queues members. Iterate over it to get the archive's bytes.

    Args:
        fileobj: None or a PointerIO: iteration yields the bytes. A path or an object with ``write``: the bytes are
            written there, and iteration yields byte counts.
        mode: "w".
        compression: default method of members, as in `zipfile`. Default: ZIP_STORED.
        allowZip64: ignored: zip64 is used if needed.

    Raises:
        ModeError: (a RuntimeError) for any other mode.
        NotImplementedError: for an unknown compression.
    """

    def __init__(
        self, fileobj: Any = None, mode: str = "w", compression: int = ZIP_STORED, allowZip64: bool = False
    ) -> None:
        if mode != "w":
            raise ModeError(f"mode={mode!r}: zipstream.ZipFile() requires mode 'w'")
        if not isinstance(compression, str):
            _check_method(compression, f"compression={compression!r}")
        self._own_file: Any = None
        if isinstance(fileobj, str | os.PathLike):
            fileobj = self._own_file = open(fileobj, "wb")  # noqa: SIM115, closed by close()
        self._target = None if fileobj is None or isinstance(fileobj, PointerIO) else FileSink(fileobj)
        self.paths_to_write: deque[_Queued] = deque()
        self._stream = QueuedStream(
            _Queue(self.paths_to_write).take,
            compression=compression,
            lookahead=0,
            names="allow",
            duplicates="allow",
            make_zipinfo=_zipinfo_of,
            offset=0 if self._target is None else self._target.tell(),
        )
        super().__init__(PointerIO(), "w")  # type: ignore[call-overload]
        self.compression = method_number(compression)
        self.filename = getattr(fileobj, "name", None)

    # Queueing.

    def write(  # type: ignore[override]
        self, filename: str | os.PathLike[str], arcname: str | None = None, compress_type: int | None = None
    ) -> None:
        """Queue the file or directory at `filename`, without the directory's contents. arcname: default, its path."""
        path = path_of(filename)
        self._queue(os.fspath(path) if arcname is None else arcname, path, compress_type)

    def write_iter(
        self,
        arcname: str,
        iterable: Iterable[Any],
        compress_type: int | None = None,
        buffer_size: int | None = None,
        date_time: tuple[int, ...] | time.struct_time | None = None,
    ) -> None:
        """Queue an iterable of bytes.

        buffer_size: approximate size of the data in bytes; from 4 GiB on, the local file header is a zip64 header.
        date_time: stored unchanged, in any time zone. Default: the local time when the member is begun.
        """
        zip64 = True if (buffer_size or 0) >= _ZIP64_HINT else None
        source = iterable if isinstance(iterable, os.PathLike) else _left_open(iterable)
        self._queue(arcname, source, compress_type, zip64, date_time)

    def writestr(  # type: ignore[override]
        self,
        arcname: str,
        data: bytes,
        compress_type: int | None = None,
        buffer_size: int | None = None,
        date_time: tuple[int, ...] | time.struct_time | None = None,
    ) -> None:
        """Queue bytes. Other arguments: see `write_iter`."""
        self.write_iter(arcname, (data,), compress_type, buffer_size, date_time)

    def _queue(self, arcname: str, source: Any, method: int | None, zip64: Any = None, date: Any = None) -> None:
        if method is not None:
            _check_method(method, f"entry {arcname!r}: compress_type={method!r}")
        if self.fp is None:
            raise ClosedError(f"entry {arcname!r}: attempt to write to ZIP archive that was already closed")
        self.paths_to_write.append(_Queued(arcname, source, method, zip64, date))

    def open(self, *arguments: Any, **options: Any) -> Any:
        """Begin a member to write to, between two iterations. Its bytes are yielded by the next iteration."""
        return self._stream.archive.open(*arguments, **options)

    def mkdir(self, *arguments: Any, **options: Any) -> None:
        """Add a directory, between two iterations. Its bytes are yielded by the next iteration."""
        self._stream.archive.mkdir(*arguments, **options)

    # Iteration.

    def __iter__(self) -> Iterator[Any]:
        """Yield the bytes of the queued members and of the archive's end."""
        yield from self.flush()
        if self._stream.is_whole:
            return
        self.fp = None
        self._stream.finish()
        try:
            yield from self._chunks()
            if self._target is not None:
                self._target.flush()
        finally:
            if not self._stream.is_whole:
                self._stream.abandon("iteration was abandoned before the end of the archive")
            self.close()

    def flush(self) -> Iterator[Any]:
        """Yield the bytes of the members queued so far. The archive stays open."""
        if not self._stream.is_whole:
            yield from self._chunks()

    def _chunks(self) -> Iterator[Any]:
        try:
            for chunk in self._stream:
                yield chunk if self._target is None else self._target.write(chunk)
        except StreamClosedError as exc:
            raise ClosedError(
                "this archive was closed before its end: iterate over it before close() or the end of its with block"
            ) from exc
        except GeneratorExit:
            if self._stream.archive.is_writing:
                self._stream.abandon("iteration was abandoned within a member")
            raise
        except BaseException:
            self._stream.abandon("iteration failed")
            raise

    # The parts of a `zipfile.ZipFile` that say what the archive has so far.

    @property
    def filelist(self) -> list[ZipInfo]:
        return self._stream.infolist()

    @filelist.setter
    def filelist(self, infos: list[ZipInfo]) -> None:
        pass  # ZipFile.__init__ assigns an empty list

    @property
    def NameToInfo(self) -> dict[str, ZipInfo]:
        return {info.filename: info for info in self._stream.infolist()}

    @NameToInfo.setter
    def NameToInfo(self, infos: dict[str, ZipInfo]) -> None:
        pass

    @property
    def comment(self) -> bytes:
        """The archive comment. It can be set until the end of the archive."""
        return self._stream.archive.comment

    @comment.setter
    def comment(self, comment: bytes) -> None:
        self._stream.archive.comment = comment

    # The end.

    def close(self) -> None:
        """Close the archive and its open source. Members that were not iterated over are lost."""
        self.fp = None
        self._stream.close()
        if self._own_file is not None:
            self._own_file.close()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self.close()


def _check_method(method: int, what: str) -> None:
    if method not in METHODS.values():
        raise NotImplementedError(f"{what} is not supported")


def _plain_name(arcname: str) -> str:
    """Normalize a name and remove its drive and root, like zipstream; unlike zipstream, remove ``..``, too."""
    if isinstance(arcname, str) and is_plain(arcname):
        return arcname
    name = os.path.normpath(os.path.splitdrive(os.fspath(arcname))[1]).replace(os.sep, "/").lstrip("/")
    return name if name == "." else repaired(name)


def _left_open(source: Any) -> Any:
    """Wrap a source to keep it open, unless it is a generator: it may be a file that the caller still needs."""
    if isinstance(source, GeneratorType) or not hasattr(source, "close"):
        return source
    return (chunk for chunk in source)


def _zipinfo_of(name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
    info = local_zipinfo(name, date, mode, method)
    if mode is None:  # not a file
        info.external_attr = 0o600 << 16  # like zipstream, without a file type
    return info
