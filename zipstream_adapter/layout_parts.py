"""Parts of a layout, each by itself: to be made in another process, or on another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import overload

from .counts import is_count
from .errors import OptionError
from .ranges import Maker
from .rereading import Piece


class Part:
    """The bytes of an archive from `start` to `stop`, and all that it takes to make them. Can be pickled.

    It carries some hundred bytes for each member that it touches, with the path (an absolute one) and the pin of its
    file, or just the data that it needs of what is in memory. Callables go by reference: they have to be importable
    there. ``len(part)`` is its size in bytes.
    """

    def __init__(self, start: int, stop: int, maker: Maker, chunk_size: int) -> None:
        self.start = start
        self.stop = stop
        self._maker = maker
        self._chunk_size = chunk_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return f"<Part of a ZipLayout, from {self.start} to {self.stop}>"

    def __iter__(self) -> Iterator[bytes]:
        """Its bytes in chunks. Raises as `ZipLayout.iter_range` does."""
        with closing(self._maker.chunks(self.start, self.stop, self._chunk_size)) as chunks:
            for chunk in chunks:
                if chunk:
                    yield chunk

    def read(self) -> bytes:
        """All of its bytes. Raises as `ZipLayout.iter_range` does."""
        return b"".join(list(iter(self)))


class Parts(Sequence[Part]):
    """All parts of an archive, in order, each made as it is asked for."""

    def __init__(self, maker: Maker, size: int, part_size: int, chunk_size: int) -> None:
        if not is_count(part_size, 1):
            raise OptionError(f"part_size={part_size!r}: give a number of bytes, 1 or more")
        self._maker = maker
        self._size = size
        self._part_size = part_size
        self._chunk_size = chunk_size

    def __len__(self) -> int:
        return -(-self._size // self._part_size)

    @overload
    def __getitem__(self, index: int) -> Part: ...

    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...

    def __getitem__(self, index: int | slice) -> Part | list[Part]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        start = range(len(self))[index] * self._part_size
        stop = min(self._size, start + self._part_size)
        return Part(start, stop, part_of(self._maker, start, stop), self._chunk_size)


def part_of(maker: Maker, start: int, stop: int) -> Maker:
    """A maker of no more than the bytes from `start` to `stop`."""
    members, first = maker.members_within(start, stop)
    for index, source in enumerate(members.sources):
        if type(source) is bytes:
            members.sources[index] = _needed(maker, first + index, source, start, stop)
            members.keep_crc(index, maker.members.crcs[first + index])
    listed, first = maker.listed_within(start, stop)
    for index, source in enumerate(listed.sources):
        if type(source) is bytes:
            maker.know_crc(first + index)
            listed.keep_crc(index, maker.members.crcs[first + index])
        if listed.knows_crc(index):
            listed.sources[index] = None
    for table in (members, listed):
        table.sources = [os.path.abspath(it) if isinstance(it, str) else it for it in table.sources]
    end = maker.end if stop > maker.end_at else b""
    return Maker(members, listed, maker.directory, end, maker.end_at)


def _needed(maker: Maker, index: int, data: bytes, start: int, stop: int) -> Piece:
    """Of the `data` of a member, what is needed for the bytes from `start` to `stop`."""
    maker.know_crc(index)
    first, last = maker.data_within(index, start, stop)
    return Piece(first, data[first:last])
