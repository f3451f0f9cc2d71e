"""PlainFile: a file sent unchanged, whole or in ranges."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Generator
from datetime import datetime
from pathlib import Path

from ..._entries.files.regular import open_regular
from ..._format.timestamps import date_of
from ..._layout.async_ranges import offloaded
from ...errors import SourceChangedError

_CHUNK = 1 << 18


class PlainFile:
    """A file that `respond` sends like a layout: whole or in ranges.

    Attributes:
        size: bytes.
        last_modified: its modification date, in UTC.
        etag: a strong validator, of size, exact date and inode.

    Raises OSError if it cannot be opened or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_regular(path) as file:
            info = os.fstat(file.fileno())
        self.size = info.st_size
        self.last_modified: datetime | None = date_of(info).replace(microsecond=0)
        self.etag: str | None = _tag(info)

    def iter_range(self, start: int = 0, stop: int | None = None) -> Generator[bytes, None, None]:
        """Yield the bytes from `start` to `stop`. Raises SourceChangedError if the file has changed."""
        left = (self.size if stop is None else stop) - start
        with open_regular(self._path) as file:
            file.seek(start)
            while left:
                data = file.read(min(left, _CHUNK))
                if not data or _tag(os.fstat(file.fileno())) != self.etag:
                    raise SourceChangedError(f"{str(self._path)!r} changed while it was sent")
                left -= len(data)
                yield data

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Like `iter_range`, on threads."""
        return offloaded(self.iter_range(start, stop))


def _tag(info: os.stat_result) -> str:
    return f"{info.st_size:x}-{info.st_mtime_ns:x}-{info.st_ino:x}"
