"""Parts of a layout that can be made on their own, in another process or on another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import overload

from .._checks import check_count, shown_half_made
from .ranges import RangeWriter
from .rereading import Piece


@shown_half_made
class Part:
    """The bytes of an archive from `start` to `stop`, with all that is needed to make them. Can be pickled.

    ``len(part)`` is its size in bytes. A part carries about 100 bytes for each member that it touches, plus the
    absolute path, size and date of the member's file, or only the needed bytes of data in memory. Callables are pickled
    by reference, so they must be importable where the part is made.
    """

    def __init__(self, start: int, stop: int, writer: RangeWriter, chunk_size: int) -> None:
        self.start = start
        self.stop = stop
        self._writer = writer
        self._chunk_size = chunk_size

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return f"<Part of a ZipLayout, from {self.start} to {self.stop}>"

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over its bytes in chunks. Raises the errors of `ZipLayout.iter_range`."""
        return self._writer.data(self.start, self.stop, self._chunk_size)

    def find_checksums(self) -> None:
        """Compute the CRC-32s that it needs, of members whose data is not all in it. It makes its bytes then steadily.

        Raises the errors of `ZipLayout.iter_range`.
        """
        for _ in self._writer.find_crcs_within(self.start, self.stop):
            pass

    def read(self) -> bytes:
        """Return all of its bytes. Raises the errors of `ZipLayout.iter_range`."""
        return b"".join(list(iter(self)))


class Parts(Sequence[Part]):
    """All parts of an archive, in order; each is made on access."""

    def __init__(self, writer: RangeWriter, size: int, part_size: int, chunk_size: int) -> None:
        self._writer = writer
        self._size = size
        self._part_size = check_count("part_size", part_size, 1, "a number of bytes")
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
        return Part(start, stop, cut_writer(self._writer, start, stop), self._chunk_size)


def cut_writer(writer: RangeWriter, start: int, stop: int) -> RangeWriter:
    """Make a RangeWriter that holds only what the bytes from `start` to `stop` need."""
    members, first = writer.members_within(start, stop)
    for index, source in enumerate(members.sources):
        if type(source) is bytes:
            members.sources[index] = _needed(writer, first + index, source, start, stop)
            members.keep_crc(index, writer.members.crcs[first + index])
        elif callable(narrowed_to := getattr(source, "narrowed_to", None)):
            members.sources[index] = narrowed_to(*writer.data_within(first + index, start, stop))
    listed, first = writer.listed_within(start, stop)
    for index in listed.unknown():
        if type(listed.sources[index]) is bytes:
            writer.know_crc(first + index)
            listed.keep_crc(index, writer.members.crcs[first + index])
            listed.sources[index] = None
    for table in (members, listed):
        table.sources = [os.path.abspath(it) if isinstance(it, str) else it for it in table.sources]
    end = writer.end if stop > writer.end_at else b""
    return RangeWriter(members, listed, writer.directory, end, writer.end_at)


def _needed(writer: RangeWriter, index: int, data: bytes, start: int, stop: int) -> Piece:
    """Return the piece of a member's `data` that the archive's bytes from `start` to `stop` need."""
    writer.know_crc(index)
    first, last = writer.data_within(index, start, stop)
    return Piece(first, data[first:last])
