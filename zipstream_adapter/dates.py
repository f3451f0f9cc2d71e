"""Dates of members: what a user passes -> an instant in UTC -> the fields of the format.

Everything is UTC: the machine's time zone never reaches the bytes. A naive datetime and a 6-tuple are read as UTC
too, so the date in the header says what was passed.
"""

from __future__ import annotations

import os
import re
import struct
import time
from datetime import UTC, datetime, timedelta

from .errors import OptionError

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
LATEST = datetime(2107, 12, 31, 23, 59, 59, tzinfo=UTC)
_FIRST_SECOND, _LAST_SECOND = EARLIEST.timestamp(), LATEST.timestamp()

EXTENDED_TIMESTAMP_ID = 0x5455
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXTENDED = struct.Struct("<2HBl")
EXTENDED_TIMESTAMP_SIZE = _EXTENDED.size


class LocalTime(datetime):
    """A date as another archive has it: what a clock has shown, in a zone that nobody knows. It is kept as it is.

    Its zone is given as UTC, since that is how the fields of the format are filled; as an instant it says nothing.
    """


def to_utc(value: datetime | float | tuple[int, ...]) -> datetime:
    """`value` as an aware datetime in UTC; outside 1980 to 2107 (what the format holds) it is refused.

    value: a datetime (a naive one is UTC), a timestamp in seconds since 1970, or (year, month, day, hour, minute,
    second) in UTC.
    """
    try:
        instant = _instant(value)
    except OptionError:
        raise
    except (OverflowError, ValueError, OSError) as exc:
        raise OptionError(f"modified={value!r} is not a date: {exc}") from exc
    if not EARLIEST <= instant < LATEST + timedelta(seconds=1):
        raise OptionError(f"modified={value!r} is outside of 1980 to 2107 (UTC), which is all a zip archive can say")
    return instant


def _instant(value: datetime | float | tuple[int, ...]) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + timedelta(seconds=value)
    if isinstance(value, tuple) and len(value) == 6 and all(isinstance(part, int) for part in value):
        return datetime(*value, tzinfo=UTC)
    raise OptionError(
        f"modified={value!r}: give a datetime, a timestamp in seconds, or a tuple "
        "(year, month, day, hour, minute, second)"
    )


def clamped(timestamp: float) -> datetime:
    """A file's own date, moved to the nearest that the format can say."""
    # Bounded as a number first: a datetime ends before a file system's dates do.
    return _EPOCH + timedelta(seconds=min(max(timestamp, _FIRST_SECOND), _LAST_SECOND))


def date_of(info: os.stat_result) -> datetime:
    """A file's own date of modification."""
    return clamped(info.st_mtime_ns // 10**9)  # as a float it may round up


def default_date() -> datetime:
    """The date of data that has none: now, or SOURCE_DATE_EPOCH (seconds since 1970) where it is set."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return clamped(time.time())
    if not re.fullmatch(r"-?[0-9]{1,30}", epoch):
        raise OptionError(f"the environment's SOURCE_DATE_EPOCH={epoch!r} is not a whole number of seconds since 1970")
    return clamped(int(epoch))


def extended_timestamp(date: datetime) -> bytes:
    """The extended-timestamp extra (0x5455): UTC seconds, to the second; empty past its last second, in 2038.

    Empty as well for what is no instant.
    """
    if isinstance(date, LocalTime):
        return b""
    seconds = (date - _EPOCH) // timedelta(seconds=1)
    return _EXTENDED.pack(EXTENDED_TIMESTAMP_ID, 5, 1, seconds) if seconds < 1 << 31 else b""
