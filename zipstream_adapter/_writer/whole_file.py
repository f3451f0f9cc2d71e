"""WholeFile: a file that gets its name once it is complete."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .._checks import shown_half_made
from .._entries.entry import path_text
from .._entries.files.own_output import Identity, identity_of
from .._entries.files.regular import no_file
from ..errors import NotAFileError
from .sink import FileSink

if TYPE_CHECKING:
    from .._entries.types import StrPath

_LONGEST_NAME = 200  # bytes; the temporary name is a little longer
# Errors of fsync() on file systems that do not support it.
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


@shown_half_made
class WholeFile:
    """A file that is written under a temporary name beside `path`, and renamed once it is complete.

    Until then only its owner can open it. `finish` flushes it to the disk, gives it the owner, group and mode of the
    file that it replaces, or those of a new file, and renames it; `abort` removes it. Call one of them. A link at
    `path` stays: the file that it leads to is replaced. An OSError names `path`, and not the temporary name.

    Attributes:
        identities: device and inode of the file, and of the file that it will replace; known once it is open.
    """

    def __init__(self, path: StrPath) -> None:
        self._shown = path_text(path)
        self._target = Path()
        self._beside: Path | None = None  # set before the file is created: an interrupt may come in between
        self._file: io.FileIO | None = None
        self._sink: FileSink | None = None
        self._given_up = False
        self.identities: tuple[Identity, ...] = ()

    def __repr__(self) -> str:
        return f"<WholeFile {self._shown!r}>"

    def open(self) -> None:
        """Create the temporary file. Raises IsADirectoryError or NotAFileError if something else is at the path."""
        if self._shown.endswith(("/", os.sep)):  # realpath() takes it away
            raise IsADirectoryError(f"{self._shown!r} is a directory: give the name of the archive file")
        self._target = target = Path(os.path.realpath(self._shown))
        identities = []
        with self._named(), contextlib.suppress(FileNotFoundError):
            info = target.stat()
            if stat.S_ISDIR(info.st_mode):
                raise IsADirectoryError(f"{self._shown!r} is a directory: give the name of the archive file")
            if not stat.S_ISREG(info.st_mode):
                advice = "write the stream's chunks to it, as it cannot be replaced"
                raise NotAFileError(f"{no_file(self._shown, info.st_mode)}: {advice}")
            identities.append(identity_of(info))
        stem = target.name if len(os.fsencode(target.name)) < _LONGEST_NAME else "archive"
        self._beside = target.with_name(f".{stem}.{secrets.token_hex(4)}.part")
        try:
            with self._named():
                self._file = file = io.FileIO(self._beside, "xb", opener=_create_private)
        except FileExistsError:  # somebody else's
            self._beside = None
            raise
        self._sink = FileSink(file)
        self.identities = (identity_of(os.fstat(file.fileno())), *identities)
        if self._given_up:
            self.abort()

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        assert self._sink is not None
        with self._named():
            self._sink.write(data)

    def finish(self) -> None:
        """Flush the file to the disk and give it its name."""
        assert self._file is not None and self._beside is not None
        with self._named():
            _set_access(self._file.fileno(), self._target)
            _flush(self._file.fileno())
            self._file.close()
            os.replace(self._beside, self._target)
            _flush_directory(self._target.parent)

    def abort(self) -> None:
        """Remove the file, unless it has its name already."""
        self._given_up = True
        if self._file is not None:
            self._file.close()
        if self._beside is not None:
            with contextlib.suppress(FileNotFoundError):
                self._beside.unlink()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Let an OSError name the path that was given."""
        try:
            yield
        except OSError as exc:
            if exc.errno is not None:
                exc.filename = self._shown
                del exc.filename2  # None would be shown
            raise


def _create_private(path: str, flags: int) -> int:
    """Create a file that only its owner can open: a process that has opened it keeps access when the mode changes."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o600)


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_FSYNC:
            raise


def _flush_directory(path: Path) -> None:
    """Flush a directory, so that a power failure does not take the new name back. Not every system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _set_access(descriptor: int, target: Path) -> None:
    """Set owner, group and mode of a finished file: those of the `target` it replaces, or those of a new file."""
    if not hasattr(os, "fchmod"):
        return
    try:
        replaced = target.stat()
    except FileNotFoundError:
        mode = 0o666 & ~umask()
    else:
        mode = replaced.st_mode & 0o777
        if not _chown(descriptor, group=replaced.st_gid):
            mode &= ~0o070  # do not give the old group's permissions to a different group
        _chown(descriptor, user=replaced.st_uid)
    with contextlib.suppress(PermissionError):  # the file system may not support modes
        os.fchmod(descriptor, mode)


def _chown(descriptor: int, user: int = -1, group: int = -1) -> bool:
    """Change the owner or group. Returns whether the file has it afterwards."""
    info = os.fstat(descriptor)
    if user in (-1, info.st_uid) and group in (-1, info.st_gid):
        return True
    try:
        os.fchown(descriptor, user, group)
    except OSError:
        return False
    return True


def umask() -> int:
    """Return the process's umask. Reading it requires setting it; a strict value is safe if other threads run."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
