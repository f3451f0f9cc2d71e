"""Files read for an event loop, through aiofiles: several chunks at a time, since each hop to a thread takes as long as
reading one.
"""

from __future__ import annotations

import os
import time
from collections import deque
from functools import cache
from typing import Any

import aiofiles.os

from .aio_wait import to_the_end
from .source import FILE_READ

# Bytes that all files of the process together are read ahead by, at most; beyond it, none is read ahead of demand.
_SHARED = 1 << 24
# Bytes that one is.
_MOST_AHEAD = 1 << 22
# The block that the C library shall have seen: see `_keep_pages`.
_KEPT = 1 << 21
# Seconds that a hop reads on for, where the file is slow.
_LONGEST_HOP = 0.005
# Files that are being read now. Not a count: threads with event loops of their own change it.
_files: dict[int, FileReader] = {}


class FileReader:
    """The chunks of `file`, one that aiofiles has opened: FILE_READ bytes each, or `size` if that is more."""

    def __init__(self, file: Any, size: int) -> None:
        _keep_pages()
        self._file = file
        self._size = max(size, FILE_READ)
        self._count = 0  # chunks of the last hop
        self._chunks: deque[bytes] = deque()
        _files[id(self)] = self

    @property
    def ahead(self) -> int:
        """Bytes that it wants to be ahead of demand by now."""
        return self._count * self._size if self._count > 1 else 0

    async def next(self) -> bytes:
        """The next chunk; b"" at the end."""
        if not self._chunks:
            most = min(_MOST_AHEAD, _SHARED // len(_files)) // (2 * self._size)
            self._count = max(1, min(2 * self._count, most))
            self._chunks.extend(await to_the_end(_read(self._file.fileno(), self._size, self._count)))
        return self._chunks.popleft()

    def close(self) -> None:
        """Let go of what is not asked for any more; the file is its owner's to close."""
        _files.pop(id(self), None)
        self._chunks.clear()


@cache
def _keep_pages() -> None:
    """Have the C library keep what is freed, once for the process, where it learns how much from the largest block yet.

    glibc gives back all that is free at the end of a thread's heap beyond twice that: each hop would have to be given
    its pages anew, which takes longer than reading into them.
    """
    bytes(_KEPT)


def _read_some(descriptor: int, size: int, count: int) -> list[bytes]:
    """Up to `count` chunks of `size` bytes each; the last is less where the file ends."""
    chunks = []
    until = time.monotonic() + _LONGEST_HOP
    for _ in range(count):
        chunks.append(os.read(descriptor, size))
        if len(chunks[-1]) < size or time.monotonic() > until:
            break
    return chunks


_read = aiofiles.os.wrap(_read_some)
