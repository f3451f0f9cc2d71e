"""Signals become exceptions, so that cleanup runs and no partial archive is left."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

# Seconds after a signal during which further signals are ignored.
_UNWIND_TIMEOUT_S = 5.0
# The numbers of the signals that came.
_signals: list[int] = []


@contextlib.contextmanager
def unwound_by_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into exceptions, so that cleanup runs and no partial archive is left.

    Further signals within 5 seconds (a second Ctrl-C, a supervisor's SIGTERM) are ignored: cleanup is not interrupted.
    """
    unwinding_since: list[float] = []
    _signals.clear()

    def stop(number: int, frame: object) -> None:
        if unwinding_since and time.monotonic() - unwinding_since[-1] < _UNWIND_TIMEOUT_S:
            return
        unwinding_since.append(time.monotonic())
        _signals.append(number)
        raise_signal()

    before: dict[int, Any] = {}
    try:
        with contextlib.suppress(ValueError):  # signal handlers can only be set in the main thread
            for name in ("SIGTERM", "SIGHUP", "SIGINT"):
                number = getattr(signal, name, None)
                if number is None or (name == "SIGINT" and signal.getsignal(number) is not signal.default_int_handler):
                    continue
                if signal.getsignal(number) is signal.SIG_IGN:  # as nohup does
                    continue
                before[number] = signal.getsignal(number)
                signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def raise_signal() -> None:
    """Raise the exception of the last signal, if any came.

    Called by the handler, and again by the loops that write data: Python drops the handler's exception if the signal
    came while a finalizer or a weakref callback ran.
    """
    if _signals:
        raise KeyboardInterrupt if _signals[-1] == signal.SIGINT else SystemExit(128 + _signals[-1])
