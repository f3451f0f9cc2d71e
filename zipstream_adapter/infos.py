"""What a caller's ZipInfo may hold: what no record can say is refused before a byte of the member."""

from __future__ import annotations

import struct
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from .errors import EntryError, LimitError
from .names import check_storable
from .records import LIMIT16, ZIP64_EXTRA_ROOM, directory_row


def check_info(info: ZipInfo) -> None:
    """Refuse what a member's records cannot say."""
    check_storable(info.filename)
    if not 1980 <= info.date_time[0] <= 2107:
        raise EntryError(
            f"entry {info.filename!r}: its date {info.date_time} is outside of 1980 to 2107, "
            "which is all a zip archive can say"
        )
    if len(info.comment) > LIMIT16:
        raise LimitError(
            f"entry {info.filename!r}: its comment has {len(info.comment)} bytes, and {LIMIT16} is the most"
        )
    check_room(info, 0)


def check_room(info: ZipInfo, more: int) -> None:
    """Refuse an extra that leaves no room for zip64 and for `more` bytes."""
    size, most = len(info.extra), LIMIT16 - ZIP64_EXTRA_ROOM - more
    if size > most:
        raise LimitError(f"entry {info.filename!r}: its extra has {size} bytes, and {most} is the most")


def check_fields(info: ZipInfo) -> None:
    """Refuse a caller's ZipInfo that no record can be made of, now and not when the archive is closed."""
    try:
        directory_row(info, zip64=False)
    except (struct.error, TypeError, ValueError, AttributeError) as exc:
        raise EntryError(f"entry {info.filename!r}: a field of its ZipInfo does not fit the format: {exc}") from exc


def level_of(info: ZipInfo) -> int | None:
    """The level on a ZipInfo of zipfile's; methods without one ignore it, as there."""
    if info.compress_type in (ZIP_STORED, ZIP_LZMA):
        return None
    # Public (compress_level) from 3.13 on; the older name stays readable there.
    level: int | None = info._compresslevel  # type: ignore[attr-defined]
    return None if level == -1 and info.compress_type == ZIP_DEFLATED else level
