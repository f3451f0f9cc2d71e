"""Dates as the other libraries write them: in the local time zone of this machine."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from zipfile import ZipInfo

from .._entries.entry import Entry
from .._format.timestamps import EARLIEST, LATEST, DosDateTime, date_of, extended_timestamp, to_utc
from .._writer.zipinfo import zipinfo_of

_EARLIEST_SHOWN, _LATEST_SHOWN = EARLIEST.timetuple()[:6], LATEST.timetuple()[:6]


def local_zipinfo(name: str, date: datetime, mode: int | None, method: int) -> ZipInfo:
    """Make a ZipInfo with `date` in local time, and in UTC seconds in an extra field. A DosDateTime stays unchanged."""
    shown = date if isinstance(date, DosDateTime) else _in_local_time(date)
    info = zipinfo_of(name, shown, mode, method, timestamps=False)
    info.extra = extended_timestamp(date)
    return info


def with_local_date(entry: Entry) -> Entry:
    """Return `entry` with the date that `local_zipinfo` writes: its own date, or its file's."""
    date = entry.modified or date_of(os.stat(entry.source))
    return entry.replace(modified=_in_local_time(date), extra=extended_timestamp(date) + entry.extra)


def _in_local_time(instant: datetime) -> DosDateTime:
    shown = time.localtime(instant.timestamp())[:6]
    # In zones west of Greenwich, the format's earliest instant has a local date before 1980.
    return dos_date(min(max(shown, _EARLIEST_SHOWN), _LATEST_SHOWN))


def dos_date(fields: tuple[int, ...]) -> DosDateTime:
    """Return the date of (year, month, day, hour, minute, second) in an unknown time zone, which is written unchanged.

    Raises OptionError if the fields are not a date between 1980 and 2107.
    """
    return DosDateTime(*to_utc(fields).timetuple()[:6], tzinfo=UTC)
