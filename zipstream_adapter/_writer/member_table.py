"""MemberTable: packed metadata of a layout's members: their central directory headers, and some numbers for each."""

from __future__ import annotations

import operator
import pickle
import sys
import zlib
from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .._format.central_directory import put_crc, read_member

if TYPE_CHECKING:
    from typing import Self
    from zipfile import ZipInfo

# Flags of a member:
# ZIP64: its local file header is zip64.
# DECLARED: its CRC-32 was declared, or its header was planned with the cached one: its central directory header has it.
# KNOWN: its CRC-32 is known, because it was declared, cached, or computed by reading.
# RAW: its source gives data that is already compressed.
# REMEMBERED: its CRC-32 comes from a cache.
ZIP64, DECLARED, KNOWN, RAW, REMEMBERED = 1, 2, 4, 8, 16
# Dates are kept modulo 2**64: file systems have dates whose nanoseconds do not fit into 64 bits with a sign.
_DATE_BITS = (1 << 64) - 1
_STABLE = bytes(byte & (ZIP64 | DECLARED | RAW) for byte in range(256))


class MemberTable:
    """The members of a planned archive in about 100 bytes each, with no object per member except its source.

    Attributes:
        offsets: offset in the archive of each local file header, followed by the offset of the central directory.
        header_places: offset in the central directory of each header, followed by the end of the last header.
        headers: the central directory headers, one after another.
        crcs: CRC-32 of each member, 0 if not known.
        flags: flags of each member: see `ZIP64` and the others.
        sources: source of each member: its data (bytes), the path of its file (str), another source, or None.
        dates: modification date of each member's file in nanoseconds, modulo 2**64; 0 if the source is not a file.
        identities: inode of each member's file; 0 if the source is not a file. Empty where inodes are not compared.
    """

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.header_places = array("Q", (0,))
        self.headers: bytes | bytearray = bytearray()
        self.crcs = array("I")
        self.flags = bytearray()
        self.sources: list[Any] = []
        self.dates = array("Q")
        self.identities = array("Q")

    def __len__(self) -> int:
        return len(self.flags)

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what is pickled: compressed columns, and the sources that cannot be compressed."""
        columns = [
            _packed(column)
            for column in (_steps(self.offsets), _steps(self.header_places), self.crcs, self.dates, self.identities)
        ]
        return (*columns, _compressed(self.headers), _compressed(self.flags), _packed_sources(self.sources))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *columns, headers, flags, sources = state
        offsets, places, self.crcs, self.dates, self.identities = map(_unpacked, columns)
        self.offsets, self.header_places = (array("Q", accumulate(steps)) for steps in (offsets, places))
        self.headers, self.flags = zlib.decompress(headers), bytearray(zlib.decompress(flags))
        self.sources = _unpacked_sources(*sources)

    def add_header(self, header: bytes) -> None:
        """Add a member by its central directory header."""
        self.headers += header
        self.header_places.append(len(self.headers))

    def add(self, offset: int, crc: int | None, flags: int) -> None:
        """Add the other metadata of the member whose header was added last, except its source (see `add_source`)."""
        self.offsets.append(offset)
        self.crcs.append(crc or 0)
        self.flags.append(flags | (0 if crc is None else DECLARED | KNOWN))

    def add_source(self, source: Any, date: int = 0, identity: int = 0) -> None:
        """Add the source of the member that was added last; `date` and `identity` if it is a file."""
        self.sources.append(source)
        self.dates.append(date & _DATE_BITS)
        self.identities.append(identity)

    def cut(self, first: int, stop: int) -> Self:
        """Return a table of the members from `first` to `stop`, without inodes, which are valid on one machine only."""
        part = type(self)()
        part.offsets = self.offsets[first : stop + 1]
        part.header_places = self.header_places[first : stop + 1]
        start = self.header_places[0]
        part.headers = bytes(self.headers[part.header_places[0] - start : part.header_places[-1] - start])
        part.crcs, part.flags = self.crcs[first:stop], self.flags[first:stop]
        part.sources, part.dates = self.sources[first:stop], self.dates[first:stop]
        return part

    def cut_headers(self, first: int, stop: int) -> Self:
        """Like `cut`, for making central directory headers only: without offsets, and sources whose CRC-32 is known."""
        part = self.cut(first, stop)
        part.offsets = array("Q")
        for index in range(len(part)):
            if part.knows_crc(index):
                part.sources[index] = None
                part.dates[index] = 0
            if part.is_declared(index):
                part.crcs[index] = 0  # the header has it
        return part

    def at_offset(self, offset: int) -> int:
        """Return the index of the member that contains the archive's byte at `offset`."""
        return bisect_right(self.offsets, offset) - 1

    def at_place(self, place: int) -> int:
        """Return the index of the member whose header contains the central directory's byte at `place`."""
        return bisect_right(self.header_places, place) - 1

    def info(self, index: int) -> ZipInfo:
        """Return a member's ZipInfo for its local file header and data descriptor; its CRC-32 is 0 if not known."""
        info = read_member(self.headers, self.header_places[index] - self.header_places[0])
        info.CRC = self.crcs[index]
        return info

    def pin_of(self, index: int) -> tuple[int, int]:
        """Return the (date, inode) of a member's file; see `dates` and `identities`."""
        return self.dates[index], self.identities[index] if self.identities else 0

    def is_zip64(self, index: int) -> bool:
        """Return whether a member's local file header is zip64."""
        return bool(self.flags[index] & ZIP64)

    def is_raw(self, index: int) -> bool:
        """Return whether a member's source gives data that is already compressed."""
        return bool(self.flags[index] & RAW)

    def knows_crc(self, index: int) -> bool:
        """Return whether a member's CRC-32 is known."""
        return bool(self.flags[index] & KNOWN)

    def is_declared(self, index: int) -> bool:
        """Return whether a member's header was planned with its CRC-32, before anything was read."""
        return bool(self.flags[index] & DECLARED)

    def is_remembered(self, index: int) -> bool:
        """Return whether a member's CRC-32 comes from a cache."""
        return bool(self.flags[index] & REMEMBERED)

    def remember(self, crc: int) -> None:
        """Set the CRC-32 of the member that was added last, as a cache has it."""
        self.crcs[-1] = crc
        self.flags[-1] |= KNOWN | REMEMBERED

    def keep_crc(self, index: int, crc: int) -> None:
        """Set the CRC-32 of a member, computed by reading its data."""
        self.crcs[index] = crc
        self.flags[index] |= KNOWN

    def unknown(self, first: int = 0, stop: int | None = None) -> list[int]:
        """Return the indexes from `first` to `stop` of the members whose CRC-32 is not known."""
        stop = len(self) if stop is None else stop
        return [index for index, flags in enumerate(self.flags[first:stop], first) if not flags & KNOWN]

    def headers_of(self, first: int, stop: int) -> bytearray:
        """Return the headers of the members from `first` to `stop`, complete with their CRC-32s."""
        places, start = self.header_places, self.header_places[0]
        headers = bytearray(self.headers[places[first] - start : places[stop] - start])
        for index in range(first, stop):
            if not self.flags[index] & DECLARED:
                put_crc(headers, places[index] - places[first], self.crcs[index])
        return headers

    def stable_flags(self) -> bytes:
        """Return the flags of all members without those that change as CRC-32s are computed or cached."""
        return bytes(self.flags.translate(_STABLE))


# Pickled tables.


def _steps(numbers: array[int]) -> array[int]:
    """Return the first number, and the differences between neighbours, which compress well."""
    return array("Q", (*numbers[:1], *map(operator.sub, numbers[1:], numbers)))


def _compressed(data: bytes | bytearray) -> bytes:
    return zlib.compress(data, 1)


def _packed(numbers: array[int]) -> tuple[str, bytes]:
    return numbers.typecode, _compressed(little_endian(numbers).tobytes())


def _unpacked(packed: tuple[str, bytes]) -> array[int]:
    numbers = array(packed[0])
    numbers.frombytes(zlib.decompress(packed[1]))
    return little_endian(numbers)


def little_endian(numbers: array[int]) -> array[int]:
    """Return `numbers` with the bytes of each in the other order on a big-endian machine."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers


def _packed_sources(sources: list[Any]) -> tuple[bytes, list[Any], list[Any]]:
    """Return (compressed rows, what rows have in common, sources that are no rows).

    A row is None, a path, (index of what it has in common with others, the rest …), or the index of a source. Rows
    consist of texts, numbers and dates, so that they can be pickled here. Other sources are left to the caller's
    pickler, which may know more (as Dask's does).
    """
    rows: list[Any] = []
    shared: dict[tuple[Any, int], int] = {}
    owners: list[Any] = []
    others: list[Any] = []
    for source in sources:
        if source is None or type(source) is str:
            rows.append(source)
        elif callable(row_of := getattr(source, "table_row", None)):
            kind, owner, *row = row_of()
            key = kind, id(owner)
            if key not in shared:
                shared[key] = len(owners)
                owners.append((kind, owner))
            rows.append((shared[key], *row))
        else:
            rows.append(len(others))
            others.append(source)
    return _compressed(pickle.dumps(rows)), owners, others


def _unpacked_sources(packed: bytes, owners: list[Any], others: list[Any]) -> list[Any]:
    sources = pickle.loads(zlib.decompress(packed))
    for index, row in enumerate(sources):
        if type(row) is tuple:
            kind, owner = owners[row[0]]
            sources[index] = kind(owner, *row[1:])
        elif type(row) is int:
            sources[index] = others[row]
    return sources  # type: ignore[no-any-return]
