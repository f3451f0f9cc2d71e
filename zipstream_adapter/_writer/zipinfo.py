"""Make and validate the ZipInfo of a member before its data is read."""

from __future__ import annotations

import stat
import struct
from datetime import datetime
from zipfile import ZipInfo

from .._entries.entry import Entry, RawEntry
from .._format.extra_fields import extra_fields
from .._format.names import check_storable
from .._format.records import DOS_DIRECTORY, LIMIT16, ZIP64_EXTRA_ROOM, central_header, encoded_name, end_signature_in
from .._format.timestamps import EXTENDED_TIMESTAMP_ID, extended_timestamp
from ..errors import EntryError, FieldRangeError, LimitError

_UNIX = 3


def zipinfo_of(name: str, date: datetime, mode: int | None, method: int, *, timestamps: bool) -> ZipInfo:
    """Make a ZipInfo from a member's basic metadata.

    timestamps: whether it gets an extended timestamp field (0x5455).
    """
    # Not `timetuple`, which imports a module: that fails while the interpreter ends.
    info = ZipInfo(name, (date.year, date.month, date.day, date.hour, date.minute, date.second))
    info.filename = name  # ZipInfo replaces the system's path separator with a slash
    info.create_system = _UNIX
    info.external_attr = _attributes(name.endswith("/"), mode)
    info.compress_type = method
    if timestamps:
        info.extra = extended_timestamp(date)
    return info


def apply_entry(info: ZipInfo, entry: Entry) -> None:
    """Apply the remaining fields of `entry` to `info`. Its own extended timestamp field replaces ours."""
    info.comment = entry.comment
    if entry.extra:
        info.extra = with_extra(info.extra, entry.extra)
    if entry.compression is not None:
        info.compress_type = entry.compression
    if isinstance(entry, RawEntry):
        info.flag_bits = entry.flag_bits


def with_extra(own: bytes, extra: bytes) -> bytes:
    """Return the writer's `own` extra fields followed by the user's. A user's extended timestamp replaces ours."""
    return extra if any(kind == EXTENDED_TIMESTAMP_ID for kind, _ in extra_fields(extra)) else own + extra


def extra_of_member(date: datetime, extra: bytes, timestamps: bool) -> bytes:
    """Return the extra fields of a member: its extended timestamp if it gets one, and the user's `extra`."""
    own = extended_timestamp(date) if timestamps else b""
    return with_extra(own, extra) if extra else own


def _attributes(is_dir: bool, mode: int | None) -> int:
    """Return the external attributes (APPNOTE 4.4.15): the Unix mode, and the MS-DOS directory bit."""
    if mode is None:
        mode = 0o755 if is_dir else 0o644
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR if is_dir else stat.S_IFREG
    return mode << 16 | (DOS_DIRECTORY if is_dir else 0)


def validate_zipinfo(info: ZipInfo) -> None:
    """Reject values that the member's headers cannot store."""
    check_storable(info.filename)
    if not 1980 <= info.date_time[0] <= 2107:
        raise FieldRangeError(
            f"entry {info.filename!r}: its date {info.date_time} is outside of 1980 to 2107, "
            "the range that a zip archive can store"
        )
    if len(info.comment) > LIMIT16:
        raise LimitError(
            f"entry {info.filename!r}: its comment has {len(info.comment)} bytes, and {LIMIT16} is the most"
        )
    check_room(info, 0)
    check_ends(info)


def check_ends(info: ZipInfo) -> None:
    """Reject a name, extra field and comment that contain the signature of an end record, also across their borders."""
    found = end_signature_in(encoded_name(info)[0] + info.extra + info.comment)
    if found:
        raise EntryError(
            f"entry {info.filename!r}: its name, extra and comment contain {found!r}, which readers take for the end "
            "of the archive: change or remove it"
        )


def check_room(info: ZipInfo, more: int) -> None:
    """Reject an extra field that leaves no room for the zip64 field and `more` bytes."""
    size, most = len(info.extra), LIMIT16 - ZIP64_EXTRA_ROOM - more
    if size > most:
        raise LimitError(f"entry {info.filename!r}: its extra has {size} bytes, and {most} is the most")


def check_fields(info: ZipInfo) -> None:
    """Reject a caller's ZipInfo that cannot be packed into a header, now instead of when the archive is closed."""
    try:
        central_header(info)
    except (struct.error, TypeError, ValueError, AttributeError) as exc:
        text = f"entry {info.filename!r}: a field of its ZipInfo does not fit the format: {exc}"
        raise FieldRangeError(text) from exc
