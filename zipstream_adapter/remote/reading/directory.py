"""Parse the central directory of a remote archive and check it against the end records.

`zipfile` finds the same records and parses them, so it sees the records that are checked here (APPNOTE 4.3.14 to
4.3.16).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from zipfile import BadZipFile, ZipFile

from ..._buffers import RangeFile
from ..._checks import shown_half_made
from ..._format.end_records import End
from ..._format.records import LIMIT16
from ...errors import BadArchiveError


@shown_half_made
class ArchiveFile(RangeFile):
    """File over the archive for `zipfile`.

    It has only the last bytes, with the central directory, until `switch_to` is called. `zipfile` reads the central
    directory through it. Members are read through it only if a program has changed the archive's class to one that does
    so, as ``zipfile.Path`` does.

    Args:
        start: offset of `data` in the archive.
        data: the last bytes of the archive.
        name: the archive's name.
    """

    _close: Callable[[], object] | None = None

    def __init__(self, start: int, data: bytes, name: str) -> None:
        super().__init__(start + len(data))
        self.name = name
        self._start = start
        self._data = data
        self._fetch: Callable[[int, int], bytes] | None = None

    def __repr__(self) -> str:
        return repr(self.name)

    def _read(self, size: int) -> bytes:
        wanted = min(size, max(0, self._size - self._at))
        if self._fetch is not None:
            return self._fetch(self._at, wanted) if wanted else b""
        if self._at < self._start:
            raise OSError("the bytes before the central directory have not been fetched")
        return self._data[self._at - self._start :][:wanted]

    def switch_to(self, fetch: Callable[[int, int], bytes], close: Callable[[], object]) -> None:
        """Drop the last bytes and read through `fetch(offset, size)` from now on. Closing calls `close`."""
        self._data = b""
        self._fetch, self._close = fetch, close

    def detach(self) -> None:
        """Do not call `close` on closing any more."""
        self._close = None

    def close(self) -> None:
        if self._close is not None:
            self._close()
        super().close()


def parse_directory(kind: type[ZipFile], file: ArchiveFile, end: End, where: str) -> ZipFile:
    """Return the archive as parsed by `zipfile`. Raises BadArchiveError if invalid or in contradiction to `end`."""
    try:
        archive = kind(file)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error) as exc:
        raise BadArchiveError(f"{where} cannot be read as a zip archive: {exc}") from exc
    count = len(archive.filelist)
    if count != end.members and not (end.wraps and count % (LIMIT16 + 1) == end.members):
        raise BadArchiveError(
            f"{where} contradicts itself: its end record says {end.members} members, but its "
            f"central directory has {count}"
        )
    return archive
