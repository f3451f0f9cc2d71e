"""Dates as the other libraries write them: what this machine's clock shows, in its own zone."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any

from ..dates import EARLIEST, LATEST, LocalTime, default_date, extended_timestamp, to_utc

_EARLIEST_SHOWN, _LATEST_SHOWN = EARLIEST.timetuple()[:6], LATEST.timetuple()[:6]
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
        date = default_date().replace(microsecond=0)  # which no record says
        _now = key, date, by_clock(date)
    return _now


def by_clock(instant: datetime) -> dict[str, Any]:
    """An Entry's options for the date `instant` as the local clock showed it, and, beside it, as UTC seconds."""
    date, extra = shown_by_clock(instant)
    return {"modified": date, "extra": extra} if extra else {"modified": date}


def shown_by_clock(instant: datetime) -> tuple[datetime, bytes]:
    """Likewise: the date, and the extra."""
    seconds = instant.timestamp()
    shown = time.localtime(seconds)[:6]
    if shown == time.gmtime(seconds)[:6]:
        return instant, b""  # which says both
    # West of Greenwich, the earliest date of the format is in the year before it.
    date: datetime = by_fields(min(max(shown, _EARLIEST_SHOWN), _LATEST_SHOWN))["modified"]
    return date, extended_timestamp(instant)


class Clock:
    """The clock for one archive: what it was asked last is remembered."""

    def __init__(self) -> None:
        self._second = -1
        self._now = self._shown = (EARLIEST, b"")
        self._instant: datetime | None = None

    def now(self) -> tuple[datetime, bytes]:
        """The date of data that has none, and its extra. The same objects within a second."""
        second = int(time.time())
        if second != self._second:
            self._now, self._second = shown_by_clock(default_date().replace(microsecond=0)), second
        return self._now

    def shown(self, instant: datetime) -> tuple[datetime, bytes]:
        """As `shown_by_clock`."""
        if instant != self._instant:
            self._shown, self._instant = shown_by_clock(instant), instant
        return self._shown


def by_fields(fields: tuple[int, ...]) -> dict[str, Any]:
    """An Entry's options for a date of which nobody knows the zone: (year, month, day, hour, minute, second).

    Raises OptionError for what is no date between 1980 and 2107.
    """
    date = to_utc(fields)
    return {"modified": LocalTime(*date.timetuple()[:6], tzinfo=UTC)}
