"""Files for an event loop: aiofiles opens and closes them; they are read where the work on their data is done."""

from __future__ import annotations

import os
import stat
from typing import Any

import aiofiles
import aiofiles.os

from .aio_wait import closed, kept, to_the_end
from .source import FILE_READ, FileFacts, facts_of, not_a_file

_fstat = aiofiles.os.wrap(os.fstat)


class OpenFile:
    """A file that aiofiles has opened: an iterator of its chunks, for threads.

    To read it through aiofiles would take a hop to a thread for each chunk, which is longer than reading one; and what
    is read on one core is slow to work on on another.

    Attributes:
        size: bytes in it; None where it says 0, as one does that is made as it is read.
        facts: what it says of itself.
    """

    in_memory = False

    def __init__(self, handle: Any, facts: FileFacts, read_size: int) -> None:
        self.handle = handle
        self.facts = facts
        self.size = facts.size or None
        self.read_size = max(read_size, FILE_READ)
        self._descriptor = handle.fileno()

    def __next__(self) -> bytes:
        chunk = os.read(self._descriptor, self.read_size)
        if not chunk:
            raise StopIteration
        return chunk

    async def close(self) -> None:
        """Close it; further calls do nothing."""
        await closed(self.handle.close())


async def open_file(name: str, path: os.PathLike[Any], read_size: int) -> OpenFile:
    """The file at `path`, for the entry `name`."""
    # A named pipe that nobody writes to has to be refused, not waited for.
    info = await to_the_end(aiofiles.os.stat(path))
    if not stat.S_ISREG(info.st_mode):
        raise not_a_file(name, os.fspath(path), info.st_mode)
    opened: list[Any] = []
    try:
        await kept(aiofiles.open(path, "rb", buffering=0), opened.append)
        info = await to_the_end(_fstat(opened[0].fileno()))
        return OpenFile(opened[0], facts_of(info, path), read_size)
    except BaseException:
        for handle in opened:
            await closed(handle.close())
        raise
