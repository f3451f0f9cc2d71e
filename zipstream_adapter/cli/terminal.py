"""Lines for standard error: messages, and a progress line if it is a terminal."""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

from .printing import to_nowhere

# Seconds before the progress line appears, and between two states of it.
_DELAY_S, _INTERVAL_S = 0.3, 0.1
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def say(text: str) -> None:
    """Write a message to standard error, above the progress line."""
    # A path may have control characters.
    shown = "\n".join(map(shown_name, text.split("\n")))
    _write_line(f"zipstream-adapter: {shown}")


def name_line(name: str) -> None:
    """Write a member's name to standard error, above the progress line."""
    _write_line(shown_name(name))


def _write_line(text: str) -> None:
    if sys.stderr is None:
        return
    if _shown:
        _shown[-1].hide()
    try:
        # File names may contain characters that stderr cannot encode.
        sys.stderr.write(f"{text}\n".encode("utf-8", "backslashreplace").decode("utf-8"))
    except OSError:  # full, or its reader is gone: that is no reason to make no archive
        to_nowhere(sys.stderr)


def shown_name(name: str) -> str:
    """Escape line breaks and terminal control characters in a name."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in name)


def shown_size(size: float) -> str:
    """Return a number of bytes as text, such as ``1.2 MiB``."""
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"


def shown_count(count: int, one: str) -> str:
    """Return a count with its noun, such as ``3 members``."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def shown_time(seconds: float) -> str:
    """Return a duration as text: ``2.3 s``, ``1:05`` or ``2:00:00``."""
    if seconds < 59.5:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Meter:
    """A progress line: bytes, members, rate, and time left if `total` is known. Drawn by tqdm if it is installed.

    Attributes:
        total: bytes to do; None while unknown.
    """

    def __init__(self, enabled: bool, total: int | None = None) -> None:
        self.total = total
        self._began = time.monotonic()
        self._next = self._began + _DELAY_S
        self._enabled = enabled
        self._bar: Any = None
        self._is_begun = False
        self._drawn = False
        if enabled:
            _shown.append(self)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def at(self, done: int, members: int) -> None:
        """Show how many bytes and members are done, if it is time."""
        if not self._enabled or (now := time.monotonic()) < self._next:
            return
        self._next = now + _INTERVAL_S
        self._drawn = True  # before it is: a signal may come while it is written
        if not self._is_begun:
            self._is_begun, self._bar = True, _tqdm_bar(self._began)
        if self._bar is not None:  # a bar of unknown length has no truth value
            self._bar.total, self._bar.n = self.total, done
            self._bar.set_postfix_str(shown_count(members, "member"), refresh=False)
            self._bar.refresh()
        else:
            line = self._line(done, members, now - self._began)
            sys.stderr.write(f"\r{line[: _width() - 1]}\x1b[K")
            sys.stderr.flush()

    def _line(self, done: int, members: int, seconds: float) -> str:
        rate = done / seconds if seconds else 0.0
        parts = [shown_size(done), shown_count(members, "member"), f"{shown_size(rate)}/s"]
        if self.total is not None:
            share = min(done / self.total, 1.0) if self.total else 1.0
            parts[0] += f" of {shown_size(self.total)} ({share:.0%})"
            if rate and done <= self.total:
                parts.append(f"{shown_time((self.total - done) / rate)} left")
        return ", ".join(parts)

    def hide(self) -> None:
        """Erase the line; the next state draws it again."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            self._drawn = False

    def close(self) -> None:
        """Erase the line for good."""
        self.hide()
        if self._bar is not None:
            self._bar.disable = True
            self._bar = None
        if self._enabled:
            self._enabled = False
            _shown.remove(self)


# The meter that is drawn, if any.
_shown: list[Meter] = []


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _tqdm_bar(began: float) -> Any:
    """Return a bar of tqdm; None if tqdm is not installed (extra ``cli``)."""
    try:
        tqdm: Any = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    tqdm.monitor_interval = 0  # no thread beside ours
    bar: Any = tqdm(
        unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr, dynamic_ncols=True, leave=False, smoothing=0.1
    )
    bar.start_t = bar._time() - (time.monotonic() - began)
    return bar
