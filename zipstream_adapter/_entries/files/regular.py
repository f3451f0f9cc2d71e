"""Open regular files without waiting. A named pipe at a path is refused, not waited for."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import Any

from ...errors import NotAFileError

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Without it, opening a named pipe waits for a writer.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
READ_FLAGS = _OPEN_FLAGS | _NO_WAIT
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def open_to_read(path: Any, flags: int = _OPEN_FLAGS) -> int:
    """Return a descriptor of `path`, a file of any kind, without waiting. Also an ``opener`` for `open`."""
    return os.open(path, flags | _NO_WAIT)


def open_regular(path: Any) -> io.FileIO:
    """Open the regular file at `path`, unbuffered. Raises NotAFileError for any other kind of file, and OSError."""
    try:
        file = io.FileIO(path, "rb", opener=open_to_read)
    except OSError as exc:
        if exc.errno in (errno.ENXIO, errno.EISDIR):  # a socket, or a directory
            raise NotAFileError(no_file(path, os.stat(path).st_mode)) from exc
        raise
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise NotAFileError(no_file(path, mode))
    return file


def no_file(path: Any, mode: int) -> str:
    """Error text for a `path` that is not a regular file."""
    return f"{path!r} is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}, not a file"


def not_a_file(name: str, path: Any, mode: int) -> NotAFileError:
    """Return the error for the entry `name`, whose `path` is not a regular file."""
    advice = "; walk() gives its contents" if stat.S_ISDIR(mode) else ""
    return NotAFileError(f"entry {name!r}: {no_file(path, mode)}{advice}")
