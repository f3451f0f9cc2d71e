"""Dates of members: from the caller's value to an instant in UTC to the fields of the format.

All dates are in UTC: the machine's time zone never affects the archive. A naive datetime and a 6-tuple are taken as
UTC too, so the header has the date that was passed.
"""

from __future__ import annotations

import os
import re
import struct
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from .._checks import whole
from ..errors import OptionError

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
LATEST = datetime(2107, 12, 31, 23, 59, 59, tzinfo=UTC)
_AFTER = LATEST + timedelta(seconds=1)
_FIRST_SECOND, _LAST_SECOND = EARLIEST.timestamp(), LATEST.timestamp()

EXTENDED_TIMESTAMP_ID = 0x5455
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)
_EXTENDED = struct.Struct("<2HBl")
EXTENDED_TIMESTAMP_SIZE = _EXTENDED.size


class DosDateTime(datetime):
    """Wall-clock time in an unknown time zone, as zip headers store it. Written unchanged.

    `tzinfo` is UTC, because the fields of the format are filled from UTC; the value is not a known instant.
    """


def to_utc(value: datetime | float | tuple[int, ...]) -> datetime:
    """Convert `value` to an aware datetime in UTC.

    Args:
        value: a datetime (UTC if naive), a timestamp in seconds since 1970, or (year, month, day, hour, minute,
            second) in UTC.

    Raises OptionError if it is not a date, or outside 1980 to 2107, the range of the format.
    """
    if type(value) is datetime and value.tzinfo is UTC and EARLIEST <= value < _AFTER:
        return value  # the most common form
    try:
        instant = _instant(value)
    except OptionError:
        raise
    except (OverflowError, ValueError, OSError) as exc:
        raise OptionError(f"modified={value!r} is not a date: {exc}") from exc
    if not EARLIEST <= instant < _AFTER:
        raise OptionError(
            f"modified={value!r} is outside 1980 to 2107 (UTC), the range of dates in a zip archive: give a date "
            "in it, or leave modified out"
        )
    return instant


def _instant(value: datetime | float | tuple[int, ...]) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    seconds = value if isinstance(value, float) else whole(value)
    if seconds is not None:
        return _EPOCH + timedelta(seconds=seconds)
    if isinstance(value, tuple) and len(value) == 6:
        parts = [
            number for part in value if (number := int(part) if isinstance(part, bool) else whole(part)) is not None
        ]
        if len(parts) == 6:
            return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]
    raise OptionError(
        f"modified={value!r}: give a datetime, a timestamp in seconds, or a tuple "
        "(year, month, day, hour, minute, second)"
    )


def clamped(timestamp: float) -> datetime:
    """Convert a file's timestamp, in seconds, to the nearest date that the format can store."""
    # Clamp the number, not the datetime: file systems have dates that a datetime cannot hold.
    return _EPOCH + timedelta(seconds=min(max(timestamp, _FIRST_SECOND), _LAST_SECOND))


def date_of(info: os.stat_result) -> datetime:
    """Return a file's modification date, clamped to the dates of the format."""
    return _date_of_second(info.st_mtime_ns // 10**9)  # the float st_mtime may be rounded up


# Files of one tree often have the same date.
_date_of_second = lru_cache(256)(clamped)


def default_date() -> datetime:
    """Return the date for data without one: SOURCE_DATE_EPOCH (seconds since 1970) if set, else now."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return clamped(time.time())
    if not re.fullmatch(r"-?[0-9]{1,30}", epoch):
        raise OptionError(
            f"the environment variable SOURCE_DATE_EPOCH={epoch!r} is not a whole number of seconds since 1970"
        )
    return clamped(int(epoch))


def extended_timestamp(date: datetime) -> bytes:
    """Pack the extended timestamp extra field (0x5455): the date in whole seconds since 1970, UTC.

    Empty past the last second of its 32-bit field, in 2038, and for a DosDateTime, which is not an instant.
    """
    if isinstance(date, DosDateTime):
        return b""
    seconds = (date - _EPOCH) // _SECOND
    return _EXTENDED.pack(EXTENDED_TIMESTAMP_ID, 5, 1, seconds) if seconds < 1 << 31 else b""
