"""How long a request is repeated, and how long a call may take.

Two limits, in seconds. *Patience* is the time for which a failing request (503, 429, a refused connection …) is
repeated, counted from the last byte received. A *deadline* is the time that one call of the caller may take: opening an
archive, one ``read()``.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, NoReturn

from ..errors import OptionError, RemoteError, RemoteTimeoutError

PATIENCE_S = 180.0
_MAX_PAUSE_S = 15.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_UNITS = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0, "w": 604800.0, "week": 604800.0,
}  # fmt: skip


def seconds_of(name: str, value: Any) -> float:
    """Return a duration in seconds. It is given as for obstore: a timedelta, or a text such as "90s" or "1min 30s"."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    text = str(value).strip().lower()
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text):
        raise OptionError(f"{name}={value!r}: give a duration, as in '90s', or a timedelta")
    try:
        return sum(float(count) * (_UNITS.get(unit) or _UNITS[unit.removesuffix("s")]) for count, unit in parts)
    except KeyError:
        raise OptionError(f"{name}={value!r}: give a duration, as in '90s', or a timedelta") from None


class Waiting(NamedTuple):
    """The limits for one archive or object.

    Attributes:
        patience: seconds for which a request is repeated.
        deadline: seconds for one call; None for no limit.
        max_tries: most requests for one answer.
        first_pause: seconds before the first repetition; doubled for each further one, up to `max_pause`.
    """

    patience: float = PATIENCE_S
    deadline: float | None = None
    max_tries: int | None = None
    first_pause: float = 0.1
    max_pause: float = _MAX_PAUSE_S

    @classmethod
    def checked(cls, patience: Any, deadline: Any) -> Waiting:
        """Return the limits. Raises OptionError for values that are not seconds."""
        if not _is_seconds(patience) or patience < 0:
            raise OptionError(f"patience={patience!r}: give seconds, 0 or more")
        if deadline is not None and (not _is_seconds(deadline) or deadline <= 0):
            raise OptionError(f"deadline={deadline!r}: give seconds, more than 0, or None")
        return cls(float(patience), None if deadline is None else float(deadline))

    def with_retries(self, config: Mapping[str, Any] | None) -> Waiting:
        """Return the limits with those of obstore's ``retry_config``, which take precedence."""
        if config is None:
            return self
        backoff: Mapping[str, Any] = config.get("backoff") or {}
        return self._replace(
            patience=seconds_of("retry_timeout", config.get("retry_timeout", timedelta(seconds=self.patience))),
            max_tries=1 + int(config["max_retries"]) if "max_retries" in config else self.max_tries,
            first_pause=seconds_of("init_backoff", backoff.get("init_backoff", timedelta(seconds=self.first_pause))),
            max_pause=seconds_of("max_backoff", backoff.get("max_backoff", timedelta(seconds=self.max_pause))),
        )


WAITING = Waiting()
_log = logging.getLogger(__name__)
# Messages of EAI_NONAME and EAI_NODATA (Linux, macOS).
_UNKNOWN_HOST = ("Name or service not known", "nodename nor servname", "No address associated with hostname")
# Seconds of failures after which a warning is logged: a mistyped address would else look like a program that hangs.
_QUIET_S = 3.0


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


class Tries:
    """The tries of one request, or of one body that is requested again after it breaks off.

    Attributes:
        count: requests that failed since the last progress.
    """

    def __init__(self, waiting: Waiting, where: str) -> None:
        self._waiting = waiting
        self._where = where
        self.count = 0
        self._until = 0.0
        self._is_told = False

    def progress(self) -> None:
        """Record that bytes arrived: tries and patience begin anew."""
        self.count = 0

    def pause(self, error: Callable[[str], Exception], retry_after: float | None = None) -> float:
        """Return the seconds to wait before the next request.

        Args:
            error: makes the error of the failed request, from a text that says how often it was tried.
            retry_after: seconds for which the server asks (RFC 9110, section 10.2.3).

        Raises the error if there have been enough tries; RemoteTimeoutError if the call's deadline comes first.
        """
        now = time.monotonic()
        if not self.count:
            self._until = now + self._waiting.patience
        self.count += 1
        often = f" (tried {self.count} times)" if self.count > 1 else ""
        longest = min(self._waiting.max_pause, self._waiting.first_pause * 2 ** (self.count - 1))
        # The last try comes when the patience ends.
        pause = min(longest * random.uniform(0.5, 1.0), self._until - now) if retry_after is None else retry_after
        most = self._waiting.max_tries
        if (most is not None and self.count >= most) or now >= self._until or now + pause > self._until:
            asks = "" if retry_after is None else f" (it asks to be left alone for {retry_after:g} s)"
            raise error(often + asks) from None
        left = time_left()
        if left is not None and pause >= left:
            raise _too_late(self._where, self._waiting.deadline, str(error(often)))
        if not self._is_told and now + pause >= self._until - self._waiting.patience + _QUIET_S:
            self._is_told = True
            _log.warning("%s: trying again for up to %.0f s (patience)", error(often), self._until - now)
        return pause


def is_unknown_host(error: Exception) -> bool:
    """Whether the host's name does not exist. Asking again seldom helps; a resolver that is out of order says so."""
    return any(text in str(error) for text in _UNKNOWN_HOST)


def retry_after_of(value: str | None) -> float | None:
    """Return the seconds that a Retry-After field asks for; None if the field is missing or invalid."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    when = date_in(value)
    return None if when is None else max(0.0, (when - datetime.now(UTC)).total_seconds())


def date_in(value: str | None) -> datetime | None:
    """Return the date in a header field, in UTC; None if the field is missing or invalid."""
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):  # also a year or a zone of twenty digits, or a date before year 1 in UTC
        return None


# Deadlines.

_thread = threading.local()


@contextmanager
def call_within(seconds: float | None) -> Iterator[None]:
    """Context manager for one call of the caller's, with its deadline. Calls within it share the outermost deadline."""
    if seconds is None or getattr(_thread, "until", None) is not None:
        yield
        return
    _thread.until = time.monotonic() + seconds
    _thread.seconds = seconds
    try:
        yield
    finally:
        _thread.until = None


@contextmanager
def without_deadline() -> Iterator[None]:
    """Context manager for cleaning up after a call: its deadline does not count there."""
    until = getattr(_thread, "until", None)
    _thread.until = None
    try:
        yield
    finally:
        _thread.until = until


def time_left() -> float | None:
    """Return the seconds left for the current call of this thread, at least 0; None without a deadline."""
    until: float | None = getattr(_thread, "until", None)
    return None if until is None else max(0.0, until - time.monotonic())


def raise_late(where: str, deadline: float | None = None) -> NoReturn:
    """Raise the error of a call whose deadline is over. Default: that of this thread's call."""
    raise _too_late(where, getattr(_thread, "seconds", None) if deadline is None else deadline, "")


def _too_late(where: str, deadline: float | None, last: str) -> RemoteError:
    because = f": {last.removeprefix(where).lstrip(': ')}" if last else ""
    limit = f"{deadline:g} s" if deadline is not None else "its time"
    return RemoteTimeoutError(f"{where}: the call did not end within its deadline ({limit}){because}")
