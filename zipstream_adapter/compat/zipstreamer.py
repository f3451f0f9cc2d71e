"""For programs written for zipstreamer 0.1.3: ``from zipstream_adapter.compat.zipstreamer import ZipStream, ZipFile``.

As there, every member is stored, with a data descriptor and its date as UTC seconds (extra 0x5455). Other than there:

- Members and offsets past 4 GiB are right, and what has 64-bit sizes says so before its data.
- Data that is longer or shorter than its `size` raises SizeMismatchError; there it silently made `size()` untrue.
- After any failure nothing more leaves, not even from a `generate()` that is begun anew within it.
- `size()` keeps the files of a generator; there, `generate()` had none left, and made an empty archive.
- A ``read()`` that gives None raises; there, it cut the member.
- The UTC seconds of dates that know their zone, and of the default, are true; there, local time was passed for UTC.
- Dates the format cannot say, empty names, and directories with data raise; a name in bytes is flagged as what it is.
"""

from __future__ import annotations

import datetime as dates
from collections.abc import Callable, Iterable, Iterator
from io import TextIOBase
from time import struct_time
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from ..dates import extended_timestamp, to_utc
from ..entry import Entry
from ..errors import EntryError, EntryTypeError, LimitError, StreamStateError, ZipStreamError
from ..names import MAX_NAME, is_storable
from ..notes import note_on
from ..options import Options
from ..plan import PlannedArchive
from ..records import DOS_DIRECTORY
from ..small import StreamArchive
from ..source import OpenSource, close_of
from .clock import now, now_by_clock
from .small_members import SmallOnes

__all__ = [
    "FileNameTooLong",
    "ZipFile",
    "ZipFileBytesRequired",
    "ZipFileInProgress",
    "ZipFileSizeRequired",
    "ZipFileSkip",
    "ZipStream",
    "ZipStreamError",
]


class FileNameTooLong(LimitError):
    """A name has more than 65,535 bytes."""


class ZipFileSizeRequired(EntryError):
    """`ZipStream.size` needs the size of every file."""


class ZipFileInProgress(StreamStateError):
    """`ZipStream.generate` has begun and has not ended."""


class ZipFileBytesRequired(ZipStreamError, TypeError):
    """A comment or a file's data is text."""


class ZipFileSkip(Exception):
    """Raised by a `create_fp`: the file is left out. `ZipStream.size` does not know of it."""

    def __init__(self) -> None:
        super().__init__("Skip the file")


class ZipFile(NamedTuple):
    """A member to be.

    Attributes:
        filename: its name; a directory's ends in ``/``.
        size: bytes of data; None where they are not known, and `ZipStream.size` is not asked for.
        create_fp: a function that returns a binary file object, which is closed; None for what has no data.
        datetime: a datetime (a naive one is UTC), a `time.struct_time` likewise, or None for now, by this machine's
            clock. Shown as it is, and kept as UTC seconds beside that.
        comment: bytes, or None.
    """

    filename: str | bytes
    size: int | None
    create_fp: Callable[[], Any] | None
    datetime: dates.datetime | struct_time | None
    comment: bytes | None


class ZipStream:
    """An archive of `files`, each a `ZipFile`. comment: bytes, or None."""

    def __init__(self, files: Iterable[ZipFile], comment: bytes | None = None) -> None:
        if isinstance(comment, str):
            raise ZipFileBytesRequired(f"comment={comment!r}: give bytes, as in 'text'.encode()")
        self.files = files
        self.comment = comment
        self._options = Options(comment=comment or b"").checked()
        self._generating = False

    def size(self) -> int:
        """Bytes that `generate` will give, where the sizes come true and no file is skipped. No file is opened.

        Raises ZipFileSizeRequired, and ZipFileInProgress from within `generate`.
        """
        self._refuse_if_generating("size() cannot be asked for: call it before")
        if isinstance(self.files, Iterator):
            self.files = list(self.files)
        archive = self._options.archive(PlannedArchive)
        for item in self.files:
            try:
                _plan(archive, item)
            except Exception as exc:
                _note_on(exc, item)
                raise
        for _ in archive.finish():
            pass
        return archive.sink.tell()

    def generate(self) -> Iterator[bytes]:
        """The archive's bytes. It can be generated again, where `files` can be iterated over again."""
        self._refuse_if_generating("it cannot be generated a second time at once")
        self._generating = True
        archive = self._options.archive(StreamArchive)
        small = SmallOnes(archive, 0, _described)
        try:
            for item in self.files:
                try:
                    rest = _add_small(small, item)
                    if rest is not None:
                        small.settle()
                        yield from _add(archive, rest)
                except Exception as exc:
                    _note_on(exc, item)
                    raise
                yield from archive.sink.take()
            small.settle()
            for _ in archive.finish():
                yield from archive.sink.take()
            yield from archive.sink.take(everything=True)
        except BaseException:
            archive.abort()
            raise
        finally:
            self._generating = False

    def _refuse_if_generating(self, what: str) -> None:
        if self._generating:
            raise ZipFileInProgress(f"this archive is being generated, and {what}")


def _note_on(exc: Exception, item: ZipFile) -> None:
    """Name the file on what it has raised."""
    note_on(exc, Entry(_text(item.filename)), 0)


def _plan(archive: PlannedArchive, item: ZipFile) -> None:
    """Add the member without its data."""
    info = _info(item)
    if item.create_fp is not None and item.size is None:
        raise ZipFileSizeRequired(f"file {info.filename!r} has no size, and without it the archive has none")
    size = _size(item, info) or 0
    member = archive.begin(info, size=size)
    member.release()
    member.skip(size, size)
    member.complete()


def _add(archive: StreamArchive, item: ZipFile) -> Iterator[bytes]:
    """Add the member; the archive's bytes, as they come."""
    info = _info(item)
    size = _size(item, info)
    try:
        opened = _opened(item, info.filename)
    except ZipFileSkip:
        return
    try:
        member = archive.begin(info, size=size)
        member.release()
        for chunk in _in_bytes(opened):
            member.write(chunk)
            yield from archive.sink.take()
        member.complete()
    finally:
        opened.close()
    yield from archive.sink.take()


class _Begun:
    """A file object of which some was read already. chunks: what `read` has given."""

    def __init__(self, file: Any, chunks: list[Any]) -> None:
        self._file = file
        self._chunks = chunks
        self.close = close_of(file) or _nothing

    def read(self, size: int) -> Any:
        return self._chunks.pop(0) if self._chunks else self._file.read(size)


def _nothing() -> None:
    """There is nothing to close."""


def _add_small(small: SmallOnes, item: ZipFile) -> ZipFile | None:
    """Add the member where it is small; else what is to be added, which may be begun."""
    name, size, create_fp = item.filename, item.size, item.create_fp
    limit = small.limit(ZIP_STORED, None)
    if type(size) is not int or not 0 < size < limit or create_fp is None or item.comment is not None:
        return item
    if not isinstance(name, str) or name.endswith("/") or not is_storable(name):
        return item
    date = _dates(item.datetime)
    try:
        file = create_fp()
    except ZipFileSkip:
        return None
    chunks: list[Any] = []
    if callable(getattr(file, "read", None)) and not isinstance(file, TextIOBase):
        begun = _Begun(file, chunks)
        try:
            chunks.append(file.read(limit))
            if type(chunks[0]) is bytes and len(chunks[0]) == size:
                chunks.append(file.read(limit))
            is_whole = len(chunks) == 2 and chunks[1] == b""
        except BaseException:
            begun.close()
            raise
        if is_whole:
            begun.close()
            small.add(name, chunks[0], date)
            return None
        file = begun
    return ZipFile(name, size, lambda: file, item.datetime, None)


def _described(name: str, dated: Any, method: int) -> ZipInfo:
    return _info_of(name, *dated)


def _size(item: ZipFile, info: ZipInfo) -> int | None:
    """Bytes that are promised; what has no file has none, whatever `size` says."""
    return 0 if item.create_fp is None else Entry(info.filename, size=item.size).size


def _opened(item: ZipFile, name: str) -> OpenSource:
    file = item.create_fp() if item.create_fp is not None else None
    try:
        # Whether it fits a directory is for the member to say.
        return OpenSource(Entry(name.rstrip("/") or name, b"" if file is None else file))
    except EntryTypeError as exc:
        raise ZipFileBytesRequired(*exc.args) from exc


def _in_bytes(opened: OpenSource) -> Iterator[Any]:
    try:
        yield from opened
    except EntryTypeError as exc:
        raise ZipFileBytesRequired(*exc.args) from exc


def _info(item: ZipFile) -> ZipInfo:
    """Its ZipInfo: of MS-DOS, without permissions, as there."""
    name = _text(item.filename)
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise FileNameTooLong(f"file {name[:60] + '…'!r}: its name has more than {MAX_NAME} bytes")
    if isinstance(item.comment, str):
        raise ZipFileBytesRequired(f"file {name!r}: comment={item.comment!r}: give bytes, as in 'text'.encode()")
    info = _info_of(name, *_dates(item.datetime))
    info.comment = item.comment or b""
    return info


def _info_of(name: str, shown: tuple[int, ...], instant: dates.datetime) -> ZipInfo:
    info = ZipInfo(name, shown)  # type: ignore[arg-type]
    info.filename = name
    info.create_system = 0
    info.external_attr = DOS_DIRECTORY if name.endswith("/") else 0
    info.compress_type = ZIP_STORED
    info.extra = extended_timestamp(instant)
    return info


def _text(name: str | bytes) -> str:
    """A name as text; bytes are read as readers would (APPNOTE appendix D), and then flagged as UTF-8."""
    if isinstance(name, str):
        return name
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _dates(value: dates.datetime | struct_time | None) -> tuple[tuple[int, ...], dates.datetime]:
    """The date as a clock shows it, and the instant that it is, in whole seconds."""
    if value is None:
        shown, instant = now_by_clock()["modified"], now()
    elif isinstance(value, dates.datetime):
        shown, instant = value, to_utc(value)
    else:
        shown = instant = to_utc(tuple(value[:6]))
    return shown.timetuple()[:6], instant.replace(microsecond=0)
