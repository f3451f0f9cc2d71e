"""The interface of SpiderOak's ZipStream: ``from zipstream_adapter.compat.spideroak import ZipStream``.

Iterating over ``ZipStream(path)`` yields the archive of a file, or of a directory and everything in it, under its own
name. Every member with data has a data descriptor. All symbolic links are followed, also out of the directory. Empty
directories are left out.

Differences from SpiderOak's ZipStream:

- It runs on Python 3, and chunks are ``bytes``.
- Members, archives and central directories may have any size. SpiderOak's fail over 2 GiB or 65,535 members.
- Each iteration makes a new archive. SpiderOak's second iteration repeats the first one's members with wrong offsets.
- A file that fails, shrinks or grows while it is read ends the archive; so does a directory that cannot be listed.
- A link to a directory that contains it raises UnsafeLinkError. SpiderOak follows it until the path is too long.
- Members are sorted by name. Unicode names have the UTF-8 flag.
- Dates of files are stored in UTC seconds and in local time. SpiderOak stores only local time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

from .._entries.entry import Entry, path_of
from .._format.names import is_plain, repaired
from .._stream import sync
from ..errors import OptionError, UnsafeLinkError
from ._local_clock import local_zipinfo

__all__ = ["ZIP_DEFLATED", "ZIP_STORED", "ZipStream"]


class CompressionError(OptionError, RuntimeError):
    """A compression other than ZIP_STORED and ZIP_DEFLATED."""


class ZipStream:
    """An archive of the file or directory at `path`, made during iteration.

    Args:
        path: a file or a directory. The file system is read during iteration.
        arc_path: directory in the archive under which `path` is put. Default: the top of the archive.
        compression: ZIP_DEFLATED (default) or ZIP_STORED.
        arcname: another name of `arc_path`; takes precedence.

    Raises:
        CompressionError: (a RuntimeError) for any other compression.
        OSError, UnsafeLinkError: during iteration.
        NotAFileError: during iteration, for sockets, named pipes and devices.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        arc_path: str = "",
        compression: int = ZIP_DEFLATED,
        *,
        arcname: str | None = None,
    ) -> None:
        if compression not in (ZIP_STORED, ZIP_DEFLATED):
            raise CompressionError(f"compression={compression!r} is not supported: give ZIP_STORED or ZIP_DEFLATED")
        self.path = path
        self.arc_path = arc_path if arcname is None else arcname
        self.compression = compression

    def __iter__(self) -> Iterator[bytes]:
        # Like SpiderOak, use basename: "tree/" has an empty name, so its files are at the top of the archive.
        top = os.fspath(path_of(self.path))
        name = os.path.join(self.arc_path, os.path.basename(os.fspath(self.path)))
        entries = _entries(top, name, ())
        options: Any = {"lookahead": 0, "duplicates": "allow", "make_zipinfo": local_zipinfo}
        with sync.stream_with(entries, compression=self.compression, **options) as chunks:
            yield from chunks


def _entries(place: str, name: str, around: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    """Yield an entry for each file at `place`. around: (device, inode) of the directories that contain it."""
    found = os.stat(place)
    if not stat.S_ISDIR(found.st_mode):
        yield Entry(_plain(name), Path(place))
        return
    identity = found.st_dev, found.st_ino
    if identity in around:
        raise UnsafeLinkError(f"{place!r} is a link to a directory that contains it: remove the link")
    for inner in sorted(os.listdir(place)):
        yield from _entries(os.path.join(place, inner), os.path.join(name, inner), (*around, identity))


def _plain(name: str) -> str:
    if is_plain(name):
        return name
    return repaired(os.path.normpath(os.path.splitdrive(name)[1]).replace(os.sep, "/"))
