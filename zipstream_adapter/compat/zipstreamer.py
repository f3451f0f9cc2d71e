"""The interface of zipstreamer 0.1.3: ``from zipstream_adapter.compat.zipstreamer import ZipStream, ZipFile``.

As in zipstreamer, every member is stored, with a data descriptor and its date in UTC seconds (extra field 0x5455).

Differences from zipstreamer:

- Members and offsets over 4 GiB are correct. The local file header of a member with 64-bit sizes is a zip64 header.
- Data longer or shorter than its `size` raises SizeMismatchError. In zipstreamer, `size()` is then silently wrong.
- After a failure no more bytes are yielded, not even by a `generate()` started while the failure is handled.
- `size()` keeps the files of a generator. In zipstreamer, `generate()` then makes an empty archive.
- A ``read()`` that returns None raises an error. In zipstreamer it truncates the member.
- The UTC seconds of aware dates and of the default date are correct. zipstreamer stores local time as UTC.
- Dates outside the format's range, empty names, and directories with data raise an error.
- Names given as bytes are decoded (UTF-8, else CP437) and stored as UTF-8, with the UTF-8 flag.
"""

from __future__ import annotations

import datetime as dates
from collections.abc import Callable, Iterable, Iterator
from time import struct_time
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from .._buffers import close_of
from .._entries.entry import Entry
from .._entries.error_notes import name_entry
from .._entries.source import OpenSource
from .._entries.validation import check_archive_comment
from .._format.names import MAX_NAME
from .._format.records import DOS_DIRECTORY
from .._format.timestamps import extended_timestamp, to_utc
from .._stream import sync
from .._writer.options import Options
from .._writer.planner import size_of
from ..errors import EntryError, EntryTypeError, LimitError, StreamStateError, ZipStreamError
from ._local_clock import dos_date, local_zipinfo
from ._positions import as_it_stands

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
    """`ZipStream.size` was called, but a file has no size."""


class ZipFileInProgress(StreamStateError):
    """`ZipStream.generate` is still running."""


class ZipFileBytesRequired(ZipStreamError, TypeError):
    """A comment or a file's data is text instead of bytes."""


class ZipFileSkip(Exception):
    """Raised by a `create_fp` to leave the file out. `ZipStream.size` still counts the file."""

    def __init__(self) -> None:
        super().__init__("Skip the file")


class ZipFile(NamedTuple):
    """A file to add.

    Attributes:
        filename: the member's name; a directory's name ends in ``/``.
        size: bytes of data; None if unknown, in which case `ZipStream.size` raises.
        create_fp: a function that returns a binary file object, which is closed after reading; None if the member has
            no data.
        datetime: a datetime (UTC if naive), a `time.struct_time` (taken as UTC), or None for now in local time. Stored
            unchanged in the headers, and as UTC seconds in an extra field.
        comment: bytes, or None.
    """

    filename: str | bytes
    size: int | None
    create_fp: Callable[[], Any] | None
    datetime: dates.datetime | struct_time | None
    comment: bytes | None


class ZipStream:
    """An archive of `files`.

    Args:
        files: an iterable of `ZipFile`.
        comment: the archive comment as bytes, or None.

    Raises ZipFileBytesRequired if `comment` is a str.
    """

    def __init__(self, files: Iterable[ZipFile], comment: bytes | None = None) -> None:
        if isinstance(comment, str):
            raise ZipFileBytesRequired(f"comment={comment!r}: give bytes, as in 'text'.encode()")
        self.files = files
        self.comment = comment
        self._options: dict[str, Any] = {
            "compression": "stored",
            "comment": check_archive_comment(comment or b""),
            "descriptor": "always",
            "names": "allow",
            "duplicates": "allow",
            "make_zipinfo": _zipinfo_of,
        }
        self._generating = self._is_directory = False

    def size(self) -> int:
        """Return the size of the archive in bytes, if all declared sizes are right and no file is skipped.

        Does not open files.

        Raises:
            ZipFileSizeRequired: a file has no size.
            ZipFileInProgress: `generate` is running.
        """
        self._refuse_if_generating("size() cannot be called now: call it before generate()")
        if isinstance(self.files, Iterator):
            self.files = list(self.files)
        return size_of(self._entries(_planned), Options(**self._options).checked())

    def generate(self) -> Iterator[bytes]:
        """Yield the archive's bytes. Can be called again if `files` can be iterated over again.

        Raises ZipFileInProgress if a `generate` is still running.
        """
        self._refuse_if_generating("generate() cannot be called again before it ends")
        self._generating = True
        try:
            with sync.stream_with(self._entries(_opened), **self._options) as chunks:
                yield from chunks
        except EntryTypeError as exc:
            if self._is_directory:
                raise
            raise ZipFileBytesRequired(*exc.args) from exc
        finally:
            self._generating = False

    def _entries(self, make: Callable[[ZipFile, str, dict[str, Any]], Entry]) -> Iterator[Entry]:
        for item in self.files:
            name = _text(item.filename)
            self._is_directory = name.endswith("/")
            try:
                entry = make(item, name, _described(item, name))
            except ZipFileSkip:
                continue
            except Exception as exc:
                name_entry(exc, Entry(name), 0)
                raise
            yield entry

    def _refuse_if_generating(self, what: str) -> None:
        if self._generating:
            raise ZipFileInProgress(f"this archive is being generated: {what}")


def _planned(item: ZipFile, name: str, options: dict[str, Any]) -> Entry:
    """Make an entry without data."""
    if item.create_fp is None:
        return Entry(name, b"", **options)
    if item.size is None:
        raise ZipFileSizeRequired(f"file {name!r} has no size: give one, as size() adds up all sizes")
    return Entry(name, size=item.size, **options)


def _opened(item: ZipFile, name: str, options: dict[str, Any]) -> Entry:
    """Make an entry whose file is open. Without a file, `size` is ignored."""
    file = None if item.create_fp is None else item.create_fp()
    if file is None:
        return Entry(name, b"", size=0 if item.create_fp is None else item.size, **options)
    if name.endswith("/"):
        return Entry(name, _first_chunk(file), size=item.size, **options)
    try:
        return Entry(name, as_it_stands(file), size=item.size, **options)
    except BaseException:
        if (close := close_of(file)) is not None:
            close()
        raise


def _first_chunk(file: Any) -> Any:
    """Return None, or the data with which a directory is refused. Closes the file."""
    source = OpenSource(Entry("directory", file))
    try:
        return next(filter(None, source), None)
    finally:
        source.close()


def _described(item: ZipFile, name: str) -> dict[str, Any]:
    """Return the options of an entry that do not concern its data."""
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise FileNameTooLong(f"file {name[:60] + '…'!r}: the name has more than {MAX_NAME} bytes: shorten it")
    if isinstance(item.comment, str):
        raise ZipFileBytesRequired(f"file {name!r}: comment={item.comment!r}: give bytes, as in 'text'.encode()")
    options: dict[str, Any] = {"comment": item.comment or b""}
    if item.datetime is None:
        return options
    if isinstance(item.datetime, dates.datetime):
        shown, instant = item.datetime, to_utc(item.datetime)
    else:
        shown = instant = to_utc(tuple(item.datetime[:6]))
    return {**options, "modified": dos_date(shown.timetuple()[:6]), "extra": extended_timestamp(instant)}


def _zipinfo_of(name: str, date: dates.datetime, mode: int | None, method: int) -> ZipInfo:
    """Make a ZipInfo created on MS-DOS, without permissions, as zipstreamer does."""
    info = local_zipinfo(name, date, mode, ZIP_STORED)
    info.create_system = 0
    info.external_attr = DOS_DIRECTORY if name.endswith("/") else 0
    return info


def _text(name: str | bytes) -> str:
    """Return a name as a str. Bytes are decoded as readers do: as UTF-8 or else CP437 (APPNOTE appendix D)."""
    if isinstance(name, str):
        return name
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")
