"""Table: the members of a planned archive, packed: of each its row in the central directory, and some numbers."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from .records import member_of_row, put_crc

if TYPE_CHECKING:
    from typing import Self
    from zipfile import ZipInfo

# What a member's flags say: its local header is zip64; its CRC-32 was declared, and so is in its row; its CRC-32 is
# known, as what was declared or found by reading; its source gives data that is compressed already; its CRC-32 is
# what a cache has remembered.
ZIP64, DECLARED, KNOWN, RAW, REMEMBERED = 1, 2, 4, 8, 16
_STABLE = bytes(byte & (ZIP64 | DECLARED | RAW) for byte in range(256))


class Table:
    """Some hundred bytes for each member, and no object but its source.

    Attributes:
        offsets: where in the archive each local header begins, and, at the end, what follows the last member.
        row_places: where in the central directory each row begins, and where the last one ends.
        crcs, flags: of each member; see `ZIP64` and the others.
        sources: of each: its data (bytes), its file's path (str), whatever else gives its data, or None.
        dates: its file's date of modification in nanoseconds; identities: and its inode (empty where that does not
            count); 0 for what is no file.
    """

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.row_places = array("Q", (0,))
        self.rows: bytes | bytearray = bytearray()
        self.crcs = array("I")
        self.flags = bytearray()
        self.sources: list[Any] = []
        self.dates = array("q")
        self.identities = array("Q")

    def __len__(self) -> int:
        return len(self.flags)

    def add_row(self, row: bytes) -> None:
        """One member more, whose row this is."""
        self.rows += row
        self.row_places.append(len(self.rows))

    def add(self, offset: int, crc: int | None, flags: int) -> None:
        """What else there is to know of the member whose row was added last; but for its source, where that counts."""
        self.offsets.append(offset)
        self.crcs.append(crc or 0)
        self.flags.append(flags | (0 if crc is None else DECLARED | KNOWN))

    def add_source(self, source: Any, date: int = 0, identity: int = 0) -> None:
        """Where the data of the member that was added last comes from."""
        self.sources.append(source)
        self.dates.append(date)
        self.identities.append(identity)

    def cut(self, first: int, stop: int) -> Self:
        """The members from `first` to `stop`, by themselves; without what counts on one machine only."""
        part = type(self)()
        part.offsets = self.offsets[first : stop + 1]
        part.row_places = self.row_places[first : stop + 1]
        start = self.row_places[0]
        part.rows = bytes(self.rows[part.row_places[0] - start : part.row_places[-1] - start])
        part.crcs, part.flags = self.crcs[first:stop], self.flags[first:stop]
        part.sources, part.dates = self.sources[first:stop], self.dates[first:stop]
        return part

    def at_offset(self, offset: int) -> int:
        """The member that has the archive's byte at `offset`."""
        return bisect_right(self.offsets, offset) - 1

    def at_place(self, place: int) -> int:
        """The member whose row has the central directory's byte at `place`."""
        return bisect_right(self.row_places, place) - 1

    def info(self, index: int) -> ZipInfo:
        """What there is to say of a member in its local header and descriptor; its CRC-32 is 0 where unknown."""
        info = member_of_row(self.rows, self.row_places[index] - self.row_places[0])
        info.CRC = self.crcs[index]
        return info

    def pin_of(self, index: int) -> tuple[int, int]:
        """(date, inode) of a member's file; see `dates` and `identities`."""
        return self.dates[index], self.identities[index] if self.identities else 0

    def is_zip64(self, index: int) -> bool:
        """Whether a member's local header is zip64."""
        return bool(self.flags[index] & ZIP64)

    def is_raw(self, index: int) -> bool:
        """Whether a member's source gives data that is compressed already."""
        return bool(self.flags[index] & RAW)

    def knows_crc(self, index: int) -> bool:
        """Whether a member's CRC-32 is known."""
        return bool(self.flags[index] & KNOWN)

    def is_declared(self, index: int) -> bool:
        """Whether it was known before anything was read."""
        return bool(self.flags[index] & DECLARED)

    def is_remembered(self, index: int) -> bool:
        """Whether it is what a cache has said."""
        return bool(self.flags[index] & REMEMBERED)

    def remember(self, crc: int) -> None:
        """The CRC-32 that a cache has for the member that was added last."""
        self.crcs[-1] = crc
        self.flags[-1] |= KNOWN | REMEMBERED

    def keep_crc(self, index: int, crc: int) -> None:
        """Remember a CRC-32 that was found."""
        self.crcs[index] = crc
        self.flags[index] |= KNOWN

    def unknown(self, first: int = 0, stop: int | None = None) -> list[int]:
        """The members from `first` to `stop` whose CRC-32 is not known."""
        stop = len(self) if stop is None else stop
        return [index for index, flags in enumerate(self.flags[first:stop], first) if not flags & KNOWN]

    def rows_of(self, first: int, stop: int) -> bytearray:
        """The rows of the members from `first` to `stop`, complete."""
        places, start = self.row_places, self.row_places[0]
        rows = bytearray(self.rows[places[first] - start : places[stop] - start])
        for index in range(first, stop):
            if not self.flags[index] & DECLARED:
                put_crc(rows, places[index] - places[first], self.crcs[index])
        return rows

    def stable_flags(self) -> bytes:
        """The flags, but for what is found out by and by."""
        return bytes(self.flags.translate(_STABLE))
