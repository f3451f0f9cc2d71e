"""Find and validate the end records of an archive (APPNOTE 4.3.14 to 4.3.16)."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import BadArchiveError
from .records import CENTRAL_HEADER_SIZE, END, END64, LIMIT16, LIMIT32, LOCATOR64

# Bytes at the end of an object that are requested when it is opened.
SUFFIX = 1 << 17

# The most bytes that the end records (98 bytes) and the archive comment (65,535 bytes) can have.
LEAST_SUFFIX = LIMIT16 + 98

# The most bytes that a central directory header can have, with its name, extra and comment.
_LONGEST_HEADER = CENTRAL_HEADER_SIZE + 3 * LIMIT16


class End(NamedTuple):
    """The central directory, as the end records describe it.

    Attributes:
        start: offset of the central directory in the object, in bytes.
        size: size of the central directory, in bytes.
        members: number of members in it.
        wraps: whether `members` may be too low by a multiple of 65,536, as written by some writers without zip64.
    """

    start: int
    size: int
    members: int
    wraps: bool


class _Record(NamedTuple):
    """An end of central directory record, or a zip64 one.

    Attributes:
        at: offset of the record in the object; the central directory ends there.
        single: whether the archive is not split over several disks.
        fields: number of members, size and offset of the central directory.
        declared_at: offset of a zip64 record according to its locator; None for a record without zip64.
    """

    at: int
    single: bool
    fields: tuple[int, int, int]
    declared_at: int | None = None


def find_end(tail: bytes, size: int, where: str) -> End | None:
    """Find the end records and return the location of the central directory.

    Args:
        tail: the last bytes of the object.
        size: size of the object, in bytes.
        where: name of the object, for errors.

    Returns None if `tail` has no end of central directory record.

    Raises BadArchiveError if the records are truncated, contradictory, or if the archive is split over several disks.
    """
    at = len(tail) - END.size
    if tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        at = tail.rfind(b"PK\5\6", max(0, at - LIMIT16))
    if at < 0 or at + END.size > len(tail):
        return None
    tail_start = size - len(tail)
    _, disk, first_disk, here, count, directory, offset, comment = END.unpack_from(tail, at)
    if at + END.size + comment > len(tail):
        raise BadArchiveError(
            f"{where} is cut short: its end of central directory record at byte {tail_start + at} has a comment of "
            f"{comment} bytes, but only {len(tail) - at - END.size} follow"
        )
    record = _Record(tail_start + at, not disk and not first_disk and here == count, (count, directory, offset))
    record64 = _find_zip64_record(tail, at, tail_start, where)
    if record64 is not None:
        _require_agreement(record, record64, where)
    elif LIMIT32 in (directory, offset):
        raise BadArchiveError(
            f"{where} is broken: its end of central directory record refers to a zip64 record, but there is none "
            "before it"
        )
    return _validated(record64 or record, where)


def _find_zip64_record(tail: bytes, at: int, tail_start: int, where: str) -> _Record | None:
    """Return the zip64 end of central directory record; None if no locator precedes the record at `at`."""
    locator_at = at - LOCATOR64.size
    if locator_at < 0 or tail[locator_at : locator_at + 4] != b"PK\6\7":
        return None
    _, disk, declared_at, disks = LOCATOR64.unpack_from(tail, locator_at)
    record_at = locator_at - END64.size
    if record_at < 0 or tail[record_at : record_at + 4] != b"PK\6\6":
        raise BadArchiveError(
            f"{where} is broken: its zip64 locator at byte {tail_start + locator_at} says that the zip64 end of "
            f"central directory record is at byte {declared_at}, but there is none before the locator"
        )
    _, _, _, _, this_disk, first_disk, here, count, size, offset = END64.unpack_from(tail, record_at)
    single = not (disk or disks > 1 or this_disk or first_disk) and here == count
    return _Record(tail_start + record_at, single, (count, size, offset), declared_at)


def _require_agreement(record: _Record, record64: _Record, where: str) -> None:
    """Raise BadArchiveError if the two records disagree: nothing tells which of them is true."""
    limits = (LIMIT16, LIMIT32, LIMIT32)
    names = ("number of members", "central directory's size", "central directory's offset")
    for name, small, large, limit in zip(names, record.fields, record64.fields, limits, strict=True):
        if small not in (limit, large):
            raise BadArchiveError(
                f"{where} contradicts itself: the {name} is {small} in its end of central directory record, but "
                f"{large} in its zip64 end of central directory record"
            )


def _validated(record: _Record, where: str) -> End:
    count, size, offset = record.fields
    if not record.single:
        raise BadArchiveError(
            f"{where} is part of an archive that is split over several disks, which cannot be read: join the parts "
            "into one archive"
        )
    start = record.at - size
    if start < offset:
        raise BadArchiveError(
            f"{where} is broken, or cut at its beginning: its central directory should begin at byte {offset} and "
            f"have {size} bytes, but it ends at byte {record.at}"
        )
    shift = start - offset  # bytes before the archive, which its offsets do not count
    if record.declared_at is not None and record.declared_at + shift != record.at:
        raise BadArchiveError(
            f"{where} contradicts itself: its zip64 locator says that the zip64 end of central directory record is at "
            f"byte {record.declared_at}, but it is at byte {record.at - shift}"
        )
    wraps = record.declared_at is None
    if size < count * CENTRAL_HEADER_SIZE or (not wraps and size > count * _LONGEST_HEADER):
        raise BadArchiveError(f"{where} is broken: a central directory of {size} bytes cannot have {count} members")
    return End(start, size, count, wraps)


def not_an_archive(head: bytes, where: str) -> BadArchiveError:
    """Return the error for an object without an end of central directory record. `head`: its first four bytes."""
    if head[:4] in (b"PK\3\4", b"PK\7\x08"):
        return BadArchiveError(
            f"{where} is cut short: it begins like a zip archive, but its end of central directory record is missing"
        )
    looks = f"it begins with {head[:4]!r}" if head else "it is empty"
    return BadArchiveError(f"{where} is not a zip archive: it has no end of central directory record, and {looks}")


def check_directory(data: bytes, where: str, end: End) -> None:
    """Raise BadArchiveError if `data` does not begin with a central directory header."""
    if end.size and data[:4] != b"PK\1\2":
        raise BadArchiveError(
            f"{where} is broken: there is no central directory at byte {end.start}, where it should begin"
        )
