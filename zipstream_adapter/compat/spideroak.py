"""For programs written for SpiderOak's ZipStream: ``from zipstream_adapter.compat.spideroak import ZipStream``.

Iterating over ``ZipStream(path)`` gives the archive of a file, or of a directory and all that is in it, under its own
name. Every member that has data has a data descriptor. Symbolic links are followed, wherever they lead; empty
directories are left out.

What is otherwise than there:

- It runs on Python 3, and the chunks are ``bytes``.
- Members, archives and directories of any size are right: there, descriptors and directories fail past 2 GiB, or
  65,535 members.
- Each iteration makes the archive anew: there, the second has wrong offsets, and the first one's members.
- A file that fails, shrinks or grows while it is read ends the archive, and so does a directory that cannot be listed.
- A link that leads to a directory around it raises UnsafeLinkError: there, it is followed until its path is too long.
- Members come in the order of their names, and names in Unicode say so.
- Files' dates are stored as UTC seconds, too, and not only by the clock of this machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED

from ..dates import date_of
from ..entry import Entry, path_of
from ..errors import OptionError, UnsafeLinkError
from ..names import is_plain, repaired
from ..stream import stream_zip
from .clock import by_clock

__all__ = ["ZIP_DEFLATED", "ZIP_STORED", "ZipStream"]


class CompressionError(OptionError, RuntimeError):
    """A compression other than ZIP_STORED and ZIP_DEFLATED."""


class ZipStream:
    """The archive of what is at `path`, made as it is iterated over.

    Args:
        path: a file or a directory; it and what is in it is looked at during iteration.
        arc_path: the directory in the archive that it stands in. Default: none.
        compression: ZIP_DEFLATED, or ZIP_STORED.
        arcname: another name for `arc_path`.

    Raises CompressionError (a RuntimeError) for another compression. While iterating: OSError, UnsafeLinkError,
    NotAFileError for sockets, named pipes and devices.
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
        # basename, as there: of "tree/" that is "", and its files stand at the top.
        top = os.fspath(path_of(self.path))
        name = os.path.join(self.arc_path, os.path.basename(os.fspath(self.path)))
        entries = _entries(top, name, ())
        with stream_zip(entries, compression=self.compression, lookahead=0, duplicates="allow") as chunks:
            yield from chunks


def _entries(place: str, name: str, around: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    """What is at `place`, under `name`; `around`: the directories that it is in."""
    found = os.stat(place)
    if not stat.S_ISDIR(found.st_mode):
        yield Entry(_plain(name), Path(place), **by_clock(date_of(found)))
        return
    identity = found.st_dev, found.st_ino
    if identity in around:
        raise UnsafeLinkError(f"{place!r} is a link that leads to a directory around it: remove it")
    for inner in sorted(os.listdir(place)):
        yield from _entries(os.path.join(place, inner), os.path.join(name, inner), (*around, identity))


def _plain(name: str) -> str:
    if is_plain(name):
        return name
    return repaired(os.path.normpath(os.path.splitdrive(name)[1]).replace(os.sep, "/"))
