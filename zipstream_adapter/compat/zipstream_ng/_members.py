"""The members of `compat.zipstream_ng`: the queue, their ZipInfos, and how `info_list` lists them."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from ..._buffers import close_of
from ..._compression.methods import ZIP_ZSTANDARD, check_installed, check_level
from ..._entries.entry import Entry
from ..._entries.source import size_of
from ..._format.central_directory import CentralDirectory
from ..._format.records import DOS_DIRECTORY, LIMIT32, data_descriptor, local_header
from ..._format.timestamps import EARLIEST, LATEST, DosDateTime
from ...errors import SizeMismatchError, StreamStateError
from .._local_clock import dos_date

if TYPE_CHECKING:
    from ..._entries.types import StrPath

log = logging.getLogger("zipstream_adapter.compat.zipstream_ng")

WITHOUT_LEVEL = (ZIP_STORED, ZIP_LZMA)
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 59)
# Every time zone shows these seconds since 1970, and those between them, as dates of the format.
_FIRST_SECOND, _LAST_SECOND = EARLIEST.timestamp() + 86400, LATEST.timestamp() - 86400
_UNIX = 3
# Options of an entry without data, which has no data descriptor.
_NO_DATA: dict[str, Any] = {"size": 0, "crc32": 0}


class ZipStreamInfo(ZipInfo):
    """A member's metadata. The date is local time (default: now); dates outside 1980 to 2107 are moved into it."""

    def __init__(self, filename: str, date_time: tuple[int, ...] | None = None) -> None:
        super().__init__(filename, _fitting(tuple(date_time or time.localtime()[:6])))  # type: ignore[arg-type]

    def DataDescriptor(self, zip64: bool) -> bytes:
        """Return the member's data descriptor (APPNOTE 4.3.9)."""
        return data_descriptor(self, zip64=zip64)

    def FileHeader(self, zip64: bool | None = None) -> bytes:
        """Return the member's local file header (APPNOTE 4.3.7)."""
        return local_header(self, zip64=bool(zip64))


def walk(path: StrPath, preserve_empty: bool = True, followlinks: bool = True) -> Iterator[str]:
    """Yield the paths of all files under the directory `path`.

    Args:
        path: the directory.
        preserve_empty: whether to yield empty directories, too, with a separator at the end. Default: True.
        followlinks: whether to enter directories through links. Each directory is entered once. Default: True.

    Raises OSError if a directory does not exist or cannot be listed.
    """
    entered = {_identity(path)}
    for place, directories, files in os.walk(path, onerror=_fail, followlinks=followlinks):
        if followlinks:
            directories[:] = _not_entered(place, directories, entered)
        if preserve_empty and not files and not directories:
            yield os.path.join(place, "")
        for name in files:
            yield os.path.join(place, name)


def _fail(error: OSError) -> None:
    raise error


def _not_entered(place: Any, names: list[str], entered: set[tuple[int, int]]) -> list[str]:
    """Return the directories in `place` that are not in `entered`, and add them to it."""
    kept = set()
    paths = {name: os.path.join(place, name) for name in names}
    for name in sorted(names, key=lambda name: os.path.islink(paths[name])):  # directories before links to them
        identity = _identity(paths[name])
        if identity not in entered:
            entered.add(identity)
            kept.add(name)
    return [name for name in names if name in kept]


def _identity(path: Any) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_dev, info.st_ino


def zipinfo_of(name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
    """Make a ZipInfo as zipstream-ng does: in local time, without an extra field, and without a file type for data.

    Data without a date is from now, whatever SOURCE_DATE_EPOCH says.
    """
    shown = date.timetuple()[:6]
    if not isinstance(date, DosDateTime):
        shown = time.localtime(None if mode is None else date.timestamp())[:6]
    info = ZipInfo(name, shown)
    info.filename = name
    is_dir = name.endswith("/")
    mode = (stat.S_IFDIR | 0o775 if is_dir else 0o600) if mode is None else mode
    info.external_attr = mode << 16 | (DOS_DIRECTORY if is_dir else 0)
    info.create_system = _UNIX
    info.compress_type = method
    return info


def stat_of(path: StrPath) -> os.stat_result | None:
    """Look at the file or directory at `path`. Returns None if there is none."""
    try:
        return os.stat(path)
    except (OSError, ValueError):  # as in os.path.exists
        return None


def _date_of(found: os.stat_result | None) -> DosDateTime | None:
    """Return the date of a file in local time if the format may not have it. Returns None for any other."""
    if found is None or _FIRST_SECOND <= found.st_mtime < _LAST_SECOND:
        return None
    return dos_date(_fitting(time.localtime(found.st_mtime)[:6]))


def _fitting(date: tuple[int, ...]) -> tuple[int, ...]:
    fitting = min(max(_EARLIEST, date), _LATEST)
    if date != fitting:
        log.warning("The date %s is outside of 1980 to 2107, the range of zip files: it was changed", date)
    return fitting


class Queued(NamedTuple):
    """A queued member. size: bytes, announced or found when the member was added; None if unknown."""

    name: str
    source: Any
    size: int | None
    method: int
    level: int | None

    @property
    def is_dir(self) -> bool:
        """Whether the member is a directory."""
        return self.name.endswith("/")

    def entry(self, is_sized: bool, default: int) -> Any:
        """Make the entry. Looks at the file system. Raises SizedStreamError for a file of a wrong size.

        default: the stream's method.
        """
        name, source, size, method, level = self
        found = stat_of(source) if isinstance(source, os.PathLike) else None
        date = _date_of(found)
        if self.is_dir:
            return Entry(name, source, modified=date, **_NO_DATA)
        if found is not None:
            self._check_size(found.st_size, is_sized)
        elif size is not None and not isinstance(source, bytes | os.PathLike):
            source = self._counted(is_sized)
        zip64 = True if size is None or size >= LIMIT32 else None
        if date is None and zip64 is None and method == default and level is None and not is_sized:
            return name, source
        promised = size if is_sized else None
        return Entry(name, source, size=promised, modified=date, compression=method, level=level, zip64=zip64)

    def planned(self) -> Entry:
        """Make an entry without data and date, from which the size of an archive can be computed."""
        return Entry(self.name, modified=EARLIEST, **(_NO_DATA if self.is_dir else {"size": self.size}))

    def _counted(self, is_sized: bool) -> Iterator[Any]:
        """Yield the chunks of an iterable, up to the announced size in a sized stream."""
        total = 0
        chunks = iter(self.source() if callable(self.source) else self.source)
        with ExitStack() as stack:
            if (close := close_of(chunks)) is not None:
                stack.callback(close)
            for chunk in chunks:
                total += size_of(chunk, self.name)
                if is_sized and total > (self.size or 0):
                    break
                yield chunk
        self._check_size(total, is_sized)

    def _check_size(self, size: int, is_sized: bool) -> None:
        """Log a warning if the data has not the announced size; in a sized stream, also raise SizedStreamError."""
        if size == self.size:
            return
        log.warning("Size mismatch when adding data for '%s' (expected %d bytes, got %d)", self.name, self.size, size)
        if is_sized:
            raise SizedStreamError(
                f"Error adding '{self.name}' to sized ZipStream - its data has {size} bytes or more, but its length "
                f"was computed with {self.size}"
            )

    def listed(self) -> dict[str, Any]:
        """Return the dict for `info_list`."""
        return {
            "name": self.name,
            "size": self.size,
            "compressed_size": self.size if self.method == ZIP_STORED else None,
            "datetime": None,
            "is_dir": self.is_dir,
            "CRC": None,
            "compress_type": self.method,
            "compress_level": self.level,
            "streamed": False,
        }


class Streamed(NamedTuple):
    """A written member."""

    info: ZipInfo
    level: int | None

    def listed(self) -> dict[str, Any]:
        """Return the dict for `info_list`."""
        return {
            "name": self.info.filename,
            "size": self.info.file_size,
            "compressed_size": self.info.compress_size,
            "datetime": self.info.date_time,
            "is_dir": self.info.is_dir(),
            "CRC": self.info.CRC,
            "compress_type": self.info.compress_type,
            "compress_level": self.level,
            "streamed": True,
        }

    def listed_as_before(self) -> dict[str, Any]:
        """Return the dict for the deprecated `get_info`."""
        listed = {key: value for key, value in self.listed().items() if key not in ("is_dir", "streamed")}
        listed["datetime"] = datetime(*self.info.date_time).isoformat()
        return {**listed, "extract_version": self.info.extract_version}


class MissingModuleError(ImportError, RuntimeError):
    """A module that a compression method needs is not installed."""


def check_compression(method: int, level: int | None) -> None:
    """Reject a method that is not supported or not installed, and a level that the method does not have."""
    if method not in (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA, ZIP_ZSTANDARD):
        raise NotImplementedError(
            f"compress_type={method!r} is not supported: use ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA or "
            "ZIP_ZSTANDARD"
        )
    try:
        check_installed(method)
    except ImportError as exc:
        raise MissingModuleError(str(exc)) from exc
    if level is None:
        return
    if method in WITHOUT_LEVEL:
        log.warning("compress_level has no effect when using ZIP_STORED/ZIP_LZMA")
    else:
        check_level(method, level)


class SizedStreamError(SizeMismatchError, RuntimeError):
    """Data in a sized ZipStream does not have the size from which its length was computed."""


class FinalizedError(StreamStateError, RuntimeError):
    """A ZipStream was changed after its end."""


class Members:
    """The members of a ZipStream, queued and written. The lock `changing` guards all attributes.

    Kept outside ZipStream, whose ``__getattribute__`` makes attribute access slow, and which its stream must not refer
    to.

    method: the stream's method.

    Attributes:
        budget: number of members that `take` may still return.
        levels: the level of each member that was taken.
        added: all members ever added, without their sources; filled for a sized stream only.
        directory: the central directory headers of the written members.
        left_out: the entries that the stream left out.
    """

    directory: CentralDirectory
    left_out: list[Any]

    def __init__(self, sized: bool, method: int) -> None:
        self.sized = sized
        self._method = method
        self.queue: deque[Queued] = deque()
        self.budget: float = 0
        self.levels: list[int | None] = []
        self.added: list[Queued] = []
        self.last_modified: tuple[int, ...] | None = None
        self.final = False
        self.changing = threading.RLock()
        self._taken: deque[Queued] = deque()  # members that were taken and may not be written yet
        self._known_left_out = 0

    def refuse_if_final(self) -> None:
        """Raise FinalizedError after the end of the archive."""
        if self.final:
            raise FinalizedError("ZipStream has already been finalized: nothing can be added or changed")

    def add(self, queued: Queued, date: tuple[int, ...]) -> None:
        """Queue a member. date: its date as a time tuple."""
        with self.changing:
            self.refuse_if_final()
            if self.last_modified is None or self.last_modified < date:
                self.last_modified = date
            self.queue.append(queued)
            if self.sized:
                self.added.append(queued._replace(source=None))

    def take(self) -> Any:
        """Return the entry of the next member; None if there is none, or the budget is used up."""
        with self.changing:
            if len(self.left_out) > self._known_left_out:  # the last one taken: it is the archive itself
                self._known_left_out += 1
                self.levels.pop()
                self._taken.pop()
            self.unwritten()
            if self.final or not self.queue or not self.budget:
                return None
            self.budget -= 1
            queued = self.queue.popleft()
            self.levels.append(queued.level)
            self._taken.append(queued)
        try:
            return queued.entry(self.sized, self._method)
        except Exception as exc:
            exc.add_note(f"(while adding entry {queued.name!r})")
            raise

    def unwritten(self) -> deque[Queued]:
        """Return the members that were taken and are not written yet."""
        taken, count = self._taken, self.directory.count
        while taken and len(self.levels) - len(taken) < count:
            taken.popleft()
        return taken
