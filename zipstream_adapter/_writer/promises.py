"""Errors for data that does not match its declared size or CRC-32, or the size its file had when opened."""

from __future__ import annotations

from ..errors import CRC32MismatchError, IntegrityError, SizeMismatchError, SourceChangedError


def wrong_crc(name: str, crc: int, promised: int) -> CRC32MismatchError:
    """Make the error for data whose CRC-32 is not the declared one."""
    return CRC32MismatchError(f"entry {name!r}: its data has the CRC-32 {crc:#010x}, not the declared {promised:#010x}")


def wrong_size(name: str, promised: int, size: int | None, *, is_raw: bool, pinned: bool) -> IntegrityError:
    """Make the error for an entry whose data has `size` bytes (None: more than `promised`) instead of `promised`.

    pinned: whether `promised` is the size that the entry's file had when it was opened, and not declared.
    """
    if pinned:
        return _changed_file(name, promised, size)
    data = "compressed data" if is_raw else "data"
    given, relation = (data, "more than") if size is None else (f"{size} bytes of {data}", "not")
    return SizeMismatchError(f"entry {name!r}: it has {given}, {relation} the declared {promised} bytes")


def _changed_file(name: str, promised: int, size: int | None) -> SourceChangedError:
    change, gave = ("grew", "more") if size is None else ("shrank", str(size))
    advice = " Give grown='cut' to store what it had when it was opened" if size is None else ""
    return SourceChangedError(
        f"entry {name!r}: its file {change} while it was read: it had {promised} bytes, and gave {gave}.{advice}"
    )
