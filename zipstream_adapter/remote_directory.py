"""Where an archive that lies elsewhere has its directory, and what it must say for that to be believed.

The records are found as `zipfile` finds them, which parses them afterwards; so it sees what is checked here (APPNOTE
4.3.14 to 4.3.16).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from .errors import BadArchiveError
from .records import END, END64, LIMIT16, LIMIT32, LOCATOR64, ROW_SIZE

# Bytes at the end of an object that opening asks for. The end records and the longest comment take 64 KiB and 98.
SUFFIX = 1 << 17
LEAST_SUFFIX = LIMIT16 + 98

_LONGEST_ROW = ROW_SIZE + 3 * LIMIT16


class End(NamedTuple):
    """What the end records say.

    Attributes:
        start: where in the object the directory begins.
        size: bytes of it.
        members: in it.
        wraps: whether `members` may be short of a multiple of 65,536, as some writers without zip64 have it.
    """

    start: int
    size: int
    members: int
    wraps: bool


class _Record(NamedTuple):
    """An end record, or a zip64 one.

    Attributes:
        at: where in the object it begins, and so the directory ends.
        single: whether there are no other parts of the archive.
        fields: count, size and offset of the directory.
        place: where the archive says that it is; an end record says nothing.
    """

    at: int
    single: bool
    fields: tuple[int, int, int]
    place: int | None = None


def find_end(tail: bytes, size: int, where: str) -> End | None:
    """What the records at the end say; None where `tail`, the last bytes of an object of `size`, has no end record."""
    at = len(tail) - END.size
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6", max(0, at - LIMIT16))
    if at < 0 or at + END.size > len(tail):
        return None
    first = size - len(tail)  # of the tail, in the object
    _, disk, first_disk, here, count, directory, offset, comment = END.unpack_from(tail, at)
    if at + END.size + comment > len(tail):
        raise BadArchiveError(
            f"{where} is cut short: its end record at byte {first + at} has a comment of {comment} bytes, and "
            f"{len(tail) - at - END.size} follow"
        )
    record = _Record(first + at, not disk and not first_disk and here == count, (count, directory, offset))
    record64 = _record64(tail, at, first, where)
    if record64 is not None:
        _compare(record, record64, where)
    elif LIMIT32 in (directory, offset):
        raise BadArchiveError(f"{where} is broken: its end record refers to a zip64 record, and none is in front of it")
    return _checked(record64 or record, where)


def _record64(tail: bytes, at: int, first: int, where: str) -> _Record | None:
    """The zip64 end record, if there is a locator in front of the end record at `at`."""
    locator_at = at - LOCATOR64.size
    if locator_at < 0 or tail[locator_at : locator_at + 4] != b"PK\6\7":
        return None
    _, disk, place, disks = LOCATOR64.unpack_from(tail, locator_at)
    record_at = locator_at - END64.size
    if record_at < 0 or tail[record_at : record_at + 4] != b"PK\6\6":
        raise BadArchiveError(
            f"{where} is broken: its zip64 locator at byte {first + locator_at} says that the zip64 end record is at "
            f"byte {place}, and none is in front of it"
        )
    _, _, _, _, this_disk, first_disk, here, count, size, offset = END64.unpack_from(tail, record_at)
    single = not (disk or disks > 1 or this_disk or first_disk) and here == count
    return _Record(first + record_at, single, (count, size, offset), place)


def _compare(record: _Record, record64: _Record, where: str) -> None:
    """Refuse two records that say different things: nobody can know which of them is true."""
    limits = (LIMIT16, LIMIT32, LIMIT32)
    names = ("number of members", "directory's size", "directory's offset")
    for name, small, large, limit in zip(names, record.fields, record64.fields, limits, strict=True):
        if small not in (limit, large):
            raise BadArchiveError(
                f"{where} contradicts itself: the {name} is {small} by its end record, and {large} by its zip64 end "
                "record"
            )


def _checked(record: _Record, where: str) -> End:
    count, size, offset = record.fields
    if not record.single:
        raise BadArchiveError(f"{where} is a part of an archive in several parts, which cannot be read")
    start = record.at - size
    if start < offset:
        raise BadArchiveError(
            f"{where} is broken, or cut at its beginning: its directory is said to begin at byte {offset} and to have "
            f"{size} bytes, and ends at byte {record.at}"
        )
    shift = start - offset  # bytes in front of the archive, which no offset counts
    if record.place is not None and record.place + shift != record.at:
        raise BadArchiveError(
            f"{where} contradicts itself: its zip64 locator says that the zip64 end record is at byte {record.place}, "
            f"and it is at {record.at - shift}"
        )
    wraps = record.place is None
    if size < count * ROW_SIZE or (not wraps and size > count * _LONGEST_ROW):
        raise BadArchiveError(f"{where} is broken: a directory of {size} bytes cannot have {count} members")
    return End(start, size, count, wraps)


def not_an_archive(head: bytes, tail: bytes, where: str) -> BadArchiveError:
    """Why there is no end record. `head`: the object's first four bytes."""
    if head[:4] in (b"PK\3\4", b"PK\7\x08"):
        return BadArchiveError(f"{where} is cut short: it begins as a zip archive, and its end record is missing")
    looks = f"it begins with {head[:4]!r}" if head else "it is empty"
    return BadArchiveError(f"{where} is no zip archive: it has no end record, and {looks}")


def check_directory(data: bytes, where: str, end: End) -> None:
    """Refuse what is no directory, by its first bytes."""
    if end.size and data[:4] != b"PK\1\2":
        raise BadArchiveError(f"{where} is broken: there is no directory at byte {end.start}, where it should begin")


class ArchiveFile(io.RawIOBase):
    """The archive as a file: at first only its end, which has the directory, and all of it once `fetch` is given.

    `zipfile` reads the directory from it; and members, where a program has made the archive one of a class that reads
    them so, as ``zipfile.Path`` does.
    """

    def __init__(self, start: int, data: bytes, name: str) -> None:
        self.name = name
        self._start = start
        self._data = data
        self._size = start + len(data)
        self._at = 0
        self._fetch: Callable[[int, int], bytes] | None = None
        self._close: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return repr(self.name)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + {0: 0, 1: self._at, 2: self._size}[whence]
        if at < 0:
            raise OSError(f"there is no byte {at}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if self._fetch is not None:
            data = self._fetch(self._at, wanted) if wanted else b""
        elif self._at < self._start:
            raise OSError("what is before the directory has not been fetched")
        else:
            data = self._data[self._at - self._start :][:wanted]
        self._at += len(data)
        return data

    def become(self, fetch: Callable[[int, int], bytes], close: Callable[[], object]) -> None:
        """From now on, read what `fetch` gives for a place and a size; the end is let go of."""
        self._data = b""
        self._fetch, self._close = fetch, close

    def release(self) -> None:
        """From now on, closing it closes nothing else."""
        self._close = None

    def close(self) -> None:
        if self._close is not None:
            self._close()
        super().close()


def parsed(kind: type[ZipFile], file: ArchiveFile, end: End, where: str) -> ZipFile:
    """The directory, as `zipfile` reads it."""
    try:
        archive = kind(file)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error) as exc:
        raise BadArchiveError(f"{where} cannot be read as a zip archive: {exc}") from exc
    count = len(archive.filelist)
    if count != end.members and not (end.wraps and count % (LIMIT16 + 1) == end.members):
        raise BadArchiveError(
            f"{where} contradicts itself: its end record says {end.members} members, and its directory has {count}"
        )
    return archive
