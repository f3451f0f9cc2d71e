"""Dates as the other libraries write them: what this machine's clock shows, in its own zone."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from ..dates import EARLIEST, LATEST, LocalTime, default_date, extended_timestamp, to_utc

_now: tuple[Any, datetime, dict[str, Any]] = (None, EARLIEST, {})


def now_by_clock() -> dict[str, Any]:
    """An Entry's options for the date of data that has none. The same object within a second."""
    return _current()[2]


def now() -> datetime:
    """The date of data that has none. The same object within a second."""
    return _current()[1]


def _current() -> tuple[Any, datetime, dict[str, Any]]:
    global _now
    key = int(time.time()), os.environ.get("SOURCE_DATE_EPOCH"), time.tzname
    if key != _now[0]:
        date = default_date()
        _now = key, date, by_clock(date)
    return _now


def by_clock(instant: datetime) -> dict[str, Any]:
    """An Entry's options for the date `instant` as the local clock showed it, and, beside it, as UTC seconds."""
    shown = time.localtime(instant.timestamp())[:6]
    # West of Greenwich, the earliest date of the format is in the year before it.
    shown = min(max(shown, EARLIEST.timetuple()[:6]), LATEST.timetuple()[:6])
    if shown == instant.timetuple()[:6]:
        return {"modified": instant}  # which says both
    return {**by_fields(shown), "extra": extended_timestamp(instant)}


def by_fields(fields: tuple[int, ...]) -> dict[str, Any]:
    """An Entry's options for a date of which nobody knows the zone: (year, month, day, hour, minute, second).

    Raises OptionError for what is no date between 1980 and 2107.
    """
    date = to_utc(fields)
    return {"modified": LocalTime(*date.timetuple()[:6], tzinfo=UTC)}
