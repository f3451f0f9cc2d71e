"""The members of `compat.zipstream_ng`: what is queued, what its ZipInfo says, and how both are listed."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from ..compress import ZIP_ZSTANDARD, check_installed, check_level
from ..errors import StreamStateError
from ..records import DOS_DIRECTORY, data_descriptor, local_header, needs_zip64
from ..source import FileFacts

if TYPE_CHECKING:
    from ..entry import StrPath

log = logging.getLogger("zipstream_adapter.compat.zipstream_ng")

WITHOUT_LEVEL = (ZIP_STORED, ZIP_LZMA)
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 59)
_UNIX = 3


class ZipStreamInfo(ZipInfo):
    """What an archive says of a member. The date is local time (default: now), moved to where the format reaches."""

    def __init__(self, filename: str, date_time: tuple[int, ...] | None = None) -> None:
        date = tuple(date_time or time.localtime()[:6])
        fitting = min(max(_EARLIEST, date), _LATEST)
        if date != fitting:
            log.warning("The date %s is outside of 1980 to 2107, which is all a zip file can say: it was moved", date)
        super().__init__(filename, fitting)  # type: ignore[arg-type]

    def DataDescriptor(self, zip64: bool) -> bytes:
        """What follows the data of a member whose header has left before it (APPNOTE 4.3.9)."""
        return data_descriptor(self, zip64=zip64)

    def FileHeader(self, zip64: bool | None = None) -> bytes:
        """What stands before the data (APPNOTE 4.3.7)."""
        return local_header(self, zip64=bool(zip64))


def walk(path: StrPath, preserve_empty: bool = True, followlinks: bool = True) -> Iterator[str]:
    """The paths of all files under the directory `path`.

    Args:
        preserve_empty: also those of empty directories, with a separator at the end.
        followlinks: enter directories that are linked to, each directory once.

    Raises: OSError for what cannot be listed or is not there.
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
    """The directories in `place` that are not `entered` yet, which they are from now on."""
    kept = set()
    paths = {name: os.path.join(place, name) for name in names}
    for name in sorted(names, key=lambda name: os.path.islink(paths[name])):  # a directory before links to it
        identity = _identity(paths[name])
        if identity not in entered:
            entered.add(identity)
            kept.add(name)
    return [name for name in names if name in kept]


def _identity(path: Any) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_dev, info.st_ino


def info_of(name: str, modified: float | None, mode: int, method: int) -> ZipStreamInfo:
    """The ZipInfo of a member of that date (None for now)."""
    info = ZipStreamInfo(name, tuple(time.localtime(modified)[:6]))
    info.external_attr = mode << 16 | (DOS_DIRECTORY if name.endswith("/") else 0)
    info.create_system = _UNIX
    info.compress_type = method
    return info


class Queued(NamedTuple):
    """A member to be. size: bytes that were announced, or found when it was added; None where nobody knows."""

    name: str
    source: Any
    size: int | None
    method: int
    level: int | None

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.name.endswith("/")

    def info(self, facts: FileFacts | None) -> ZipStreamInfo:
        """Its ZipInfo. facts: of the file or directory that was opened, if any."""
        mode = facts.mode if facts else stat.S_IFDIR | 0o775 if self.is_dir else 0o600
        info = info_of(self.name, facts.stat.st_mtime if facts else None, mode, self.method)
        info.file_size = self.size or 0
        return info

    def needs_zip64(self, info: ZipInfo) -> bool:
        """Whether its header has to have room for any size."""
        return self.size is None or needs_zip64(info)

    def listed(self) -> dict[str, Any]:
        """As `info_list` has it before its turn."""
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
    """A member that is in the archive."""

    info: ZipInfo
    level: int | None

    def listed(self) -> dict[str, Any]:
        """As `info_list` has it."""
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
        """As `get_info` has it."""
        listed = {key: value for key, value in self.listed().items() if key not in ("is_dir", "streamed")}
        listed["datetime"] = datetime(*self.info.date_time).isoformat()
        return {**listed, "extract_version": self.info.extract_version}


class MissingModuleError(ImportError, RuntimeError):
    """What a method needs is not installed."""


def check_compression(method: int, level: int | None) -> None:
    """Refuse a method that is not written, or not installed, and a level that the method does not have."""
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


class FinalizedError(StreamStateError, RuntimeError):
    """A ZipStream was to be changed after its end."""


class Members:
    """What has been added to a ZipStream, and how much of it is in the archive. `changing` guards all of it.

    An object of its own: each attribute of a ZipStream itself takes a call (see its ``__getattribute__``).
    """

    def __init__(self, sized: bool) -> None:
        self.sized = sized
        self.queue: deque[Queued] = deque()
        self.current: Queued | None = None
        self.streamed: list[int | None] = []  # the level of each member that is in the archive
        self.added: list[Queued] = []  # of a sized stream, all that ever were
        self.last_modified: tuple[int, ...] | None = None
        self.final = False
        self.changing = threading.RLock()

    def refuse_if_final(self) -> None:
        """Raise, if nothing can be added or changed any more."""
        if self.final:
            raise FinalizedError("ZipStream has already been finalized: nothing can be added or changed")

    def add(self, queued: Queued, date: tuple[int, ...]) -> None:
        """Queue a member of that date."""
        with self.changing:
            self.refuse_if_final()
            if self.last_modified is None or self.last_modified < date:
                self.last_modified = date
            self.queue.append(queued)
            if self.sized:
                self.added.append(queued._replace(source=None))

    def take(self) -> Queued | None:
        """The next member, which is `current` from now on; None if there is none."""
        with self.changing:
            self.current = self.queue.popleft() if self.queue and not self.final else None
            return self.current

    def done(self, queued: Queued) -> None:
        """The current member is in the archive."""
        with self.changing:
            self.streamed.append(queued.level)
            self.current = None
