"""SOZip (Seek-Optimized ZIP, https://sozip.org): the index behind a deflated member, by which readers seek in it.

The member is deflated in chunks of equal size, each of which can be inflated without those before it. Behind it stands
a stored member with the offsets of the chunks. It has no central directory header, so that readers which go by the
central directory do not see it.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZIP_STORED, ZipInfo

from .records import DESCRIPTOR_FLAG, ENCRYPTED_FLAG, LIMIT16, LOCAL, decoded_name, local_header, needs_zip64

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytes of a chunk: by default, and at most. Chunk sizes are multiples of the default.
CHUNK = 1 << 15
MOST_CHUNK = 1 << 24
# Bytes of data from which the members of an archive get an index, as in GDAL.
LEAST_MEMBER = 1 << 20

# Version, bytes to skip after this header, chunk size, size of an offset, sizes of the data and of the compressed data.
_HEADER = struct.Struct("<4I2Q")
_VERSION = 1
_OFFSET_CODES = {4: "I", 8: "Q"}
# Data descriptors (APPNOTE 4.3.9): the signature is optional, and sizes have 32 or 64 bits.
_DESCRIPTORS = (struct.Struct("<4sL2Q"), struct.Struct("<4s3L"), struct.Struct("<L2Q"), struct.Struct("<3L"))
_SIGNATURE = b"PK\7\x08"
# Larger chunks of other writers are not used: one is held in memory. SOZip advises less than 100 MB.
_MOST_CHUNK_READ = 100 << 20


class Seeking(NamedTuple):
    """How a member is made seekable.

    Attributes:
        chunk: bytes of data of each chunk.
        least: bytes of data from which the member is deflated in chunks and gets an index.
    """

    chunk: int
    least: int


def index_name(name: str) -> str:
    """Return the name of the index of the member `name`."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}.{file}.sozip.idx"


def has_room_for_index(name: str) -> bool:
    """Whether the index of the member `name` has a name that a header can hold."""
    return len(index_name(name).encode()) <= LIMIT16


def index_member(info: ZipInfo, chunk: int, offsets: array[int]) -> bytes:
    """Pack the index of the finished member `info`: its local file header and its data.

    offsets: of all chunks but the first, in the member's compressed data.
    """
    packed = array("Q", offsets)
    if sys.byteorder == "big":
        packed.byteswap()
    data = _HEADER.pack(_VERSION, 0, chunk, 8, info.file_size, info.compress_size) + packed.tobytes()
    index = ZipInfo(index_name(info.filename), info.date_time)
    index.compress_type, index.CRC = ZIP_STORED, zlib.crc32(data)
    index.file_size = index.compress_size = len(data)
    return local_header(index, zip64=needs_zip64(index)) + data


class SeekPoints(NamedTuple):
    """The chunks of a deflated member.

    Attributes:
        start: offset of the member's compressed data; of what, the caller knows.
        chunk: bytes of data of each chunk but the last.
        size, coded: bytes of all data, and of all compressed data.
        offsets: of all chunks but the first, in the compressed data.
    """

    start: int
    chunk: int
    size: int
    coded: int
    offsets: array[int]

    def chunks(self, at: int, stop: int) -> range:
        """Return the numbers of the chunks that have the data from `at` to `stop`."""
        return range(at // self.chunk, (min(stop, self.size) + self.chunk - 1) // self.chunk)

    def places(self, numbers: range, limit: int) -> tuple[int, int] | None:
        """Return the offsets at which chunks begin and end; None if they are not within the archive up to `limit`."""
        first, stop = self.place(numbers.start), self.place(numbers.stop)
        return None if first < 0 or stop > limit else (first, stop)

    def place(self, number: int) -> int:
        """Return the offset at which a chunk begins. The number after the last one gives the end."""
        inner = 0 if not number else self.offsets[number - 1] if number <= len(self.offsets) else self.coded
        return self.start + inner

    def length(self, number: int) -> int:
        """Return the bytes of data of a chunk."""
        return min(self.chunk, self.size - number * self.chunk)

    def is_last(self, number: int) -> bool:
        """Whether the compressed data ends with this chunk."""
        return number == len(self.offsets)


def least_tail(info: ZipInfo) -> tuple[int, int]:
    """Return where the index of the member `info` can begin at the earliest, and end.

    Both are offsets in the archive: an archive whose next member begins before the second one has no index there.
    """
    name = len(info.orig_filename) if info.orig_filename.isascii() else 0  # the encoding is not known
    begin = info.header_offset + LOCAL.size + name + info.compress_size
    return begin, begin + LOCAL.size + name + len("..sozip.idx") + _HEADER.size + 4


def find_index(tail: bytes, begin: int, info: ZipInfo) -> SeekPoints | None:
    """Return the chunks of the member `info` by its index; None if there is none, or one that contradicts the member.

    Args:
        tail: the archive's bytes from `begin` (see `least_tail`) to the next member.
        begin: offset in the archive.
        info: the member, by its central directory header.
    """
    for at, data in _indexes(tail, info):
        parsed = _offsets_in(data, info)
        if parsed is None:
            continue
        # Before the index stands the data, maybe with a data descriptor. That is where the data begins, too: the
        # central directory does not tell the size of the local file header.
        end = begin + at - _descriptor_size(tail[:at], info)
        if end >= begin:
            return SeekPoints(end - info.compress_size, parsed[0], info.file_size, info.compress_size, parsed[1])
    return None


def _indexes(tail: bytes, info: ZipInfo) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, data) of each stored member in `tail` that has the name of the index, and its CRC-32."""
    first, slash, rest = info.orig_filename.partition("/")
    # GDAL puts the dot before the second component of a path.
    names = {index_name(info.orig_filename), f"{first}/.{rest}.sozip.idx" if slash else ""}
    at = -1
    while (at := tail.find(b"PK\3\4", at + 1)) >= 0 and at + LOCAL.size <= len(tail):
        _, _, _, flags, method, _, _, crc, coded, size, name_size, extra_size = LOCAL.unpack_from(tail, at)
        name = tail[at + LOCAL.size :][:name_size]
        if method != ZIP_STORED or coded != size or flags & (DESCRIPTOR_FLAG | ENCRYPTED_FLAG):
            continue
        data = tail[at + LOCAL.size + name_size + extra_size :][:size]
        if decoded_name(name, flags) in names and len(data) == size and zlib.crc32(data) == crc:
            yield at, data


def _offsets_in(index: bytes, info: ZipInfo) -> tuple[int, array[int]] | None:
    """Return (chunk size, offsets) of an index; None unless it is one of the member `info`."""
    if len(index) < _HEADER.size:
        return None
    version, skipped, chunk, width, size, coded = _HEADER.unpack_from(index)
    if (version, size, coded) != (_VERSION, info.file_size, info.compress_size) or width not in _OFFSET_CODES:
        return None
    if not 0 < chunk <= _MOST_CHUNK_READ or chunk >= size:
        return None
    begin = _HEADER.size + skipped
    if len(index) != begin + width * ((size - 1) // chunk):
        return None
    offsets = array(_OFFSET_CODES[width])
    if offsets.itemsize != width:  # "I" has 4 bytes everywhere that Python runs, but no standard says so
        return None
    offsets.frombytes(index[begin:])
    if sys.byteorder == "big":
        offsets.byteswap()
    if offsets[0] == 0 or offsets[-1] >= coded or any(one >= other for one, other in pairwise(offsets)):
        return None
    return chunk, offsets


def _descriptor_size(data: bytes, info: ZipInfo) -> int:
    """Return the size of the member's data descriptor at the end of `data`; 0 if there is none."""
    values = info.CRC, info.compress_size, info.file_size
    for layout in _DESCRIPTORS:
        if len(data) < layout.size:
            continue
        found = layout.unpack(data[-layout.size :])
        if found in (values, (_SIGNATURE, *values)):
            return layout.size
    return 0
