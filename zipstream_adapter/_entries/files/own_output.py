"""Recognise the archive itself if it is written into the tree it is made from: it must not become a member."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import Any

from ..._checks import shown_half_made
from .regular import open_regular

Identity = tuple[int, int]  # device and inode
# Nanoseconds by which the clock of a file system may lag.
_CLOCK = 50_000_000
# Most and least bytes of the beginning to compare. Least: a local file header (APPNOTE 4.3.7) without its name.
_HEAD, _LEAST = 64, 30


@shown_half_made
class OwnOutput:
    """The path of an empty file that this process has open for writing: the archive before its first byte.

    `walk` uses it as the source of an entry. A stream leaves that entry out.
    """

    def __init__(self, path: os.PathLike[Any]) -> None:
        self._path = path

    def __fspath__(self) -> Any:
        return os.fspath(self._path)

    def __repr__(self) -> str:
        return repr(self._path)


class Outgoing:
    """The beginning of the archive as sent so far, to recognise the archive in a file that is to be its member.

    Attributes:
        size: bytes sent.
    """

    def __init__(self) -> None:
        self._since = time.time_ns() - _CLOCK
        self._head = b""
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Record that `chunk` is sent."""
        self.size += len(chunk)
        if len(self._head) < _HEAD:
            self._head += chunk[: _HEAD - len(self._head)]

    def may_be(self, info: os.stat_result) -> bool:
        """Whether a file with the stat result `info` may be the archive: is new, and not larger than what was sent."""
        return info.st_mtime_ns >= self._since and 0 < info.st_size <= self.size

    def is_in(self, path: os.PathLike[Any], info: os.stat_result) -> bool:
        """Whether `may_be` is true of the file at `path`, and it begins with the same bytes as the archive."""
        if not self.may_be(info):
            return False
        try:
            with open_regular(path) as file:
                head = file.read(_HEAD)
        except OSError:
            return False
        return len(head) >= _LEAST and self._head.startswith(head)


def identity_of(info: os.stat_result) -> Identity:
    """Device and inode, which identify a file or directory under any name."""
    return info.st_dev, info.st_ino


def begun_outputs() -> set[Identity]:
    """The empty files that this process has open for writing. Returns an empty set if the system does not list them."""
    found = set()
    for descriptor in _descriptors():
        with suppress(OSError):
            info = os.fstat(descriptor)
            if stat.S_ISREG(info.st_mode) and not info.st_size and _is_writable(descriptor):
                found.add(identity_of(info))
    return found


def _descriptors() -> list[int]:
    for place in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(name) for name in os.listdir(place) if name.isdecimal()]
    return []


def _is_writable(descriptor: int) -> bool:
    import fcntl  # exists on every system that lists descriptors

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
